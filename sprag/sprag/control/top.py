"""``GET /v1/top``: what each service uses, measured for as long as the client waits."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gevent import sleep

from sprag._defaults import LONGEST_LOOK, MOST_ROWS, SORTS
from sprag.control.http import Answer, Refused
from sprag.control.pictures import rounded
from sprag.control.sampler import PERIOD
from sprag.owned.bus import EventBus
from sprag.owned.timers import TimerHandle
from sprag_supervisor import Pace, clock, name_of, owned_by, path_of, uptime_of, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.services.service import Service
    from sprag_supervisor import Node


class _CountingBus(EventBus):
    """An event bus that also counts what it delivers.

    A bus becomes one, and plain again, while it is in use: emitting costs nothing more
    when nobody watches.
    """

    __slots__ = ()

    def publish(self, event: str, data: Any) -> int:
        if type(event) is str:  # else it comes again as a plain text, if there are listeners
            for listener in self.listeners(event):
                if listener._node is not None:
                    _delivered[id(listener._node)] += 1
        return super().publish(event, data)


_delivered: Counter[int] = Counter()
"""By the `id` of the service: it may be a dataclass, without a hash."""
_watched: Counter[EventBus] = Counter()


@contextmanager
def _counting(bus: EventBus) -> Generator[None]:
    if not _watched[bus]:
        _delivered.clear()
        bus.__class__ = _CountingBus
    _watched[bus] += 1
    try:
        yield
    finally:
        _watched[bus] -= 1
        if not _watched[bus]:
            bus.__class__ = EventBus
            del _watched[bus]
            _delivered.clear()


def answer(desk: Desk, request: Request) -> Answer:
    """Measure for ``?seconds=``; return ``?limit=`` rows, those with the most ``?sort=`` first."""
    seconds = min(request.seconds("seconds", 1.0) or 0.0, LONGEST_LOOK)
    sort = request.query.get("sort", "cpu")
    if sort not in SORTS:
        message = f"sort={sort!r} is not accepted: use {', '.join(SORTS)}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    limit = request.number("limit", 50, most=MOST_ROWS)
    desk.find(request.query.get("path", ""))
    tree = desk.root._tree_
    assert tree is not None
    with desk.sampler.watching(), _counting(tree.bus):
        began = clock.now()
        ticks = dict(_ticks_below(desk.root))
        seen, idle = Counter(desk.sampler.seen), desk.sampler.idle
        delivered = Counter(_delivered)
        sleep(seconds)
        passed = max(clock.now() - began, PERIOD)
        seen = Counter(desk.sampler.seen) - seen
        idle = desk.sampler.idle - idle
        delivered = Counter(_delivered) - delivered
    total = max(seen.total() + idle, 1)
    node = desk.find(request.query.get("path", ""))
    counted = itertools.count()
    rows = _rows(node, _Measured(passed, total, seen, delivered, ticks), counted)
    chosen = heapq.nsmallest(limit, rows, key=_key(sort)) if limit else list(rows)[:0]
    return Answer(
        {
            **desk.about(),
            "path": path_of(node),
            "seconds": round(passed, 3),
            "samples": seen.total() + idle,
            "cpu": {
                "services": round(sum(n for one, n in seen.items() if one) / total, 4),
                "others": round(seen[0] / total, 4),
                "idle": round(idle / total, 4),
            },
            "sort": sort,
            "count": next(counted),
            "services": chosen,
        }
    )


class _Measured(NamedTuple):
    """What happened while the client waited."""

    seconds: float
    samples: int
    seen: Counter[int]
    delivered: Counter[int]
    ticks_before: dict[int, int]


def _rows(root: Node, measured: _Measured, counted: Iterator[int]) -> Iterator[dict[str, Any]]:
    """Yield a row for each service; only those that are chosen are kept."""
    pace = Pace()
    for _depth, path, node in walk(root):
        pace()
        next(counted)
        owned = owned_by(node)
        fired = _ticks_of(node) - measured.ticks_before.get(id(node), 0)
        yield {
            "path": path,
            "name": name_of(node),
            "class": type(node).__name__,
            "state": node._state_.value,
            "uptime": rounded(uptime_of(node)),
            "cpu": round(measured.seen[id(node)] / measured.samples, 4),
            "greenlets": owned.greenlets,
            "timers": owned.timers,
            "listeners": owned.listeners,
            "events": round(measured.delivered[id(node)] / measured.seconds, 2),
            "ticks": round(max(fired, 0) / measured.seconds, 2),
            "restarts": node._restarts_,
        }


def _key(sort: str) -> Callable[[dict[str, Any]], Any]:
    def by_number(row: dict[str, Any]) -> Any:
        return -row[sort], -row["cpu"], -row["greenlets"], row["path"]

    def by_path(row: dict[str, Any]) -> Any:
        return row["path"]

    return by_path if sort == "path" else by_number


def _ticks_below(root: Service) -> Iterator[tuple[int, int]]:
    pace = Pace()
    for _depth, _path, node in walk(root):
        pace()
        if node._holdings_ is not None:
            yield id(node), _ticks_of(node)


def _ticks_of(node: Node) -> int:
    holdings = node._holdings_
    if holdings is None or not holdings.timers:
        return 0
    timers = cast("set[object]", holdings.timers)
    return sum(timer.ticks for timer in timers if isinstance(timer, TimerHandle))
