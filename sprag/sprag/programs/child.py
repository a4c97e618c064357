"""One process of ours, from its start until the loop has waited for it; and its process group.

A process id is another's as soon as we have waited for it. So the process is signalled only as long
as we have not, and its group only then, or as long as somebody of its session is left.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

from sprag.programs import proc
from sprag.programs.popen import close

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_TRACED: Final = False


class Child:
    """A process that was started in a session of its own.

    Attributes:
        pid: Its id, and that of its session and group.
        began: When it began, in ticks since the machine did.
        status: How it has ended, as waitpid says; None as long as it has not.
    """

    def __init__(self, pid: int, on_end: Callable[[], object]) -> None:
        """Begin to wait for it. In the same turn of the loop as its start.

        Args:
            pid: The process.
            on_end: Called in the hub when it has ended.
        """
        self.pid = pid
        self.status: int | None = None
        seen = proc.look(pid)
        self.began = 0 if seen is None else seen.began
        self._on_end = on_end
        self._watcher: Any = get_hub().loop.child(pid, _NOT_TRACED)
        self._watcher.start(self._ended)

    def _ended(self) -> None:
        # In the hub.
        self.status = self._watcher.rstatus
        self.close()
        self._on_end()

    def close(self) -> None:
        """Wait no longer."""
        self._watcher.stop()
        self._watcher.close()

    @property
    def is_alive(self) -> bool:
        """Whether it has not been waited for."""
        return self.status is None

    @property
    def code(self) -> int | None:
        """Its exit code; minus the signal that has ended it; None: it has not ended."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped, by SIGSTOP or a terminal."""
        seen = proc.look(self.pid) if self.is_alive else None
        return seen is not None and seen.state in "Tt"

    def send(self, number: int) -> bool:
        """Send a signal to it alone; return whether it was there to be sent one.

        By a pidfd: somebody in this process may have waited for it behind our back, so that its
        number is another's by now.

        Raises:
            PermissionError: It has become another user's.
        """
        if not self.is_alive:
            return False
        with suppress(ProcessLookupError):
            try:
                descriptor = os.pidfd_open(self.pid)
            except OSError as error:
                if error.errno == errno.ESRCH:
                    return False
                os.kill(self.pid, number)  # no descriptor is left, or an old kernel
                return True
            try:
                seen = proc.look(self.pid)
                # Nothing is seen of it, too, when there is no descriptor left to look.
                if seen is not None and self.began and seen.began != self.began:
                    return False
                signal.pidfd_send_signal(descriptor, number)
            finally:
                close(descriptor)
            return True
        return False

    def send_to_group(self, number: int) -> bool:
        """Send a signal to all of its group; return whether there was anybody."""
        if not self.is_alive and not self.has_left_any():
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
            return True
        return False

    def has_left_any(self) -> bool:
        """Whether it has ended, and somebody of its group has not."""
        if self.is_alive:
            return False
        try:
            os.killpg(self.pid, 0)
        except OSError as error:
            if error.errno != errno.EPERM:
                return False  # as nearly always
        now = proc.look(self.pid)
        if now is not None and self.began and now.began != self.began:
            return False  # our group is gone, else its number could not be another's
        return any(self._is_of_group(seen) for seen in proc.everybody())

    def _is_of_group(self, seen: proc.Seen) -> bool:
        is_ours = seen.session == seen.group == self.pid and seen.began >= self.began
        return is_ours and seen.is_alive

    def kill(self) -> None:
        """Kill all of its group."""
        self.send_to_group(signal.SIGKILL)
