"""Timers that follow a number instead of a clock.

A `Timeline` is that number together with the timers that wait for it. It knows nothing of
greenlets or of gevent's hub; `sprag.testing._loop` decides when to move it.

Time is counted in whole nanoseconds. With floats, ten steps of a tenth of a second end just
before one second, and a timer "due at 1.0" would be missed by a test that looks right. With
whole nanoseconds they end at one second exactly.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_NANO: Final = 1_000_000_000
_WHOLE: Final = 2.0**53

# Stopped timers stay in the heap until they come up. They are swept out once they are more
# than half of it, and never before there are this many.
_SWEEP_FROM: Final = 64


def to_nanoseconds(seconds: float) -> int:
    """Return *seconds* in whole nanoseconds, at least one if *seconds* is positive at all.

    A timer that asks for the tiniest wait must move time, or a loop that waits "until the
    deadline" could spin for ever on a rounding error.
    """
    if seconds > _WHOLE:  # such a float is a whole number, and might become infinite
        return int(seconds) * _NANO
    nanoseconds = round(seconds * _NANO)
    if nanoseconds <= 0:
        return 1 if seconds > 0 else 0
    return nanoseconds


class Timeline:
    """The present moment, and the timers that wait for later ones.

    Timers come up in order of the moment they are due, and of their start where that is the
    same.

    Attributes:
        moment: The present moment in nanoseconds since the start. Use `move_to` to change it.
        now: The same in seconds.
        referenced: How many active timers keep the loop alive.
        closed: Whether `close` was called; timers can no longer be started.
    """

    __slots__ = ("_heap", "_sequence", "_stale", "closed", "moment", "now", "referenced")

    def __init__(self) -> None:
        self.moment = 0
        self.now = 0.0
        # Invariant: as many as there are active timers with ref=True.
        self.referenced = 0
        self.closed = False
        # An entry is stale when the timer's own sequence number is another one: it has been
        # stopped since, or started anew.
        # Invariant: _stale is the number of stale entries in _heap.
        self._heap: list[tuple[int, int, VirtualTimer]] = []
        self._stale = 0
        self._sequence = count(1)

    def move_to(self, moment: int) -> None:
        """Make *moment* the present one. Fires nothing."""
        self.moment = moment
        self.now = moment / _NANO

    def add(self, timer: VirtualTimer, due: int) -> None:
        """Let *timer*, which is not active, come up at *due*."""
        sequence = next(self._sequence)
        timer.sequence = sequence
        timer.due = due
        if timer._ref:  # not `ref`, here and below: a call may find no room
            self.referenced += 1
        heapq.heappush(self._heap, (due, sequence, timer))

    def remove(self, timer: VirtualTimer) -> None:
        """Forget *timer*, which is active."""
        timer.sequence = 0
        if timer._ref:
            self.referenced -= 1
        self._stale += 1
        if self._stale > _SWEEP_FROM and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].sequence == entry[1]]
            heapq.heapify(self._heap)
            self._stale = 0

    def next_due(self) -> int | None:
        """Return when the next timer is due, or ``None`` if there is none."""
        heap = self._heap
        while heap:
            due, sequence, timer = heap[0]
            if timer.sequence == sequence:
                return due
            heapq.heappop(heap)
            self._stale -= 1
        return None

    def pop(self) -> VirtualTimer:
        """Take out the timer that `next_due` has just spoken of; it is no longer active."""
        timer = heapq.heappop(self._heap)[2]
        timer.sequence = 0
        if timer._ref:
            self.referenced -= 1
        return timer

    def active(self) -> list[VirtualTimer]:
        """Return the active timers in the order in which they would come up."""
        return [timer for _, sequence, timer in sorted(self._heap) if timer.sequence == sequence]

    def close(self) -> None:
        """Drop all timers, for good."""
        self.closed = True
        self.referenced = 0
        self._stale = 0
        # Last: dropping a timer may drop the last reference to a greenlet and so run code of
        # the user's, which may stop other timers.
        heap, self._heap = self._heap, []
        for _, _, timer in heap:
            timer.sequence = 0
        heap.clear()


class VirtualTimer:
    """A timer of a `VirtualLoop`, in everything like one of libev's.

    Also in what surprises: a timer that is stopped keeps the rest of its time, and starting
    it again waits for that rest; a one-shot timer that has fired has nothing left, and
    starting it again makes it due at once. Starting an active timer changes its callback but
    not when it is due. `again` begins a full *repeat* from now, and stops a timer that does
    not repeat.

    Not like libev: timers never wait in a queue of events, so `pending` is always false and
    `priority` is kept but makes no difference.

    Attributes:
        args: What the callback is called with; ``None`` while stopped.
        due: When the timer comes up, in nanoseconds. Means something only while active.
        loop: The loop that the timer belongs to.
        sequence: Which start this is, among all starts of all timers of the loop; ``0`` when
            not active. Set by the timeline.
    """

    __slots__ = (
        "_after",
        "_callback",
        "_priority",
        "_ref",
        "_repeat",
        "_timeline",
        "args",
        "due",
        "loop",
        "sequence",
    )

    def __init__(
        self,
        loop: object,
        timeline: Timeline,
        after: float,
        repeat: float = 0.0,
        *,
        ref: bool = True,
        priority: int | None = None,
    ) -> None:
        """Make a timer; `start` starts it.

        Args:
            loop: The loop, for whoever asks the timer for it.
            timeline: Where the timer waits.
            after: Seconds until it fires. Zero or less means at once, after everything that
                is ready. ``math.inf`` means never, and does not keep the loop alive.
            repeat: Seconds between later firings; ``0`` means once only.
            ref: Whether the timer keeps the loop alive while active.
            priority: Kept, of no effect.

        Raises:
            ValueError: *repeat* is negative, or a duration is not a number.
        """
        if repeat < 0:
            msg = f"repeat must be positive or zero: {repeat!r}"
            raise ValueError(msg)
        self.loop = loop
        self.args: tuple[Any, ...] | None = None
        self.due = 0
        self.sequence = 0
        self._timeline = timeline
        self._after = None if after == float("inf") else to_nanoseconds(after)
        self._repeat = 0 if repeat == float("inf") else to_nanoseconds(repeat)
        self._callback: Callable[..., object] | None = None
        self._ref = ref
        self._priority = priority or 0

    @property
    def active(self) -> bool:
        """Whether the timer is started and has not come up."""
        return self.sequence != 0

    @property
    def pending(self) -> bool:
        """Always false: a timer that comes up is fired at once."""
        return False

    @property
    def at(self) -> float:
        """When the timer is due if active, else how long it will wait, in seconds."""
        if self.sequence:
            return self.due / _NANO
        return float("inf") if self._after is None else self._after / _NANO

    @property
    def ref(self) -> bool:
        """Whether the timer keeps the loop alive while active. Read-write."""
        return self._ref

    @ref.setter
    def ref(self, value: bool) -> None:
        value = bool(value)
        if self.sequence and value != self._ref:
            self._timeline.referenced += 1 if value else -1
        self._ref = value

    @property
    def callback(self) -> Callable[..., object] | None:
        """What is called when the timer comes up; ``None`` while stopped. Read-write."""
        return self._callback

    @callback.setter
    def callback(self, callback: Callable[..., object] | None) -> None:
        if callback is not None and not callable(callback):
            msg = f"Expected callable, not {callback!r}"
            raise TypeError(msg)
        self._callback = callback

    @property
    def priority(self) -> int:
        """A number without effect. Read-write while not active."""
        return self._priority

    @priority.setter
    def priority(self, priority: int) -> None:
        if self.sequence:
            msg = "Cannot set priority of an active watcher"
            raise AttributeError(msg)
        self._priority = priority

    def start(
        self, callback: Callable[..., object], *args: object, update: bool | None = None
    ) -> None:
        """Call *callback* with *args*, in the hub, when the time has come.

        Args:
            callback: Must not block.
            *args: Passed on.
            update: Without effect; virtual time is never stale.

        Raises:
            TypeError: *callback* cannot be called.
            ValueError: The loop is destroyed.
        """
        del update
        timeline = self._timeline
        if timeline.closed:
            msg = "operation on destroyed loop"
            raise ValueError(msg)
        if not callable(callback):
            msg = f"Expected callable, not {callback!r}"
            raise TypeError(msg)
        self._callback = callback
        self.args = args
        if not self.sequence and self._after is not None:
            timeline.add(self, timeline.moment + self._after)

    def again(
        self, callback: Callable[..., object], *args: object, update: bool | None = None
    ) -> None:
        """Wait for a full *repeat* from now, whether active or not.

        Without a *repeat* the timer stops.

        Args:
            callback: Must not block.
            *args: Passed on.
            update: Without effect; virtual time is never stale.

        Raises:
            TypeError: *callback* cannot be called.
            ValueError: The loop is destroyed.
        """
        del update
        timeline = self._timeline
        if timeline.closed:
            msg = "operation on destroyed loop"
            raise ValueError(msg)
        self.callback = callback
        self.args = args
        if self.sequence:
            self._suspend()
        if self._repeat:
            timeline.add(self, timeline.moment + self._repeat)

    def stop(self) -> None:
        """Do not fire. Harmless if not active."""
        if self.sequence:
            self._suspend()  # first: where there is no room for it, nothing has changed
        self._callback = None
        self.args = None

    def close(self) -> None:
        """Stop."""
        self.stop()

    def fire(self) -> None:
        """Call the callback, having been taken out of the timeline.

        A repeating timer is active again before its callback runs, so that the callback can
        stop it. What the callback raises comes out of here.
        """
        callback, args = self._callback, self.args
        timeline = self._timeline
        if self._repeat:
            timeline.add(self, max(self.due + self._repeat, timeline.moment))
        else:
            self._after = 0
        try:
            if callback is not None:
                callback(*(args or ()))
        finally:
            if not self.sequence:
                self._callback = None
                self.args = None

    def _suspend(self) -> None:
        timeline = self._timeline
        self._after = max(0, self.due - timeline.moment)
        timeline.remove(self)

    def __enter__(self) -> Self:
        """Return the timer; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the timer."""
        self.close()

    def __repr__(self) -> str:
        """Show when the timer is due and what it will call."""
        if not self.sequence:
            return f"<VirtualTimer at {id(self):#x} stopped>"
        weak = "" if self._ref else " ref=False"
        return (
            f"<VirtualTimer at {id(self):#x} due at {self.at!r} s{weak} "
            f"callback={self._callback!r} args={self.args!r}>"
        )
