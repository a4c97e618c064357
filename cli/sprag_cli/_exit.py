"""How a command ends: the exit codes, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from sprag_cli._plain import printable, shortened

_LONGEST: Final = 2000


class RunExit(IntEnum):
    """Exit codes of ``sprag run``."""

    STOPPED = 0
    """Stopped as asked."""
    GAVE_UP = 1
    """The tree gave up: more restarts than its root allows."""
    USAGE = 2
    """The command line, or the target it names, is wrong."""
    NEVER_CAME_UP = 3
    """The user's module could not be imported, or the root did not start."""
    STRAGGLERS = 4
    """Stopped, but something had to be left behind or the time was up."""
    FORCED_HUP = 129
    """Ended by a SIGHUP after the app's own end, while something kept the process."""
    FORCED_INT = 130
    """Ended at once by a second SIGINT, or by one before the app was there."""
    FORCED_TERM = 143
    """Ended at once by a second SIGTERM."""


class ClientExit(IntEnum):
    """Exit codes of the commands that talk to a running app."""

    WELL = 0
    """Done, and nothing in the tree is failed."""
    FAILED = 1
    """Done, and something in the tree is failed."""
    USAGE = 2
    """The command line is wrong, or does not say which app."""
    NOT_FOUND = 3
    """No such app, no such service, or the app is gone."""
    TIMED_OUT = 4
    """The app did not answer in time."""
    INTERRUPTED = 130
    """Ended by Ctrl-C before it was done."""


class CommandError(Exception):
    """A reason to end a command that its user can do something about.

    It is shown as one line on stderr, never as a traceback; a list may follow.
    """

    exit_code: int = ClientExit.USAGE

    def __init__(self, said: str, *rows: str) -> None:
        """Keep what is to be said: one line, and one for each of *rows*."""
        super().__init__("\n".join([said, *rows]))
        self._lines = (said, *rows)

    def report(self) -> str:
        """Return what to write to stderr: no name or message in it can fake a line."""
        lines = [shortened(printable(line), _LONGEST) for line in self._lines]
        return "\n".join([f"sprag: {lines[0]}", *lines[1:]])
