"""The start of an incarnation: first state, on_start, run; or all of it undone.

`start` works in the greenlet that asks, which for `adopt` is the user's own. The
user's code runs in a pooled greenlet beside it: so a start can be timed, aborted by
a stop, or aborted because something the service has already spawned crashed. What is
thrown into the waiting greenlet (a kill, a Timeout around `adopt`) aborts the start
as well, is held back while the start is undone, and raised afterwards.
"""

from __future__ import annotations

import contextvars
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

from gevent import GreenletExit, getcurrent

from sprag_supervisor.exceptions import EngineError, Ignore, StartAborted, StartFailed, StartTimeout
from sprag_supervisor.facts.failure import (
    Failure,
    as_text,
    meaning_of,
    passed_on,
    remember,
    was_thrown_in,
)
from sprag_supervisor.foreign import attribute_of, cause_of, class_name, is_a
from sprag_supervisor.life import guard
from sprag_supervisor.life.bugs import give_in, interrupt_main, report_bug
from sprag_supervisor.life.ending import Ending, end, force, launch, tighten
from sprag_supervisor.life.steps import KILL_GRACE
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.pool import Call
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import DOWN, RUNNING, STARTING
from sprag_supervisor.tree.callables import check_result
from sprag_supervisor.tree.inbox import attend_soon
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.log import say, saying
from sprag_supervisor.tree.moves import must_be_legal, reset
from sprag_supervisor.tree.names import lineage, path_of
from sprag_supervisor.tree.node import Node
from sprag_supervisor.tree.seat import context_of, keep_context, take_seat
from sprag_supervisor.tree.stragglers import warn_of_stragglers

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenlet import greenlet

    from sprag_supervisor.tree.node import Tree


_THROWN: Final = 100
"""So often may something be thrown at who undoes a start by force."""


