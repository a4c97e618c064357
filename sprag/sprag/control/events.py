"""``GET /v1/events``: what happens to the services, as it happens. One JSON object a line.

First a line for each service as it is (``snapshot``), then ``live``, then a line for
each change, and ``end`` when the app ends. The engine only puts a record into the
client's queue. A client that does not keep up is dropped, without that last line.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from gevent.event import Event

from sprag.control.http import Answer
from sprag.control.pictures import iso, node_to_json, rounded
from sprag.control.pieces import chunks
from sprag_supervisor import Pace, pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.control.desk import Desk
    from sprag_supervisor import Lifecycle

QUEUE: Final = 10_000
"""Changes that may wait for one client."""
_LOOK: Final = 1.0
"""Seconds between two looks whether a client is still there, when there is nothing to say."""
_AT_ONCE: Final = 100


class Feed:
    """The changes that wait for one client."""

    def __init__(self) -> None:
        self.records: deque[Lifecycle] = deque()
        self.news = Event()
        self.is_lost = False
        self.is_over = False

    def __call__(self, record: Lifecycle) -> None:
        """Take a change; called by the engine in the midst of its work."""
        if len(self.records) < QUEUE:
            self.records.append(record)
        else:
            self.is_lost = True
        self.news.set()

    def end(self) -> None:
        """Say that there will be no more."""
        self.is_over = True
        self.news.set()


def answer(desk: Desk, has_hung_up: Callable[[], bool]) -> Answer:
    """Stream until the client leaves, does not keep up, or the app ends."""
    return Answer(_lines(desk, has_hung_up), is_stream=True)


def _lines(desk: Desk, has_hung_up: Callable[[], bool]) -> Iterator[bytes]:
    feed = Feed()
    observers = desk.tree.observers
    # First the ear, then the picture: a change in between is told twice, not never.
    observers.append(feed)
    desk.farewells.add(feed.end)
    try:
        count = 0

        def lines() -> Iterator[str]:
            nonlocal count
            for _depth, node in pictures(desk.root):
                count += 1
                yield _line({"event": "snapshot", **node_to_json(node)})

        yield from chunks(lines(), Pace())
        yield _encoded({"event": "live", "services": count, **desk.about()})
        yield from _changes(feed, has_hung_up)
    finally:
        desk.farewells.discard(feed.end)
        if feed in observers:
            observers.remove(feed)


def _changes(feed: Feed, has_hung_up: Callable[[], bool]) -> Iterator[bytes]:
    while not feed.is_lost:
        if feed.records:
            batch = [feed.records.popleft() for _ in range(min(len(feed.records), _AT_ONCE))]
            yield "".join(_line(change_to_json(record)) for record in batch).encode()
        elif feed.is_over:
            yield _encoded({"event": "end", "reason": "the app has ended"})
            return
        else:
            feed.news.clear()
            if not feed.news.wait(_LOOK) and has_hung_up():
                return


def change_to_json(record: Lifecycle) -> dict[str, Any]:
    """Return what is told of a change."""
    return {
        "event": record.event,
        "path": record.path,
        "incarnation": record.incarnation,
        "context": record.context,
        "reason": record.reason,
        "exception": record.exception,
        "message": record.message,
        "restarts": record.restarts,
        "at": iso(record.time),
        "seconds": rounded(record.seconds),
    }


def _line(told: dict[str, Any]) -> str:
    return json.dumps(told) + "\n"


def _encoded(told: dict[str, Any]) -> bytes:
    return _line(told).encode()
