"""What a stop did."""

from __future__ import annotations

import enum
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from sprag_supervisor.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable


class Outcome(enum.Enum):
    """How the end of one service went, from good to bad."""

    CLEAN = 0
    ERROR = 1
    """Something raised while it stopped."""
    KILLED = 2
    """Something had to be killed at a deadline, and died."""
    STRAGGLER = 3
    """Something swallowed its kill and was left behind."""


MOST_ENTRIES: Final = 500
"""Of a stop's report: thousands of services may fail in the same way."""


MOST_TIMES: Final = 100
"""Services of a stop's report whose time is told."""
WORTH_TELLING: Final = 0.001
"""Seconds; who has taken less has taken none."""


def longest(times: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return those that took longest, the longest first; alike ones as they come."""
    return nlargest(MOST_TIMES, times, key=itemgetter(1))


class StopEntry(Record):
    """One thing that was not clean.

    Attributes:
        path: The service.
        incarnation: Which life of it.
        outcome: What happened.
        step: Where: on_drain, on_stop, clean-up, greenlet, listener, on_start, run.
        detail: The error's text, or the stack of what was left behind.
    """

    path: str
    incarnation: int
    outcome: Outcome
    step: str
    detail: str


class StopReport(Record):
    """What a stop did, service by service.

    Attributes:
        clean: How many services ended as they should.
        errors: How many raised something while they ended.
        killed: How many had something killed at a deadline.
        stragglers: How many left something behind that swallowed its kill.
        seconds: How long the stop took.
        entries: One for everything that was not clean, in the order it happened; the
            first 500.
        is_pending: The stop was asked for from inside and is yet to be carried out;
            the counts say nothing.
        left_out: How many more entries there would be.
        dropped: How much work was left undone: tasks, and items of pools, for which there was no
            time.
        slowest: The services that took longest, each as its path and the seconds of its own
            steps, `on_drain` to clean-ups, the longest first: at most 100, and none that took
            less than a millisecond.
    """

    clean: int = 0
    errors: int = 0
    killed: int = 0
    stragglers: int = 0
    seconds: float = 0.0
    entries: tuple[StopEntry, ...] = ()
    is_pending: bool = False
    left_out: int = 0
    dropped: int = 0
    slowest: tuple[tuple[str, float], ...] = ()

    def __repr__(self) -> str:
        return (
            f"<StopReport clean={self.clean} errors={self.errors} killed={self.killed} "
            f"stragglers={self.stragglers} seconds={self.seconds:.3f}"
            f"{f' dropped={self.dropped}' if self.dropped else ''}"
            f"{' pending' if self.is_pending else ''}>"
        )

    @property
    def is_clean(self) -> bool:
        """Whether nothing raised, was killed or was left behind."""
        return not self.entries
