"""Several ends at once: one greenlet waits for all of them, and hears of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.loop.parking import Parking

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenlet import greenlet

    from sprag_supervisor.life.ending import Ending


class Notices:
    """The ends that have got so far and are not yet seen to, and who waits for more of them.

    Args:
        parking: Where the one waits who asks.
        is_over: Whether an end has got as far as it is waited for.
    """

    def __init__(self, parking: Parking, is_over: Callable[[Ending], bool]) -> None:
        self.parking = parking
        self.is_over = is_over
        self.awaited: dict[int, Ending] = {}
        """By id: those that are not so far, and those not yet seen to."""
        self.over: list[Ending] = []

    def of(self, ending: Ending) -> None:
        """Await *ending*, too."""
        self.awaited[id(ending)] = ending
        ending.add_joiner(_Notice(ending, self))

    def wait(self) -> list[Ending]:
        """Wait until some are over, and return them, each once: a bug may have it told twice."""
        while True:
            over, self.over = self.over, []
            new = [each for each in over if self.awaited.pop(id(each), None) is not None]
            if new:
                return new
            self.parking.park()


class _Notice(Parking):
    """Tells that one end is over. Who waits for it is who waits for any of them."""

    def __init__(self, ending: Ending, notices: Notices) -> None:
        self._ending = ending
        self._notices = notices

    @property
    def greenlet(self) -> greenlet | None:
        """The greenlet that waits now, if any."""
        return self._notices.parking.greenlet

    def poke(self) -> None:
        """Take note if it is over, and wake who waits."""
        if self._notices.is_over(self._ending):
            self._notices.over.append(self._ending)
            self._notices.parking.poke()
