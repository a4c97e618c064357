"""The end of an incarnation: what is known of it, how it begins, who waits for it.

An `Ending` exists from the moment a service leaves `running` (or its start has
failed) until it is down. Whoever wants the service down meanwhile joins it: there
is one kill per grace period, never two (gevent-traps 4). A service that has nothing to
wait for ends on the spot, in whatever greenlet asks; any other end is carried out by
`life.walking`, which `Tree.drive` points to: an end's last step may start a service again,
and that start may fail, and end it.

Two limits apply. A service's own steps (on_drain, on_stop, its greenlets and
clean-ups, not its children's) share its ``shutdown`` seconds. The deadline of the
stop that covers it is absolute, handed down, and can only become tighter.
"""

from __future__ import annotations

import logging
import math
import traceback
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sprag_supervisor.exceptions import EngineError
from sprag_supervisor.facts.failure import Failure, as_text, cut, remember
from sprag_supervisor.facts.report import MOST_ENTRIES, Outcome, StopEntry, StopReport
from sprag_supervisor.foreign import exit_code_of
from sprag_supervisor.life.resting import News, call_off_restart, detach, settle
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.greenlets import frame_of, is_dead
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.pool import Call, leave_behind
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import RESTARTING, RUNNING, STARTING, STOPPING
from sprag_supervisor.tree.group import take_out
from sprag_supervisor.tree.log import say
from sprag_supervisor.tree.moves import move, must_be_legal
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.node import Node
from sprag_supervisor.tree.stragglers import keep

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from greenlet import greenlet

    from sprag_supervisor.tree.operation import Operation

_FRAMES: Final = 30
"""Of a straggler's stack: those nearest to where it is."""
_NAMED: Final = 20
"""Stragglers of one service that are named one by one."""


class Walk:
    """The carrying out of one end and of all below it, by one engine greenlet at a time."""

    __slots__ = ("faults", "is_under_way")

    def __init__(self) -> None:
        self.faults = 0
        """Bugs of sprag's that it has met."""
        self.is_under_way = False


class Ending:
    """One service on its way down."""

    is_start: ClassVar[bool] = False

    __slots__ = (
        "_context",
        "_left",
        "call",
        "counts",
        "deadline",
        "done",
        "entries",
        "failure",
        "faults",
        "had_started",
        "is_counted",
        "is_drained",
        "joiners",
        "left_out",
        "news",
        "node",
        "on_purpose",
        "own_left",
        "parking",
        "reason",
        "retries",
        "said_goodbye",
        "since",
        "walk",
        "worst",
    )

    def __init__(
        self,
        node: Node,
        reason: Reason,
        failure: Failure | None,
        deadline: float,
        *,
        had_started: bool,
    ) -> None:
        self.node = node
        self.reason = reason
        self.failure = failure
        self.deadline = deadline
        self.had_started = had_started
        """Whether `on_start` has returned, so that `on_drain` and `on_stop` apply."""
        self.on_purpose = reason is Reason.STOPPED
        """Somebody wants it down: it is not restarted, whatever it died of."""
        self.retries = False
        """It is a restart that failed, and is tried again."""
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
        self.left_out = 0
        # What has been done already, for who takes it up again after a bug of sprag's (`net`).
        self.walk: Walk | None = None
        """What this is part of; None: nobody has begun to carry it out."""
        self.faults = 0
        self.call: tuple[str, Callable[[], object], Call, float] | None = None
        """The hook or clean-up that runs now."""
        self.is_drained = self.said_goodbye = self.is_counted = False
        self.news: News | None = None

    def tighten(self, deadline: float) -> None:
        """Move the deadline nearer; a later one changes nothing."""
        tighten(self.node, deadline)

    def call_off(self, deadline: float, why: str = "") -> None:  # noqa: ARG002 - it ends anyway
        """Take note that somebody wants the service down, by *deadline*."""
        self.on_purpose = True
        self.tighten(deadline)

    def join(self, parking: Parking, until: float | None = None) -> bool:
        """Wait in *parking* until it is over or *until*; return whether it is over."""
        if not self.done:
            self.joiners.append(parking)
            tree = self.node._tree_
            assert tree is not None
            for waiting in tree.pool.queued:
                waiting.poke()  # to look for a deadlock again: one more waits for somebody
            try:
                while not self.done and (until is None or clock.now() < until):
                    parking.park(until)
            finally:
                self.joiners.remove(parking)
        return self.done

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

    def stop_error(self, step: str, error: BaseException) -> None:
        """Report an exception during the stop: never a restart (gevent-traps 5)."""
        self.note(Outcome.ERROR, step, str(remember(error, self.node._incarnation_)))
        say(logging.ERROR, self.node, "service raised while stopping", error, step=step)

    def crashed(self, step: str, error: BaseException) -> None:
        """Take note that something of the service crashed while it goes down."""
        self.stop_error(step, error)

    def finished(self) -> None:
        """Take note that the service is done: it is going down anyway."""

    def absorb(self, other: Ending) -> None:
        """Count a descendant's end as part of this one."""
        self.counts = [
            ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)
        ]
        room = max(MOST_ENTRIES - len(self.entries), 0)
        self.entries.extend(other.entries[:room])
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
        )

    def limit(self, began: float) -> float:
        """Return when a step that began at *began* must be over."""
        return min(self.deadline, began + self.own_left)

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
        self._straggler(step, stack)

    def _tell_of_unnamed(self) -> None:
        if self._left > _NAMED:
            self._straggler("greenlet", f"and {self._left - _NAMED} more")

    def _straggler(self, step: str, stack: str) -> None:
        say(logging.ERROR, self.node, "straggler left behind", step=step, stack=stack)
        self.note(Outcome.STRAGGLER, step, stack)


