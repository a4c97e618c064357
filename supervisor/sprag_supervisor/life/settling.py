"""The end of a service: what is known of it, its last step, and who decides what follows.

Every end comes here, the quick one (`quick`) and the one that takes time (`ending`, `walking`).
`settle` changes the state in one assignment, after all that is needed is known and before anybody
is told; what is told is noted step by step, so that it can be called again (tests/faults).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sprag_supervisor.facts.failure import record
from sprag_supervisor.facts.memory import Exit, History
from sprag_supervisor.life.bugs import report_bug
from sprag_supervisor.life.resting import detach, wake_waiters
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.decide import RESTARTS, Reason, ruling
from sprag_supervisor.rules.states import (
    ACTIVE,
    FAILED,
    FINISHED,
    MOVES,
    RESTARTING,
    STOPPED,
    State,
)
from sprag_supervisor.tree.group import waits_with_others
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.living import announce, leave

if TYPE_CHECKING:
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.tree.node import Item, Node

_RESTING: Final = {
    Reason.FINISHED: FINISHED,
    Reason.SHUTDOWN: FINISHED,
    Reason.STOPPED: STOPPED,
    Reason.IGNORED: STOPPED,
    Reason.RECYCLED: STOPPED,
    Reason.CRASHED: FAILED,
    Reason.START_FAILED: FAILED,
    Reason.GAVE_UP: FAILED,
}

_TOLD_BY_STATE: Final = {FINISHED: Reason.FINISHED, STOPPED: Reason.STOPPED}
"""Ends that need no memory: the state the service rests in says why."""

REMEMBERED: Final = 2
TOLD: Final = 3
"""Steps of `settle`."""

_EVENTS: Final = {
    Reason.FINISHED: ("finished", "child_terminated"),
    Reason.SHUTDOWN: ("finished", "shutdown"),
    Reason.STOPPED: ("stopped", "shutdown"),
    Reason.IGNORED: ("stopped", "shutdown"),
    Reason.RECYCLED: ("stopped", "shutdown"),
    Reason.CRASHED: ("crashed", "child_terminated"),
    Reason.START_FAILED: ("crashed", "start_error"),
    Reason.GAVE_UP: ("gave_up", "shutdown"),
}


class End:
    """The end of one life of a service: what it died of, and who has been told.

    All there is to know of one that is over on the spot.
    """

    __slots__ = (
        "failure",
        "had_started",
        "leaves",
        "node",
        "on_purpose",
        "reason",
        "retries",
        "step",
        "to",
        "told",
        "uptime",
    )

    def __init__(
        self,
        node: Node,
        reason: Reason,
        failure: Failure | None = None,
        *,
        had_started: bool = True,
        on_purpose: bool = False,
        retries: bool = False,
    ) -> None:
        self.node = node
        self.reason = reason
        self.failure = failure
        self.had_started = had_started
        """Whether `on_start` has returned, so that `on_drain` and `on_stop` apply."""
        self.on_purpose = on_purpose or reason is Reason.STOPPED
        """Somebody wants it down: it is not restarted, whatever it died of."""
        self.retries = retries
        """It is a restart that failed, and is tried again."""
        self.step = 0
        """How many steps of `settle` are done, for who takes it up again after a bug of sprag's."""
        self.told: list[object] = []
        """The observers that have heard of it."""
        self.to: State
        """Where it rests: as `uptime` and `leaves`, known from the first step on."""
        self.uptime: float
        self.leaves: bool
        """Whether it leaves its tree."""

    def seconds(self) -> float:
        """Return for how long it has been going on."""
        return 0.0


def settle(end: End) -> None:
    """Move a service, of which nothing runs any more, to its resting state and tell everybody.

    May be called again where it was cut short, and goes on then: a bug of sprag's is reported, and
    does not keep anybody from being told.
    """
    try:
        _settle(end)
    except BaseException as error:  # noqa: BLE001 - a bug of sprag
        report_bug(end.node, "end", error)
        _settle(end)


