"""Install a virtual loop for the length of a block."""

from __future__ import annotations

import math
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists, get_loop, set_hub, set_loop
from gevent.hub import Hub

from sprag.testing._loop import VirtualLoop
from sprag.testing._timers import to_nanoseconds
from sprag_supervisor import Seconds, as_number, clock, forget_hub, idle_greenlets, in_seconds
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Generator

WALL_EPOCH: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z, in seconds since the epoch: the wall clock's time at virtual zero."""


class VirtualClock:
    """The hand on the clock of a `virtual_time` block."""

    __slots__ = ("_ahead", "_loop")

    def __init__(self, loop: VirtualLoop) -> None:
        """Drive *loop*. `virtual_time` does this for you."""
        self._loop = loop
        self._ahead = WALL_EPOCH

    @property
    def now(self) -> float:
        """Virtual seconds since the block began; exact to the nanosecond."""
        return self._loop.now()

    @property
    def wall(self) -> float:
        """Virtual seconds since the epoch; the block begins on 2026-01-01T00:00:00Z."""
        return self._ahead + self._loop.now()

    def set_wall(self, moment: datetime | float) -> None:
        """Set the wall clock, as an administrator does, or as it is after a suspend.

        `now` goes on as before, and so does all that waits: nothing is told of it.

        Args:
            moment: A datetime with a time zone, or seconds since the epoch.

        Raises:
            BadValue: *moment* is no such time.
        """
        given: Any = moment
        is_aware = type(given) is datetime and given.utcoffset() is not None
        seconds = given.timestamp() if is_aware else as_number(given)
        if not -math.inf < seconds < math.inf:
            accepted = "a datetime with a time zone, or seconds since the epoch"
            raise BadValue("moment", moment, accepted)
        self._ahead = seconds - self._loop.now()

    def advance(self, seconds: Seconds) -> None:
        """Let *seconds* of virtual time pass, and everything happen that falls in them.

        Afterwards the time is exactly *seconds* later. Every timer due until then, that very
        moment included, has fired in order, with all that it set going; later ones have not.
        Blocks the calling greenlet, in virtual time. Whatever is thrown into that greenlet
        meanwhile comes out of here, with time standing where that happened.

        Args:
            seconds: How long; rounded to nanoseconds. ``0`` is the same as `settle`.

        Raises:
            BadValue: *seconds* is negative, infinite or not a number.
            RuntimeError: Called from a callback in the hub, while another greenlet does the
                same, or when the block is not the current one.
        """
        span = in_seconds(seconds)
        if not (span >= 0 and self.now + span < math.inf):
            raise BadValue("seconds", seconds, "a finite number, 0 or more")
        self._loop.run_for(to_nanoseconds(span))

    def settle(self) -> None:
        """Let everything run that is ready at this moment, without moving time.

        That includes timers due now, and all that they set going.

        Raises:
            RuntimeError: As for `advance`.
        """
        self._loop.run_for(0)

    def __repr__(self) -> str:
        """Show the time."""
        return f"<VirtualClock at {self.now!r} s>"


@contextmanager
def virtual_time() -> Generator[VirtualClock]:
    """Give the current thread a fresh hub whose time takes no time.

    Inside the block `gevent.sleep`, Timeouts, ``wait(timeout)``, ``spawn_later``,
    ``kill(timeout=...)``, queues and everything of sprag wait in virtual time: as soon as
    nothing else can run, the clock jumps to the next timer. Timers fire in order of the time
    they are due, and of their start where that is the same; each with all its consequences
    before the next. So a test that sleeps for days runs in no time, and in the same order
    every time. ::

        with virtual_time() as clock:
            done = gevent.spawn(gevent.sleep, 3600)
            clock.advance(3599.5)
            assert not done.ready()
            clock.advance(0.5)
            assert done.ready()

    Time begins at 0. It moves in `VirtualClock.advance` and whenever the main greenlet waits;
    not while code runs. Waiting for what can never come raises `gevent.exceptions.LoopExit`.

    Limits:

    - `time.monotonic` and `time.time` are not virtual. sprag does not use them directly.
    - What is due at the very same moment goes in order of start. So ``with Timeout(5): sleep(5)``
      times out, where on a real clock gevent lets the sleep win.
    - No real sockets, threads or subprocesses inside: time jumps while they work.
    - Make events, queues, locks and greenlets inside. Those used outside before belong to the
      hub outside, which does not run during the block.
    - End what you start. A greenlet that is left never runs again, not even its ``finally``
      clauses, and stays in memory. `LeakCheck` inside the block finds it.
    - A loop of ``sleep(0)`` that waits for a later time spins: time does not move while
      anything is ready. After a while this raises `RuntimeError` in the main greenlet.

    Yields:
        The clock. It can be read after the block, but not driven.

    Raises:
        RuntimeError: Called in a greenlet other than the thread's main one.
    """
    # gevent's hub throws LoopExit and system errors into the greenlet that made it, and that
    # greenlet must not itself depend on the hub that is put aside.
    if getcurrent().parent is not None:
        msg = "virtual_time() is for the main greenlet of a thread; spawn greenlets inside it"
        raise RuntimeError(msg)
    outer = get_hub_if_exists(), get_loop(), clock.now, clock.wall
    # Not the default loop: that one is the program's own and cannot be made twice.
    loop = VirtualLoop(default=False)
    hub = Hub(cast("Any", loop))
    set_hub(hub)
    hand = VirtualClock(loop)
    clock.now = loop.now
    clock.wall = lambda: hand.wall
    try:
        yield hand
    finally:
        try:
            # Before the outer hub is back: dropping what still waits can run user code.
            _end_idle_greenlets(hub)
            forget_hub(hub)
            hub.destroy(destroy_loop=True)
        finally:
            outer_hub, outer_loop, clock.now, clock.wall = outer
            set_hub(cast("Any", outer_hub))
            set_loop(cast("Any", outer_loop))


def _end_idle_greenlets(hub: Hub) -> None:
    """End the engine's idle greenlets of *hub*, which would end by themselves a little later.

    A suspended greenlet is never collected, so thousands of blocks would pile them up
    (`test_two_thousand_blocks_keep_no_memory_and_no_descriptors`).
    """
    for worker in idle_greenlets():
        if worker.parent is hub and worker:
            # It ends in its parent, and that must not be the hub, which would go on running.
            worker.parent = getcurrent()
            worker.switch(None)
