"""The promise that what has lost its lease does not go on: it ends the process.

The loop stops it in time. If it does not come to that, as something never yields or never ends, a
thread writes down the stacks and ends the process; and if C code holds the interpreter's lock, or
the process is stopped, the kernel does (`kernel_timer`).
"""

from __future__ import annotations

import logging
import math
import os
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sprag._exit_codes import ExitCode
from sprag._native import make_lock, start_thread
from sprag.cluster import boottime
from sprag.exceptions import NoThread
from sprag.owned.log import record
from sprag.process.deadman import end_process
from sprag.process.kernel_timer import KernelTimer

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST: Final = 3600.0


class Deadline:
    """Ends this process when the lease of its node has run out, as long as it has a deadline.

    Args:
        describe: Says what should have stopped. Called from a thread.
    """

    def __init__(self, describe: Callable[[], str]) -> None:
        self._describe = describe
        self._end = self._asleep_until = math.inf
        self._is_closed = False
        self._wakes: Any = make_lock()  # taken, but for a moment when the thread is to wake up
        self._wakes.acquire()
        self._has_thread = False
        self._kernel: KernelTimer | None = None
        try:
            self._kernel = KernelTimer()
        except OSError as error:
            event = "no timer of the kernel's: what holds the loop in C may go on without a lease"
            record(logging.WARNING, event, reason=str(error))
        _all.add(self)

    def set(self, end: float, kill: float) -> None:
        """End the process at *end*, and have the kernel kill it at *kill*; later ones replace it.

        Args:
            end: On the clock of `boottime`.
            kill: Likewise.
        """
        if self._kernel is not None:
            self._kernel.set(kill)
        self._end = end
        if not self._has_thread:
            self._has_thread = True
            try:
                start_thread(self._watch)
            except NoThread:
                self._has_thread = False
                self.clear()
                raise
        elif end < self._asleep_until:
            self._wake()

    def clear(self) -> None:
        """Let the process live: nothing that needs the lease runs any more."""
        self._end = math.inf
        if self._kernel is not None:
            self._kernel.set(0.0)

    def close(self) -> None:
        """Let it live for ever. Harmless a second time."""
        if not self._is_closed:
            self.clear()
            self._is_closed = True
            self._wake()
            if self._kernel is not None:
                self._kernel.close()
                self._kernel = None

    def forget(self) -> None:
        """Be nothing, in a forked child: thread and timer are the parent's."""
        self._kernel = None
        self._is_closed = True

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it is waking up already
            self._wakes.release()

    def _watch(self) -> None:
        while not self._is_closed:
            self._asleep_until = math.inf  # what is set from here on wakes it
            self._asleep_until = end = self._end
            left = end - boottime.real()
            if left <= 0:
                self._end_process()
            self._wakes.acquire(timeout=min(left, _LONGEST))

    def _end_process(self) -> NoReturn:
        try:
            _kill_programs()
        finally:
            end_process(ExitCode.NOT_CLEAN, "the lease has run out", self._describe, stacks=True)


def _kill_programs() -> None:
    """Kill all programs, with what they have started: the guard would need a moment for that."""
    guard: Any = sys.modules.get("sprag.programs.guard")  # who runs none has not loaded it
    if guard is not None:
        guard.kill_all()


_all: Final[weakref.WeakSet[Deadline]] = weakref.WeakSet()


def _after_fork() -> None:
    for each in tuple(_all):
        each.forget()
    _all.clear()


os.register_at_fork(after_in_child=_after_fork)
