"""The short way down, for services of whose end nothing can block.

A service without stop hooks, without children, and that holds nothing but idle timers and
listeners ends on the spot, in whatever greenlet asks: no `Ending`, no walk, no greenlet of its
own. That is a second way to do what `stopping` and `walking` do, so it is kept in this one file,
and takes nothing that they would not do in the same way:

- `is_quick` says whether it may be gone; whoever asks goes the general way if not.
- States change in the order of the general way; `settle` is the last step of both, but for a crash
  that is followed by a restart, where `crash` does at once what `settle` does in steps.
- What goes wrong before anybody is told is taken up by the general way (`stopping.bring_down`),
  what goes wrong after that by `settle`.

Guarded by tests/supervisor/test_quick.py, which tells the same stories with `is_quick` as it is,
never true, and drawn; and by tests/faults.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sprag_supervisor.facts.failure import record
from sprag_supervisor.facts.memory import Exit, History
from sprag_supervisor.facts.report import StopReport
from sprag_supervisor.life.bugs import report_bug
from sprag_supervisor.life.settling import REMEMBERED, TOLD, End, settle
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.decide import CRASHED, Reason
from sprag_supervisor.rules.states import (
    MOVES,
    RESTARTING,
    RUNNING,
    STOPPED,
    STOPPING,
)
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.node import Node

if TYPE_CHECKING:
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.rules.policy import OnFailure


def is_quick(node: Node, *, had_started: bool = True) -> bool:
    """Whether nothing in the end of *node* can block.

    Args:
        node: The service.
        had_started: Whether its `on_start` has returned, so that its stop hooks apply.
    """
    if node._supervision_ is not None and node._supervision_.children:
        return False
    if had_started and _has_stop_hooks(type(node)) and node._policy_.shutdown != "brutal_kill":
        return False
    holdings = node._holdings_
    return holdings is None or holdings.is_idle()


_ON_STOP: Final = Node.on_stop
_ON_DRAIN: Final = Node.on_drain


def _has_stop_hooks(kind: type[Node]) -> bool:
    return kind.on_stop is not _ON_STOP or kind.on_drain is not _ON_DRAIN


def end(end: End) -> bool:
    """Let a service end on the spot, if it `is_quick`; return whether it was."""
    node = end.node
    if not is_quick(node, had_started=end.had_started):
        return False
    assert STOPPING in MOVES[node._state_]
    node._state_ = STOPPING
    if node._holdings_ is not None:
        node._holdings_.release()
    if node._parent_ is None and node._tree_ is not None:
        node._tree_.report = StopReport(clean=1)
    settle(end)
    return True


def crash(node: Node, failure: Failure, action: OnFailure | None) -> bool:
    """Let a running service wait for its restart after a crash, on the spot, if that is all.

    Return False, and do nothing, if there is more to it: its end may block, or its parent does
    something else than to restart it.

    Args:
        node: The service.
        failure: What it dies of.
        action: What its `on_failure` says about that.
    """
    parent, tree = node._parent_, node._tree_
    if (
        parent is None
        or tree is None
        or parent._state_ is not RUNNING
        or action is not None
        or not node._policy_.comes_back
        or not is_quick(node)
    ):
        return False
    supervision, holdings, history = parent._supervision_, node._holdings_, node._history_
    assert supervision is not None
    if history is None:
        history = node._history_ = History()
    elif history.waiters:
        return False  # they are told by `settle`
    incarnation, step = node._incarnation_, 0
    history.exit = record(Exit, (CRASHED, incarnation, failure, None))
    tree.memories.add(history, failure)
    told: list[object] | None = None
    try:
        node._state_ = STOPPING
        if holdings is not None:
            holdings.release()
        node._holdings_ = node._supervision_ = None
        node._since_, node._state_, step = clock.now(), RESTARTING, REMEMBERED
        if tree.observers:
            told = []
            announce(node, "crashed", "child_terminated", "crashed", failure, 0.0, told=told)
            step = TOLD
        supervision.inbox.append((node, incarnation, CRASHED, failure, False))
        if not supervision.attended:  # as `attend_soon` does
            supervision.attended = True
            tree.pool.launch(partial(tree.attend, parent), parent, "supervise")
    except BaseException as error:
        if not step:
            raise  # nobody has been told: the general way takes it up
        report_bug(node, "end", error)
        end = End(node, CRASHED, failure)
        end.to, end.leaves, end.step, end.told = RESTARTING, False, step, told or []
        settle(end)
    return True


def put_down(
    parent: Node, everyone: list[Node], most: int, now: float, staying: list[Node] | None = None
) -> int:
    """Let children end with their parent's stop, as long as it is nobody's business.

    That is: nothing in their end can block, and nobody waits for it.

    Args:
        parent: Who is stopping.
        everyone: Whose turn it is; the last first. Who is down is no longer in it.
        most: At most so many.
        now: The time of their end.
        staying: Takes those who are down and keep their places; None: they leave the tree.

    Returns:
        How many are down.
    """
    kind: type[Node] | None = None
    before, tree, children = len(everyone), parent._tree_, parent._children_
    assert tree is not None
    assert children is not None
    while True:  # see `Worker._serve`
        if not everyone or before - len(everyone) == most:
            break
        child = everyone[-1]
        if (
            child._state_ is not RUNNING
            or child._parent_ is not parent  # it has left meanwhile, and may run elsewhere
            or (child._supervision_ is not None and child._supervision_.children)
            or child._op_ is not None
        ):
            break
        if type(child) is not kind:
            if _has_stop_hooks(type(child)):
                break
            kind = type(child)
        holdings, history = child._holdings_, child._history_
        if history is not None and (history.waiters or history.stragglers):
            break
        if holdings is not None:
            if not holdings.is_idle():
                break
            holdings.release()
        child._state_ = STOPPING
        if history is not None:
            how = record(Exit, (Reason.STOPPED, child._incarnation_, None, None))
            history.end(how, child._policy_, now - child._since_)
        child._supervision_ = child._holdings_ = None
        child._since_, child._state_ = now, STOPPED
        everyone.pop()
        if staying is not None:
            staying.append(child)
            continue
        if history is not None:
            tree.memories.leave(history)
        children.pop(child._name_ or "", None)
        child._parent_ = child._tree_ = None
    return before - len(everyone)
