"""``GET /v1/top``: what each service uses, measured for as long as the client waits."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import sleep

from sprag._bus import EventBus
from sprag._control._http import Answer, Refused
from sprag._control._pace import Pace
from sprag._control._sampler import PERIOD
from sprag._timers import TimerHandle
from sprag_supervisor import _clock
from sprag_supervisor._node import name_of, path_of, uptime_of
from sprag_supervisor._snapshot import owned_by

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sprag._control._desk import Desk
    from sprag._control._http import Request
    from sprag._service import Service
    from sprag_supervisor import Node

SORTS: Final = ("cpu", "events", "ticks", "greenlets", "timers", "restarts", "path")
_LONGEST: Final = 60.0
_MOST: Final = 1000


class _CountingBus(EventBus):
    """An event bus that also counts what it delivers.

    A bus becomes one, and plain again, while it is in use: emitting costs nothing more
    when nobody watches.
    """

    __slots__ = ()

    def publish(self, event: str, data: Any) -> None:
        for listener in self.listeners(event):
            if listener._node is not None:
                _delivered[listener._node] += 1
        super().publish(event, data)


_delivered: Counter[Node] = Counter()
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
    seconds = min(request.seconds("seconds", 1.0) or 0.0, _LONGEST)
    sort = request.query.get("sort", "cpu")
    if sort not in SORTS:
        message = f"sort={sort!r} is not accepted: use {', '.join(SORTS)}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    limit = request.number("limit", 50, most=_MOST)
    desk.find(request.query.get("path", ""))
    with desk.sampler.watching(), _counting(desk.root._bus_):
        began = _clock.now()
        ticks = dict(_ticks_below(desk.root))
        seen, idle = Counter(desk.sampler.seen), desk.sampler.idle
        delivered = Counter(_delivered)
        sleep(seconds)
        passed = max(_clock.now() - began, PERIOD)
        seen = Counter(desk.sampler.seen) - seen
        idle = desk.sampler.idle - idle
        delivered = Counter(_delivered) - delivered
    total = max(seen.total() + idle, 1)
    node = desk.find(request.query.get("path", ""))
    rows: list[dict[str, Any]] = []
    pace = Pace()
    for each, path in _walk(node):
        pace()
        owned = owned_by(each)
        fired = _ticks_of(each) - ticks.get(each, 0)
        rows.append(
            {
                "path": path,
                "name": name_of(each),
                "class": type(each).__name__,
                "state": each._state_.value,
                "uptime": _rounded(uptime_of(each)),
                "cpu": round(seen[each] / total, 4),
                "greenlets": owned.greenlets,
                "timers": owned.timers,
                "listeners": owned.listeners,
                "events": round(delivered[each] / passed, 2),
                "ticks": round(max(fired, 0) / passed, 2),
                "restarts": each._restarts_,
            }
        )
    count = len(rows)
    rows.sort(key=_key(sort))
    return Answer(
        {
            **desk.about(),
            "path": path_of(node),
            "seconds": round(passed, 3),
            "samples": seen.total() + idle,
            "cpu": {
                "services": round(sum(n for one, n in seen.items() if one is not None) / total, 4),
                "others": round(seen[None] / total, 4),
                "idle": round(idle / total, 4),
            },
            "sort": sort,
            "count": count,
            "services": rows[:limit],
        }
    )


def _key(sort: str) -> Any:
    if sort == "path":
        return lambda row: row["path"]
    return lambda row: (-row[sort], -row["cpu"], -row["greenlets"], row["path"])


def _walk(root: Node) -> Iterator[tuple[Node, str]]:
    stack = [(root, path_of(root))]
    while stack:
        node, path = stack.pop()
        yield node, path
        children = tuple((node._children_ or {}).items())
        stack.extend((child, f"{path}/{name}") for name, child in reversed(children))


def _ticks_below(root: Service) -> Iterator[tuple[Node, int]]:
    pace = Pace()
    for node, _path in _walk(root):
        pace()
        if node._holdings_ is not None:
            yield node, _ticks_of(node)


def _ticks_of(node: Node) -> int:
    holdings = node._holdings_
    if holdings is None or not holdings.timers:
        return 0
    timers = cast("set[object]", holdings.timers)
    return sum(timer.ticks for timer in timers if isinstance(timer, TimerHandle))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
