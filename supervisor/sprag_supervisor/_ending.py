"""The end of an incarnation: drain, children, on_stop, resources.

An `Ending` exists from the moment a service leaves `running` (or its start has
failed) until it is down. Whoever wants the service down meanwhile joins it: there
is one kill per grace period, never two (gevent-traps 4).

`drive` walks a subtree as a loop over a stack of generators, so no depth of tree
meets the recursion limit. It runs in an engine greenlet, where no Timeout and no
kill of a user's can cut it in half; each hook runs in another one, which can be
killed or left behind without loss. A service that has nothing to wait for ends on
the spot, in whatever greenlet asks.

Two limits apply. A service's own steps (on_drain, on_stop, its greenlets and
clean-ups, not its children's) share its ``shutdown`` seconds. The deadline of the
stop that covers it is absolute, handed down, and can only become tighter.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from gevent import GreenletExit

from sprag_supervisor import _clock
from sprag_supervisor._decide import After, Reason, after_exit
from sprag_supervisor._failure import Failure, remember
from sprag_supervisor._history import Exit, History
from sprag_supervisor._log import say
from sprag_supervisor._node import Node, context_of, is_active, move, path_of
from sprag_supervisor._pool import Call, Parking, leave_pool
from sprag_supervisor._report import Outcome, StopEntry, StopReport
from sprag_supervisor._states import State
from sprag_supervisor._supervision import ChildExit, post

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from sprag_supervisor._holdings import Holdings
    from sprag_supervisor._starting import Starting

KILL_GRACE: Final = 0.1
"""Seconds that something killed at a deadline gets to die before it is left behind."""
_LATE: Final = 0.5
"""Past a deadline by this many seconds, nothing gets a grace any more."""

_EVENTS: Final = {
    Reason.FINISHED: ("finished", "child_terminated"),
    Reason.SHUTDOWN: ("finished", "shutdown"),
    Reason.STOPPED: ("stopped", "shutdown"),
    Reason.IGNORED: ("stopped", "shutdown"),
    Reason.CRASHED: ("crashed", "child_terminated"),
    Reason.START_FAILED: ("crashed", "start_error"),
    Reason.GAVE_UP: ("gave_up", "shutdown"),
}


class Ending:
    """One service on its way down."""

    __slots__ = (
        "by_supervisor",
        "deadline",
        "done",
        "entries",
        "failure",
        "had_started",
        "joiners",
        "node",
        "on_purpose",
        "outcomes",
        "own_left",
        "parking",
        "reason",
        "retries",
        "since",
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
        self.by_supervisor = False
        """Its parent ends it: with its group, or because it ends itself."""
        self.retries = False
        """It is a restart that failed, and is tried again."""
        self.own_left = node._policy_.own_seconds
        self.since = _clock.now()
        self.parking = Parking()
        self.joiners: list[Parking] | None = None
        self.done = False
        self.worst = Outcome.CLEAN
        self.outcomes: Counter[Outcome] = Counter()
        self.entries: list[StopEntry] = []

    def tighten(self, deadline: float) -> None:
        """Move the deadline nearer; a later one changes nothing."""
        if deadline < self.deadline:
            self.deadline = deadline
            self.parking.poke()

    def join(self, parking: Parking, until: float | None = None) -> bool:
        """Wait in *parking* until it is over or *until*; return whether it is over."""
        if not self.done:
            if self.joiners is None:
                self.joiners = []
            self.joiners.append(parking)
            try:
                while not self.done and (until is None or _clock.now() < until):
                    parking.park(until)
            finally:
                if self.joiners is not None and parking in self.joiners:
                    self.joiners.remove(parking)
        return self.done

    def note(self, outcome: Outcome, step: str, detail: str) -> None:
        """Remember something that was not clean."""
        node = self.node
        self.entries.append(
            StopEntry(path_of(node), node._incarnation_, outcome, step, detail)
        )
        if _SEVERITY[outcome] > _SEVERITY[self.worst]:
            self.worst = outcome

    def stop_error(self, step: str, error: BaseException) -> None:
        """Report an exception during the stop: never a restart (gevent-traps 5)."""
        say(logging.ERROR, self.node, "service raised while stopping", error, step=step)
        self.note(Outcome.ERROR, step, str(remember(error, self.node._incarnation_)))

    def crashed(self, step: str, error: BaseException) -> None:
        """Take note that something of the service crashed while it goes down."""
        self.stop_error(step, error)

    def finished(self) -> None:
        """Take note that the service is done: it is going down anyway."""

    def absorb(self, other: Ending) -> None:
        """Count a descendant's end as part of this one."""
        self.outcomes.update(other.outcomes)
        self.entries.extend(other.entries)

    def report(self) -> StopReport:
        """Return what the end of the whole subtree was like."""
        outcomes = self.outcomes
        return StopReport(
            clean=outcomes[Outcome.CLEAN],
            errors=outcomes[Outcome.ERROR],
            killed=outcomes[Outcome.KILLED],
            stragglers=outcomes[Outcome.STRAGGLER],
            seconds=_clock.now() - self.since,
            entries=tuple(self.entries),
        )

    # -- steps of its own, each bounded -------------------------------------------

    def limit(self, began: float) -> float:
        """Return when a step that began at *began* must be over."""
        return min(self.deadline, began + self.own_left)

    def perform(self, step: str, fn: Callable[[], object]) -> None:
        """Run a hook or clean-up in a pooled greenlet, killing it at the limit."""
        node = self.node
        assert node._tree_ is not None
        context = context_of(node)
        call = Call(lambda: context.run(fn))
        began = _clock.now()
        limit = self.limit(began)
        # Without a limit there is no timer; beyond it, the body runs until it first blocks.
        node._tree_.pool.enter_and_wait(call, self.parking, _timed(limit))
        while not call.done and _clock.now() < (limit := self.limit(began)):
            call.wait(_timed(limit))
        if not call.done:
            call.kill()
            self._grace(lambda: call.done)
            if call.done:
                self.note(Outcome.KILLED, step, "killed at the deadline")
            else:
                self._leave_behind(step, call.abandon())
        if call.error is not None:
            self._step_raised(step, call)
        self.own_left -= _clock.now() - began

    def _step_raised(self, step: str, call: Call) -> None:
        error = call.error
        if isinstance(error, SystemExit):
            request_exit(self.node, error)
        elif error is not None and not isinstance(error, GreenletExit):
            self.stop_error(step, error)

    def release(self, holdings: Holdings) -> None:
        """Cancel, kill, join and clean up what the service holds."""
        holdings.cancel_passive()
        if holdings.greenlets or holdings.calls or holdings.subscriptions:
            self._end_activities(holdings)
        while holdings.cleanups:
            fn, args, kwargs = holdings.cleanups.pop()
            self.perform("clean-up", lambda fn=fn, a=args, k=kwargs: fn(*a, **k))  # type: ignore[misc]

    def _end_activities(self, holdings: Holdings) -> None:
        began = _clock.now()
        busy = [each for each in holdings.subscriptions or () if each.running]
        for each in busy:
            each.awaited_by = self.parking
        holdings.awaited_by = self.parking

        def over() -> bool:
            return not (holdings.greenlets or holdings.calls or any(s.running for s in busy))

        _kill_all(holdings)
        while not over() and _clock.now() < (limit := self.limit(began)):
            self.parking.park(_timed(limit))
        self._turns(over)
        if not over():
            _kill_all(holdings)
            self._grace(over)
            killed = over()
            for greenlet in tuple(holdings.greenlets or ()):
                self._leave_behind("greenlet", greenlet)
            for call in tuple(holdings.calls or ()):
                self._leave_behind("timer", call.abandon())
            for each in busy:
                if each.running:
                    self._straggler("listener", each.describe())
            if killed:
                self.note(Outcome.KILLED, "greenlet", "killed again at the deadline")
        self.own_left -= _clock.now() - began

    def _grace(self, over: Callable[[], bool]) -> None:
        """Give what was just killed a moment to die."""
        now = _clock.now()
        until = max(now, min(now + KILL_GRACE, self.deadline + _LATE))
        self._turns(over)
        while not over() and _clock.now() < until:
            self.parking.park(until)

    def _turns(self, over: Callable[[], bool]) -> None:
        """Let a kill arrive, which takes a turn of the loop, and its news, which takes another."""
        for _ in range(3):
            if not over():
                self.parking.park(_clock.now())

    def _leave_behind(self, step: str, greenlet: Any) -> None:
        frame = getattr(greenlet, "gr_frame", None)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "no stack"
        self._straggler(step, stack)

    def _straggler(self, step: str, stack: str) -> None:
        say(logging.ERROR, self.node, "straggler left behind", step=step, stack=stack)
        self.note(Outcome.STRAGGLER, step, stack)


