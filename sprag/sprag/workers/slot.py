"""A slot: one worker's place in the parent's tree, whichever process has it now.

A replacement is no restart: the slot lives on, a new process begins beside the old one, takes its
place when it is ready, and only then the old one is asked to end. So all processes of a slot are
ended by one clean-up of it, side by side.
"""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

from sprag.programs.program import Program
from sprag.services.acquiring import context_for
from sprag.services.service import Service
from sprag.workers.plan import MARGIN, called
from sprag.workers.process import WorkerProcess
from sprag_supervisor import (
    DOWN,
    RUNNING,
    Backoff,
    State,
    end_cleanly,
    holdings_of,
    report_crash,
    restart_child,
    set_ready,
    set_status,
    spawn_managed,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sprag.workers.fleet import Fleet

_BACKOFF = Backoff(0.1, maximum=15.0, reset_after=15.0)
_USUAL = "running"


class WorkerSlot(Program, needs=()):
    """One worker of an app.

    Args:
        fleet: What all workers share.
        number: Which one it is, from 1.
    """

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__(
            fleet.plan.words,
            cwd=fleet.plan.cwd,
            output="inherit",
            name=called(number),
            shutdown=fleet.plan.budget + MARGIN / 4,
            backoff=_BACKOFF,
        )
        self.fleet = fleet
        self.number = number
        self.current: WorkerProcess | None = None
        """The process that serves; None: there is none."""
        self.candidate: WorkerProcess | None = None
        """The process that is to take its place."""
        self.failure: Exception | None = None
        """Why its last process has ended."""
        self._processes: list[WorkerProcess] = []

    # -- coming up -----------------------------------------------------------------

    def _prepare_(self) -> None:
        holdings_of(self).add_cleanup(self._end_all, (), {})
        set_ready(self, ready=False, reason="waits for its turn to boot")
        spawn_managed(self, context_for(self), self._come_up, (), {})

    def _come_up(self) -> None:
        """Have the first process of this life take the slot."""
        incarnation = self._incarnation_
        try:
            with self.fleet.booting:
                set_ready(self, ready=False, reason="boots")
                process = self._begin(self.fleet.generation)
                if process.await_ready():
                    self._take_over(process)
        except Exception as error:  # noqa: BLE001 - the slot's crash, whatever it is
            self._has_failed(incarnation, error)

    def _has_failed(self, incarnation: int, error: Exception) -> None:
        """Crash; of the first generation this is the failed start of all, which is told once."""
        is_first = not self.fleet.was_ready
        self.fleet.note_failure(self, error)
        if not is_first:
            report_crash(self, incarnation, "program", error)

    def _begin(self, generation: int) -> WorkerProcess:
        """Start a process; blocks until its exec has succeeded."""
        settings = self._settings_
        assert settings is not None
        process = WorkerProcess(
            self,
            settings,
            plan=self.fleet.plan,
            serving=self.fleet.serving,
            slot=self.number,
            generation=generation,
            world=self._world_,
            on_exit=partial(self._lost, self._incarnation_),
            on_news=self._told,
        )
        self._processes.append(process)
        if self._run_ is None or self.current is None:
            self._run_ = process  # it is the one that there is to be seen
        process.begin()
        return process

    def _take_over(self, process: WorkerProcess) -> None:
        self.current = self._run_ = process
        self._tell_status()
        set_ready(self, ready=True, reason="")
        self.fleet.note_ready(self)

    # -- replacement ---------------------------------------------------------------

    @property
    def is_put_down(self) -> bool:
        """Whether somebody has stopped it."""
        return self._state_ in DOWN and self._state_ is not State.RESTARTING

    @property
    def serves(self) -> bool:
        """Whether a process of it is ready."""
        return self._state_ is RUNNING and self.current is not None

    def look_again(self) -> None:
        """Have whoever waits for the next process see whether it still is wanted."""
        if self.candidate is not None:
            self.candidate.news()

    def renew(self, generation: int, off: Callable[[], bool]) -> bool:
        """Have a new process in this slot: beside the old one, or, if none serves, at once.

        Blocks until the new one serves, and the old one has ended. Args, result and errors as for
        `replace`.
        """
        if self.is_put_down:
            return False
        if self.serves:
            return self.replace(generation, off)
        return self._start_anew(off)

    def _start_anew(self, off: Callable[[], bool]) -> bool:
        """Start the slot again, which waits for that, or boots what is not wanted any more."""
        if self._state_ is RUNNING:
            Service.stop(self)
        if off():
            return False
        self.failure = None
        restart_child(self, now=True)
        while not self.serves and not off():
            self.fleet.changed.clear()
            if self.failure is not None:
                raise self.failure
            self.fleet.changed.wait()
        return self.serves

    def replace(self, generation: int, off: Callable[[], bool]) -> bool:
        """Have a new process take the place of the one that serves.

        Blocks until the old one has ended.

        Args:
            generation: The new one's.
            off: Tells whether it is not wanted any more, as an even newer one is.

        Returns:
            Whether it has; False: it was called off, or the slot has ended meanwhile.

        Raises:
            WorkerEnded, CannotRun, BadEnvFile: The new one does not come up.
        """
        incarnation = self._incarnation_
        process: WorkerProcess | None = None
        try:
            with self.fleet.booting:
                if off() or not self.serves:
                    return False
                process = self.candidate = self._begin(generation)
                is_ready = process.await_ready(off)
        except BaseException:
            self._give_up(process, incarnation)
            raise
        if not is_ready or self._incarnation_ != incarnation or self._state_ is not RUNNING:
            self._give_up(process, incarnation)
            return False
        old, self.candidate = self.current, None
        self._take_over(process)
        if old is not None:
            old.see_off()
            self._processes.remove(old)
        return True

    def _give_up(self, process: WorkerProcess | None, incarnation: int) -> None:
        """Let go of a process that was to take the place of another."""
        if self._incarnation_ != incarnation:
            return
        self.candidate = None
        if process is not None:
            process.leave(signal.SIGTERM)
            process.kill()
        if self.current is not None and self.current.has_ended:
            self._lost(incarnation, self.current)

    def _renewal_(self) -> Callable[[str], object] | None:
        if self.is_put_down or not self.fleet.was_ready:
            return None
        return partial(self.fleet.renew, (self.number,))

    @property
    def control(self) -> Path | None:
        """Where its process listens for commands; None: nowhere, now."""
        process = self.current or (self._processes[-1] if self._processes else None)
        plan = self.fleet.plan
        if process is None or plan.control is None:
            return None
        return plan.control_of(self.number, process.serial)

    # -- news ----------------------------------------------------------------------

    def _lost(self, incarnation: int, process: WorkerProcess) -> None:
        """Act on the end of a process that nobody has asked for. In an engine greenlet."""
        if process is not self.current or self._incarnation_ != incarnation:
            return  # whoever waits for it to be ready sees to it
        if self.candidate is not None:
            set_ready(self, ready=False, reason="has ended; the next one boots")
            return
        self.current = None
        child = process.child
        if child is not None and child.code == 0:
            end_cleanly(self, incarnation)
            return
        self._has_failed(incarnation, process.failure())

    def _told(self, process: WorkerProcess) -> None:
        if process is self.current:
            self._tell_status()

    def _tell_status(self) -> None:
        process = self.current
        if process is not None and self._state_ in (State.STARTING, RUNNING):
            generation = f"generation {process.generation}"
            said = process.status.removeprefix(_USUAL).removeprefix(": ").removeprefix("; ")
            set_status(self, f"{generation}; {said}" if said else generation)

    @property
    def processes(self) -> tuple[WorkerProcess, ...]:
        """All that there are of it."""
        return tuple(self._processes)

    # -- down ----------------------------------------------------------------------

    def _end_all(self) -> None:
        """End the processes of this life, side by side: the clean-up of the slot.

        The end of the whole is an interrupt, which lets them answer also those who wait in the
        queue. Else that is the others'.
        """
        is_the_end = self.fleet.is_over and not self.fleet.plan.sockets_outlive_us
        number = signal.SIGINT if is_the_end else signal.SIGTERM
        processes, self.current, self.candidate = self.processes, None, None
        for process in processes:
            if self.fleet.is_over and number == signal.SIGTERM:
                process.say_farewell()  # else it would take that for the end of its slot
            process.leave(number)
        for process in processes:
            try:
                process.end()
            except BaseException:
                for each in processes:
                    each.kill()
                raise
        self._processes.clear()
