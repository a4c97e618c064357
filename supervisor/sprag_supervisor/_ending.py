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
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import Greenlet, GreenletExit, sleep

from sprag_supervisor import _clock
from sprag_supervisor._callables import check_result
from sprag_supervisor._decide import Reason
from sprag_supervisor._failure import Failure, as_text, cut, meaning_of, remember
from sprag_supervisor._foreign import exit_code_of, is_a
from sprag_supervisor._greenlets import frame_of, is_dead
from sprag_supervisor._group import take_out
from sprag_supervisor._holdings import kept_context
from sprag_supervisor._log import say
from sprag_supervisor._net import bring_down, give_in, interrupt_main, report_bug
from sprag_supervisor._node import Node, context_of, move, must_be_legal, path_of
from sprag_supervisor._pace import Batches, Pace
from sprag_supervisor._parking import Parking
from sprag_supervisor._pool import Call, leave_behind
from sprag_supervisor._report import MOST_ENTRIES, Outcome, StopEntry, StopReport
from sprag_supervisor._settling import News, call_off_restart, detach, settle
from sprag_supervisor._states import RESTARTING, RUNNING, STOPPING
from sprag_supervisor._stragglers import bequeath, keep
from sprag_supervisor._waiting import joiners_served
from sprag_supervisor.exceptions import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextvars import Context

    from greenlet import greenlet

    from sprag_supervisor._holdings import Holdings, Subscription
    from sprag_supervisor._starting import Starting

KILL_GRACE: Final = 0.1
"""Seconds that something killed at a deadline gets to die before it is left behind."""
_FRAMES: Final = 30
"""Of a straggler's stack: those nearest to where it is."""
_NAMED: Final = 20
"""Stragglers of one service that are named one by one."""
_AT_ONCE: Final = 256
"""Children without hooks that end between two looks at the time."""
_FAULTS: Final = 2
"""So many bugs of sprag's in one end are overcome; with one more it gives in."""
_LATE: Final = 0.5
"""Past a deadline by this many seconds, nothing gets a grace any more."""


class Walk:
    """The carrying out of one end and of all below it, by one engine greenlet at a time."""

    __slots__ = ("faults", "is_under_way")

    def __init__(self) -> None:
        self.faults = 0
        """Bugs of sprag's that it has met."""
        self.is_under_way = False


