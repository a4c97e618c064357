"""What is different for process 1, as which a container starts the app.

The kernel gives process 1 no default actions: a signal nobody handles is ignored, which the
host's handlers for SIGTERM and SIGINT see to. And it inherits every orphan, whose remains stay
in the process table until process 1 waits for them. gevent's loop does: it waits for all children
there are, and leaves to `subprocess` the exit codes of those that it has started (gevent-traps 34).
It only has to be asked to.

And a signal that process 1 sends itself, SIGKILL included, the kernel drops: so the timer that ends
an app whose lease has run out would not. An app with a cluster therefore runs below another
process 1 (`init`).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

from gevent import get_hub

_given: Final = dict(os.environ)
"""As this process was started, if it is `sprag run`: some of it is taken out afterwards."""
_FIRST_SOCKET: Final = 3


def go_below() -> None:
    """If this is process 1, become one that does nothing but start this anew, as its child.

    Does not return then. Nothing is left of what the process has done so far but what it has
    written: the command line, the environment and inherited sockets are those of its beginning.
    """
    if os.getpid() != 1:
        return
    from sprag.process import init

    environ = dict(_given)
    if environ.get("LISTEN_PID") == "1":
        with suppress(ValueError, OSError):
            for number in range(int(environ.get("LISTEN_FDS", "0"))):
                os.set_inheritable(_FIRST_SOCKET + number, True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    script = [sys.executable, "-I", "-S", str(init.__file__), *command]
    os.execve(sys.executable, script, environ)  # noqa: S606 - what we were started as


def wait_for_orphans() -> None:
    """Have the loop wait for all children there are, if this is process 1."""
    if os.getpid() == 1:
        loop: Any = get_hub().loop
        loop.install_sigchld()
