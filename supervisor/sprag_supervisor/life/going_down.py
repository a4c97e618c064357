"""One child, or a row of them, on behalf of the end of their parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_supervisor.facts.report import Outcome
from sprag_supervisor.life import quick
from sprag_supervisor.life.ending import Ending
from sprag_supervisor.life.resting import call_off_restart
from sprag_supervisor.life.settling import End
from sprag_supervisor.life.stopping import begin, force, launch
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import RESTARTING, RUNNING, STOPPING

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node
    from sprag_supervisor.tree.operation import Operation

PARENT: Final = "its parent is stopping"
AT_ONCE: Final = 100
"""Children without hooks that end between two looks at the time."""


def put_down(ending: Ending, everyone: list[Node], staying: list[Node] | None = None) -> bool:
    """Let the last of *everyone* end, as long as that is nobody's business."""
    tree = ending.node._tree_
    if tree is None or tree.observers:
        return False
    before = len(everyone)
    try:
        quick.put_down(ending.node, everyone, AT_ONCE, clock.now(), staying)
    finally:
        count = before - len(everyone)
        ending.counts[Outcome.CLEAN.value] += count
    return count > 0


def end_child(child: Node, ending: Ending) -> Ending | None:
    """End a running child on behalf of its parent's *ending*; return what is to be waited for."""
    if child._state_ is not RUNNING:
        operation = child._op_
        if isinstance(operation, Ending) and operation.is_draining and operation.walk is None:
            operation.call_off(ending.deadline)
            return operation  # it has drained with all others
        return None
    sub = begin(End(child, Reason.STOPPED), ending.deadline)
    if sub is None:
        ending.counts[0] += 1
    else:
        sub.drains = ending.drains
    return sub


def taken_up(child: Node, ending: Ending) -> Ending | None:
    """Return the end of *child* that this walk was in the midst of when a step of it raised."""
    operation, walk = child._op_, ending.walk
    assert walk is not None
    if isinstance(operation, Ending):
        is_ours = operation.walk is walk or (walk.has_faults and operation.walk is None)
        return operation if is_ours else None
    if operation is None and child._state_ is STOPPING:
        return force(End(child, Reason.STOPPED))
    return None


def wait_until_down(child: Node, ending: Ending) -> None:
    """Wait for a child that somebody else is starting or ending, as long as it is a child of ours.

    One whose start fails leaves the tree, and who has asked for it may at once adopt it elsewhere.
    """
    while child._parent_ is ending.node and (operation := child._op_) is not None:
        call_off(operation, ending)
        operation.join(ending.parking)
        if isinstance(operation, Ending):
            ending.absorb(operation)
    if child._parent_ is ending.node and child._state_ is RESTARTING:
        call_off_restart(child)


def call_off(operation: Operation, ending: Ending) -> None:
    """Have what somebody else carries out in a child over soon, on behalf of *ending*."""
    operation.call_off(ending.deadline, PARENT)
    if isinstance(operation, Ending) and operation.walk is None and ending.faults:
        launch(operation)
