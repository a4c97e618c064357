"""``GET /v1/logs/PATH``: what a service and all below it have logged, programs' output included.

One JSON object a line, told apart by ``kind``: the last records (``record``), and ``end``. With
``?follow=1`` comes ``live`` instead, then each record as it is made, and ``end`` when the app ends.
Nobody who logs waits for a client: what does not fit into its queue is counted, and told
(``lost``).
"""

from __future__ import annotations

import json
import logging
from collections import deque
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub
from gevent.event import Event

from sprag.control.http import Answer, Refused
from sprag.control.pieces import chunks, looking
from sprag_supervisor import clock, name_of, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.control.log_ring import Line

QUEUE: Final = 10_000
"""Records that may wait for one client."""
_ALL: Final = 999_999_999
_AT_ONCE: Final = 100
_LOOK: Final = 1.0
"""Seconds between two looks whether a client is still there, when there is nothing to say."""
_PATIENCE: Final = 3600.0
"""Seconds for a client to read on: people stop their terminal, or leaf through a pager."""
_LEVELS: Final = logging.getLevelNamesMapping()
_NAMES: Final = ("debug", "info", "warning", "error", "critical")
_NO: Final = ("0", "no", "false")


class Feed:
    """The records that wait for one client.

    Args:
        wanted: Whether it wants to know of one.
    """

    def __init__(self, wanted: Callable[[Line], bool]) -> None:
        self.lines: deque[Line] = deque()
        self.news = Event()
        self.lost = 0
        self.is_over = False
        self._wanted = wanted
        self._loop: Any = get_hub().loop

    def __call__(self, line: Line) -> None:
        """Take a record; called by who logs, in any thread."""
        if not self._wanted(line):
            return
        if len(self.lines) < QUEUE:
            self.lines.append(line)
        else:
            self.lost += 1
        self._loop.run_callback_threadsafe(self.news.set)

    def end(self) -> None:
        """Say that there will be no more."""
        self.is_over = True
        self.news.set()


def answer(desk: Desk, request: Request, path: str, has_hung_up: Callable[[], bool]) -> Answer:
    """Tell the last ``?lines=``, no older than ``?age=`` seconds; with ``?follow=1`` go on.

    With ``?level=`` only those that are at least as grave.
    """
    least = _least(request.query.get("level", ""))
    most = request.number("lines", _ALL, most=_ALL)
    age = request.seconds("age")
    oldest = None if age is None else clock.wall() - age
    full = _path(desk, path)
    is_all = full == name_of(desk.root)

    def wanted(line: Line) -> bool:
        is_meant = is_all or line.is_below(full)
        return is_meant and (not least or _LEVELS.get(line.level.upper(), logging.INFO) >= least)

    def is_recent(line: Line) -> bool:
        return (oldest is None or line.at >= oldest) and wanted(line)

    about = {**desk.about(), "path": full}
    if request.query.get("follow", "0").lower() in _NO:
        lines = desk.ring.last(most, is_recent)
        said = {"kind": "end", "reason": "that is all", **about}
        return Answer(_told(lines, said), is_stream=True, patience=_PATIENCE)
    begin = partial(desk.ring.last, most, is_recent)
    following = _followed(desk, Feed(wanted), begin, about, has_hung_up)
    return Answer(following, is_stream=True, patience=_PATIENCE)


def _least(level: str) -> int:
    """Return the number of a level, 0 for none given.

    Raises:
        Refused: There is no such level.
    """
    found = _LEVELS.get(level.upper(), 0) if level in ("", *_NAMES) else None
    if found is None:
        message = f"level={level[:20]!r} is not accepted: use {', '.join(_NAMES)}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    return found


def _path(desk: Desk, path: str) -> str:
    """Return the full path of a service, also of one that has left the tree since it has logged."""
    try:
        return path_of(desk.find(path))
    except Refused as refused:
        if refused.status is not HTTPStatus.NOT_FOUND:
            raise
        given = path.strip("/")
        for full in (given, f"{name_of(desk.root)}/{given}"):
            if desk.ring.last(1, lambda line, full=full: line.is_below(full)):  # type: ignore[misc]
                return full
        raise


def _followed(
    desk: Desk,
    feed: Feed,
    begin: Callable[[], list[Line]],
    about: dict[str, Any],
    has_hung_up: Callable[[], bool],
) -> Iterator[bytes]:
    desk.ring.follow(feed)
    desk.farewells.add(feed.end)
    try:
        # In the same turn of the loop: no record is missing in between, or told twice.
        yield from _told(begin(), {"kind": "live", **about})
        yield from _coming(feed, has_hung_up)
    finally:
        desk.farewells.discard(feed.end)
        desk.ring.leave(feed)


def _coming(feed: Feed, has_hung_up: Callable[[], bool]) -> Iterator[bytes]:
    while True:
        feed.news.clear()
        if feed.lines:
            batch = [feed.lines.popleft() for _ in range(min(len(feed.lines), _AT_ONCE))]
            yield "".join(map(_record, batch)).encode()
        elif feed.lost:
            lost, feed.lost = feed.lost, 0
            yield _line({"kind": "lost", "count": lost}).encode()
        elif feed.is_over:
            yield _line({"kind": "end", "reason": "the app has ended"}).encode()
            return
        elif not feed.news.wait(_LOOK) and has_hung_up():
            return


def _told(lines: list[Line], last: dict[str, Any]) -> Iterator[bytes]:
    def pieces() -> Iterator[str]:
        yield from map(_record, lines)
        yield _line(last)

    yield from chunks(pieces(), looking())


def _record(line: Line) -> str:
    return _line({"kind": "record", "path": line.service or None, **line.to_json()})


def _line(told: dict[str, Any]) -> str:
    return json.dumps(told) + "\n"