_SEVERITY: Final = {outcome: severity for severity, outcome in enumerate(Outcome)}


def _timed(limit: float) -> float | None:
    return None if limit == math.inf else limit


def _kill_all(holdings: Holdings) -> None:
    for greenlet in tuple(holdings.greenlets or ()):
        greenlet.kill(block=False)
        if greenlet.ready():  # had not begun to run, so nothing will ever drop it
            holdings.drop_greenlet(greenlet)
    for call in tuple(holdings.calls or ()):
        call.kill()


# -- beginning, walking, being over ------------------------------------------------


def begin(
    node: Node,
    reason: Reason,
    failure: Failure | None = None,
    *,
    deadline: float = math.inf,
    had_started: bool = True,
) -> Ending:
    """Take *node* out of running; the end is over already if nothing needs waiting for.

    Otherwise the caller sees to it that somebody runs `drive`.
    """
    ending = Ending(node, reason, failure, deadline, had_started=had_started)
    move(node, State.STOPPING)
    node._op_ = ending
    return ending


def begin_quickly(ending: Ending) -> bool:
    """End the service on the spot if it has neither children nor anything that can block."""
    node = ending.node
    if node._children_:
        return False
    holdings = node._holdings_
    if holdings is not None and holdings.needs_waiting():
        return False
    if ending.had_started and node._policy_.shutdown != "brutal_kill" and _has_stop_hooks(node):
        return False
    if holdings is not None:
        holdings.cancel_passive()
    _over(ending)
    return True


