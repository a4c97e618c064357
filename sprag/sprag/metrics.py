"""Metrics for Prometheus: ``Collector(app)``. The extra ``metrics`` brings what it needs.

``sprag run --ops-port`` and ``App(metrics=True)`` answer ``/metrics`` with the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gevent import monkey

from sprag.control.measuring import families
from sprag.services.service import Service
from sprag_supervisor import get_ident, is_a, tree_of
from sprag_supervisor.exceptions import BadValue

try:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector as _Collector
except ImportError as error:
    raise ImportError("metrics need: pip install 'sprag-otp[metrics]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sprag.control.figures import Family

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_LONGEST: Final = 5.0
"""Seconds that another native thread waits for the tree's."""
_lock: Final = monkey.get_original("_thread", "allocate_lock")


class Collector(_Collector):
    """What there is to measure in the tree of an app, for a registry of prometheus_client's.

        prometheus_client.REGISTRY.register(Collector(app))

    Counting begins now. `collect` may be called from any native thread, as by prometheus_client's
    own server: it waits there for up to 5 seconds until the tree's thread has answered.

    Args:
        app: An app, or another root.

    Raises:
        BadValue: *app* is no service, or not the root of its tree.
    """

    def __init__(self, app: Service) -> None:
        if not is_a(app, Service) or app._parent_ is not None:
            raise BadValue("app", app, "a service that has no parent, as an App")
        from sprag.control.figures import figures_of

        self._root = app
        self._tree = tree_of(app)
        self._figures = figures_of(self._tree)

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: no two of ours are called alike."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, as they are now."""
        return [_metric(each) for each in self._families()]

    def close(self) -> None:
        """Count nothing any more."""
        self._figures.close()
        self._tree.figures = None

    def _families(self) -> list[Family]:
        if not self._tree.thread or self._tree.thread == get_ident():
            return self._figures.families()
        found: list[Family] = []
        over: Any = _lock()
        over.acquire()

        def look() -> None:
            try:
                found.extend(self._figures.families())
            finally:
                over.release()

        Service.call_from_thread(self._root, look)
        over.acquire(timeout=_LONGEST)
        return found


def exposition(root: Service) -> bytes:
    """Return all metrics of *root*, and of its workers, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Ready([_metric(each) for each in families(tree_of(root))]))
    return generate_latest(registry)


class _Ready(_Collector):
    """Metrics that have been collected already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for suffix, labels, value in family.samples:
        metric.add_sample(f"{family.name}{suffix}", labels, value)
    return metric
