"""The numbers on the page."""

import time
from collections import deque

from sprag import Service


class MetricsService(Service):
    def on_start(self):
        self.began = time.monotonic()
        self.orders = 0
        self.revenue = 0
        self.latest = deque(maxlen=8)
        self.per_minute = deque([0] * 30, maxlen=30)
        self.interval(self._collect, 2)
        self.listen("order:completed", self._on_order)

    def _collect(self):
        self.per_minute.append(0)
        self.emit("metrics:updated", self.current_stats())

    def _on_order(self, order):
        self.orders += 1
        self.revenue += order["price"]
        self.per_minute[-1] += 1
        self.latest.appendleft(order)

    def intake(self):
        # Found here in any state; a controller is handed out what runs, and answers 503 else.
        orders = self.service("orders").snapshot()
        return {"state": orders.state.value, "restarts": orders.restarts}

    def current_stats(self):
        return {
            "orders": self.orders,
            "revenue": self.revenue,
            "seconds": round(time.monotonic() - self.began),
            "pace": list(self.per_minute),
            "latest": list(self.latest),
        }