def _settle(end: End) -> None:
    node, failure = end.node, end.failure
    parent, tree = node._parent_, node._tree_
    if end.step == 0:
        now = clock.now()
        end.to = to = _destination(end, parent)
        end.uptime = now - node._since_ if end.had_started else 0.0
        assert to in MOVES[node._state_]
        node._op_ = node._holdings_ = node._supervision_ = None
        node._since_, node._state_, end.step = now, to, 1
    if end.step == 1:
        if (
            failure is not None
            or parent is None
            or node._history_ is not None
            or _TOLD_BY_STATE.get(end.to) is not end.reason
        ):
            _remember(end)
        end.step = REMEMBERED
    if end.step == REMEMBERED:
        if tree is not None and tree.observers:
            event, context = _EVENTS[end.reason]
            seconds = end.seconds()
            announce(node, event, context, end.reason.value, failure, seconds, told=end.told)
        end.step = TOLD
    if end.step == TOLD:
        if parent is not None:
            _tell(end, parent)
        elif tree is not None:
            leave(tree)
        end.step = 4
    if end.leaves:
        detach(node)
    history = node._history_
    if history is not None and history.waiters:
        wake_waiters(node)


def _destination(end: End, parent: Node | None) -> State:
    """Return the state to settle in; note whether the node leaves its tree."""
    node, failure = end.node, end.failure
    reason = Reason.STOPPED if end.on_purpose else end.reason
    end.leaves = False
    if parent is None or parent._state_ not in ACTIVE:
        return _RESTING[reason]  # nobody restarts it; a parent that ends lets go of its children
    if reason is Reason.START_FAILED and not end.retries:
        return FAILED  # who asked for the start is told, and decides
    policy = node._policy_
    is_temporary = policy.restart == "temporary"
    if reason is Reason.STOPPED and not is_temporary and waits_with_others(node):
        return RESTARTING
    action = None if failure is None else failure.action
    is_first = is_first_start(end)
    if ruling(policy, reason, action, parent._policy_, 0, (), 0, is_first) in RESTARTS:
        return RESTARTING
    end.leaves = is_temporary or parent._forgets_ended_
    return _RESTING[reason]


def is_first_start(end: End) -> bool:
    """Whether it is a first start that has failed, of a service that asks for `retry_start`."""
    history = end.node._history_
    return history is not None and history.first_start and not end.had_started


def _tell(end: End, parent: Node) -> None:
    """Put the news into the parent's inbox, if it has to decide or to write something down."""
    node, failure = end.node, end.failure
    if end.to is RESTARTING:
        if not end.on_purpose:
            post(parent, (node, node._incarnation_, end.reason, failure, end.retries))
        # else it waits for its group
    elif not end.on_purpose:
        counts = end.had_started and _may_shut_down(parent, node)
        # A crash that restarts nobody is heard of too, for the ledger.
        is_crash = failure is not None and (end.had_started or end.retries)
        is_escalated = failure is not None and failure.action == "escalate"
        if counts or is_escalated or is_crash:
            post(parent, (node, node._incarnation_, end.reason, failure, False))
        # Whose end may be that of its parent keeps its place until that has heard: it may be held,
        # and a group restart may cover it: then its end shuts nothing down (otp-rules 29, 66).
        end.leaves = end.leaves and not (counts or is_escalated)


def _may_shut_down(parent: Node, node: Node) -> bool:
    return (
        node._policy_.significant
        and parent._policy_.auto_shutdown != "never"
        and parent._state_ in ACTIVE
    )


def _remember(end: End) -> None:
    node, failure = end.node, end.failure
    history = node._history_
    if history is None:
        history = node._history_ = History()
    if end.had_started:
        history.first_start = False
    tree = node._tree_
    code = tree.exit_code if tree is not None and node._parent_ is None else None
    how = record(Exit, (end.reason, node._incarnation_, failure, code))
    history.end(how, node._policy_, end.uptime)
    if failure is not None and tree is not None:
        tree.memories.add(history, failure)


# -- who decides about it ---------------------------------------------------------------


def post(parent: Node, item: Item) -> None:
    """Put *item* into the parent's inbox. Never blocks; callable from the hub."""
    supervision = parent._supervision_ or supervision_of(parent)
    supervision.inbox.append(item)
    if not supervision.attended:
        attend_soon(parent)


def attend_soon(node: Node) -> None:
    """See to it that somebody works through the node's inbox."""
    supervision = node._supervision_
    tree = node._tree_
    if supervision is None or tree is None or supervision.attended or not supervision.inbox:
        return
    supervision.attended = True
    tree.pool.launch(partial(tree.attend, node), node, "supervise")
