"""What is counted and measured in a tree, for who draws curves of it.

The hard part is that labels must stay few, whatever the tree looks like: each place in it has its
series, and what there may be any number of is one place (`services.grouping`). The children of a
supervisor that has a hundred of them are one, too, and beyond a thousand places all others are.

Counting begins when somebody asks for the first time: until then nobody listens, and nothing is
paid.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from gevent import get_hub

from sprag.control.pieces import looking
from sprag.control.programs import program_of
from sprag.control.usage import uses_of
from sprag.services.finding import name_of_app
from sprag.services.grouping import ANY, is_one_of_many
from sprag_supervisor import (
    RUNNING,
    attribute_of,
    clock,
    name_of,
    not_ready,
    owned_by,
    path_of,
    uptime_of,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag.services.service import Service
    from sprag_supervisor import Lifecycle, Node, Tree

MOST_CHILDREN: Final = 100
"""A supervisor with more has one series for all of them …"""
MOST_PLACES: Final = 1000
"""… and beyond so many places all others are one."""
_LOOK: Final = 0.25
"""Seconds between two looks at how late the loop is."""
_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SECONDS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ITEMS: Final = ("queued", "running", "done", "poison", "dropped")
_STARTS: Final = ("started", "restarted")
_ENDS: Final = ("crashed", "finished", "stopped", "gave_up")

Labels = dict[str, str]


class Family(NamedTuple):
    """One metric: its name, ``gauge``, ``counter`` or ``histogram``, what it means, its samples.

    A sample has what is appended to the name, its labels, and its value.
    """

    name: str
    kind: str
    text: str
    samples: Iterable[tuple[str, Labels, float]]


class Histogram:
    """How often something took how long."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = _SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def samples(self) -> list[tuple[str, Labels, float]]:
        """Return the buckets, each with all below it, the number and the sum."""
        found: list[tuple[str, Labels, float]] = []
        so_far = 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            so_far += count
            found.append(("_bucket", {"le": bound}, so_far))
        return [*found, ("_count", {}, so_far), ("_sum", {}, self.total)]


class Figures:
    """Counts what happens in a tree, from now on, and surveys it when asked."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._restarts: Counter[str] = Counter()
        self._crashes: Counter[str] = Counter()
        self._starts, self._stops, self._requests = Histogram(), Histogram(), Histogram()
        self._lag = Histogram(_LAGS)
        self._answered: Counter[tuple[str, str]] = Counter()
        self._known: dict[str, None] = {}
        """Places that have series of their own."""
        tree.observers.append(self._note)
        self._looked = time.monotonic()
        # Not one of `clock`'s: it measures real time, and must not keep the loop alive.
        self._timer: Any = get_hub().loop.timer(_LOOK, _LOOK, ref=False)
        self._timer.start(self._look)
        for place, node in self._survey():
            if node._restarts_:
                self._restarts[place] += node._restarts_

    def close(self) -> None:
        """Count nothing any more."""
        self._timer.close()
        if self._note in self._tree.observers:
            self._tree.observers.remove(self._note)

    # -- what happens -------------------------------------------------------------------

    def _note(self, record: Lifecycle) -> None:
        """Take note of a change; the engine calls this in the midst of its work."""
        event, seconds = record.event, record.seconds
        if event in _STARTS and seconds is not None:
            self._starts.add(seconds)
        elif event in _ENDS and seconds is not None:
            self._stops.add(seconds)
        if event == "restarted":
            self._restarts[self._place_at(record.path)] += 1
        elif event == "crashed":
            self._crashes[self._place_at(record.path)] += 1

    def _look(self) -> None:
        """See how late the loop is. In the hub."""
        now = time.monotonic()
        self._lag.add(max(now - self._looked - _LOOK, 0.0))
        self._looked = now

    def answered(self, method: str, status: int | None, seconds: float) -> None:
        """Count a request of the web server's; no status: the client had gone."""
        code = "none" if status is None else f"{status // 100}xx"
        self._answered[method if method in _METHODS else "other", code] += 1
        self._requests.add(seconds)

    # -- where it happens ---------------------------------------------------------------

    def _place_at(self, path: str) -> str:
        root = self._tree.root
        node, place = root, name_of_app(root)
        for name in path.removeprefix(path_of(root)).split("/"):
            if not name:
                continue
            child = (node._children_ or {}).get(name)
            if child is None:
                return self._admitted(f"{place}/{ANY}")
            node, place = child, self._below(place, child, node)
        return place

    def _below(self, place: str, node: Node, parent: Node) -> str:
        is_many = len(parent._children_ or ()) > MOST_CHILDREN or is_one_of_many(node, parent)
        return self._admitted(f"{place}/{ANY if is_many else name_of(node)}")

    def _admitted(self, place: str) -> str:
        """Return *place*, or what stands for all others when there are too many."""
        if place not in self._known:
            if len(self._known) >= MOST_PLACES:
                return f"{place.split('/', 1)[0]}/{ANY}"
            self._known[place] = None
        return place

    def _survey(self) -> Iterator[tuple[str, Node]]:
        """Yield each service with its place; others get their turn meanwhile."""
        pace = looking()
        places: list[str] = []
        for depth, _path, node in walk(self._tree.root):
            pace()
            parent = node._parent_
            del places[depth:]
            if parent is None or depth == 0:
                places.append(name_of_app(node))
            else:
                places.append(self._below(places[-1], node, parent))
            yield places[-1], node

    # -- what is told -------------------------------------------------------------------

    def families(self) -> list[Family]:
        """Return all there is to tell now. Blocks, but lets others run."""
        survey = _Survey()
        for place, node in self._survey():
            survey.add(place, node)
        root = self._tree.root
        reports = attribute_of(root, "_reports_")
        gauge, counter, histogram = "gauge", "counter", "histogram"
        missing = {path for path, _ in not_ready(root, pause=looking())}
        is_ready = float(cast("Service", root)._serves_(missing))
        return [
            Family("sprag_ready", gauge, "1: all that should run does.", [("", {}, is_ready)]),
            Family("sprag_services", gauge, "Services, by their state.", survey.states()),
            _by_place("sprag_service_restarts", counter, "Restarts.", self._restarts),
            _by_place("sprag_service_crashes", counter, "Crashes.", self._crashes),
            _by_place(
                "sprag_service_uptime_seconds",
                gauge,
                "Seconds since the last start, of several the latest.",
                survey.uptimes,
            ),
            Family("sprag_service_owned", gauge, "What services hold.", survey.resources()),
            _by_place(
                "sprag_supervisor_restarts",
                gauge,
                "Restarts that count toward the limit now, of several the most.",
                survey.used,
            ),
            _by_place(
                "sprag_supervisor_max_restarts", gauge, "With more it gives up.", survey.limits
            ),
            Family("sprag_pool_items", gauge, "Items of pools, by their state.", survey.items()),
            *survey.programs(),
            Family("sprag_start_seconds", histogram, "Starts.", self._starts.samples()),
            Family("sprag_stop_seconds", histogram, "Ends.", self._stops.samples()),
            Family("sprag_loop_lag_seconds", histogram, "How late it is.", self._lag.samples()),
            Family(
                "sprag_web_requests",
                counter,
                "Requests that were answered.",
                [
                    ("_total", {"method": method, "code": code}, count)
                    for (method, code), count in sorted(self._answered.items())
                ],
            ),
            Family(
                "sprag_web_request_seconds",
                histogram,
                "From a request to the end of its answer.",
                self._requests.samples(),
            ),
            Family(
                "sprag_crash_reports_dropped",
                counter,
                "Crashes that on_crash was not told of.",
                [("_total", {}, 0 if reports is None else reports.dropped)],
            ),
        ]


