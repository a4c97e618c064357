"""``GET /v1/top``: what each service uses, measured for as long as the client waits.

With ``?follow=1`` again and again, one JSON object a line.
"""

from __future__ import annotations

import heapq
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from gevent import sleep
from gevent.event import Event

from sprag._defaults import LONGEST_LOOK, MOST_ROWS, SORTS
from sprag.control.http import Answer, Refused
from sprag.control.loop_watch import resident_bytes
from sprag.control.pictures import rounded
from sprag.control.pieces import looking
from sprag.control.sampler import PERIOD
from sprag.control.usage import Use, uses_of
from sprag.owned.bus import Listener
from sprag.owned.timers import TimerHandle
from sprag_supervisor import clock, held_by, name_of, owned_by, path_of, uptime_of, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.services.service import Service
    from sprag_supervisor import Node, Pace


_REST: Final = 0.1
"""Seconds between two looks, at least, of who follows."""
ROWS: Final = 50
"""Rows that are told where nobody says how many."""


def answer(desk: Desk, request: Request) -> Answer:
    """Measure for ``?seconds=``; return ``?limit=`` rows, those with the most ``?sort=`` first."""
    seconds = min(request.seconds("seconds", 1.0) or 0.0, LONGEST_LOOK)
    sort = request.query.get("sort", "cpu")
    if sort not in SORTS:
        message = f"sort={sort!r} is not accepted: use {', '.join(SORTS)}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    limit = request.number("limit", ROWS, most=MOST_ROWS)
    desk.find(request.query.get("path", ""))
    pace = looking()
    with desk.sampler.watching():
        began = clock.now()
        before = dict(_calls_below(desk.root, pace))
        used = uses_of(list(_pids_below(desk.root, pace)))
        seen, idle = Counter(desk.sampler.seen), desk.sampler.idle
        sleep(seconds)
        passed = max(clock.now() - began, PERIOD)
        seen = Counter(desk.sampler.seen) - seen
        idle = desk.sampler.idle - idle
    total = max(seen.total() + idle, 1)
    node = desk.find(request.query.get("path", ""))
    counted = _Counted()
    uses = uses_of(list(_pids_below(node, pace)))
    rows = _rows(node, _Measured(passed, total, seen, before, used, uses), counted, pace)
    chosen = heapq.nsmallest(limit, rows, key=order(sort)) if limit else list(rows)[:0]
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
            "count": counted.services,
            "greenlets": counted.greenlets,
            "rss": _resident(uses),
            "services": chosen,
        }
    )


def followed(desk: Desk, look: Callable[[], Answer], has_hung_up: Callable[[], bool]) -> Answer:
    """Stream what *look* answers, one line each, until the client leaves or the app ends.

    Raises:
        Refused: The first look is.
    """
    first = _line(look())

    def lines() -> Iterator[bytes]:
        is_over = Event()
        desk.farewells.add(is_over.set)
        try:
            yield first
            while not is_over.wait(_REST) and not has_hung_up():
                yield _line(look())
        finally:
            desk.farewells.discard(is_over.set)

    return Answer(lines(), is_stream=True)


def _line(answer: Answer) -> bytes:
    return b"".join(answer.text()).strip() + b"\n"


class _Calls(NamedTuple):
    """How often the listeners and the timers of one service have been called."""

    events: int
    ticks: int


_NONE: Final = _Calls(0, 0)


class _Measured(NamedTuple):
    """What happened while the client waited."""

    seconds: float
    samples: int
    seen: Counter[int]
    before: dict[int, _Calls]
    """What each service had been called before that, by its `id`."""
    used: dict[int, Use]
    """What programs had used before that, by their pids, …"""
    uses: dict[int, Use]
    """… and what they use now."""


class _Counted:
    """What all rows have together, also those that are not told."""

    def __init__(self) -> None:
        self.services = 0
        self.greenlets = 0


def _resident(uses: dict[int, Use]) -> int | None:
    """Return the bytes in memory, of this process and all programs; None where nobody tells."""
    own = resident_bytes()
    return None if own is None else own + sum(each.rss for each in uses.values())


def _rows(
    root: Node, measured: _Measured, counted: _Counted, pace: Pace
) -> Iterator[dict[str, Any]]:
    """Yield a row for each service; only those that are chosen are kept."""
    for _depth, path, node in walk(root):
        pace()
        owned = owned_by(node)
        counted.services += 1
        counted.greenlets += owned.greenlets + owned.tasks
        calls, before = _calls_of(node), measured.before.get(id(node), _NONE)
        yield {
            "path": path,
            "name": name_of(node),
            "class": type(node).__name__,
            "state": node._state_.value,
            "uptime": rounded(uptime_of(node)),
            "cpu": round(measured.seen[id(node)] / measured.samples, 4),
            "greenlets": owned.greenlets + owned.tasks,
            "timers": owned.timers,
            "listeners": owned.listeners,
            "events": round(max(calls.events - before.events, 0) / measured.seconds, 2),
            "ticks": round(max(calls.ticks - before.ticks, 0) / measured.seconds, 2),
            "restarts": node._restarts_,
            "process": _process(node, measured),
        }


def _process(node: Node, measured: _Measured) -> dict[str, Any] | None:
    pid = node._pid_()
    if pid is None:
        return None
    use, before = measured.uses.get(pid), measured.used.get(pid)
    if use is None:
        return {"pid": pid}
    # Of one that began meanwhile, all.
    cpu = use.cpu_since(before or Use({}, 0, None, 0), measured.seconds)
    return {"pid": pid, "cpu": round(cpu, 4), **use.to_json()}


def order(sort: str) -> Callable[[dict[str, Any]], Any]:
    """Return by what rows come one after another."""

    def of_process(row: dict[str, Any], key: str) -> float:
        process: dict[str, Any] = row["process"] or {}
        return float(process.get(key, 0.0))

    def by_number(row: dict[str, Any]) -> Any:
        cpu = row["cpu"] + of_process(row, "cpu")
        first = {"cpu": cpu, "rss": of_process(row, "rss")}
        return -first.get(sort, row.get(sort, 0)), -cpu, -row["greenlets"], row["path"]

    def by_path(row: dict[str, Any]) -> Any:
        return row["path"]

    return by_path if sort == "path" else by_number


def _pids_below(root: Node, pace: Pace) -> Iterator[int]:
    for _depth, _path, node in walk(root):
        pace()
        pid = node._pid_()
        if pid is not None:
            yield pid


def _calls_below(root: Service, pace: Pace) -> Iterator[tuple[int, _Calls]]:
    for _depth, _path, node in walk(root):
        pace()
        if node._holdings_ is not None:
            yield id(node), _calls_of(node)


def _calls_of(node: Node) -> _Calls:
    """Count the calls of what the service owns now."""
    holdings = held_by(node)
    if holdings is None:
        return _NONE
    timers = cast("set[object]", holdings.timers or ())
    listeners = cast("set[object]", holdings.subscriptions or ())
    return _Calls(
        sum(listener.calls for listener in listeners if isinstance(listener, Listener)),
        sum(timer.ticks for timer in timers if isinstance(timer, TimerHandle)),
    )
