"""The last step of an end: the state a service settles in, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_supervisor.facts.history import Exit, History
from sprag_supervisor.life.bugs import report_bug
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.decide import After, Reason, after_exit
from sprag_supervisor.rules.states import FAILED, FINISHED, RESTARTING, STOPPED, State
from sprag_supervisor.tree.group import dissolved, led_by, waits_with_others
from sprag_supervisor.tree.inbox import post
from sprag_supervisor.tree.living import announce, leave
from sprag_supervisor.tree.moves import is_active, move, must_be_legal
from sprag_supervisor.tree.node import ChildExit
from sprag_supervisor.tree.stragglers import bequeath

if TYPE_CHECKING:
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.rules.policy import OnFailure
    from sprag_supervisor.tree.node import Node

_RESTING: Final = {
    Reason.FINISHED: FINISHED,
    Reason.SHUTDOWN: FINISHED,
    Reason.STOPPED: STOPPED,
    Reason.IGNORED: STOPPED,
    Reason.CRASHED: FAILED,
    Reason.START_FAILED: FAILED,
    Reason.GAVE_UP: FAILED,
}

_TOLD_BY_STATE: Final = {FINISHED: Reason.FINISHED, STOPPED: Reason.STOPPED}
"""Ends that need no memory: the state the service rests in says why."""

_EVENTS: Final = {
    Reason.FINISHED: ("finished", "child_terminated"),
    Reason.SHUTDOWN: ("finished", "shutdown"),
    Reason.STOPPED: ("stopped", "shutdown"),
    Reason.IGNORED: ("stopped", "shutdown"),
    Reason.CRASHED: ("crashed", "child_terminated"),
    Reason.START_FAILED: ("crashed", "start_error"),
    Reason.GAVE_UP: ("gave_up", "shutdown"),
}


class News:
    """The end of a service, of which nothing runs any more, and what is left to be told of it.

    Attributes:
        node: A service that is stopping.
        reason: What it died of.
        failure: The crash, if it was one.
        had_started: Whether `on_start` had returned.
        on_purpose: Somebody wants it down, so it is not restarted, whatever it died of.
        retries: It is a restart that failed, and is tried again.
    """

    __slots__ = (
        "_leaves",
        "_step",
        "_to",
        "_told",
        "_uptime",
        "failure",
        "had_started",
        "node",
        "on_purpose",
        "reason",
        "retries",
    )

    def __init__(
        self,
        node: Node,
        reason: Reason,
        failure: Failure | None,
        *,
        had_started: bool,
        on_purpose: bool,
        retries: bool,
    ) -> None:
        self.node = node
        self.reason = reason
        self.failure = failure
        self.had_started = had_started
        self.on_purpose = on_purpose
        self.retries = retries
        self._step = 0
        self._told: list[object] = []

    def rest(self) -> None:
        """Move the service to its resting state."""
        node = self.node
        now = clock.now()
        decided_as = Reason.STOPPED if self.on_purpose else self.reason
        action = None if self.failure is None else self.failure.action
        to, self._leaves = _destination(node, decided_as, action, retries=self.retries)
        self._to = to
        self._uptime = now - node._since_ if self.had_started else 0.0
        must_be_legal(node, to)
        node._op_ = node._holdings_ = node._supervision_ = node._children_ = None
        node._since_, node._state_, self._step = now, to, 1

    def tell(self) -> None:
        """Tell everybody, the parent included. May be called again, and goes on then."""
        node, failure, reason = self.node, self.failure, self.reason
        parent, tree = node._parent_, node._tree_
        if self._step == 1:
            if (
                failure is not None
                or parent is None
                or node._history_ is not None
                or _TOLD_BY_STATE.get(self._to) is not reason
            ):
                _remember(node, reason, failure, self._uptime)
            self._step = 2
        if self._step == 2:
            if tree is not None and tree.observers:
                event, context = _EVENTS[reason]
                announce(node, event, context, reason.value, failure, told=self._told)
            self._step = 3
        if self._step == 3:
            if parent is None:
                if tree is not None:
                    leave(tree)
            else:
                self._tell(parent)
            self._step = 4
        if self._leaves:
            detach(node)
        wake_waiters(node)

    def _tell(self, parent: Node) -> None:
        node, failure = self.node, self.failure
        if self._to is RESTARTING:
            if not self.on_purpose and self.reason is not Reason.STOPPED:
                item = ChildExit(node, node._incarnation_, self.reason, failure, self.retries)
                post(parent, item)
            # else it waits for its group
        elif not self.on_purpose:
            counts = self.had_started and _may_shut_down(parent, node)
            # A crash that restarts nobody is heard of too, for the ledger.
            is_crash = failure is not None and (self.had_started or self.retries)
            is_escalated = failure is not None and failure.action == "escalate"
            if counts or is_escalated or is_crash:
                post(parent, ChildExit(node, node._incarnation_, self.reason, failure))
            # Until its parent has heard, it keeps its place: a group restart may cover it, and
            # then its end shuts nothing down (otp-rules 29, 66).
            self._leaves = self._leaves and not counts


def settle(news: News) -> None:
    """Move a service to its resting state and tell everybody.

    A bug of sprag's is reported, and what it has cut short goes on.
    """
    try:
        if not news._step:
            news.rest()
        news.tell()
    except BaseException as error:  # noqa: BLE001 - a bug of sprag
        report_bug(news.node, "end", error)
        if not news._step:
            news.rest()
        news.tell()


def _destination(
    node: Node, reason: Reason, action: OnFailure | None, *, retries: bool
) -> tuple[State, bool]:
    """Return the state to settle in, and whether the node leaves its tree."""
    parent = node._parent_
    to = _RESTING[reason]
    if parent is None or not is_active(parent):
        return to, False  # nobody restarts it; a parent that ends lets go of all its children
    if reason is Reason.START_FAILED and not retries:
        return to, False  # who asked for the start is told, and decides
    restart = node._policy_.restart
    if reason is Reason.STOPPED and restart != "temporary" and waits_with_others(node):
        return RESTARTING, False
    after = after_exit(restart, reason, action)
    if after is After.RESTART:
        return RESTARTING, False
    return to, after is After.DROP or parent._forgets_ended_


def _may_shut_down(parent: Node, node: Node) -> bool:
    return (
        node._policy_.significant and parent._policy_.auto_shutdown != "never" and is_active(parent)
    )


def _remember(node: Node, reason: Reason, failure: Failure | None, uptime: float) -> None:
    history = node._history_
    if history is None:
        history = node._history_ = History()
    tree = node._tree_
    code = tree.exit_code if tree is not None and node._parent_ is None else None
    history.exit = Exit(reason, node._incarnation_, failure, code)
    if failure is not None and tree is not None:
        tree.memories.add(history, failure)
    backoff = node._policy_.backoff
    if backoff is not None and uptime >= backoff.reset_after:
        history.in_a_row = 0


def call_off_restart(child: Node) -> None:
    """Let a child that waits for its restart rest, because somebody wants it down, and tell."""
    tree = child._tree_
    for each in cancel_retry(child):
        if tree is not None and tree.observers:
            announce(each, "stopped", "restart_cancelled", Reason.STOPPED.value)


def cancel_retry(child: Node) -> list[Node]:
    """Take a child that waits for its restart out of the queue, and who waits for it.

    Returns:
        Who rests now.
    """
    parent = child._parent_
    supervision = None if parent is None else parent._supervision_
    together = None if supervision is None else led_by(supervision, child)
    resting = [child]
    if supervision is not None and together is not None:
        resting += dissolved(supervision, together)
    for each in resting:
        hold_back(each)
        move(each, STOPPED)
        wake_waiters(each)
    return resting


def hold_back(child: Node) -> None:
    """Let no timer of its own start *child* again."""
    history = child._history_
    if history is not None and history.retry_timer is not None:
        history.retry_timer.close()
        history.retry_timer = history.next_try = None


def detach(child: Node) -> None:
    """Take *child*, which is down, out of the tree."""
    parent = child._parent_
    if parent is not None and child._history_ is not None:
        bequeath(child, parent)
    if parent is not None and parent._children_ is not None:
        parent._children_.pop(child._name_ or "", None)
    child._parent_ = child._tree_ = None


def leave_if_over(node: Node, child: Node) -> bool:
    """Take a temporary child out of the tree that has kept its place until it was heard of."""
    is_over = child._state_ in (FINISHED, FAILED)
    leaves = is_over and child._policy_.restart == "temporary" and child._parent_ is node
    if leaves:
        detach(child)
    return leaves


def wake_waiters(node: Node) -> None:
    """Wake those who wait for the node's end."""
    if node._history_ is not None:
        for parking in node._history_.waiters:
            parking.poke()
