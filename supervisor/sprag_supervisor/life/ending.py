"""The end of one life: what is known of it, and what is noted while it is carried out.

An `End` is what every end is (`quick`); an `Ending` is one that takes time. It exists from the
moment a service leaves `running` (or its start has failed) until it is down. Whoever wants the
service down meanwhile joins it: there is one kill per grace period, never two (gevent-traps 4).

Two limits apply. A service's own steps (on_drain, on_stop, its greenlets and
clean-ups, not its children's) share its ``shutdown`` seconds. The deadline of the
stop that covers it is absolute, handed down, and can only become tighter.
"""

from __future__ import annotations

import logging
import math
import traceback
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sprag_supervisor.facts.crash import remember
from sprag_supervisor.facts.failure import Spared, cut
from sprag_supervisor.facts.report import (
    MOST_ENTRIES,
    MOST_TIMES,
    Outcome,
    StopEntry,
    StopReport,
    longest,
)
from sprag_supervisor.life.settling import End
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.greenlets import frame_of, is_dead
from sprag_supervisor.loop.left_behind import leave_behind
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.rules.decide import CRASHED
from sprag_supervisor.tree.drainers import nearest
from sprag_supervisor.tree.log import say
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.stragglers import keep

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.loop.calls import Call
    from sprag_supervisor.tree.node import Node

_FRAMES: Final = 30
"""Of a straggler's stack: those nearest to where it is."""
_NAMED: Final = 20
"""Stragglers of one service that are named one by one."""


class Walk:
    """The carrying out of one end and of all below it, by one engine greenlet at a time."""

    __slots__ = ("has_faults", "is_under_way")

    def __init__(self) -> None:
        self.has_faults = False
        """Whether it has met a bug of sprag's."""
        self.is_under_way = False


class Drain:
    """A service that takes no new work, before any of those that end with it has begun to end."""

    __slots__ = ("has_begun", "is_over", "until")

    def __init__(self, deadline: float) -> None:
        self.has_begun = self.is_over = False
        """Its `on_drain`."""
        self.until = math.inf
        """Monotonic time at which that is killed, should its own ``shutdown`` leave it more."""
        self.tighten(deadline)

    def tighten(self, deadline: float) -> None:
        """Leave it a third of the time until *deadline*, if that is less than it had."""
        now = clock.now()
        self.until = min(self.until, now + max(deadline - now, 0.0) / 3)


