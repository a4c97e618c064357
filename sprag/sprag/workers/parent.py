"""The root of the parent's tree: the workers, side by side."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sprag._exit_codes import ExitCode
from sprag.control.place import remove_workers_directory
from sprag.services.supervisor import Supervisor
from sprag.workers.fleet import Fleet
from sprag.workers.plan import called
from sprag.workers.replacing import Replacing
from sprag.workers.slot import WorkerSlot
from sprag.workers.watching import Watching
from sprag_supervisor import ACTIVE, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sprag.cluster.serving import Serving
    from sprag.workers.plan import Plan

_ROUND: Final = 1.0
"""Seconds between two looks at the workers, at most."""


class Workers(Supervisor):
    """The workers of an app.

    It is up when all of the first generation are ready; if one of them ends before that, it does
    not come up; with a SystemExit, if the command line is wrong. From then on each is restarted by
    itself, with growing pauses. It gives up only when none serves, and each has failed several
    times in a row.

    Args:
        plan: What they are.
        close_sockets: Closes our copies of their sockets, when all is being stopped.
        serving: Where they agree on what runs once; None: nowhere.
    """

    _reloads_at_terminal_: ClassVar[bool] = True
    _reload_seconds_: ClassVar[float | None] = None  # it goes on, however long that takes

    def __init__(
        self,
        plan: Plan,
        close_sockets: Callable[[], object] = int,
        serving: Serving | None = None,
    ) -> None:
        self.fleet = Fleet(plan, serving)
        self.replacing = Replacing(self, self.fleet, lambda: self.slots, self._tell)
        self._says_reloading_ = nullcontext
        self.fleet.renew = self._renew
        self.fleet.on_ready = self.replacing.note_ready
        self._close_sockets = close_sockets
        slots: list[Any] = [
            (WorkerSlot(self.fleet, number), {"name": called(number), "needs": ()})
            for number in range(1, plan.count + 1)
        ]
        super().__init__(slots, name=plan.name, max_restarts=math.inf)

    @property
    def slots(self) -> list[WorkerSlot]:
        """The workers' places, by their numbers."""
        children = (self._children_ or {}).values()
        found = [each for each in children if type(each) is WorkerSlot]
        return sorted(found, key=lambda slot: slot.number)

    def on_start(self) -> None:
        """Wait until all are ready."""
        fleet = self.fleet
        every = min(_ROUND, fleet.plan.watchdog / 4)
        self.interval(Watching(fleet.plan, lambda: self.slots, self.replacing, every).look, every)
        while not all(slot.serves for slot in self.slots):
            fleet.changed.clear()
            if fleet.misuse:
                raise SystemExit(int(ExitCode.USAGE))
            if fleet.failure is not None:
                raise fleet.failure
            fleet.changed.wait()
        fleet.was_ready = True
        fleet.on_failure = self._see_if_hopeless
        self._tell()

    def on_reload(self) -> None:
        """Have a new generation of workers, with what lies on the disk now."""
        self._renew(None, "reload")

    def _renew(self, slots: tuple[int, ...] | None, why: str) -> None:
        self.replacing.ask(slots, why).wait()

    def _renewal_(self) -> Callable[[str], object] | None:
        return partial(self._renew, None) if self.fleet.was_ready else None

    def _will_stop_(self) -> None:
        super()._will_stop_()
        for slot in self.slots:
            for process in slot.processes:
                process.say_farewell()

    def _serves_(self, missing: Collection[str]) -> bool:
        """Return whether a worker serves, and we are not about to stop."""
        return path_of(self) not in missing and any(slot.serves for slot in self.slots)

    def on_drain(self) -> None:
        """Let nobody new in: who has connected by now is answered by the workers."""
        self._end()

    def on_stop(self) -> None:
        """Let nobody new in, also where nothing drains; the workers have ended."""
        self._end()
        if self.fleet.plan.control is not None:
            remove_workers_directory(self.fleet.plan.control)

    def _see_if_hopeless(self) -> None:
        """Have the next crash be one too many if nobody serves, and each has failed too often."""
        wanted = [slot for slot in self.slots if not slot.is_put_down]
        if not any(map(_serves, wanted)) and all(map(self.fleet.has_failed_often, wanted)):
            self._policy_ = self._policy_.with_({"max_restarts": 0})

    def _end(self) -> None:
        self.fleet.is_over = True
        if self.fleet.serving is not None:
            self.fleet.serving.end_soon()
        self._close_sockets()

    def _tell(self) -> None:
        if self._state_ not in ACTIVE:
            return
        count = self.fleet.plan.count
        numbers = sorted({slot.current.generation for slot in self.slots if slot.current})
        workers = "1 worker" if count == 1 else f"{count} workers"
        generations = f"{workers}, generation {' and '.join(map(str, numbers))}"
        if (failed := self.replacing.failed) is not None:
            lost = f"generation {failed.generation} failed"
            if numbers == [failed.generation]:
                lost = "a new worker does not come up"
            these = " and ".join(map(str, numbers))
            generations = f"{lost}; {these} cannot be restarted: {failed.why}"
        self.set_status(generations)


def _serves(slot: WorkerSlot) -> bool:
    return slot.serves
