"""What a process of sprag's ends with: an app that has run, or a command that has asked one.

The command line reads these numbers without loading gevent, so this module imports nothing else of
the library.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process ends with; one number has a name for a run and one for who asks an app."""

    STOPPED = 0
    """Stopped as asked, or finished by itself."""
    WELL = STOPPED
    """Done, and nothing in the tree is failed."""
    GAVE_UP = 1
    """The tree gave up: more restarts than its root allows."""
    FAILED = GAVE_UP
    """Done, and something in the tree is failed; or refused."""
    USAGE = 2
    """The command line, or the target it names, is wrong; or it does not say which app."""
    NEVER_CAME_UP = 3
    """The user's module could not be imported, or the root did not start."""
    NOT_FOUND = NEVER_CAME_UP
    """No such app, no such service, or the app is gone."""
    NOT_CLEAN = 4
    """Stopped, but with stragglers or over budget; or ended by its watchdog."""
    TIMED_OUT = NOT_CLEAN
    """The app did not answer in time."""
    FORCED_HUP = 129
    """Ended by a SIGHUP after the app's own end, while something kept the process."""
    FORCED_INT = 130
    """Ended at once by a second SIGINT, or by one before the app was there."""
    INTERRUPTED = FORCED_INT
    """Ended by Ctrl-C before it was done."""
    FORCED_TERM = 143
    """Ended at once by a second SIGTERM."""
