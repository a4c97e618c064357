"""One stream of an app's events for all tabs, and how promptly the app answers.

It runs while a tab is open. What it adds to the events of the control socket, one JSON object a
line as those: ``begin`` (a life of the app is connected to; all that was known is void), ``gone``
(there is no answer; `retry` says in how many seconds it is tried again) and, once a second,
``pulse``: since how many seconds the app owes an answer (`behind`), and what it says of its loop.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, sleep
from gevent.event import Event

from sprag.observer import asking
from sprag.observer.memory import Memory, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUEUE: Final = 50_000
"""Lines that may wait for one tab, beside the first ones."""
LARGEST: Final = 64 << 20
"""Bytes of them."""
_BATCH: Final = 500
_LARGE: Final = 1 << 16
RETRY: Final = 2.0
"""Seconds between two attempts to reach an app that does not answer."""
PULSE: Final = 1.0
_PATIENCE: Final = 60.0
_PING: Final = "/"
"""There is no such thing, which is an answer, too, and costs an app the least."""
_LOOP: Final = "/v1/loop?follow=1&seconds=1"


class _Tab:
    """The lines that wait for one tab."""

    def __init__(self, begin: list[bytes]) -> None:
        self.lines: deque[bytes] = deque(begin)
        self._most = len(begin) + QUEUE
        self._size = -sum(map(len, begin))
        self.news = Event()
        self.is_lost = False

    def tell(self, line: bytes) -> None:
        if len(self.lines) < self._most and self._size < LARGEST:
            self.lines.append(line)
            self._size += len(line)
        else:
            self.is_lost = True
        self.news.set()

    def batch(self) -> bytes:
        """Take what it is told next, in one piece."""
        batch: list[bytes] = []
        size = 0
        while self.lines and size < _LARGE:
            line = self.lines.popleft()
            batch.append(line)
            size += len(line)
        self._size -= size
        return b"".join(batch)


class Following:
    """The events of one app, told to any number of tabs.

    Args:
        find: Returns whom to ask now; None: there is nobody.
        is_over: Whether the process that serves this is to end; every tab is let go then.
    """

    def __init__(
        self,
        find: Callable[[], asking.Upstream | None],
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.find = find
        self._is_over = is_over
        self._memory = Memory()
        self._tabs: set[_Tab] = set()
        self._greenlets: list[Greenlet[[], None]] = []
        self._poke = Event()
        self._asked: float | None = None
        """Since when an answer is owed; None: none is."""
        self._loop: Any = None

    def poke(self) -> None:
        """Try now to reach an app that is gone."""
        self._poke.set()

    def tab(self) -> Iterator[bytes]:
        """Yield what a tab is told, for as long as it listens and keeps up."""
        tab = _Tab(list(self._memory.lines()))
        self._tabs.add(tab)
        if not self._greenlets:
            work = (self._read, self._ping, self._watch, self._beat)
            self._greenlets = [Greenlet.spawn(each) for each in work]
        try:
            while not (tab.is_lost or self._is_over()):
                if tab.lines:
                    yield tab.batch()
                else:
                    tab.news.clear()
                    tab.news.wait(PULSE)
        finally:
            self._tabs.discard(tab)
            if not self._tabs:
                self._stop()

    def _stop(self) -> None:
        greenlets, self._greenlets = self._greenlets, []
        for each in greenlets:
            each.kill(block=False)
        self._memory = Memory()
        self._asked = None

    def _tell(self, told: dict[str, Any]) -> None:
        line = self._memory.take(told)
        for tab in self._tabs:
            tab.tell(line)

    # -- the events ----------------------------------------------------------------------

    def _read(self) -> None:
        """Read the stream; once it is broken, look for the app, or the next one of its name."""
        last: int | None = None
        has_ended = False
        while True:
            found = self.find()
            # One that has said its last word still listens for a moment.
            if found is not None and not (has_ended and found.pid == last):
                last, has_ended = found.pid, False
                try:
                    has_ended = self._follow(found)
                except asking.Gone as gone:
                    self._lost(str(gone))
                else:
                    if not has_ended:
                        self._lost("it has hung up")
            elif not has_ended:
                self._lost("it does not run")
            self._poke.clear()
            self._poke.wait(RETRY)

    def _lost(self, reason: str) -> None:
        self._asked = None
        self._tell({"event": "gone", "reason": reason, "retry": RETRY, "at": _now()})

    def _follow(self, found: asking.Upstream) -> bool:
        """Pass on what the app says; return whether it has said that it ends."""
        told = asking.ask(found, "GET", "/v1/events?all=1", lasts=True)
        with closing(told.pieces):
            self._tell({"event": "begin", "app": found.name, "pid": found.pid, "at": _now()})
            for count, line in enumerate(asking.lines(told), 1):
                # Of another version, or nonsense: what is not understood is left out.
                with suppress(AttributeError, TypeError, ValueError):
                    self._tell(line)
                if line.get("event") == "end":
                    return True
                if not count % _BATCH:
                    sleep(0)
        return False

    # -- how promptly it answers ----------------------------------------------------------

    def _ping(self) -> None:
        """Ask what the app can answer in no time, again and again: that shows how it is."""
        while True:
            sleep(PULSE)  # first, too: all at once would be a long turn of the app's loop
            found = self.find()
            if found is not None:
                self._asked = time.monotonic()
                with suppress(asking.Gone):
                    asking.ask(found, "GET", _PING, seconds=_PATIENCE).read()
                self._asked = None

    def _watch(self) -> None:
        """Hear how the loop is: of a thread, so also while it is held."""
        while True:
            found = self.find()
            if found is not None:
                with suppress(asking.Gone):
                    told = asking.ask(found, "GET", _LOOP, lasts=True)
                    for line in asking.lines(told):
                        self._loop = line if told.status == HTTPStatus.OK else None
            self._loop = None
            sleep(RETRY)

    def _beat(self) -> None:
        while True:
            sleep(PULSE)
            asked = self._asked
            behind = 0.0 if asked is None else time.monotonic() - asked
            pulse = {"event": "pulse", "behind": round(behind, 2), "loop": self._loop}
            line = encoded({**pulse, "at": _now()})
            for tab in self._tabs:
                tab.tell(line)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