class Starting(Call):
    """One service on its way up: the call of its first steps, and what may become of it."""

    # Defaults of the class: a start goes well and needs none of these.
    is_start: ClassVar[bool] = True
    aborted: BaseException | None = None
    adopts = False
    """`on_start` waits for a child to come up, or for its start to be undone."""
    on_purpose = False
    deadline = math.inf
    joiners: list[Parking] | None = None
    left_behind: greenlet | None = None
    _finishes = False
    _killed_at = math.inf
    _interrupt: BaseException | None = None
    _failure: Failure | None = None
    _tell: Callable[[], None] | None = None

    def __init__(self, node: Node, context: contextvars.Context, *, retries: bool) -> None:
        self.node = node
        self.retries = retries
        """If it fails it is tried again: the start is a restart."""
        self.parking = Parking()
        self.began = clock.now()
        self.context = self._context = context
        self._body = self._bring_up

    # -- what others may ask for meanwhile ------------------------------------------

    def call_off(self, deadline: float, why: str) -> None:
        """Cut the start short because the service or its parent is to stop."""
        self.on_purpose = True
        self.tighten(deadline)
        self._abort(StartAborted(why))

    def tighten(self, deadline: float) -> None:
        """Move the deadline of an abort nearer; a later one changes nothing."""
        tighten(self.node, deadline)

    def crashed(self, step: str, error: BaseException) -> None:
        """Cut the start short: something the service already owns has crashed."""
        del step  # logged once, as the failed start it becomes
        self._abort(error)

    def finished(self) -> None:
        """End cleanly as soon as the service has come up."""
        self._finishes = True

    def join(self, parking: Parking, until: float | None = None) -> bool:
        """Wait in *parking* until the start is over or *until*; return whether it is over."""
        if self.joiners is None:
            self.joiners = []
        self.joiners.append(parking)
        while self.node._op_ is self and (until is None or clock.now() < until):
            parking.park(until)
        return self.node._op_ is not self

    def _abort(self, error: BaseException) -> None:
        if self.aborted is None:
            self.aborted = error
        self.parking.poke()

    # -- the start itself ------------------------------------------------------------

    def carry_out(self) -> None:
        """Run the user's code; return when it has returned, or will not any more."""
        node = self.node
        tree = node._tree_
        assert tree is not None
        seconds = node._policy_.start_timeout
        until = None if seconds is None else clock.now() + seconds
        try:
            tree.pool.enter_and_wait(self, self.parking, until)
        except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
            self._interrupted(interrupt)
        self.see_through(seconds, until)

    def see_through(self, seconds: float | None = None, until: float | None = None) -> None:
        """Wait for the user's code, and kill it at *until* or when the start is aborted."""
        node = self.node
        if self._worker is None:
            self.revoke()  # no greenlet has been found for it
        kills = 0
        while not self.done and not self.is_abandoned:
            now = clock.now()
            if self.aborted is None and seconds is not None and until is not None and now >= until:
                self.aborted = StartTimeout(seconds)
            if self.aborted is not None:
                # As for greenlets at a stop: one kill at once, one at the limit.
                if kills == 0:
                    kills, self._killed_at = 1, now
                    self.kill()
                if self.adopts:
                    until = None  # the child is undone within limits of its own
                elif kills == 1:
                    until = min(self._killed_at + node._policy_.own_seconds, self.deadline)
                    until = max(until, self._killed_at + KILL_GRACE)
                    if now >= until:
                        kills, until = 2, now + KILL_GRACE
                        self.kill()
                elif until is not None and now >= until:
                    self.left_behind = self.abandon()
                    return
            try:
                self.wait(None if until == math.inf else until)
            except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
                self._interrupted(interrupt)

    def has_adopted(self) -> None:
        """Take note that a child is up, or its start undone, which took no time of our own."""
        self.adopts = False
        if self.aborted is not None:
            self._killed_at = clock.now()
            self.parking.poke()

    def _interrupted(self, interrupt: BaseException) -> None:
        self._hold_back(interrupt)
        self._abort(interrupt)

    def _hold_back(self, interrupt: BaseException) -> None:
        """Keep what is thrown at us until all is undone; of several the first, or a Ctrl-C."""
        if self._interrupt is None or is_a(interrupt, KeyboardInterrupt):
            self._interrupt = interrupt
        elif not was_thrown_in(interrupt):
            report_bug(self.node, "start", interrupt)

    def _bring_up(self) -> None:
        node = self.node
        take_seat(node)
        if node._incarnation_ > 1:
            reset(node)
        node._prepare_()
        on_start: Callable[[], object] = node.on_start
        if (result := on_start()) is not None:
            check_result("on_start", result)

    def conclude(self) -> None:
        """Make the service running, or undo the start and raise why."""
        node = self.node
        if (tree := node._tree_) is not None:
            tree.starts.discard(self)
        raised_by_user = self.error if self.aborted is None else self.aborted
        error = None if raised_by_user is None else meaning_of(raised_by_user)
        if raised_by_user is not error and not is_a(error, GreenletExit):
            say(logging.ERROR, node, "an exit was raised among other exceptions", raised_by_user)
        del raised_by_user
        if error is None:
            self._keep_context()
            try:
                come_up(node, self._context, restarted=self.retries)
            finally:
                if self.joiners is not None:
                    self._wake_joiners()
            if self._finishes:
                guard.end_cleanly(node, node._incarnation_)
            return
        path = path_of(node)  # now: a temporary service leaves the tree as soon as it has ended
        if self.aborted is not None and self.error is not None:
            self._tell_of(self.error)
        try:
            self._undo(error)
        finally:
            self._wake_joiners()
        raised = self._told(path, error) if self._interrupt is None else self._interrupt
        # What is raised keeps this frame and those of `on_start`: no work for the collector.
        self.error = self.aborted = self._interrupt = None
        del self, error
        if raised is not None:
            try:
                raise raised
            finally:
                del raised

    def _tell_of(self, error: BaseException) -> None:
        """Report what `on_start` has raised while it was cut short: nobody else would."""
        if is_a(error, KeyboardInterrupt):
            interrupt_main(error)
        elif error is not self.aborted and not (
            is_a(error, GreenletExit) or is_a(error, StartFailed)
        ):
            say(logging.ERROR, self.node, "service raised while its start was cut short", error)

    def _keep_context(self) -> None:
        """Let the hooks and clean-ups to come run in the context of `on_start`.

        Unless it holds nothing but whose it is: then another one is as good, and costs no memory.
        """
        context = self._context
        if self.left_behind is not None:  # it still runs there
            context = context_of(self.node, context.copy())
        keep_context(self.node, context)

    def _told(self, path: str, error: BaseException) -> BaseException | None:
        """Return what the one who asked for the start is told about *error*."""
        if is_a(error, Ignore):
            return None
        if is_a(error, KeyboardInterrupt):
            return error
        if is_a(error, StartFailed) and _is_from_below(error, path):
            return error  # the innermost failure, unchanged through the levels
        failed = _failure_for(path, error)
        failed.failure = self._failure
        failed.__cause__ = error
        return failed

    def _undo(self, error: BaseException) -> None:
        """Release what the start has acquired; what is thrown at us meanwhile must wait."""
        node = self.node
        self._keep_context()
        if is_a(error, SystemExit):
            guard.report_crash(node, node._incarnation_, "on_start", error)
        reason, failure = self._verdict(error)
        ending = end(
            node,
            reason,
            failure,
            deadline=self.deadline,
            had_started=False,
            on_purpose=self.on_purpose,
            retries=self.retries,
            left_behind=self.left_behind,
        )
        self._wake_joiners()
        if ending is not None:
            launch(ending)
        if self._tell is not None:
            try:
                self._tell()
            except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
                self._hold_back(interrupt)
        while ending is not None and not ending.done:
            try:
                ending.join(self.parking)
            except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
                self._hold_back(interrupt)

    def _verdict(self, error: BaseException) -> tuple[Reason, Failure | None]:
        if is_a(error, Ignore):
            return Reason.IGNORED, None
        node = self.node
        if self.on_purpose or (self._interrupt is not None and _called_off(node)):
            return Reason.STOPPED, None
        # Of a child's failure the service judges what the child raised.
        is_from_below = is_a(error, StartFailed)
        below = cause_of(error) if is_from_below else None
        action = node._policy_.action_for(error if below is None else below)
        told = attribute_of(error, "failure") if is_from_below else None
        if type(told) is Failure:
            # On the way up it is the same failure: not logged again, nor its ever longer
            # traceback walked at each of a thousand levels.
            failure = passed_on(error, told, node._incarnation_, action)
        else:
            failure = remember(error, node._incarnation_, action=action)
            if not is_a(error, SystemExit):
                self._tell = saying(logging.ERROR, node, "service failed to start", error)
            self._failure = failure
        return Reason.START_FAILED, failure

    def _wake_joiners(self) -> None:
        for parking in self.joiners or ():
            parking.poke()