def tighten(node: Node, deadline: float) -> None:
    """Move the deadline nearer of what goes on in *node* and, because of it, below.

    What below does not end yet is given the deadline when its turn comes.
    """
    pending = [node]
    while pending:
        one = pending.pop()
        operation = one._op_
        if operation is not None and deadline < operation.deadline:
            operation.deadline = deadline
            operation.parking.poke()
            pending.extend((one._children_ or {}).values())


# -- beginning -----------------------------------------------------------------------


def end(
    node: Node,
    reason: Reason,
    failure: Failure | None = None,
    *,
    deadline: float = math.inf,
    had_started: bool = True,
    on_purpose: bool = False,
    retries: bool = False,
    left_behind: greenlet | None = None,
) -> Ending | None:
    """Take *node* out of running; return the `Ending` to carry out.

    None means that it is over: the service had neither children nor anything that
    can block, and has ended on the spot.
    """
    holdings = node._holdings_
    at_once = not (
        left_behind is not None
        or node._children_
        or (holdings is not None and holdings.needs_waiting())
        or (had_started and _has_stop_hooks(node))
    )
    if not at_once:
        # First the record, then the state: whatever making it may raise has changed nothing.
        ending = Ending(node, reason, failure, deadline, had_started=had_started)
        ending.on_purpose = on_purpose or ending.on_purpose
        ending.retries = retries
        must_be_legal(node, STOPPING)
        node._op_, node._state_ = ending, STOPPING
        if left_behind is not None:
            ending.leave_behind("on_start", left_behind)
        return ending
    news = News(
        node,
        reason,
        failure,
        had_started=had_started,
        on_purpose=on_purpose or reason is Reason.STOPPED,
        retries=retries,
    )
    move(node, STOPPING)
    if holdings is not None:
        holdings.cancel_passive()
    if node._parent_ is None and node._tree_ is not None:
        node._tree_.report = StopReport(clean=1)
    settle(news)
    return None