class Ending:
    """One service on its way down."""

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
        self.since = _clock.now()
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
        # What has been done already, for who takes it up again after a bug of sprag's (`_net`).
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

    def join(self, parking: Parking, until: float | None = None) -> bool:
        """Wait in *parking* until it is over or *until*; return whether it is over."""
        if not self.done:
            self.joiners.append(parking)
            tree = self.node._tree_
            assert tree is not None
            for waiting in tree.pool.queued:
                waiting.poke()  # to look for a deadlock again: one more waits for somebody
            try:
                while not self.done and (until is None or _clock.now() < until):
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
            seconds=_clock.now() - self.since,
            entries=tuple(self.entries),
            left_out=self.left_out,
        )

    # -- steps of its own, each bounded -------------------------------------------

    def limit(self, began: float) -> float:
        """Return when a step that began at *began* must be over."""
        return min(self.deadline, began + self.own_left)

    def perform(self, step: str, fn: Callable[[], object]) -> None:
        """Run a hook or clean-up in a pooled greenlet, killing it at the limit."""
        node = self.node
        assert node._tree_ is not None
        call = Call(lambda: self._inside(step, fn))
        context = self._context
        if context is None:
            context = self._context = kept_context(node)
        call.context = context
        began = _clock.now()
        limit = self.limit(began)
        self.call = step, fn, call, began
        # Without a limit there is no timer; beyond it, the body runs until it first blocks.
        node._tree_.pool.enter_and_wait(call, self.parking, _timed(limit))
        self.see_through(step, call, began)

    def take_up_call(self, step: str, fn: Callable[[], object], call: Call, began: float) -> None:
        """Go on with what was under way when a bug of sprag's came in between."""
        call.revoke()
        if call.is_revoked:
            self.perform(step, fn)
        else:
            self.see_through(step, call, began)

    def see_through(self, step: str, call: Call, began: float) -> None:
        """Wait for a call that is under way, and kill it at the limit."""
        while not call.done and not call.is_abandoned:
            limit = self.limit(began)
            if call.has_begun and _clock.now() >= limit:
                break
            call.wait(_timed(limit))
        if not call.done:
            call.kill()
            self._grace(lambda: call.done)
            if call.done:
                self.note(Outcome.KILLED, step, "killed at the deadline")
            else:
                self.leave_behind(step, call.abandon())
                if self._context is not None:  # it still runs in that
                    self._context = context_of(self.node, self._context.copy())
        if call.error is not None:
            self._step_raised(step, call)
        self.own_left -= _clock.now() - began
        self.call = None

    def _inside(self, step: str, fn: Callable[[], object]) -> None:
        """Run *fn* as the service's code; in a frame that knows the service, for the watchdog."""
        result = fn()
        if result is not None:
            check_result(step, result)

    def _step_raised(self, step: str, call: Call) -> None:
        error = call.error
        meant = None if error is None else meaning_of(error)
        if is_a(meant, KeyboardInterrupt):
            interrupt_main(meant)
        elif is_a(meant, SystemExit):
            request_exit(self.node, meant)
        elif error is not None and not is_a(meant, GreenletExit):
            self.stop_error(step, error)

    def release(self, holdings: Holdings) -> None:
        """Cancel, kill, join and clean up what the service holds."""
        busy = [each for each in holdings.subscriptions or () if each.running]
        holdings.cancel_passive()
        if holdings.greenlets or holdings.calls or busy:
            self._end_activities(holdings, busy)
        pace = Pace()
        while holdings.cleanups:
            pace()
            fn, args, kwargs = holdings.cleanups.pop()
            self.perform("clean-up", lambda fn=fn, a=args, k=kwargs: fn(*a, **k))  # type: ignore[misc]
        if holdings.greenlets:  # bare ones that a clean-up has started and not waited for
            self._end_activities(holdings, ())

    def _end_activities(self, holdings: Holdings, busy: Sequence[Subscription]) -> None:
        began = _clock.now()
        for each in busy:
            each.awaited_by = self.parking
        holdings.awaited_by = self.parking

        def over() -> bool:
            return not (
                (
                    holdings.greenlets
                    and not all(is_dead(one) for one in holdings.greenlets.values())
                )
                or (holdings.calls and any(not call.done for call in holdings.calls))
                or any(each.running for each in busy)
            )

        _kill_all(holdings)
        while not over() and _clock.now() < (limit := self.limit(began)):
            self.parking.park(_timed(limit))
        self._turns(over)
        if not over():
            _kill_all(holdings)
            self._until_delivered()
            self._grace(over)
            killed = over()
            for each_greenlet in tuple((holdings.greenlets or {}).values()):
                self.leave_behind("greenlet", each_greenlet)
                holdings.drop_greenlet(each_greenlet)
            for call in tuple(holdings.calls or ()):
                self.leave_behind(call.step, call.abandon())
                holdings.drop_call(call)
            self._tell_of_unnamed()
            for each in busy:
                if each.running:
                    keep(self.node, "listener", lambda one=each: not one.running)  # type: ignore[misc]
                    self._straggler("listener", each.describe())
            if killed:
                self.note(Outcome.KILLED, "greenlet", "killed again at the deadline")
        self.own_left -= _clock.now() - began

    def _until_delivered(self) -> None:
        """Wait until the loop has delivered the kills asked for so far; thousands take a while.

        Else those whose turn has not come yet would be taken for stragglers.
        """
        sleep(0)

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


def _timed(limit: float) -> float | None:
    return None if limit == math.inf else limit


# As gevent does to a Pool's, past a user's own `kill`.
_kill: Final = cast("Any", Greenlet).kill
_is_ready: Final = cast("Any", Greenlet).ready


