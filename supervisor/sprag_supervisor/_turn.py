"""The right to change a supervisor's children: one greenlet at a time.

A free turn is taken on the spot by whichever greenlet asks. A taken one is waited
for in order, unless the one who holds it is waiting, in whatever way, for the very hook
that asks: OTP deadlocks there, sprag raises `WouldDeadlock`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from gevent import getcurrent

from sprag_supervisor._parking import Parking
from sprag_supervisor._waiting import queued, waiting_for

if TYPE_CHECKING:
    from greenlet import greenlet


class Turn:
    """A lock in order of asking that knows when waiting would never end."""

    __slots__ = ("_queue", "holder")

    def __init__(self) -> None:
        self.holder: greenlet | None = None
        """Who may change the children now."""
        self._queue: deque[Parking] | None = None

    def take(self) -> bool:
        """Take the turn, waiting as long as it is held. Return False for a deadlock.

        What is thrown into the waiting greenlet passes through, and its place in
        the queue is given up.
        """
        current = getcurrent()
        if self.holder is None:
            self.holder = current
            return True
        if self.holder is current:
            return False
        return self._wait(current)

    def _wait(self, current: greenlet) -> bool:
        if self._queue is None:
            self._queue = deque()
        parking = Parking()
        self._queue.append(parking)
        everyone = queued()
        everyone[parking] = self
        try:
            while self.holder is not current:
                if any(one is self.holder for one in waiting_for(current)):
                    self._queue.remove(parking)
                    return False
                parking.park()
        except BaseException:
            if self.holder is current:
                self.give()
            else:
                self._queue.remove(parking)
            raise
        finally:
            del everyone[parking]
        return True

    def give(self) -> None:
        """Pass the turn to whoever has waited longest."""
        self.holder = None
        if self._queue:
            self._pass_on(self._queue)

    def _pass_on(self, queue: deque[Parking]) -> None:
        while queue:
            parking = queue.popleft()
            if parking.greenlet is not None:
                self.holder = parking.greenlet
                parking.poke()
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.give()
