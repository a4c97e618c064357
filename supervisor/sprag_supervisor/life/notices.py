"""Several starts and ends at once: one greenlet waits for all of them, and hears of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.tree.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenlet import greenlet

OperationT = TypeVar("OperationT", bound=Operation)


class Notices(Generic[OperationT]):
    """What has got so far and is not yet seen to, and who waits for more of it.

    Args:
        parking: Where the one waits who asks.
        is_over: Whether one has got as far as it is waited for.
    """

    def __init__(self, parking: Parking, is_over: Callable[[OperationT], bool]) -> None:
        self.parking = parking
        self.is_over = is_over
        self.awaited: dict[int, OperationT] = {}
        """By id: those that are not so far, and those not yet seen to."""
        self.over: list[OperationT] = []

    def of(self, operation: OperationT) -> None:
        """Await *operation*, too, which is not so far yet."""
        self.awaited[id(operation)] = operation
        operation.add_joiner(_Notice(operation, self))

    def wait(self) -> list[OperationT]:
        """Wait until some are over, and return them, each once: a bug may have it told twice."""
        while True:
            over, self.over = self.over, []
            new = [each for each in over if self.awaited.pop(id(each), None) is not None]
            if new:
                return new
            self.parking.park()


class _Notice(Parking, Generic[OperationT]):
    """Tells that one is over. Who waits for it is who waits for any of them."""

    def __init__(self, operation: OperationT, notices: Notices[OperationT]) -> None:
        self._operation = operation
        self._notices = notices

    @property
    def greenlet(self) -> greenlet | None:
        """The greenlet that waits now, if any."""
        return self._notices.parking.greenlet

    def poke(self) -> None:
        """Take note if it is over, and wake who waits."""
        if self._notices.is_over(self._operation):
            self._notices.over.append(self._operation)
            self._notices.parking.poke()
