"""The right to change a supervisor's children: one greenlet at a time.

A free turn is taken on the spot by whichever greenlet asks. A taken one is waited
for in order, unless the one who holds it is waiting, in whatever way, for the very hook
that asks: OTP deadlocks there, sprag raises `WouldDeadlock`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gevent import getcurrent

from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.waiting import queued, waiting_for

if TYPE_CHECKING:
    from greenlet import greenlet


class Turn:
    """A lock in order of asking that knows when waiting would never end."""

    __slots__ = ("holder", "queue")

    def __init__(self) -> None:
        self.holder: greenlet | None = None
        """Who may change the children now."""
        self.queue: deque[Parking] | None = None

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
        if self.queue is None:
            self.queue = deque()
        parking = Parking()
        self.queue.append(parking)
        everyone = queued()
        everyone[parking] = self
        try:
            while self.holder is not current:
                if any(one is self.holder for one in waiting_for(current)):
                    self.queue.remove(parking)
                    return False
                parking.park()
        except BaseException:
            self.give()
            if parking in self.queue:
                self.queue.remove(parking)
            raise
        finally:
            del everyone[parking]
        return True

    def is_mine(self) -> bool:
        """Whether the calling greenlet has the turn: asking once more would be a deadlock."""
        return self.holder is getcurrent()

    def give(self) -> None:
        """Pass the turn, if it is the caller's, to whoever has waited longest.

        May be called again where the first call was cut short. So the next one is woken, which
        takes a turn of the loop, before it is named, and named before it leaves the queue.
        """
        if self.holder is not None and self.holder is not getcurrent():
            return
        self.holder = None
        queue = self.queue
        while queue and self.holder is None:
            parking = queue[0]
            if parking.greenlet is not None:
                parking.poke()
                self.holder = parking.greenlet
            queue.popleft()
