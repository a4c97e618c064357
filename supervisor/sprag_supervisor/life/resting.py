"""Who is down: how it leaves its tree, and how a restart that it waits for is called off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.facts.because import Because
from sprag_supervisor.facts.memory import History
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import FAILED, FINISHED, STOPPED
from sprag_supervisor.tree.group import dissolved, led_by
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.moves import move
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.stragglers import bequeath

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def call_off_restart(child: Node) -> list[Node]:
    """Let a child that waits for its restart rest, because somebody wants it down, and tell.

    Returns:
        Who rests now: it, and who has waited for it.
    """
    tree = child._tree_
    resting = cancel_retry(child)
    for each in resting:
        if tree is not None and tree.observers:
            announce(each, "stopped", "restart_cancelled", Reason.STOPPED.value)
    return resting


def cancel_retry(child: Node) -> list[Node]:
    """Take a child that waits for its restart out of the queue, and who waits for it.

    Of those it is noted that they are down because of it.

    Returns:
        Who rests now.
    """
    parent = child._parent_
    supervision = None if parent is None else parent._supervision_
    together = None if supervision is None else led_by(supervision, child)
    resting = [child]
    if supervision is not None and together is not None:
        others = list(dissolved(supervision, together))
        why = Because("group", path_of(child))
        for each in others:
            note_why(each, why)
        resting += others
    for each in resting:
        hold_back(each)
        move(each, STOPPED)
        wake_waiters(each)
    return resting


def note_why(node: Node, why: Because) -> None:
    """Take note why *node* is stopped, in the life that it has now."""
    if node._history_ is None:
        node._history_ = History()
    node._history_.put_down = node._incarnation_, why


def hold_back(child: Node) -> None:
    """Let no timer of its own start *child* again."""
    history = child._history_
    if history is not None and history.retry_timer is not None:
        history.retry_timer.close()
        history.retry_timer = history.next_try = None


def detach(child: Node) -> None:
    """Take *child*, which is down, out of the tree."""
    parent = child._parent_
    if parent is not None:
        if child._history_ is not None:
            leave_memories(child, parent)
        if parent._supervision_ is not None:
            parent._supervision_.children.pop(child._name_ or "", None)
    child._parent_ = child._tree_ = None


def leave_memories(child: Node, parent: Node) -> None:
    """Let the parent, and the tree, have what a child that leaves them was remembered for."""
    bequeath(child, parent)
    if child._history_ is not None:
        child._history_.first_start = False  # at its next place it may not ask for that
        if child._tree_ is not None:
            child._tree_.memories.leave(child._history_)


def leave_if_over(node: Node, child: Node) -> bool:
    """Take a temporary child out of the tree that has kept its place until it was heard of."""
    is_over = child._state_ in (FINISHED, FAILED)
    leaves = is_over and child._policy_.restart == "temporary" and child._parent_ is node
    if leaves:
        detach(child)
    return leaves


def wake_waiters(node: Node) -> None:
    """Wake those who wait for the node's end, or watch it."""
    if node._history_ is not None:
        for waiter in node._history_.waiters or ():
            waiter.poke()
