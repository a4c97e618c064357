"""What is different for process 1, as which a container starts the app.

The kernel gives process 1 no default actions: a signal nobody handles is ignored, which the
host's handlers for SIGTERM and SIGINT see to. And it inherits every orphan, whose remains stay
in the process table until process 1 waits for them. gevent's loop does: it waits for all children
there are, and leaves to `subprocess` the exit codes of those that it has started (gevent-traps 34).
It only has to be asked to.
"""

from __future__ import annotations

import os
from typing import Any

from gevent import get_hub


def wait_for_orphans() -> None:
    """Have the loop wait for all children there are, if this is process 1."""
    if os.getpid() == 1:
        loop: Any = get_hub().loop
        loop.install_sigchld()
