"""At the parent of workers: streams of all of them as one, line by line.

First what each has to say of what was, then ``live``, once, then what comes, as it comes; the
``end`` is the parent's. A process that takes a worker's place is listened to a moment later: its
log from its beginning on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlencode

from gevent import Greenlet, killall
from gevent.queue import Empty, Queue

from sprag.control.forwarding import listens, slot_of, streamed
from sprag.control.http import Answer, Refused
from sprag_supervisor import clock, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.workers.slot import WorkerSlot

_WAITING: Final = 1000
"""Lines that may wait for the client before nobody is read any more."""
_BEGINNING: Final = 2.0
"""Seconds that the workers have for what was."""
_LOOK: Final = 1.0
"""Seconds between two looks for new processes."""
_KINDS: Final = {"/v1/logs": "kind", "/v1/events": "event"}
_OURS: Final = ""
_ALL: Final = 999_999_999


class _Line(NamedTuple):
    """A line that somebody tells.

    Attributes:
        source: Who: a worker's control socket; ours, for what the parent tells.
        kind: What of; "gone": that was all.
        text: The line itself.
    """

    source: str
    kind: str
    text: str


def concerns(beginning: str, desk: Desk) -> bool:
    """Whether *beginning* is a stream that all workers have a part in."""
    children = (desk.root._children_ or {}).values()
    return beginning in _KINDS and any(slot_of(child) is not None for child in children)


def braided(beginning: str, desk: Desk, request: Request, own: Answer) -> Answer:
    """Return *own*, the parent's part of a stream, with those of its workers."""
    most = request.number("lines", _ALL, most=_ALL)
    sort = _in_order if beginning == "/v1/logs" else list[str]
    query = urlencode(dict(request.query))
    braid = _Braid(_KINDS[beginning], desk, f"{beginning}?{query}" if query else beginning)
    body = braid.lines(own, lambda begun: sort(begun)[-most:] if most else [])
    return Answer(body, own.status, is_stream=True, patience=own.patience)


class _Braid:
    """One stream for one client."""

    def __init__(self, key: str, desk: Desk, target: str) -> None:
        self._key = key
        self._desk = desk
        self._target = target
        self._lines: Any = Queue(_WAITING)
        self._readers: dict[str, Any] = {}
        self._waited_for: set[str] = set()
        self._is_live = False

    def lines(self, own: Answer, sort: Callable[[list[str]], list[str]]) -> Generator[bytes]:
        """Yield the lines of all, those of the beginning as *sort* puts them."""
        try:
            pieces = iter(cast("Iterable[bytes]", own.body))
            self._begin(_OURS, self._read_own, pieces)
            self._attach()
            begun, last = self._beginning()
            if begun:
                yield "".join(sort(begun)).encode()
            if last is not None:
                yield last.text.encode()
            self._is_live = last is not None and last.kind == "live"
            while self._is_live:
                line = self._next(_LOOK)
                if line is None:
                    self._attach()
                elif line.source != _OURS:
                    if line.kind not in ("live", "end", "gone"):
                        yield line.text.encode()
                elif line.kind == "gone":
                    return
                else:
                    yield line.text.encode()
        finally:
            killall(list(self._readers.values()), block=False)

    def _beginning(self) -> tuple[list[str], _Line | None]:
        """Return what was, and how the parent's part of it ends: it goes on, or that was all."""
        begun: list[str] = []
        last: _Line | None = None
        until = clock.now() + _BEGINNING
        while self._waited_for and (left := until - clock.now()) > 0:
            line = self._next(left)
            if line is None:
                break
            if line.kind not in ("live", "end", "gone"):
                begun.append(line.text)
                continue
            self._waited_for.discard(line.source)
            if line.source == _OURS and line.text:
                last = line
        return begun, last

    def _next(self, seconds: float) -> _Line | None:
        try:
            return cast("_Line", self._lines.get(timeout=seconds))
        except Empty:
            return None

    # -- who is read -------------------------------------------------------------------

    def _attach(self) -> None:
        """Read the processes that are not read yet."""
        for child in (self._desk.root._children_ or {}).values():
            slot = slot_of(child)
            if slot is None or slot.control is None or not listens(slot):
                continue
            place = str(slot.control)
            if place not in self._readers:
                self._begin(place, self._read, slot, place)

    def _begin(self, source: str, read: Callable[..., object], *args: object) -> None:
        reader: Any = Greenlet(read, *args)
        self._readers[source] = reader
        self._waited_for.add(source)
        reader.start()

    def _read_own(self, pieces: Iterator[bytes]) -> None:
        try:
            for text in _split(pieces):
                self._lines.put(_Line(_OURS, self._kind(text), text))
        finally:
            close: Any = getattr(pieces, "close", int)
            close()
        self._lines.put(_Line(_OURS, "gone", ""))

    def _read(self, slot: WorkerSlot, place: str) -> None:
        root, is_late = path_of(slot), self._is_live
        try:
            for text in _split(streamed(slot, self._target)):
                told: dict[str, Any] = json.loads(text)
                kind = str(told.get(self._key, ""))
                # What is told of its root is told already: of its place in our tree.
                if kind == "snapshot" and (is_late or told.get("path") == root):
                    continue
                if not (self._key == "event" and told.get("path") == root):
                    self._lines.put(_Line(place, kind, text))
        except (OSError, Refused):
            pass  # it has gone: its place in our tree tells of that
        self._lines.put(_Line(place, "gone", ""))

    def _kind(self, text: str) -> str:
        return str(json.loads(text).get(self._key, ""))


def _split(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield f"{line.decode()}\n"


def _in_order(lines: list[str]) -> list[str]:
    """Return records by their times."""
    return sorted(lines, key=lambda line: str(json.loads(line).get("at", "")))