class _Survey:
    """What there is at each place."""

    def __init__(self) -> None:
        self._states: Counter[tuple[str, str]] = Counter()
        self._owned: Counter[tuple[str, str]] = Counter()
        self._items: Counter[tuple[str, str]] = Counter()
        self._pids: defaultdict[str, list[int]] = defaultdict(list)
        self.uptimes: dict[str, float] = {}
        self.used: dict[str, float] = {}
        self.limits: dict[str, float] = {}

    def add(self, place: str, node: Node) -> None:
        self._states[place, node._state_.value] += 1
        owned = owned_by(node)
        for resource, count in zip(owned._fields, owned, strict=True):
            if count:
                self._owned[place, resource] += count
        uptime = uptime_of(node)
        if node._state_ is RUNNING and uptime is not None:
            self.uptimes[place] = min(uptime, self.uptimes.get(place, uptime))
        if node._children_:
            supervision, limit = node._supervision_, node._policy_.max_restarts
            window = None if supervision is None else supervision.window
            since = clock.now() - node._policy_.max_seconds
            used = 0 if window is None else window.since(since)
            self.used[place] = max(used, self.used.get(place, 0))
            self.limits[place] = min(limit, self.limits.get(place, limit))
        if (load := node._load_()) is not None:
            for state, count in zip(_ITEMS, load, strict=True):
                self._items[place, state] += count
        if program_of(node) is not None and (pid := node._pid_()) is not None:
            self._pids[place].append(pid)

    def states(self) -> list[tuple[str, Labels, float]]:
        return _pairs("state", self._states)

    def resources(self) -> list[tuple[str, Labels, float]]:
        return _pairs("resource", self._owned)

    def items(self) -> list[tuple[str, Labels, float]]:
        return _pairs("state", self._items)

    def programs(self) -> list[Family]:
        uses = uses_of([pid for pids in self._pids.values() for pid in pids])
        cpu: dict[str, float] = {}
        rss: dict[str, float] = {}
        for place, pids in self._pids.items():
            found = [uses[pid] for pid in pids if pid in uses]
            if found:
                cpu[place] = sum(sum(use.times.values()) for use in found)
                rss[place] = sum(use.rss for use in found)
        text = "Seconds of CPU time that the processes of programs have used."
        return [
            _by_place("sprag_program_cpu_seconds", "counter", text, cpu),
            _by_place("sprag_program_resident_memory_bytes", "gauge", "Their memory.", rss),
        ]


def _pairs(label: str, counts: Counter[tuple[str, str]]) -> list[tuple[str, Labels, float]]:
    return [("", {"path": place, label: word}, count) for (place, word), count in counts.items()]


def _by_place(name: str, kind: str, text: str, values: dict[str, float] | Counter[str]) -> Family:
    suffix = "_total" if kind == "counter" else ""
    samples = [(suffix, {"path": place}, value) for place, value in values.items()]
    return Family(name, kind, text, samples)


def figures_of(tree: Tree) -> Figures:
    """Return what counts in *tree*; made, and beginning to count, when it is first asked for."""
    found: Figures | None = tree.figures
    if found is None:
        found = tree.figures = Figures(tree)
    return found
