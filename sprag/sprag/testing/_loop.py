"""Virtual time for a whole event loop.

The problem: code under test waits by `gevent.sleep`, by Timeouts, by `Event.wait`. Faking
the reading of a clock does not shorten any of these, and replacing each of them in the code
under test would no longer test that code.

What we do: all of them end in `loop.timer`, so a loop with timers of its own makes all of
them virtual at once. `VirtualLoop` is such a loop. It runs one thing at a time, in this order:

1. what was queued with `run_callback`, first come first served, until nothing is queued;
2. one timer that is due, the earliest first, ties in order of start; then 1 again;
3. events of the real world (sockets, signals, threads), if there are any;
4. only then time moves: to the moment of the next timer, in one jump.

libev itself is asked for step 3 only. The first two never depend on the real clock, which
libev's own queue of callbacks does (it stops for a breath after some milliseconds), so the
order of everything is the same in every run.

What remains open: time jumps as soon as nothing in this process can run, also while a real
socket, thread or subprocess is working for somebody who waits for it with a timeout.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import get_hub, getcurrent
from gevent.exceptions import HubDestroyed
from gevent.hub import Waiter
from gevent.libev import corecext

from sprag.testing._timers import Timeline, VirtualTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

# While greenlets spin with sleep(0), ask for events of the real world once in so many rounds.
_POLL_EVERY: Final = 256


class _Callback:
    """What `run_callback` returns, in everything like gevent's own.

    False in a condition once it has run or was stopped; gevent relies on it being true while
    it runs.
    """

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args: tuple[Any, ...] | None = args

    @property
    def pending(self) -> bool:
        """Whether it waits to be run."""
        return self.callback is not None

    def stop(self) -> None:
        """Do not run."""
        self.callback = None
        self.args = None

    close = stop

    def __bool__(self) -> bool:
        return self.args is not None

    def __repr__(self) -> str:
        if self.callback is None and self.args is None:
            return f"<callback at {id(self):#x} stopped>"
        return f"<callback at {id(self):#x} callback={self.callback!r} args={self.args!r}>"


class VirtualLoop(corecext.loop):
    """A gevent loop in which waiting takes no time.

    Use `virtual_time`, which makes one and installs it. Or, in a process of its own, choose it
    before gevent's first hub is made: ``gevent.config.loop = "sprag.testing.VirtualLoop"``.

    With nothing left to run and no timer to jump to, the loop ends and gevent raises
    `gevent.exceptions.LoopExit` in the main greenlet: whoever waits there waits for ever. That
    is a deadlock detector, unless a real watcher that keeps the loop alive is active (a socket,
    or a started ``loop.async_()``): then the loop waits for it, in real time.

    Attributes:
        max_rounds: How often in a row the queue of callbacks may be refilled by its own
            callbacks while time stands still. Beyond it something spins with ``sleep(0)``
            until a time that cannot come, and `RuntimeError` is raised in the main greenlet.
    """

    max_rounds: int = 5_000_000

    def __init__(
        self,
        flags: Sequence[str] | str | int | None = None,
        default: bool | None = None,  # noqa: FBT001 - gevent's signature
        ptr: int = 0,
    ) -> None:
        """Make a loop whose time is zero.

        Args:
            flags: As for gevent's loop.
            default: As for gevent's loop: ``False`` makes one of its own, beside the one that
                the main thread's hub has. Only the default loop can watch child processes.
            ptr: As for gevent's loop.
        """
        # Without this the C part has no queue and crashes the process at the first callback.
        super().__init__(flags, default, ptr)
        self._timeline = Timeline()
        self._ready: deque[_Callback] = deque()
        self._rounds = 0
        self._broken = False
        self._destroyed: BaseException | None = None
        # Who waits for everything up to _horizon to have run; at most one greenlet.
        self._waiter: Waiter[None] | None = None
        self._horizon = 0

    # What gevent asks of a loop: time and callbacks

    def now(self) -> float:
        """Return the seconds since the loop was made. They do not pass by themselves."""
        return self._timeline.now

    def update_now(self) -> None:
        """Do nothing: virtual time is never stale."""

    update = update_now

    def timer(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        after: float,
        repeat: float = 0.0,
        ref: bool = True,  # noqa: FBT001, FBT002 - gevent's signature
        priority: int | None = None,
    ) -> VirtualTimer:
        """Return a new timer, not yet started; see `VirtualTimer`."""
        return VirtualTimer(self, self._timeline, after, repeat, ref=ref, priority=priority)

    def run_callback(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, func: Callable[..., object], *args: object
    ) -> _Callback:
        """Call *func* in the hub, after what is queued already and before time moves."""
        if self._timeline.closed:
            msg = "operation on destroyed loop"
            raise ValueError(msg)
        callback = _Callback(func, args)
        self._ready.append(callback)
        return callback

    def run_callback_threadsafe(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, func: Callable[..., object], *args: object
    ) -> _Callback:
        """Do the same from another thread."""
        callback = self.run_callback(func, *args)
        # The loop may be waiting in the kernel. The callback itself is in our queue already.
        super().run_callback_threadsafe(_nothing)
        return callback

    @property
    def activecnt(self) -> int:
        """The number of callbacks, timers and watchers that keep the loop alive."""
        return super().activecnt + self._timeline.referenced + len(self._ready)

    @property
    def pendingcnt(self) -> int:
        """The number of events that wait to be handled at this moment."""
        return super().pendingcnt + len(self._ready)

    @property
    def queued(self) -> int:
        """The number of callbacks that wait to be run at this moment."""
        return len(self._ready)

    def active_timers(self) -> list[VirtualTimer]:
        """Return the timers that wait, in the order in which they will come up."""
        return self._timeline.active()

    # What gevent asks of a loop: running

    def run(self, nowait: bool = False, once: bool = False) -> None:  # noqa: FBT001, FBT002
        """Run until nothing is left that keeps the loop alive.

        Only the hub calls this. Errors of callbacks go to `handle_error`.

        Args:
            nowait: Run what is ready at this moment, and return without moving time.
            once: Move time, or wait in real time, at most once.
        """
        self._broken = False
        while not self._broken:
            try:
                if not self._next(move=not nowait):
                    return
                if once and not self._ready:
                    return
            except HubDestroyed:
                # The hub itself is being destroyed. gevent's loop would break and leave the hub
                # half alive and never collected; letting it end frees it, and events that were
                # used in it can be used elsewhere
                # (test_two_thousand_blocks_keep_no_memory_and_no_descriptors).
                raise
            except BaseException:  # noqa: BLE001 - as gevent: the hub must survive it
                self.handle_error(None, *sys.exc_info())

    def break_(self, how: int = 1) -> None:
        """Make `run` return."""
        self._broken = True
        super().break_(how)

    def handle_error(
        self,
        context: object | None,
        type: type[BaseException] | None,  # noqa: A002 - gevent's signature
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Hand an error of a callback to the hub, which prints it and goes on."""
        if type is HubDestroyed:
            # From a callback of libev's, through which it cannot pass.
            self._destroyed = value
            self.break_()
            return
        super().handle_error(context, type, value, tb)

    def destroy(self) -> None:
        """Drop everything that waits and free the loop. It cannot be used again."""
        self._timeline.close()
        self._ready.clear()
        super().destroy()

    # The order of things

    def _next(self, *, move: bool) -> bool:
        """Do the next thing; return false when there is nothing left to do."""
        timeline = self._timeline
        if self._ready:
            self._run_ready()
        due = timeline.next_due()
        if due is not None and due <= timeline.moment:
            self._count_round()
            self._fire(timeline.pop())
            return True
        self._ask_kernel()
        if self._ready:
            return True
        return self._move() if move or self._waiter is not None else False

    def _move(self) -> bool:
        """Go to the next moment, nothing being left to do at this one."""
        timeline = self._timeline
        due = timeline.next_due()
        if self._waiter is not None:
            if due is not None and due <= self._horizon:
                self._move_to(due)
            else:
                self._release(self._waiter)
        elif due is not None and timeline.referenced:
            self._move_to(due)
        elif super().activecnt:
            self._ask_kernel(wait=True)
        else:
            return False
        return True

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            self._count_round()
            # One round is what is queued at its beginning; what that adds is the next one.
            for _ in range(len(ready)):
                callback = ready.popleft()
                function = callback.callback
                if function is None:
                    continue
                args = callback.args
                # Not pending any more, but true until it has run.
                callback.callback = None
                try:
                    function(*(args or ()))
                except HubDestroyed:
                    raise
                except BaseException:  # noqa: BLE001 - as gevent: reported, and the loop goes on
                    self.handle_error(callback, *sys.exc_info())
                finally:
                    callback.args = None

    def _ask_kernel(self, *, wait: bool = False) -> None:
        """Handle events of the real world; with *wait*, wait for one."""
        super().run(nowait=not wait, once=wait)
        if self._destroyed is not None:
            # The hub was destroyed by somebody it had woken in there.
            destroyed, self._destroyed = self._destroyed, None
            raise destroyed

    def _fire(self, timer: VirtualTimer) -> None:
        try:
            timer.fire()
        except HubDestroyed:
            raise
        except BaseException:  # noqa: BLE001 - as gevent: reported, and the loop goes on
            self.handle_error(timer, *sys.exc_info())

    def _move_to(self, moment: int) -> None:
        self._rounds = 0
        self._timeline.move_to(moment)

    def _count_round(self) -> None:
        self._rounds += 1
        if self._rounds > self.max_rounds:
            self._rounds = 0
            msg = (
                f"virtual time has stood still at {self._timeline.now!r} s for "
                f"{self.max_rounds} rounds of callbacks; something spins with sleep(0) or a "
                "zero timer until a later time"
            )
            raise RuntimeError(msg)
        if not self._rounds % _POLL_EVERY:
            self._ask_kernel()

    # Driving it from outside

    def run_for(self, nanoseconds: int) -> None:
        """Run everything until so many nanoseconds from now, included, then move there.

        Blocks the calling greenlet until nothing is left to do then.

        Raises:
            RuntimeError: Called in the hub, or from a second greenlet at a time, or the loop
                is not the current one.
        """
        hub = get_hub()
        if cast("Any", hub.loop) is not self:
            msg = "this virtual clock belongs to a virtual_time() block that is not the current one"
            raise RuntimeError(msg)
        if getcurrent() is cast("Any", hub):
            msg = "the clock cannot be driven from a callback in the hub; use a greenlet"
            raise RuntimeError(msg)
        if self._waiter is not None:
            msg = "the clock is being driven by another greenlet already"
            raise RuntimeError(msg)
        waiter: Waiter[None] = Waiter(hub)
        self._horizon = self._timeline.moment + nanoseconds
        self._waiter = waiter
        try:
            waiter.get()
        finally:
            # Also when something else was raised here, such as a Timeout of the caller's.
            self._waiter = None

    def _release(self, waiter: Waiter[None]) -> None:
        self._waiter = None
        if self._horizon > self._timeline.moment:
            self._move_to(self._horizon)
        self._rounds = 0
        waiter.switch(None)


def _nothing() -> None:
    pass
