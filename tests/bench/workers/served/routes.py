"""Its pages: one that computes a little, and one that waits, as for a database."""

from __future__ import annotations

import gevent

from sprag import Controller

THINGS = [("lamp", 39), ("kettle", 25), ("chair", 120), ("clock", 18), ("desk", 240)]


class OrderController(Controller):
    route = "/orders/<int:number>"

    def load(self, number: int) -> dict[str, object]:
        lines = [
            {"thing": thing, "price": price, "pieces": 1 + (number + at) % 3}
            for at, (thing, price) in enumerate(THINGS)
        ]
        return {"id": number, "state": "paid", "lines": lines}


class WaitingController(Controller):
    route = "/waiting"

    def load(self) -> dict[str, object]:
        gevent.sleep(0.01)
        return {"waited": True}