def force(
    node: Node,
    reason: Reason,
    failure: Failure | None,
    *,
    had_started: bool,
    on_purpose: bool = False,
    retries: bool = False,
    left_behind: greenlet | None = None,
) -> Ending:
    """Let *node* be stopping, whatever it was in the midst of; for the net (`net`)."""
    ending = Ending(node, reason, failure, math.inf, had_started=had_started)
    ending.on_purpose = on_purpose or ending.on_purpose
    ending.retries = retries
    node._op_, node._state_ = ending, STOPPING
    if left_behind is not None:
        ending.leave_behind("on_start", left_behind)
    return ending


def end_soon(node: Node, reason: Reason, failure: Failure | None = None) -> None:
    """End *node*: at once where nothing can block, else in an engine greenlet."""
    try:
        ending = end(node, reason, failure)
        if ending is not None:
            launch(ending)
    except BaseException:
        _go_on(node, on_purpose=reason is Reason.STOPPED)
        raise


def _go_on(node: Node, *, on_purpose: bool) -> None:
    """Let an end that was cut short go on, if it has begun: else nothing has changed."""
    if node._op_ is not None or node._state_ is not RUNNING:
        bring_down(node, EngineError("end"), on_purpose=on_purpose)


def _has_stop_hooks(node: Node) -> bool:
    cls = type(node)
    has_hooks = cls.on_stop is not Node.on_stop or cls.on_drain is not Node.on_drain
    return has_hooks and node._policy_.shutdown != "brutal_kill"


def bring_down(node: Node, error: BaseException, *, on_purpose: bool = False) -> None:
    """Let *node* end by the general path, whatever it is in the midst of.

    An end that is under way but in nobody's hands is taken up again; see `walking.drive`.
    """
    operation = node._op_
    if isinstance(operation, Ending):
        if operation.walk is None or not operation.walk.is_under_way:
            launch(operation)
    elif operation is not None:
        operation.crashed("start", error)
    elif node._state_ in (RUNNING, STARTING, STOPPING):
        ending = force(
            node,
            Reason.STOPPED if on_purpose else Reason.CRASHED,
            None if on_purpose else remember(error, node._incarnation_),
            had_started=node._state_ is not STARTING,
        )
        launch(ending)


# -- stopping on purpose -------------------------------------------------------------


def request_stop(node: Node, deadline: float) -> Operation | None:
    """Have *node* stopped on purpose; return what to join, None if nothing is in progress.

    Does not block. A stop is not a structural change of the parent, so it needs no
    turn and gets through while the parent is busy.
    """
    parent = node._parent_
    if parent is not None and parent._supervision_ is not None:
        take_out(parent._supervision_, node)
    operation = node._op_
    if operation is None:
        if node._state_ is RESTARTING:
            call_off_restart(node)
            if parent is not None and parent._forgets_ended_:
                detach(node)
        elif node._state_ is RUNNING:
            try:
                ending = end(node, Reason.STOPPED, deadline=deadline)
                if ending is not None:
                    launch(ending)
            except BaseException:
                _go_on(node, on_purpose=True)
                raise
            return ending
        return None
    operation.call_off(deadline, "it was asked to stop")
    return operation


def launch(ending: Ending) -> None:
    """Carry the end out in an engine greenlet."""
    tree = ending.node._tree_
    assert tree is not None
    tree.pool.launch(lambda: tree.drive(ending), ending.node, "stop")


def request_exit(node: Node, error: SystemExit) -> None:
    """Stop the whole tree because a service raised SystemExit (gevent-traps 10)."""
    tree = node._tree_
    if tree is None:
        return
    is_first = tree.exit_code is None
    code, message = exit_code_of(error)
    if is_first:
        tree.exit_code = code
    request_stop(tree.root, clock.now() + tree.exit_seconds)
    if is_first:
        fields: dict[str, Any] = {"code": tree.exit_code}
        if message is not None:
            fields["message"] = as_text(message)
        say(logging.WARNING, node, "service asked the app to exit", **fields)