def _failure_for(path: str, error: BaseException) -> StartFailed:
    if is_a(error, GreenletExit):
        reason = "on_start was killed"
    elif is_a(error, StartTimeout) or is_a(error, StartAborted):
        reason = as_text(error)
    else:
        text = as_text(error)
        name = class_name(type(error))
        reason = f"{name}: {text}" if text else name
    return StartFailed(path, reason)


def _is_from_below(error: BaseException, path: str) -> bool:
    """Whether a StartFailed is about a service below *path*; a user may raise one of any kind."""
    where = attribute_of(error, "path")
    return type(where) is str and where.startswith(f"{path}/")


def _called_off(node: Node) -> bool:
    """Whether a service above *node* is wanted down: its start is cut short with theirs."""
    above = (each._op_ for each in lineage(node))
    return any(operation is not None and operation.on_purpose for operation in above)


def start(node: Node, *, restarts: bool = False) -> None:
    """Bring *node*, which has its place in a tree, up; return when it runs or has ignored.

    The caller holds the parent's turn, if there is a parent.

    Args:
        node: The service; any state in which nothing of it runs.
        restarts: It is the supervisor who starts it again: in a context of its own,
            and a failure leaves it `restarting`.

    Raises:
        StartFailed: It could not be started, and everything it had acquired is released.
        RecursionError: The caller's stack has no room for it; nothing has changed.
    """
    incarnation, before = node._incarnation_ + 1, node._state_
    try:
        _start(node, incarnation, restarts=restarts)
    except BaseException as error:
        if node._incarnation_ != incarnation or node._state_ in DOWN:
            raise
        if node._state_ is STARTING and node._op_ is None:
            node._incarnation_, node._state_ = incarnation - 1, before  # nothing has been done yet
            raise
        # It is still there: what was raised is not its failure, but a bug of sprag, or what a
        # signal handler has raised in the midst of our work.
        _undo_by_force(node, error, retries=restarts)
        if is_a(error, Exception):
            raise StartFailed(path_of(node), str(EngineError("start"))) from error
        raise


