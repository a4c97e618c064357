"""The clock of the lease: it goes on while the machine sleeps, and nobody sets it."""

from __future__ import annotations

import time
from typing import Final

from sprag_supervisor import clock


def now() -> float:
    """Return the time, in seconds; in virtual time that of its clock.

    The loop's timers stand still while the machine sleeps: who is woken asks here.
    """
    return real() if is_real() else clock.now()


def real() -> float:
    """Return what the kernel says, in virtual time, too. From any thread."""
    return time.clock_gettime(_CLOCK)


def is_real() -> bool:
    """Whether time is what the kernel says it is."""
    return clock.now is time.monotonic


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
