"""The right to change a supervisor's children: one greenlet at a time.

A free turn is taken on the spot by whichever greenlet asks. A taken one is waited
for in order, unless the one who holds it is waiting for the very hook that asks:
OTP deadlocks there, sprag raises `WouldDeadlock`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from gevent import getcurrent

from sprag_supervisor._pool import Parking, waiting_for

if TYPE_CHECKING:
    from greenlet import greenlet


class Turn:
    """A lock in order of asking that knows when waiting would never end."""

    __slots__ = ("_holder", "_queue")

    def __init__(self) -> None:
        self._holder: greenlet | None = None
        self._queue: deque[Parking] | None = None

    def take(self) -> bool:
        """Take the turn, waiting as long as it is held. Return False for a deadlock.

        What is thrown into the waiting greenlet passes through, and its place in
        the queue is given up.
        """
        current = getcurrent()
        if self._holder is None:
            self._holder = current
            return True
        return self._wait(current)

    def _wait(self, current: greenlet) -> bool:
        if self._queue is None:
            self._queue = deque()
        parking = Parking()
        self._queue.append(parking)
        try:
            while self._holder is not current:
                if any(one is self._holder for one in waiting_for(current)):
                    self._queue.remove(parking)
                    return False
                parking.park()
        except BaseException:
            if self._holder is current:
                self.give()
            else:
                self._queue.remove(parking)
            raise
        return True

    def give(self) -> None:
        """Pass the turn to whoever has waited longest."""
        self._holder = None
        if self._queue:
            self._pass_on(self._queue)

    def _pass_on(self, queue: deque[Parking]) -> None:
        while queue:
            parking = queue.popleft()
            if parking.greenlet is not None:
                self._holder = parking.greenlet
                parking.poke()
                return

    def recheck(self) -> None:
        """Let those who wait look again for a deadlock: the holder begins to wait for somebody."""
        for parking in self._queue or ():
            parking.poke()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.give()
