"""A small shop. Orders come in over TCP, are packed by a pool and delivered by a courier.

    client -> intake -> packing -> courier -> ledger, metrics

Who `needs` whom goes the same way: each starts when the next one is ready, and stops before it.
"""

import os
from pathlib import Path

from client import Client
from fleet import Courier, Packer
from intake import Intake
from ledger import Ledger
from metrics import MetricsService

from sprag import App, WorkerPool

port = int(os.environ.get("ORDERS_PORT", "7070"))  # 0: any that is free
pace = float(os.environ.get("ORDERS_PACE", "1.0"))  # seconds between two orders of the client
totals = os.environ.get("ORDERS_TOTALS", "totals.json")
orders = Path(__file__).with_name("orders.csv")

app = App(
    name="shop",
    providers={
        "ledger": Ledger(totals),
        "metrics": MetricsService(),
        "courier": Courier(),
        # A bad order crashes its packer, but counts against the order: never against the pool.
        "packing": WorkerPool(Packer, size=3, queue=20, needs=("courier",)),
        "intake": Intake(port),
        "client": Client(orders, pace),
    },
)
