"""Who is ended with a program: the process alone, its group, or all that it has started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from sprag.programs import proc
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sprag.programs.settings import Settings

REST: Final = 1.0
"""Seconds that what is left of its group gets after its own end."""
_FIRST_LOOK: Final = 0.005
_LOOK: Final = 0.05
_LOOKS: Final = 2


class Process(Protocol):
    """What is run: a `Child`, or what stands for one in a test."""

    pid: int
    status: int | None

    @property
    def is_alive(self) -> bool: ...  # noqa: D102 - as Child
    @property
    def code(self) -> int | None: ...  # noqa: D102
    @property
    def is_stopped(self) -> bool: ...  # noqa: D102
    def send(self, number: int) -> bool: ...  # noqa: D102
    def send_to_group(self, number: int) -> bool: ...  # noqa: D102
    def has_left_any(self) -> bool: ...  # noqa: D102


class Reach:
    """What the stop of a program reaches.

    Args:
        settings: Says how far.
        mark: What is found in the environment of all that it has started.
        wait: Waits for a condition, or until a time on the monotonic clock.
    """

    def __init__(
        self,
        settings: Settings,
        mark: str,
        wait: Callable[[Callable[[], bool], float | None], None],
    ) -> None:
        self._settings = settings
        self._mark = mark
        self._wait = wait

    def ask(self, child: Process, number: int) -> None:
        """Ask it to end, by a signal; one that is stopped goes on for that."""
        if self._settings.shell and self._settings.kill != "process":
            child.send_to_group(number)  # the shell waits for what it runs
        else:
            _send(child, number)
        if child.is_stopped:
            _send(child, signal.SIGCONT)

    def kill(self, child: Process) -> None:
        """Kill it, and its group."""
        if self._settings.kill == "process":
            _send(child, signal.SIGKILL)
        else:
            child.send_to_group(signal.SIGKILL)

    def end_rest(self, child: Process, until: float) -> None:
        """End what the process has left of its group by *until*: one signal, then it is killed."""
        if self._settings.kill == "process" or not child.has_left_any():
            return
        child.send_to_group(self._settings.stop_signal)
        child.send_to_group(signal.SIGCONT)
        if not self._is_left_alone(child, until):
            child.send_to_group(signal.SIGKILL)
            self._is_left_alone(child, clock.now() + REST)

    def _is_left_alone(self, child: Process, until: float) -> bool:
        """Wait until nobody of its group is left; the kernel does not tell, so we look."""
        pause = _FIRST_LOOK
        while child.has_left_any():
            if clock.now() >= until:
                return False
            self._wait(lambda: False, min(until, clock.now() + pause))
            pause = min(pause * 2, _LOOK)
        return True

    def others(self, child: Process) -> list[proc.Seen]:
        """Return who is to be killed beyond the group: all that it has started, for "tree"."""
        if self._settings.kill != "tree":
            return []
        # Nobody is below a process that was waited for; its number may be another's.
        found = proc.descendants(child.pid) if child.is_alive else []
        known = {seen.pid for seen in found} | {child.pid}
        for seen in proc.everybody():
            if seen.pid not in known and self._mark in proc.marks_of(seen.pid):
                found.append(seen)
        return found

    def end_what_came_after(self, child: Process) -> None:
        """Kill what was started during the stop, for "tree"."""
        if self._settings.kill != "tree":
            return
        until = clock.now() + REST
        in_vain = 0
        while in_vain < _LOOKS and clock.now() < until:  # amid an exec it has no environment
            found = [seen for seen in self.others(child) if seen.is_alive]
            kill_each(found)
            in_vain = 0 if found else in_vain + 1
            self._wait(lambda: False, clock.now() + _FIRST_LOOK)


def _send(child: Process, number: int) -> None:
    with suppress(PermissionError):  # it has become another user's: `Run` says so
        child.send(number)


def kill_each(found: Sequence[proc.Seen]) -> None:
    """Kill those that are still there."""
    for seen in found:
        if proc.is_still(seen):
            with suppress(OSError):
                os.kill(seen.pid, signal.SIGKILL)
