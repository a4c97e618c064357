"""Timers that go by the calendar.

The wall clock can be set, and stands still for who is suspended. So it is not waited for but looked
at, when the next due time comes by its own reckoning and every minute in between. What a look
finds is decided in `calendar.look`.

A restart is no excuse: what a life has not seen to any more it leaves to the next one (`Dues`), as
long as the process lives. A start by hand after a stop by hand is another matter: what passed in
between was meant not to happen.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sprag.owned.calendar import ON_TIME, is_set_back, look
from sprag.owned.timers import TimerHandle
from sprag_supervisor import ACTIVE, Call, Ending, History, clock, function_name, must_be_at_home

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag.owned.calendar import Calendar
    from sprag_supervisor import Node

_BETWEEN: Final = 60.0
"""Seconds between two looks at the wall clock, at most."""
_KEPT: Final = 100
"""Crons of one service that leave something to its next life."""
_LEVELS: Final = 20
"""Of the tree that are looked at to tell a restart from a start by hand."""


class CronHandle(TimerHandle):
    """A timer of a service that goes by the calendar.

    Attributes:
        ticks: Calls that have begun.
        missed: Due times that passed without a call of their own; of one gap at most 100.
    """

    __slots__ = ("_calendar", "_key", "_leaves", "_makes_up", "_next", "_until")

    def __init__(
        self,
        node: Node,
        context: contextvars.Context,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        calendar: Calendar,
        *,
        makes_up: bool,
    ) -> None:
        if node._history_ is None:
            node._history_ = History()
        self._calendar = calendar
        self._makes_up = makes_up
        self._leaves = True
        self._key = calendar.expression, calendar.tz, function_name(fn)
        self._until = _inherited(node, self._key, _wall())
        self._next = calendar.after(self._until)
        super().__init__(node, context, fn, args, first=0.0, period=_BETWEEN)

    @property
    def expression(self) -> str:
        """When it is due, as a cron expression."""
        return self._calendar.expression

    @property
    def tz(self) -> str:
        """The time zone that it is due in."""
        return self._calendar.tz

    @property
    def function(self) -> str:
        """The name of the function that is called."""
        return self._key[2]

    @property
    def running(self) -> bool:
        """Whether a call of it is under way."""
        return self._call is not None

    @property
    def next_run(self) -> datetime | None:
        """The next due time, in its time zone; None: it never comes, or this is not active."""
        if not self.active or self._next == float("inf"):
            return None
        return datetime.fromtimestamp(self._next, self._calendar.zone)

    def cancel(self) -> None:
        """Never call again. A call that is under way goes on; harmless a second time."""
        must_be_at_home(self._node)
        self._leaves = False
        super().cancel()

    def release(self) -> None:
        """Do the same for the engine: the life is over, and the next one goes on from here."""
        if self._leaves and self._holdings is not None:
            _leave(self._node, self._key, self._until)
        super().release()

    def _arm(self) -> None:
        wait = max(self._next - _wall(), 0.0)
        timer = self._timer = clock.new_timer(min(wait, _BETWEEN))
        timer.start(self._fire, update=True)

    def _fire(self) -> None:
        # In the hub: look, and hand over if there is something to decide.
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        node, now = self._node, _wall()
        tree = node._tree_
        if self._holdings is None or tree is None or node._state_ not in ACTIVE:
            return  # a service that goes down begins nothing: its next life does
        if now < self._next and not is_set_back(self._until, now):
            self._arm()
            return
        call = self._call = Call(self._tick)
        self._holdings.add_call(call)
        tree.pool.enter(call)

    def _tick(self) -> None:
        call, holdings = self._call, self._holdings
        assert call is not None
        assert holdings is not None
        found = look(self._calendar, self._until, self._next, _wall(), makes_up=self._makes_up)
        self._until, self._next = found.until, found.due
        self.missed += found.missed
        if found.runs:
            self.ticks += 1
            super()._tick()
        else:
            holdings.drop_call(call)
            self._call = None
            self._arm()

    def _go_on(self, period: float) -> None:  # noqa: ARG002 - the calendar knows
        self._arm()


def _wall() -> float:
    """Return the time as who asks `datetime` has it, to the microsecond: nobody is called early."""
    return round(clock.wall(), 6)


# -- from one life to the next -----------------------------------------------------------


_Key = tuple[str, str, str]
"""Expression, zone and function: what makes a cron of one life that of another."""


class Dues:
    """What the crons of a life leave to the next one.

    Attributes:
        lives: Incarnation and restarts of the service, and of those above it, at the time.
        until: For each cron until when its due times are seen to; several may be alike.
        count: How many there are.
    """

    __slots__ = ("count", "lives", "until")

    def __init__(self, lives: list[tuple[int, int]]) -> None:
        self.lives = lives
        self.until: dict[_Key, list[float]] = {}
        self.count = 0


def _leave(node: Node, key: _Key, until: float) -> None:
    """Let the next life of *node* know until when a cron has seen to its due times."""
    history = node._history_
    if history is None:
        return
    dues: Dues | None = history.dues
    lives = _lives(node)
    if dues is None or dues.lives[0][0] != node._incarnation_:
        before = dues
        dues = history.dues = Dues(lives)
        # A start that failed may not have come as far as to take over all of them.
        if before is not None and not _had_started(node) and _is_restart(before.lives, lives):
            dues.until, dues.count = before.until, before.count
    if dues.count < _KEPT:
        dues.count += 1
        dues.until.setdefault(key, []).append(until)


def _inherited(node: Node, key: _Key, now: float) -> float:
    """Return until when the due times of a new cron of *node* are seen to: now, or less."""
    history = node._history_
    dues: Dues | None = None if history is None else history.dues
    if dues is None or dues.lives[0][0] >= node._incarnation_:
        return now
    left = dues.until.get(key)
    if not left:
        return now
    until = left.pop(0)
    dues.count -= 1
    if is_set_back(until, now):
        return now
    if not _is_restart(dues.lives, _lives(node)):
        return max(until, now - ON_TIME)
    return until


def _lives(node: Node) -> list[tuple[int, int]]:
    lives: list[tuple[int, int]] = []
    above: Node | None = node
    while above is not None and len(lives) < _LEVELS:
        lives.append((above._incarnation_, above._restarts_))
        above = above._parent_
    return lives


def _is_restart(then: list[tuple[int, int]], now: list[tuple[int, int]]) -> bool:
    """Whether all starts in between were a supervisor's: of the service, or of one above it.

    A start of the service that was no restart of its own has to come from one of its parent's.
    """
    others = 0
    for (life, restarts), (later, by_then) in zip(then, now, strict=False):
        starts = later - life
        if others > starts:
            return False
        others = starts - (by_then - restarts)
        if others == 0:
            return True
    return False


def _had_started(node: Node) -> bool:
    """Whether the life of *node* that ends now has got over its start."""
    operation = node._op_
    return operation is None or (isinstance(operation, Ending) and operation.had_started)
