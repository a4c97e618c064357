"""The one source of time.

Everything in sprag that measures or waits goes through here, so that a test can
replace time as a whole: always call it as `clock.now()`, never keep a reference
to the function. `sprag.testing.virtual_time` swaps the two clocks; the timers
follow by themselves because they belong to the loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, cast

from gevent import get_hub

if TYPE_CHECKING:
    from collections.abc import Callable

now: Callable[[], float] = time.monotonic
"""Seconds on a clock that never steps; only differences mean something."""

wall: Callable[[], float] = time.time
"""Seconds since the epoch, for people to read. Never used for waiting."""


class Timer(Protocol):
    """A started one-shot timer."""

    def stop(self) -> None:
        """Cancel it; harmless when it has fired."""

    def close(self) -> None:
        """Cancel it and free the watcher."""


def call_later(
    seconds: float, callback: Callable[..., object], *args: object, ref: bool = True
) -> Timer:
    """Call ``callback(*args)`` in the hub after *seconds*.

    The callback may only flip state and wake somebody: it runs in the hub. With
    ``ref=False`` the timer does not keep the loop alive.
    """
    timer = new_timer(seconds, ref=ref)
    # update=True: after a stretch of CPU work the loop's idea of "now" is stale
    # and the timer would fire early (gevent-traps 20).
    timer.start(callback, *args, update=True)
    return cast("Timer", timer)


def new_timer(seconds: float, again: float = 0.0, *, ref: bool = True) -> Any:
    """Make a timer, which is yet to be started, for *seconds* and then for every *again*.

    Who starts it with ``update=True`` when it has an owner loses none, whatever a signal handler
    raises meanwhile.
    """
    return get_hub().loop.timer(max(seconds, 0.0), again, ref=ref)
