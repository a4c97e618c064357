"""A small shop. Orders come in over TCP, are packed by a pool and delivered by a courier.

    client -> intake -> accepted -> packers -> packed -> courier -> ledger, metrics

What must not be lost lies on the two shelves and in the ledger, where nothing can crash over
an order. What can crash takes orders from there, and may be restarted at any time.
"""

import os
from pathlib import Path

from client import Client
from fleet import Courier, Packer
from intake import Intake
from ledger import Ledger
from metrics import MetricsService
from shelf import Shelf

from sprag import App, Supervisor

port = int(os.environ.get("ORDERS_PORT", "7070"))  # 0: any that is free
pace = float(os.environ.get("ORDERS_PACE", "1.0"))  # seconds between two orders of the client
totals = os.environ.get("ORDERS_TOTALS", "totals.json")
orders = Path(__file__).with_name("orders.csv")

# The packers share one table: if one of them makes a mess, all clear it and begin again.
packing = Supervisor(
    name="packing",
    strategy="one_for_all",
    children=[(Packer(), {"name": f"packer-{number}"}) for number in (1, 2, 3)],
)

# The packers and the courier have nothing in common: each is restarted alone. These limits are
# the defaults. At the fourth restart within five seconds the fleet gives up, and the app, whose
# limits are the same, restarts the fleet.
fleet = Supervisor(
    strategy="one_for_one",
    max_restarts=3,
    max_seconds=5.0,
    children=[packing, (Courier(), {"name": "courier"})],
)

# They start in this order and stop in reverse: first nobody orders any more, then nobody works
# any more, and then the ledger can count what is left on the shelves.
app = App(
    name="shop",
    providers={
        "accepted": Shelf(places=20),
        "packed": Shelf(places=5),
        "ledger": Ledger(totals),
        "metrics": MetricsService(),
        "fleet": fleet,
        "intake": Intake(port),
        "client": Client(orders, pace),
    },
)
