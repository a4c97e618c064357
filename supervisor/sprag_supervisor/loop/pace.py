"""Long work in short steps: the engine, too, lets timers and sockets have their turn.

``gevent.sleep(0)`` does not: gevent comes back from it at once, up to fifty times, before it
looks at timers and sockets again. With 10 ms of a user's code in between that is half a second.
"""

from __future__ import annotations

from typing import Any, Final

from gevent import get_hub

from sprag_supervisor.loop import clock

HOLD: Final = 0.005
"""Seconds for which such work may hold the loop at a time."""
_FIRST: Final = 8
_LARGEST: Final = 64


def let_others_run() -> None:
    """Let all run that can: greenlets, and what timers and sockets have for them."""
    hub: Any = get_hub()
    with hub.loop.timer(0) as turn:
        hub.wait(turn)


class Pace:
    """Called between the steps of long work: lets others run when it has held the loop enough.

    Args:
        hold: Seconds that are enough.
    """

    __slots__ = ("_held_since", "_hold")

    def __init__(self, hold: float = HOLD) -> None:
        self._hold = hold
        self._held_since = clock.now()

    def __call__(self) -> None:
        """Let others run, if it is time. Others may have changed anything meanwhile."""
        if clock.now() - self._held_since > self._hold:
            let_others_run()
            self._held_since = clock.now()


class Batches:
    """Called after each of many pieces of work is launched: lets them run, a few at a time.

    Else the loop would run fifty of them before it looks at timers. How many are a few is found
    out: only one, if they hold the loop too long.
    """

    __slots__ = ("_launched", "_size")

    def __init__(self) -> None:
        self._launched = 0
        self._size = _FIRST

    def __call__(self) -> None:
        """Let what was launched run, if it is enough for one turn of the loop."""
        self._launched += 1
        if self._launched < self._size:
            return
        self._launched = 0
        began = clock.now()
        let_others_run()
        took = clock.now() - began
        self._size = 1 if took > HOLD else min(self._size * 2, _LARGEST)
