"""``GET /v1/events``: what happens to the services, as it happens. One JSON object a line.

First a line for each service as it is (``snapshot``), then ``live``, then a line for
each change, and ``end`` when the app ends. The engine only puts a record into the
client's queue. A client that does not keep up is dropped, without that last line.
With ``?all=1`` also what supervisors decide (``ruling``), and steps that no observer
is told of; see `steps`.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gevent.event import Event

from sprag._version import __version__
from sprag.control import decisions
from sprag.control.decisions import node_at
from sprag.control.http import Answer
from sprag.control.pictures import because_to_json, encode_one, iso, rounded
from sprag.control.pieces import chunks, looking
from sprag.control.steps import LOOK, Steps
from sprag_supervisor import SETTLED, Lifecycle, Move, Pace, clock, next_try_of, pictures, why_down

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Because, Node, Ruling

QUEUE: Final = 10_000
"""Changes that may wait for one client."""
_LOOK: Final = 1.0
"""Seconds between two looks whether a client is still there, when there is nothing to say."""
_AT_ONCE: Final = 100
_NO: Final = ("0", "no", "false")


class Feed:
    """What waits for one client: changes, and rulings with their numbers."""

    def __init__(self) -> None:
        self.records: deque[Lifecycle | tuple[int, Ruling]] = deque()
        self.news = Event()
        self.is_lost = False
        self.is_over = False

    def __call__(self, record: Lifecycle) -> None:
        """Take a change; called by the engine in the midst of its work."""
        self._put(record)

    def rule(self, seq: int, ruling: Ruling) -> None:
        """Take a ruling, likewise."""
        self._put((seq, ruling))

    def _put(self, record: Lifecycle | tuple[int, Ruling]) -> None:
        if len(self.records) < QUEUE:
            self.records.append(record)
        else:
            self.is_lost = True
        self.news.set()

    def end(self) -> None:
        """Say that there will be no more."""
        self.is_over = True
        self.news.set()


def answer(desk: Desk, request: Request, has_hung_up: Callable[[], bool]) -> Answer:
    """Stream until the client leaves, does not keep up, or the app ends."""
    is_all = request.query.get("all", "0").lower() not in _NO
    return Answer(_lines(desk, has_hung_up, is_all=is_all), is_stream=True)


def _lines(desk: Desk, has_hung_up: Callable[[], bool], *, is_all: bool) -> Iterator[bytes]:
    feed = Feed()
    observers, ledger = desk.tree.observers, desk.tree.ledger
    # First the ear, then the picture: a change in between is told twice, not never.
    observers.append(feed)
    if is_all:
        ledger.follow(feed.rule)
    desk.farewells.add(feed.end)
    try:
        steps = Steps(desk.root) if is_all else None
        policies: dict[int, str] = {}
        count = 0

        def lines() -> Iterator[str]:
            nonlocal count
            for _depth, node in pictures(desk.root):
                count += 1
                if steps is not None and node.state in SETTLED:
                    yield from map(_line, steps.note_down(node.path))
                yield encode_one(node, policies, event="snapshot") + "\n"

        yield from chunks(lines(), looking())
        yield _encoded({"event": "live", "services": count, "version": __version__, **desk.about()})
        yield from _changes(desk.root, feed, steps, has_hung_up)
    finally:
        desk.farewells.discard(feed.end)
        ledger.leave(feed.rule)
        if feed in observers:
            observers.remove(feed)


def _changes(
    root: Node, feed: Feed, steps: Steps | None, has_hung_up: Callable[[], bool]
) -> Iterator[bytes]:
    wait = _LOOK if steps is None else LOOK
    pace = looking()  # in a storm there is always more to tell
    while not feed.is_lost:
        if feed.records:
            batch = [feed.records.popleft() for _ in range(min(len(feed.records), _AT_ONCE))]
            yield "".join(map(_line, _told(root, batch, steps, pace))).encode()
        elif feed.is_over:
            yield _encoded({"event": "end", "reason": "the app has ended"})
            return
        else:
            feed.news.clear()
            if not feed.news.wait(wait) and has_hung_up():
                return
        if steps is not None and (seen := list(steps.look())):
            yield "".join(map(_line, seen)).encode()


def _told(
    root: Node, batch: list[Lifecycle | tuple[int, Ruling]], steps: Steps | None, pace: Pace
) -> Iterator[dict[str, Any]]:
    for record in batch:
        pace()
        if isinstance(record, Lifecycle):
            yield change_to_json(record, _after(root, record))
            if steps is not None:
                yield from steps.note(record)
        else:
            yield {"event": "ruling", **decisions.to_json(root, *record)}


class After(NamedTuple):
    """How a service is after a change, in the same life.

    Attributes:
        state: Its state.
        next_try: Seconds until its next start, if it waits for one that has a time.
        because: Why it is down.
    """

    state: str | None = None
    next_try: float | None = None
    because: Because | None = None


_UNKNOWN: Final = After()


def _after(root: Node, record: Lifecycle) -> After:
    """Return how a service is now; of one that has left, or lives again, nothing is known."""
    node = node_at(root, record.path)
    if node is None or node._incarnation_ != record.incarnation:
        return _UNKNOWN
    at = next_try_of(node)
    left = None if at is None else max(at - clock.now(), 0.0)
    return After(node._state_.value, left, why_down(node, record.path))


def change_to_json(record: Lifecycle, after: After = _UNKNOWN) -> dict[str, Any]:
    """Return what is told of a change, and how the service is after that."""
    more: dict[str, Any] = {}
    if isinstance(record, Move):
        more = {"origin": record.origin, "node": record.node, "token": record.token}
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
        "state": after.state,
        "next_try": rounded(after.next_try),
        "down_because": because_to_json(after.because),
        **more,
    }


def _line(told: dict[str, Any]) -> str:
    return json.dumps(told) + "\n"


def _encoded(told: dict[str, Any]) -> bytes:
    return _line(told).encode()
