"""Metrics for Prometheus: ``Collector(app)``. The extra ``metrics`` brings what it needs.

``sprag run --ops-port`` and ``App(metrics=True)`` answer ``/metrics`` with the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from sprag._native import make_lock
from sprag.control.measuring import families
from sprag.control.pieces import looking
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
    from collections.abc import Iterable, Iterator

    from sprag.control.figures import Family
    from sprag_supervisor import Pace

T = TypeVar("T")

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_LONGEST: Final = 5.0
"""Seconds that another native thread waits for the tree's."""


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

        self._tree = tree_of(app)
        self._figures = figures_of(self._tree)

    def describe(self) -> Iterable[Metric]:
        """Name what there will be: a registry takes the metrics of one app, and refuses another."""
        return [_metric(each._replace(samples=())) for each in self._families()]

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, as they are now."""
        return [_metric(each) for each in self._families()]

    def close(self) -> None:
        """Count nothing any more."""
        self._figures.close()
        self._tree.figures = None

    def _families(self) -> list[Family]:
        tree = self._tree
        if not tree.thread or tree.thread == get_ident():
            return self._figures.families()
        found: list[Family] = []
        over: Any = make_lock()
        over.acquire()

        def look() -> None:
            try:
                found.extend(self._figures.families())
            finally:
                over.release()

        # In no greenlet of the app's: it is scraped while it stops, too.
        tree.hub.loop.run_callback_threadsafe(tree.pool.launch, look)
        over.acquire(timeout=_LONGEST)
        return found


def exposition(root: Service) -> bytes:
    """Return all metrics of *root*, and of its workers, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Ready(families(tree_of(root))))
    return generate_latest(registry)


class _Ready(_Collector):
    """What has been collected already; others run while it is written down."""

    def __init__(self, found: list[Family]) -> None:
        self._found = found

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        pace = looking()
        for each in self._found:
            metric = _metric(each._replace(samples=_paced(each.samples, pace)))
            samples: Any = _paced(metric.samples, pace)
            metric.samples = samples
            yield metric


def _paced(each: Iterable[T], pace: Pace) -> Iterator[T]:
    for one in each:
        pace()
        yield one


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, _text(family.text), family.kind)
    for suffix, labels, value in family.samples:
        written = {name: _text(label) for name, label in labels.items()}
        metric.add_sample(f"{family.name}{suffix}", written, value)
    return metric


def _text(given: object) -> str:
    """Return it as it can be written: a name of Python's may hold what is no UTF-8."""
    return str(given).encode("utf-8", "backslashreplace").decode()
