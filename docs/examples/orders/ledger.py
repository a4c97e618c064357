"""The books, and the totals: every night, and at the end."""

import json
from collections import Counter
from pathlib import Path

from sprag import Service
from sprag.exceptions import PoisonItem, TaskCancelled


class Ledger(Service):
    """Books what becomes of each order; nothing here can crash over one.

    Stops after all who work on orders, so that its totals are complete.
    """

    def __init__(self, path):
        self._path = Path(path)
        self._accepted = []
        self._delivered = []
        self._cents = 0

    def on_start(self):
        self.listen("order:accepted", self._on_accepted)
        self.listen("order:completed", self._on_completed)
        self.listen("metrics:updated", self._on_metrics)
        self.cron("0 0 * * *", self._write_totals)

    def on_stop(self):
        self._write_totals()

    def knows(self, order_id):
        return order_id in self._accepted

    def _write_totals(self):
        undelivered = Counter(self._accepted) - Counter(self._delivered)
        totals = {
            "accepted": len(self._accepted),
            "delivered": len(self._delivered),
            "undelivered": list(undelivered.elements()),
            "cents": self._cents,
        }
        # Written beside it and then renamed: a reader finds the old totals or the new ones,
        # never half of them.
        draft = self._path.with_name(f"{self._path.name}.draft")
        draft.write_text(f"{json.dumps(totals, indent=2)}\n", encoding="utf-8")
        draft.replace(self._path)
        self.log.info("totals are written", path=str(self._path))

    def _on_accepted(self, data):
        self._accepted.append(data["id"])
        self.spawn(self._see_through, data["id"], data["task"])

    def _see_through(self, order_id, task):
        try:
            task.get()
        except (PoisonItem, TaskCancelled) as error:
            self.log.warning("order dropped", order=order_id, reason=str(error))

    def _on_completed(self, data):
        self._delivered.append(data["id"])
        self._cents += data["cents"]

    def _on_metrics(self, stats):
        self.log.info("metrics", **stats)
