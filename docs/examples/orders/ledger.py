"""The books, and the totals at the end of the day."""

import json
from pathlib import Path

from sprag import Service


class Ledger(Service):
    """Books what becomes of each order; nothing here can crash over one.

    Stops after all who work on orders and before the shelves, so that its totals are complete:
    accepted = delivered + dropped + waiting.
    """

    def __init__(self, path):
        self._path = Path(path)
        self._accepted = []
        self._dropped = []
        self._delivered = 0
        self._cents = 0

    def on_start(self):
        self.listen("order:accepted", self._on_accepted)
        self.listen("order:completed", self._on_completed)
        self.listen("order:dropped", self._on_dropped)
        self.listen("metrics:updated", self._on_metrics)

    def on_stop(self):
        waiting = [*self.service("packed").waiting(), *self.service("accepted").waiting()]
        totals = {
            "accepted": len(self._accepted),
            "delivered": self._delivered,
            "dropped": self._dropped,
            "waiting": [order.id for order in waiting],
            "cents": self._cents,
        }
        # Written beside it and then renamed: a reader finds the old totals or the new ones,
        # never half of them.
        draft = self._path.with_name(f"{self._path.name}.draft")
        draft.write_text(f"{json.dumps(totals, indent=2)}\n", encoding="utf-8")
        draft.replace(self._path)
        self.log.info("totals are written", path=str(self._path))

    def knows(self, order_id):
        return order_id in self._accepted

    def _on_accepted(self, order):
        self._accepted.append(order.id)

    def _on_completed(self, data):
        self._delivered += 1
        self._cents += data["cents"]

    def _on_dropped(self, order):
        self._dropped.append(order.id)
        self.log.warning("order dropped", order=order.id)

    def _on_metrics(self, stats):
        self.log.info("metrics", **stats)