class Ending(End):
    """One service on its way down, which takes its time."""

    is_start: ClassVar[bool] = False

    __slots__ = (
        "_context",
        "_left",
        "above",
        "by_needs",
        "call",
        "counted",
        "counts",
        "deadline",
        "done",
        "drain",
        "drains",
        "dropped",
        "entries",
        "faults",
        "has_part",
        "is_counted",
        "is_drained",
        "joiners",
        "later",
        "left_out",
        "own_left",
        "parking",
        "rest",
        "said_goodbye",
        "since",
        "times",
        "took",
        "walk",
        "worst",
    )

    def __init__(self, end: End, deadline: float) -> None:
        node = end.node
        super().__init__(
            node,
            end.reason,
            end.failure,
            had_started=end.had_started,
            on_purpose=end.on_purpose,
            retries=end.retries,
        )
        self.deadline = deadline
        self.own_left = node._policy_.own_seconds
        self.since = clock.now()
        self.parking = Parking()
        self.joiners: list[Parking] = []
        self.done = False
        self.worst = Outcome.CLEAN
        self.counts = [0] * len(Outcome)
        self._context: Context | None = None
        self._left = 0
        """Greenlets that were left behind."""
        self.entries: list[StopEntry] = []
        self.left_out = self.dropped = 0
        # What has been done already, for who takes it up again after a bug of sprag's (`net`).
        self.walk: Walk | None = None
        """What this is part of; None: nobody has begun to carry it out."""
        self.faults = 0
        self.call: tuple[str, Callable[[], object], Call, float] | None = None
        """The hook or clean-up that runs now."""
        self.is_drained = self.said_goodbye = self.is_counted = False
        self.took = 0.0
        """Seconds that its own steps have taken."""
        self.times: list[tuple[str, float]] = []
        """What it and those below it have taken, of those that took longest."""
        # For `sharing`:
        self.above: Ending | None = None
        """The end of its parent, if that carries it out."""
        self.by_needs: dict[int, int] | None = None
        """Of children that end in the order of their needs the places, by id."""
        self.rest: list[Node] = []
        """Children that end one after another and whose turn has not come."""
        self.counted: list[float] | None = None
        """What the first so many of them may take, from none to all."""
        self.later: tuple[float, float] | None = None
        """What those ask for that come after it, and what "infinity" asks for."""
        self.has_part = False
        self.drains = True
        """What it is part of has services drain: any end but that of a group restart."""
        self.drain: Drain | None = None
        """Until its steps begin, of one that drains or has others below do so."""

    @property
    def is_draining(self) -> bool:
        """Whether the service still works: its steps have not begun."""
        return self.drain is not None

    def tighten(self, deadline: float) -> None:
        """Move the deadline nearer; a later one changes nothing."""
        tighten(self.node, deadline)

    def call_off(self, deadline: float, why: str = "") -> None:  # noqa: ARG002 - it ends anyway
        """Take note that somebody wants the service down, by *deadline*."""
        self.on_purpose = True
        self.tighten(deadline)

    def join(self, parking: Parking, until: float | None = None) -> None:
        """Wait in *parking* until it is over or *until*."""
        self._wait(parking, until, lambda: self.done)

    def join_drain(self, parking: Parking) -> None:
        """Wait in *parking* until its `on_drain` is over, or what comes after has begun."""
        self._wait(parking, None, self.has_drained)

    def has_drained(self) -> bool:
        """Whether its `on_drain` is over, or what comes after that has begun."""
        return self.done or self.drain is None or self.drain.is_over

    def add_joiner(self, parking: Parking) -> None:
        """Have *parking* poked when it has drained, and when it is over."""
        self.joiners.append(parking)
        tree = self.node._tree_
        assert tree is not None
        for waiting in tree.pool.queued:
            waiting.poke()  # to look for a deadlock again: one more waits for somebody

    def _wait(self, parking: Parking, until: float | None, is_over: Callable[[], bool]) -> None:
        if is_over():
            return
        self.add_joiner(parking)
        try:
            while not is_over() and (until is None or clock.now() < until):
                parking.park(until)
        finally:
            self.joiners.remove(parking)

    def drained(self) -> None:
        """Take note that its `on_drain` is over, and tell who waits for that."""
        if self.drain is not None:
            self.drain.is_over = True
        for parking in self.joiners:
            parking.poke()

    def seconds(self) -> float:
        """Return for how long it has been going on."""
        return clock.now() - self.since

    def note(self, outcome: Outcome, step: str, detail: str) -> None:
        """Remember something that was not clean."""
        node = self.node
        if len(self.entries) < MOST_ENTRIES:
            entry = StopEntry(path_of(node), node._incarnation_, outcome, step, cut(detail))
            self.entries.append(entry)
        else:
            self.left_out += 1
        if outcome.value > self.worst.value:
            self.worst = outcome

    def stop_error(self, step: str, error: BaseException, level: int = logging.ERROR) -> None:
        """Report an exception during the stop: never a restart (gevent-traps 5)."""
        self.note(Outcome.ERROR, step, str(remember(error, self.node._incarnation_)))
        say(level, self.node, "service raised while stopping", error, step=step)

    def crashed(self, step: str, error: BaseException, level: int = logging.ERROR) -> None:
        """Take note that something of the service crashed while it goes down."""
        self.stop_error(step, error, level)

    def finished(self) -> None:
        """Take note that the service is done: it is going down anyway."""

    def absorb(self, other: Ending) -> None:
        """Count a descendant's end as part of this one."""
        self.counts = [
            ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)
        ]
        room = max(MOST_ENTRIES - len(self.entries), 0)
        self.entries.extend(other.entries[:room])
        self.dropped += other.dropped
        if other.times:
            self.times.extend(other.times)
            if len(self.times) > 2 * MOST_TIMES:
                self.times = longest(self.times)
        self.left_out += other.left_out + max(len(other.entries) - room, 0)

    def report(self) -> StopReport:
        """Return what the end of the whole subtree was like."""
        clean, errors, killed, stragglers = self.counts
        return StopReport(
            clean=clean,
            errors=errors,
            killed=killed,
            stragglers=stragglers,
            seconds=clock.now() - self.since,
            entries=tuple(self.entries),
            left_out=self.left_out,
            dropped=self.dropped,
            slowest=tuple(longest(self.times)),
        )

    def limit(self, began: float) -> float:
        """Return when a step that began at *began* must be over."""
        until = min(self.deadline, began + self.own_left)
        return until if self.drain is None else min(until, self.drain.until)

    def spend(self, began: float) -> None:
        """Take note that a step of its own, which has begun then, is over."""
        seconds = clock.now() - began
        self.own_left -= seconds
        self.took += seconds

    def leave_behind(self, step: str, greenlet: Any) -> None:
        """Name what swallowed its kill, with its stack."""
        if greenlet is not None:
            leave_behind(greenlet)
            keep(self.node, step, lambda: is_dead(greenlet))
        self._left += 1
        if self._left > _NAMED:
            return
        frame = frame_of(greenlet)
        stack = "".join(traceback.format_stack(frame, _FRAMES)) if frame is not None else "no stack"
        self.straggler(step, stack)

    def _tell_of_unnamed(self) -> None:
        if self._left > _NAMED:
            self.straggler("greenlet", f"and {self._left - _NAMED} more")

    def straggler(self, step: str, stack: str) -> None:
        """Name something that does not end."""
        say(logging.ERROR, self.node, "straggler left behind", step=step, stack=stack)
        self.note(Outcome.STRAGGLER, step, stack)


def spare(node: Node) -> Failure | None:
    """Let the crash that *node* ends of, if it does, count toward no limit: return it.

    It counts against something else, an item that the service has in hand.
    """
    ending = node._op_
    if not isinstance(ending, Ending) or ending.on_purpose or ending.reason is not CRASHED:
        return None
    failure = ending.failure
    if failure is not None:
        ending.failure = Spared(*failure)
    return failure


def tighten(node: Node, deadline: float) -> None:
    """Move the deadline nearer of what goes on in *node* and, because of it, below.

    What below does not end yet is given the deadline when its turn comes.
    """
    pending = [node]
    while pending:
        one = pending.pop()
        operation, tree = one._op_, one._tree_
        if operation is None:
            if tree is not None and id(one) in tree.drainers:
                pending.extend(nearest(one, tree))
        elif deadline < operation.deadline:
            operation.deadline = deadline
            if isinstance(operation, Ending):
                operation.later = None  # it has a time of its own now, maybe
                if operation.drain is not None:
                    operation.drain.tighten(deadline)
            operation.parking.poke()
            pending.extend((one._children_ or {}).values())
