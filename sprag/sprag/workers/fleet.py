"""What all workers of an app share: their plan, their generation, who boots, who has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from gevent.event import Event
from gevent.lock import BoundedSemaphore

from sprag._exit_codes import ExitCode
from sprag.workers.exceptions import WorkerEnded
from sprag.workers.plan import cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.cluster.serving import Serving
    from sprag.workers.plan import Plan

_LIMIT: Final = 5
"""So many tries in a row of each worker, with none that serves, are the end of the app."""


class Slot(Protocol):
    """What is known here of a worker's place."""

    number: int
    failure: Exception | None


class Fleet:
    """The workers, as a whole.

    Attributes:
        plan: What they are.
        serving: Where they agree on what runs once; None: nowhere.
        generation: Of the processes that are started from now on.
        booting: Who boots; no more at once than there are cores.
        is_over: The whole is being stopped.
        was_ready: All of a generation have been ready.
        failure: Why one of the first generation has not come up.
        changed: Set when one is ready, or has failed.
    """

    def __init__(self, plan: Plan, serving: Serving | None = None) -> None:
        self.plan = plan
        self.serving = serving
        self.generation = 1
        self.booting = BoundedSemaphore(cores())
        self.is_over = False
        self.was_ready = False
        self.failure: Exception | None = None
        self.changed = Event()
        self.renew: Callable[[tuple[int, ...] | None, str], object] = lambda _slots, _why: None
        """Has workers replaced, by hand, and why; None: all. Blocks until they are."""
        self.on_ready: Callable[[], object] = int
        """Called when a worker serves that is none of the first ones."""
        self.on_failure: Callable[[], object] = int
        """Called when one of them has failed, before that is ruled on."""
        self._tries: dict[int, int] = {}

    @property
    def misuse(self) -> str:
        """What is wrong with the command line, as a worker of the first ones says; empty: nothing.

        None of the user's code has failed, so nothing else is to be said.
        """
        failure = self.failure
        if self.was_ready or not isinstance(failure, WorkerEnded) or failure.code != ExitCode.USAGE:
            return ""
        return failure.why

    def note_ready(self, slot: Slot) -> None:
        """Take note that a worker serves."""
        self._tries.pop(slot.number, None)
        if self.was_ready:
            self.on_ready()
        self.changed.set()

    def note_failure(self, slot: Slot, error: Exception) -> None:
        """Take note that a worker has ended, or has not come up."""
        self._tries[slot.number] = self._tries.get(slot.number, 0) + 1
        self.failure = slot.failure = error
        self.changed.set()
        if self.was_ready:
            self.on_failure()

    def has_failed_often(self, slot: Slot) -> bool:
        """Whether a worker has failed too often in a row."""
        return self._tries.get(slot.number, 0) >= _LIMIT