def _start(node: Node, incarnation: int, *, restarts: bool) -> None:
    cls = type(node)
    has_code = cls.on_start is not Node.on_start or cls._prepare_ is not Node._prepare_
    is_plain = incarnation == 1 and not has_code
    tree = node._tree_
    assert tree is not None
    if not is_plain or cls._has_run_ or tree.observers:
        need_room()
    must_be_legal(node, STARTING)
    node._incarnation_, node._state_ = incarnation, STARTING
    if node._history_ is not None:
        warn_of_stragglers(node)
    if is_plain:
        come_up(node, None, restarted=False)
        return
    context = contextvars.Context() if restarts else contextvars.copy_context()
    starting = Starting(node, context, retries=restarts)
    node._op_ = starting
    tree.starts.add(starting)
    above = node._parent_._op_ if node._parent_ is not None else None
    if isinstance(above, Starting) and above.runs_in(getcurrent()):
        above.adopts = True
        try:
            starting.carry_out()
            starting.conclude()
        finally:
            above.has_adopted()
    else:
        starting.carry_out()
        starting.conclude()


def _undo_by_force(node: Node, error: BaseException, *, retries: bool) -> None:
    """Bring down a service whose start was cut short by *error* within sprag's own code."""
    try:
        bug = None if is_a(error, KeyboardInterrupt) else report_bug(node, "start", error)
        operation = node._op_
        left_behind = None
        if isinstance(operation, Starting):
            operation.aborted = error if operation.aborted is None else operation.aborted
            operation.see_through()
            left_behind = operation._worker if operation.is_abandoned else None
        ending = node._op_
        if not isinstance(ending, Ending):
            ending = force(
                node,
                Reason.START_FAILED,
                remember(error if bug is None else bug, node._incarnation_),
                had_started=node._state_ is RUNNING,
                on_purpose=operation is not None and operation.on_purpose,
                retries=retries,
                left_behind=left_behind,
            )
        if isinstance(operation, Starting):
            for parking in operation.joiners or ():
                parking.poke()
        launch(ending)
        _wait_for(ending)
    except BaseException as second:  # noqa: BLE001 - the last resort is for this
        report_bug(node, "undoing a start after a bug in sprag", second)
        give_in(node)


def _wait_for(ending: Ending) -> None:
    """Wait for an end, whatever is thrown at us meanwhile: the start has to be undone first."""
    parking = Parking()
    for _ in range(_THROWN):
        with suppress(BaseException):
            ending.join(parking)
        if ending.done:
            return


def come_up(node: Node, context: contextvars.Context | None, *, restarted: bool) -> None:
    """Make a service whose `on_start` has returned, or that has none, running.

    Its `run` sees what `on_start` has put into *context*; without one, what the caller sees.
    """
    must_be_legal(node, RUNNING)
    now = clock.now()
    node._since_, node._op_, node._state_ = now, None, RUNNING
    tree = node._tree_
    assert tree is not None
    if context is None and node._has_later_hooks_:
        keep_context(node, context_of(node, contextvars.copy_context()))
    if node._has_run_:
        own = contextvars.copy_context() if context is None else context.copy()
        guard.spawn_body(node, own)
    if node._has_ready_ or (node._parent_ is None and tree.awaits_ready):
        _get_ready(node, tree)
    if tree.observers:
        event = "restarted" if restarted else "started"
        announce(node, event, event)
    if node._supervision_ is not None:
        attend_soon(node)


def _get_ready(node: Node, tree: Tree) -> None:
    """Have `on_ready` run, in greenlets beside everything else, once the root has come up."""
    root = tree.root
    if root._state_ is not RUNNING:
        tree.awaits_ready = True
    elif not tree.awaits_ready:
        guard.spawn_ready(node)
    else:
        tree.awaits_ready = False
        stack = [root]
        while stack:
            each = stack.pop()
            if each._has_ready_ and each._state_ is RUNNING:
                guard.spawn_ready(each)
            stack.extend(reversed((each._children_ or {}).values()))
