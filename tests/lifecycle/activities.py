"""Time and things that go on side by side, for a model without threads or greenlets.

An activity is a generator that yields ``(condition, moment)`` and goes on when the condition
holds or the moment has come. `Activities` lets one after another go on until all wait, and
jumps from moment to moment.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf
from typing import Any, Final

Activity = Generator[tuple[Callable[[], object], Callable[[], float]], None, Any]

_ROUNDING: Final = 1e-11
"""Seconds by which a float may miss a nanosecond."""


class Activities:
    """What goes on.

    Attributes:
        now: Seconds since the beginning.
        waiting: Each activity, with what it waits for.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[Activity, Callable[[], object], Callable[[], float]]] = []

    def go(self, activity: Activity) -> None:
        """Let *activity* go on until it waits."""
        try:
            self.waiting.append((activity, *next(activity)))
        except StopIteration:
            pass

    def settle(self) -> None:
        """Let everything go on that can at this moment, in rounds, as a loop does.

        What a timer wakes does all it can before the next timer is heard, as in virtual time.
        """
        while (
            ready := [one for one in self.waiting if one[1]()]
            or [one for one in self.waiting if self.due(one[2]) <= self.now][:1]
        ):
            for one in ready:
                self.waiting.remove(one)
            for one in ready:
                self.go(one[0])

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, and everything happen that falls in them."""
        end = round(self.now + seconds, 9)
        while (moment := min([self.due(one[2]) for one in self.waiting], default=inf)) <= end:
            self.now = max(self.now, moment)
            self.settle()
        self.now = end

    @staticmethod
    def due(moment: Callable[[], float]) -> float:
        """Return the first nanosecond, as `sprag.testing.virtual_time` counts, not before it."""
        exact = moment()
        counted = round(exact, 9)
        # A sum of whole nanoseconds is hardly ever that as a float.
        return counted if exact - counted < _ROUNDING else round(counted + 1e-9, 9)

    def wait_for(self, condition: Callable[[], object]) -> Activity:
        """Wait until *condition* holds."""
        if not condition():
            yield condition, lambda: inf

    def wait_until(
        self, moment: Callable[[], float], condition: Callable[[], object] = bool
    ) -> Activity:
        """Wait until *moment*, which may change meanwhile, or until *condition* holds."""
        if moment() > self.now and not condition():
            yield condition, moment
