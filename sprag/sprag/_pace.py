"""Long work in short steps: nothing that a client asks for may hold the loop."""

from __future__ import annotations

from typing import Final

from gevent import sleep

from sprag_supervisor import _clock

_HOLD: Final = 0.005
"""Seconds for which an answer may hold the loop at a time."""
_MOMENT: Final = 1e-6
"""What a pause takes: no time, but a timer's way through the loop.

After ``sleep(0)`` gevent comes back at once, up to fifty times, before it looks at timers and
sockets again: that would be a quarter of a second.
"""


class Pace:
    """Called between the steps of long work: lets others run when it has held the loop enough.

    Args:
        hold: Seconds that are enough.
    """

    __slots__ = ("_held_since", "_hold")

    def __init__(self, hold: float = _HOLD) -> None:
        self._hold = hold
        self._held_since = _clock.now()

    def __call__(self) -> None:
        """Let the other greenlets run, if it is time."""
        if _clock.now() - self._held_since > self._hold:
            sleep(_MOMENT)
            self._held_since = _clock.now()
