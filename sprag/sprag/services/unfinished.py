"""What the stop of a pool waits for: what it has not done yet, and what a worker has in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent import getcurrent

from sprag_supervisor import Managed, Work, held_by, is_a, is_killers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.services.line import Counts
    from sprag_supervisor import Node, Parking


class Undone(Work):
    """What a pool has not done yet; a stop waits for it."""

    step = "item"
    tasks = 0
    done = True

    def __init__(
        self, counts: Callable[[], Counts], close: Callable[[], None], drop_all: Callable[[], None]
    ) -> None:
        super().__init__(_nothing)
        self._counts = counts
        self._close = close
        self._drop_all = drop_all

    def drain(self) -> None:
        """Take no new items."""
        self._close()

    def undone(self) -> int:
        """Return how many items are left."""
        counts = self._counts()
        return counts.queued + counts.running

    def kill(self) -> None:
        """Drop what is left."""
        self._drop_all()


class Hands(Work):
    """What a worker has in hand; a stop waits for it, and lets it take nothing else."""

    step = "item"
    tasks = 0
    done = True
    takes_no_more = False
    was_killed = False
    """Its life is over, whatever the greenlet makes of that."""
    wake: Parking | None = None
    """Where the worker waits for an item."""

    def __init__(self) -> None:
        super().__init__(_nothing)

    def drain(self) -> None:
        """Take nothing else."""
        self.takes_no_more = True
        if self.wake is not None:
            self.wake.poke()

    def undone(self) -> int:
        """Return 0: it goes back to the pool."""
        return 0

    def kill(self) -> None:
        """Wait for nothing: the greenlet that has it in hand is killed."""
        self.was_killed = self.takes_no_more = self.done = True


def wake_stop_of(node: Node) -> None:
    """Wake the stop of *node*, if there is one: something is done."""
    held = held_by(node)
    if held is not None and held.awaited_by is not None:
        held.awaited_by.poke()


def was_killed_with(error: BaseException) -> bool:
    """Whether *error* was given to a kill of the calling greenlet, and so is no crash."""
    current = getcurrent()
    return (
        is_a(current, Managed)
        and current._thrown is not None
        and is_killers(error, current._thrown)
    )


def _nothing() -> None:
    pass
