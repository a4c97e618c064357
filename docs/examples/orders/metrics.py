"""The MetricsService of the documentation, as it is written there."""

from collections import Counter

from sprag import Service

_delivered = Counter()


def record_order(data):
    _delivered[data["item"]] += 1


def gather_metrics():
    return {"delivered": _delivered.total(), "favourites": _delivered.most_common(3)}


class MetricsService(Service):
    def on_start(self):
        self.interval(self._collect, 60)  # Every 60 seconds
        self.listen("order:completed", self._on_order)

    def on_stop(self):
        pass  # Cleanup is automatic for managed resources

    def _collect(self):
        stats = gather_metrics()
        self.emit("metrics:updated", stats)

    def _on_order(self, data):
        record_order(data)