def _has_stop_hooks(node: Node) -> bool:
    cls = type(node)
    return cls.on_stop is not Node.on_stop or cls.on_drain is not Node.on_drain


def drive(ending: Ending) -> None:
    """Carry out the end of a subtree, depth-first, in the calling engine greenlet."""
    stack = [_steps(ending)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        else:
            stack.append(_steps(child))


def _steps(ending: Ending) -> Generator[Ending]:
    """Yield the endings of the children, to be walked before going on."""
    node = ending.node
    cls = type(node)
    says_goodbye = ending.had_started and node._policy_.shutdown != "brutal_kill"
    if says_goodbye and cls.on_drain is not Node.on_drain:
        ending.perform("on_drain", node.on_drain)
    if node._children_:
        if cls._stops_together_:
            yield from _end_together(ending, node._children_)
        else:
            yield from _end_in_reverse(ending, node._children_)
    if says_goodbye and cls.on_stop is not Node.on_stop:
        ending.perform("on_stop", node.on_stop)
    if node._holdings_ is not None:
        ending.release(node._holdings_)
    _over(ending)


def _end_in_reverse(ending: Ending, children: dict[str, Node]) -> Generator[Ending]:
    while children:
        child = next(reversed(children.values()))
        sub = end_child(child, ending.deadline)
        if sub is not None and not sub.done:
            yield sub
        if sub is not None:
            ending.absorb(sub)
        wait_until_down(child, ending)
        detach(child)


def _end_together(ending: Ending, children: dict[str, Node]) -> Iterable[Ending]:
    node = ending.node
    assert node._tree_ is not None
    everyone = list(reversed(children.values()))
    subs: list[Ending] = []
    for child in everyone:
        sub = end_child(child, ending.deadline)
        if sub is not None:
            subs.append(sub)
            if not sub.done:
                node._tree_.pool.launch(lambda sub=sub: drive(sub))  # type: ignore[misc]
    for child in everyone:
        wait_until_down(child, ending)
        detach(child)
    for sub in subs:
        ending.absorb(sub)
    return ()


def end_child(child: Node, deadline: float) -> Ending | None:
    """Begin the end of a running child on its parent's behalf; None if it is not running."""
    if child._state_ is State.RESTARTING:
        cancel_retry(child)
        return None
    if child._state_ is not State.RUNNING:
        return None
    ending = begin(child, Reason.STOPPED, deadline=deadline)
    ending.by_supervisor = True
    begin_quickly(ending)
    return ending


def wait_until_down(child: Node, ending: Ending) -> None:
    """Wait for a child that somebody else is starting or ending."""
    while (operation := child._op_) is not None:
        if isinstance(operation, Ending):
            operation.by_supervisor = operation.on_purpose = True
            operation.tighten(ending.deadline)
            operation.join(ending.parking)
            ending.absorb(operation)
        else:
            operation.abort_for_stop("its parent is stopping", ending.deadline)
            operation.join(ending.parking)
        if child._state_ is State.RESTARTING:
            cancel_retry(child)


def cancel_retry(child: Node) -> None:
    """Take a child that waits for its restart out of the queue."""
    history = child._history_
    if history is not None and history.retry_timer is not None:
        history.retry_timer.close()
        history.retry_timer = history.next_try = None
    move(child, State.STOPPED)
    _wake_waiters(child)


def detach(child: Node) -> None:
    """Take *child*, which is down, out of the tree."""
    parent = child._parent_
    if parent is not None and parent._children_ is not None:
        parent._children_.pop(child._name_ or "", None)
    child._parent_ = child._tree_ = None


def _over(ending: Ending) -> None:
    """Settle the last state, tell everybody, let go of everything."""
    node = ending.node
    parent = node._parent_
    tree = node._tree_
    assert tree is not None
    ending.outcomes[ending.worst] += 1
    now = _clock.now()
    uptime = now - node._since_ if ending.had_started else 0.0
    node._since_ = now
    node._op_ = node._holdings_ = node._supervision_ = node._children_ = None
    reason = ending.reason
    decided_as = Reason.STOPPED if ending.on_purpose else reason
    to, leaves = _destination(ending, decided_as)
    move(node, to)
    _remember(ending, uptime)
    event, context = _EVENTS[reason]
    tree.announce(node, event, context, reason.value, ending.failure)
    if to is State.RESTARTING:
        assert parent is not None
        item = ChildExit(node, node._incarnation_, reason, ending.failure, ending.retries)
        post(parent, item)
    elif parent is not None and _may_shut_down(parent, node, ending):
        post(parent, ChildExit(node, node._incarnation_, decided_as, ending.failure))
    if leaves:
        detach(node)
    _wake_waiters(node)
    ending.done = True
    joiners, ending.joiners = ending.joiners, None
    for parking in joiners or ():
        parking.poke()
    if parent is None:
        tree.report = ending.report()
        leave_pool(tree.pool)


def _destination(ending: Ending, reason: Reason) -> tuple[State, bool]:
    """Return the state to settle in, and whether the node leaves its tree."""
    node = ending.node
    parent = node._parent_
    to = _RESTING[reason]
    if parent is None:
        return to, False
    if reason is Reason.START_FAILED:
        return (State.RESTARTING if ending.retries and is_active(parent) else to), False
    after = after_exit(node._policy_.restart, reason)
    if after is After.RESTART and is_active(parent):
        return State.RESTARTING, False
    return to, after is After.DROP


_RESTING: Final = {
    Reason.FINISHED: State.FINISHED,
    Reason.SHUTDOWN: State.FINISHED,
    Reason.STOPPED: State.STOPPED,
    Reason.IGNORED: State.STOPPED,
    Reason.CRASHED: State.FAILED,
    Reason.START_FAILED: State.FAILED,
    Reason.GAVE_UP: State.FAILED,
}


def _may_shut_down(parent: Node, node: Node, ending: Ending) -> bool:
    return (
        node._policy_.significant
        and parent._policy_.auto_shutdown != "never"
        and not ending.on_purpose
        and parent._state_ is State.RUNNING
    )


def _remember(ending: Ending, uptime: float) -> None:
    node = ending.node
    history = node._history_
    if history is None:
        if ending.failure is None and node._parent_ is not None:
            return  # an uneventful child: its state says it all
        history = node._history_ = History()
    tree = node._tree_
    code = tree.exit_code if tree is not None and node._parent_ is None else None
    history.exit = Exit(ending.reason, node._incarnation_, ending.failure, code)
    if ending.failure is not None:
        history.failures.append(ending.failure)
    backoff = node._policy_.backoff
    if backoff is not None and uptime >= backoff.reset_after:
        history.in_a_row = 0


def _wake_waiters(node: Node) -> None:
    if node._history_ is not None:
        for parking in node._history_.waiters:
            parking.poke()


# -- stopping on purpose -------------------------------------------------------------


def stop(node: Node, deadline: float) -> Ending | Starting | None:
    """Have *node* stopped on purpose; return what to join, None if nothing is in progress.

    Does not block. A stop is not a structural change of the parent, so it needs no
    turn and gets through while the parent is busy.
    """
    parent = node._parent_
    if parent is not None and parent._supervision_ is not None:
        covering = parent._supervision_.covering
        if covering is not None:
            covering.discard(node)
    operation = node._op_
    if operation is None:
        if node._state_ is State.RESTARTING:
            cancel_retry(node)
            return None
        if node._state_ is not State.RUNNING:
            return None
        ending = begin(node, Reason.STOPPED, deadline=deadline)
        launch(ending)
        return ending
    if isinstance(operation, Ending):
        operation.on_purpose = True
        operation.tighten(deadline)
    else:
        operation.abort_for_stop("it was asked to stop", deadline)
    return operation


def launch(ending: Ending) -> None:
    """Carry the end out: at once where nothing can block, else in an engine greenlet."""
    if not begin_quickly(ending):
        tree = ending.node._tree_
        assert tree is not None
        tree.pool.launch(lambda: drive(ending))


def request_exit(node: Node, error: SystemExit) -> None:
    """Stop the whole tree because a service raised SystemExit (gevent-traps 10)."""
    tree = node._tree_
    if tree is None:
        return
    if tree.exit_code is None:
        tree.exit_code = _code_of(error)
        say(logging.WARNING, node, "service asked the app to exit", code=tree.exit_code)
    stop(tree.root, _clock.now() + tree.exit_seconds)


def _code_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
