"""Long work in short steps: the engine, too, lets timers and sockets have their turn.

``gevent.sleep(0)`` does not: gevent comes back from it at once, and looks at timers and sockets
only after fifty callbacks. With 10 ms of a user's code in between that is half a second.
"""

from __future__ import annotations

from typing import Any, Final

from gevent import get_hub

from sprag_supervisor.loop import clock

HOLD: Final = 0.005
"""Seconds for which such work may hold the loop at a time."""
_FIRST: Final = 8
_LARGEST: Final = 8
_CALLBACKS: Final = 50
"""After so many callbacks the loop asks whether it has run them for long enough."""


def let_others_run() -> None:
    """Let all run that can: greenlets, and what timers and sockets have for them.

    A timer alone would wait for fifty turns of any greenlet that is always ready. So the loop is
    given as many callbacks as make it look.
    """
    hub: Any = get_hub()
    for _ in range(_CALLBACKS):
        hub.loop.run_callback(int)
    with hub.loop.timer(0) as turn:
        hub.wait(turn)


class Pace:
    """Called between the steps of long work: lets others run when it has held the loop enough.

    Args:
        hold: Seconds that are enough.
        began: Monotonic time at which the work has begun; None: now.
    """

    __slots__ = ("_held_since", "_hold")

    def __init__(self, hold: float = HOLD, *, began: float | None = None) -> None:
        self._hold = hold
        self._held_since = clock.now() if began is None else began

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

    def __call__(self) -> bool:
        """Let what was launched run, if it is enough for one turn of the loop."""
        self._launched += 1
        if self._launched < self._size:
            return False
        self._launched = 0
        began = clock.now()
        let_others_run()
        took = clock.now() - began
        self._size = 1 if took > HOLD else min(self._size * 2, _LARGEST)
        return True
