"""What is different for process 1, as which a container starts the app.

The kernel gives process 1 no default actions: a signal nobody handles is ignored, which the
host's handlers for SIGTERM and SIGINT see to. And it inherits every orphan, whose remains stay
in the process table until process 1 waits for them. sprag does not: whoever waits for any child
takes away the exit codes that gevent's subprocess waits for (gevent-traps 34). An init process
does it right, so all there is to do is to say so when zombies pile up.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, get_hub

from sprag.owned.log import record

if TYPE_CHECKING:
    from collections.abc import Generator

PERIOD: Final = 30.0
"""Seconds between two looks. What was a zombie at both is nobody's."""


@contextmanager
def zombies_watched(period: float = PERIOD) -> Generator[None]:
    """Warn once of zombies that nobody waits for, if this is process 1; else do nothing."""
    if os.getpid() != 1:
        yield
        return
    timer: Any = get_hub().loop.timer(period, period, ref=False)
    before: set[int] = set()

    def look() -> None:
        nonlocal before
        now = zombies()
        if left := before & now:
            timer.stop()
            Greenlet.spawn(_warn, len(left))  # logging takes locks: not in the hub
        before = now

    timer.start(look)
    try:
        yield
    finally:
        timer.close()


def zombies() -> set[int]:
    """Return the process ids of this process's children that are dead and not waited for."""
    found: set[int] = set()
    with suppress(OSError):
        for children in Path("/proc/self/task").glob("*/children"):
            for pid in children.read_text().split():
                with suppress(OSError, IndexError):
                    state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
                    if state == "Z":
                        found.add(int(pid))
    return found


def _warn(number: int) -> None:
    event = "zombies pile up: this is process 1 and does not wait for orphans"
    record(logging.WARNING, event, zombies=number, hint="start the container with --init")
