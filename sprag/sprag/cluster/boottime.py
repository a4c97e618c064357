"""The clock of the lease: it goes on while the machine sleeps, and nobody sets it."""

from __future__ import annotations

import time

from sprag_supervisor import clock


def now() -> float:
    """Return the time, in seconds; in virtual time that of its clock.

    The loop's timers stand still while the machine sleeps: who is woken asks here.
    """
    if is_real():
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return clock.now()


def is_real() -> bool:
    """Whether time is what the kernel says it is."""
    return clock.now is time.monotonic