def _kill_all(holdings: Holdings) -> None:
    for greenlet in tuple((holdings.greenlets or {}).values()):
        _kill(greenlet, block=False)
        if _is_ready(greenlet):  # had not begun to run, so nothing will ever drop it
            holdings.drop_greenlet(greenlet)
    for call in tuple(holdings.calls or ()):
        call.kill()


# -- beginning, walking, being over ------------------------------------------------


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
    """Let *node* be stopping, whatever it was in the midst of; for the net (`_net`)."""
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


def drive(ending: Ending) -> None:
    """Carry out the end of a subtree, depth-first, in the calling engine greenlet.

    Whatever a step raises is a bug of sprag: it is reported, and the walk goes on behind it.
    """
    walk = ending.walk
    if walk is None:
        walk = ending.walk = Walk()
    if ending.done or walk.is_under_way:
        return
    try:
        walk.is_under_way = True
        _carry_out(ending, walk)
    except BaseException:
        walk.is_under_way = False
        walk.faults += 1
        raise


def _carry_out(ending: Ending, walk: Walk) -> None:
    way = [(ending, _steps(ending))]
    served = joiners_served()
    served.append(ending.joiners)
    pace: Pace | None = None
    while way:
        last, steps = way[-1]
        try:
            child = next(steps, None)
        except BaseException as error:  # noqa: BLE001 - a bug of sprag
            way[-1] = last, _steps_left(last, walk, error)
            continue
        if child is None:
            way.pop()
            served.pop()
        else:
            if pace is None:
                pace = Pace()
            pace()
            child.walk = walk
            way.append((child, _steps(child)))
            served.append(child.joiners)


def _steps_left(ending: Ending, walk: Walk, error: BaseException) -> Generator[Ending]:
    """Return what is left to be done after one of its steps has raised *error*."""
    node = ending.node
    walk.faults += 1
    ending.faults += 1
    if report_bug(node, "stop", error) is not None:
        ending.note(Outcome.ERROR, "stop", str(EngineError("stop")))
    if ending.faults <= _FAULTS:
        return _steps(ending)
    give_in(node)
    return iter(())  # type: ignore[return-value]


def _steps(ending: Ending) -> Generator[Ending]:
    """Yield the endings of the children, to be walked before going on."""
    node = ending.node
    cls = type(node)
    if ending.call is not None:
        ending.take_up_call(*ending.call)
    says_goodbye = ending.had_started and node._policy_.shutdown != "brutal_kill"
    if says_goodbye and not ending.is_drained:
        ending.is_drained = True
        if ending.reason.is_clean and cls.on_drain is not Node.on_drain:
            ending.perform("on_drain", partial(_call_hook, node, "on_drain"))
    if node._children_:
        if cls._stops_together_:
            _end_together(ending, node._children_)
        else:
            yield from _end_in_reverse(ending, node._children_)
    if says_goodbye and not ending.said_goodbye:
        ending.said_goodbye = True
        if cls.on_stop is not Node.on_stop:
            ending.perform("on_stop", partial(_call_hook, node, "on_stop"))
    if node._holdings_ is not None:
        ending.release(node._holdings_)
    _over(ending)


def _call_hook(node: Node, name: str) -> object:
    return getattr(node, name)()  # looked up here: a user's class may raise even then


def _end_in_reverse(ending: Ending, children: dict[str, Node]) -> Generator[Ending]:
    everyone = tuple(children.values())  # nobody is adopted any more
    pace = Pace()
    for number, child in enumerate(reversed(everyone)):
        if not number % _AT_ONCE:
            pace()
        if child._parent_ is not ending.node:
            continue  # a temporary child that has ended meanwhile
        sub = end_child(child, ending) or _taken_up(child, ending)
        if sub is not None:
            yield sub
            ending.absorb(sub)
        if child._op_ is not None or child._state_ is RESTARTING:
            wait_until_down(child, ending)
        detach(child)


