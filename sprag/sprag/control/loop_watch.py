"""How late the loop is, and who holds it: seen from a native thread, while somebody asks.

A timer in the hub says when the loop turns; the thread looks whether that is long ago, and at what
the main thread executes then. What is found is written to the clients by the thread itself: they
hear of a loop that is held while it is.

Nothing of this exists while nobody watches: the thread ends soon after the last watcher has left,
so that who asks now and then is told of the time in between.
"""

from __future__ import annotations

import json
import linecache
import os
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub
from gevent.hub import Hub

from sprag._holder import holder_of, place_of, places_of
from sprag._native import make_lock, sleep_thread, start_thread, this_thread
from sprag.control.pictures import iso
from sprag.exceptions import NoThread
from sprag_supervisor import path_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

PERIOD: Final = 0.05
"""Seconds between two looks, and between two signs of life."""
HELD: Final = 0.1
"""Seconds for which the loop has not turned, and is worth a look at who holds it."""
LINGERS: Final = 5.0
"""Seconds for which it is watched on after the last watcher has left."""
_MINUTE: Final = 60
_LOOKS: Final = 100
"""Looks of which it is told how many found the loop busy."""
_STALLED: Final = 5.0
"""Seconds for a client to take something."""
_MOST: Final = 1 << 18
_WAITING: Final = Hub.run.__code__
"""What the main thread executes while its loop waits."""
_STATM: Final = "/proc/self/statm"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Loop:
    """What is known of one loop: told of signs of life and of looks, it reads no clock itself."""

    def __init__(self, now: float) -> None:
        self._turned = now
        self._worst: deque[tuple[int, float]] = deque()
        """The longest wait of each second of the last minute."""
        self._busy: deque[bool] = deque(maxlen=_LOOKS)
        self._held: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None

    def turns(self, now: float) -> None:
        """Take a sign of life. In the hub."""
        late = max(now - self._turned - PERIOD, 0.0)
        self._turned = now
        second = int(now)
        worst = self._worst
        if worst and worst[-1][0] == second:
            worst[-1] = second, max(worst[-1][1], late)
        else:
            worst.append((second, late))
            while worst[0][0] <= second - _MINUTE:
                worst.popleft()

    def look(self, now: float, wall: float, frame: FrameType | None) -> None:
        """Look at what the main thread executes. In the native thread."""
        late = now - self._turned
        self._busy.append(frame is not None and frame.f_code is not _WAITING)
        if late < HELD + PERIOD:
            if self._held is not None:
                self._last, self._held = self._held, None
            return
        # The look that finds it for longest is the one that is kept.
        began = iso(wall - late) if self._held is None else self._held["at"]
        self._held = {"at": began, "seconds": round(late, 3), **_who(frame)}

    def told(self, now: float, wall: float) -> dict[str, Any]:
        """Return what there is to say."""
        late = max(now - self._turned - PERIOD, 0.0)
        by_second = dict(self._worst.copy())
        worst = max([late, *by_second.values()])
        first, this = max(min(by_second, default=int(now)), int(now) - _MINUTE + 1), int(now)
        busy = tuple(self._busy)
        return {
            "at": iso(wall),
            "lag": round(late, 4),
            "worst": round(worst, 4),
            "lags": [round(by_second.get(each, 0.0), 4) for each in range(first, this + 1)],
            "busy": round(sum(busy) / len(busy), 3) if busy else None,
            "rss": resident_bytes(),
            "held": self._held,
            "last": self._last,
        }


def _who(frame: FrameType | None) -> dict[str, Any]:
    path = None
    with suppress(Exception):  # the tree changes meanwhile
        service = holder_of(frame)
        path = None if service is None else path_of(service)
    place = place_of(frame)
    return {
        "path": path,
        "line": None if place is None else f"{place.file}:{place.line} in {place.name}",
        "stack": [
            {
                "file": each.file,
                "line": each.line,
                "function": each.name,
                "source": linecache.getline(each.file, each.line).strip(),
            }
            for each in places_of(frame)
        ],
    }


def resident_bytes() -> int | None:
    """Return the bytes of this process that are in memory; None where that is not told."""
    try:
        with open(_STATM, "rb") as file:  # noqa: PTH123 - 20 µs; a Path costs twice
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None


class Reader:
    """A client that follows, as the thread sees it.

    Args:
        descriptor: Where to write; does not block. It is the reader's own.
        seconds: Between two lines.
        about: Keys for each line to have besides.
    """

    def __init__(self, descriptor: int, seconds: float, about: dict[str, Any]) -> None:
        self._descriptor = descriptor
        self._seconds = seconds
        self._about = about
        self._due = 0.0
        self._taken = time.monotonic()
        self._pending = b""
        self.is_over = False
        self._lock = make_lock()
        """A descriptor that was given back may be somebody else's already."""

    def tell(self, now: float, told: dict[str, Any]) -> None:
        """Write a line if it is time for one, as far as the client takes it. Never blocks."""
        with self._lock:
            if not self.is_over:
                self._tell(now, told)

    def _tell(self, now: float, told: dict[str, Any]) -> None:
        if now >= self._due and len(self._pending) < _MOST:
            self._due = now + self._seconds
            self._pending += json.dumps({**self._about, **told}).encode() + b"\n"
        if not self._pending:
            self._taken = now
            return
        try:
            count = os.write(self._descriptor, self._pending)
        except BlockingIOError:
            count = 0
        except OSError:
            self.is_over = True
            return
        self._pending = self._pending[count:]
        if count:
            self._taken = now
        elif now - self._taken > _STALLED:
            self.is_over = True

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock, suppress(OSError):
            self.is_over = True
            os.close(self._descriptor)


class LoopWatch:
    """Watches the loop of the thread that first asks, as long as somebody does."""

    def __init__(self) -> None:
        self.loop: Loop | None = None
        self._watchers = 0
        self._left_at = 0.0
        self._round = 0
        self._thread = 0
        self._timer: Any = None
        self._readers: tuple[Reader, ...] = ()

    @contextmanager
    def watching(self, reader: Reader | None = None) -> Generator[Loop]:
        """Watch as long as the block lasts, and tell *reader* meanwhile."""
        if self.loop is None:
            self._begin()
        self._watchers += 1
        loop = self.loop
        assert loop is not None
        if reader is not None:
            self._readers = (*self._readers, reader)
        try:
            yield loop
        finally:
            if reader is not None:
                self._readers = tuple([each for each in self._readers if each is not reader])
            self._watchers -= 1
            self._left_at = time.monotonic()

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.close()
            self._timer = self.loop = None
            self._round += 1

    def _begin(self) -> None:
        self.loop = Loop(time.monotonic())
        self._thread = this_thread()
        self._timer = get_hub().loop.timer(PERIOD, PERIOD, ref=False)
        self._timer.start(self._turn)
        try:
            start_thread(self._watch, self.loop, self._round)
        except NoThread:
            self.close()
            raise

    def _turn(self) -> None:
        """Give a sign of life, or end. In the hub."""
        now = time.monotonic()
        if not self._watchers and now - self._left_at > LINGERS:
            self.close()
        elif self.loop is not None:
            self.loop.turns(now)

    def _watch(self, loop: Loop, round_: int) -> None:
        # In the native thread.
        while self._round == round_:
            sleep_thread(PERIOD)
            now, wall = time.monotonic(), time.time()
            frame = sys._current_frames().get(self._thread)
            with suppress(Exception):  # what is looked at runs: the next look is another one
                loop.look(now, wall, frame)
            del frame
            for reader in self._readers:
                reader.tell(now, loop.told(now, wall))
