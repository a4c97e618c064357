"""Timers a service owns. An idle one costs a loop timer and no greenlet.

The hub's part is to hand the tick to a pooled greenlet; the user's function runs
there. Ticks lie on a grid of due times computed from the first one, never from
"now", so an interval does not drift (gevent-traps 20-22).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from sprag_supervisor import (
    Call,
    await_turn,
    check_result,
    clock,
    holdings_of,
    must_be_at_home,
    report_crash,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag_supervisor import Holdings, Node

_random = random.Random()  # noqa: S311 - jitter, not secrets


class TimerHandle:
    """A timer of a service.

    Attributes:
        ticks: Calls that have begun.
        missed: Due times that passed without a call of their own, because the call
            before was still running or the loop was held up. ``ticks + missed`` is the
            number of due times so far.
    """

    __slots__ = (
        "_args",
        "_call",
        "_context",
        "_due",
        "_fn",
        "_holdings",
        "_incarnation",
        "_jitter",
        "_node",
        "_period",
        "_timer",
        "missed",
        "ticks",
    )

    missed: int
    ticks: int

    def __init__(
        self,
        node: Node,
        context: contextvars.Context,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        *,
        first: float,
        period: float | None,
        jitter: float = 0.0,
    ) -> None:
        self._node = node
        self._incarnation = node._incarnation_
        self._holdings: Holdings | None = holdings_of(node)
        self._context = context
        self._fn = fn
        self._args = args
        self._period = period
        self._jitter = jitter
        self._due = clock.now() + first
        self._call: Call | None = None
        self._timer: clock.Timer | None = None
        self.ticks = 0
        self.missed = 0
        timers = self._holdings.timers
        if timers is None:
            self._holdings.timers = {self}
        else:
            timers.add(self)
        try:
            self._arm()
        except BaseException:  # there is no room for it: then there is no timer either
            self.cancel()
            raise

    @property
    def active(self) -> bool:
        """Whether it will fire again."""
        return self._holdings is not None

    @property
    def repeats(self) -> bool:
        """Whether it fires again and again."""
        return self._period is not None

    def cancel(self) -> None:
        """Never fire again. A call that is under way goes on; harmless a second time."""
        must_be_at_home(self._node)
        holdings = self._holdings
        self.release()
        if holdings is not None:
            holdings.drop_timer(self)

    def release(self) -> None:
        """Do the same for the engine, which forgets it by itself."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._holdings = None

    def _arm(self) -> None:
        delay = self._due - clock.now()
        if self._jitter and self._period is not None:
            delay += _random.random() * self._jitter * self._period
        # As `clock.call_later` does: of the making of a timer the calls are the most.
        timer = self._timer = get_hub().loop.timer(max(delay, 0.0))
        timer.start(self._fire, update=True)

    def _fire(self) -> None:
        # In the hub: hand over and return.
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        tree = self._node._tree_
        if self._holdings is None or tree is None:
            return
        self.ticks += 1
        call = self._call = Call(self._tick)
        self._holdings.add_call(call)
        tree.pool.enter(call)

    def _tick(self) -> None:
        call, holdings = self._call, self._holdings
        assert call is not None
        assert holdings is not None
        if self._period is None:
            self.cancel()
        try:
            result = self._context.copy().run(self._fn, *self._args)
            if result is not None:
                check_result("a timer's function", result)
        except BaseException as error:  # noqa: BLE001 - this is where crashes are caught
            await_turn(self._node)
            holdings.drop_call(call)
            report_crash(self._node, self._incarnation, "timer", error)
        else:
            holdings.drop_call(call)
        self._call = None
        if self._holdings is not None and self._period is not None:
            self._go_on(self._period)

    def _go_on(self, period: float) -> None:
        """Find the next due time; those that have passed become one call, at once."""
        passed = int((clock.now() - self._due) / period)
        if passed > 0:
            self.missed += passed - 1
            self._due += passed * period
        else:
            self._due += period
        self._arm()