def _end_together(ending: Ending, children: dict[str, Node]) -> None:
    tree = ending.node._tree_
    assert tree is not None
    everyone = tuple(children.values())
    subs: dict[int, Ending] = {}  # by identity: a service may be a dataclass, without a hash
    pace, batches = Pace(), Batches()
    for number, child in enumerate(reversed(everyone)):
        if not number % _AT_ONCE:
            pace()
        sub = end_child(child, ending)
        if sub is not None:
            subs[id(child)] = sub
            launch(sub)
            batches()
        elif child._op_ is not None:
            call_off(child._op_, ending.deadline)  # now: else it is up before it is waited for
    for child in everyone:
        sub = subs.get(id(child))
        if sub is not None:
            sub.join(ending.parking)
            ending.absorb(sub)
        if child._op_ is not None or child._state_ is RESTARTING:
            wait_until_down(child, ending)
    for child in everyone:  # not before the last is down: till then they keep their places
        if child._history_ is not None:
            bequeath(child, ending.node)
        child._parent_ = child._tree_ = None
    children.clear()


def _taken_up(child: Node, ending: Ending) -> Ending | None:
    """Return the end of *child* that this walk was in the midst of when a step of it raised."""
    operation, walk = child._op_, ending.walk
    assert walk is not None
    if isinstance(operation, Ending):
        is_ours = operation.walk is walk or (walk.faults and operation.walk is None)
        return operation if is_ours else None
    if operation is None and child._state_ is STOPPING:
        return force(child, Reason.STOPPED, None, had_started=True)
    return None


def end_child(child: Node, ending: Ending) -> Ending | None:
    """End a running child on behalf of its parent's *ending*; return what is to be waited for."""
    if child._state_ is not RUNNING:
        return None
    sub = end(child, Reason.STOPPED, deadline=ending.deadline)
    if sub is None:
        ending.counts[0] += 1
    return sub


def wait_until_down(child: Node, ending: Ending) -> None:
    """Wait for a child that somebody else is starting or ending."""
    while (operation := child._op_) is not None:
        call_off(operation, ending.deadline)
        if isinstance(operation, Ending) and operation.walk is None and ending.faults:
            launch(operation)
        operation.join(ending.parking)
        if isinstance(operation, Ending):
            ending.absorb(operation)
    if child._state_ is RESTARTING:
        call_off_restart(child)


def call_off(
    operation: Ending | Starting, deadline: float, why: str = "its parent is stopping"
) -> None:
    """Let what is in progress end with the service down, by *deadline*."""
    if isinstance(operation, Ending):
        operation.on_purpose = True
        operation.tighten(deadline)
    else:
        operation.abort_for_stop(why, deadline)


def _over(ending: Ending) -> None:
    """Let go of everything and tell everybody."""
    node = ending.node
    if not ending.is_counted:
        ending.is_counted = True
        ending.counts[ending.worst.value] += 1
    tree = node._tree_
    if node._parent_ is None and tree is not None:
        tree.report = ending.report()
    news = ending.news
    if news is None:
        news = ending.news = News(
            node,
            ending.reason,
            ending.failure,
            had_started=ending.had_started,
            on_purpose=ending.on_purpose,
            retries=ending.retries,
        )
    settle(news)
    ending.done = True
    for parking in ending.joiners:
        parking.poke()


# -- stopping on purpose -------------------------------------------------------------


def stop(node: Node, deadline: float) -> Ending | Starting | None:
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
    call_off(operation, deadline, "it was asked to stop")
    return operation


def launch(ending: Ending) -> None:
    """Carry the end out in an engine greenlet."""
    tree = ending.node._tree_
    assert tree is not None
    tree.pool.launch(lambda: drive(ending), ending.node, "stop")


def request_exit(node: Node, error: SystemExit) -> None:
    """Stop the whole tree because a service raised SystemExit (gevent-traps 10)."""
    tree = node._tree_
    if tree is None:
        return
    is_first = tree.exit_code is None
    code, message = exit_code_of(error)
    if is_first:
        tree.exit_code = code
    stop(tree.root, _clock.now() + tree.exit_seconds)
    if is_first:
        fields: dict[str, Any] = {"code": tree.exit_code}
        if message is not None:
            fields["message"] = as_text(message)
        say(logging.WARNING, node, "service asked the app to exit", **fields)
