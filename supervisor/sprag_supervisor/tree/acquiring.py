"""Who may acquire something for a service, and what everybody else is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.exceptions import NotRunning
from sprag_supervisor.loop.left_behind import is_left_behind, left_behind
from sprag_supervisor.rules.states import NEW, RESTARTING, STARTING, STOPPING
from sprag_supervisor.tree.moves import is_at_work
from sprag_supervisor.tree.names import is_within, path_of
from sprag_supervisor.tree.seat import current_node

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def may_acquire(node: Node) -> bool:
    """Whether the caller may acquire something for *node* now."""
    return is_at_work(node) and not (left_behind and is_left_behind())


def starts_later(node: Node) -> str | None:
    """Say so if *node* is a provider whose turn comes after that of who asks, on the way up."""
    asks = current_node()
    tree = None if asks is None else asks._tree_
    if asks is None or tree is None:
        return None
    mine: tuple[str, Node] | None = None
    for name, provider in tree.providers.items():
        if provider is node:
            if mine is None or STARTING not in (mine[1]._state_, tree.root._state_):
                return None
            return f"{name!r} starts after {mine[0]!r}: put it before"
        if is_within(asks, provider):
            mine = name, provider
    return None


def not_active(node: Node, action: str) -> NotRunning:
    """Make the error for something that only a starting or running service may do."""
    state = node._state_
    if is_left_behind():
        remedy = "who asks was killed and left behind: let GreenletExit end what it is raised in"
    elif (later := starts_later(node)) is not None:
        remedy = f"{later}, or do this in on_ready"
    elif state is NEW:
        remedy = "start it first, with start() or by adopting it (in __init__: do it in on_start)"
    elif node._tree_ is None:
        remedy = "it has left its tree: adopt it again first"
    elif state is RESTARTING:
        remedy = "wait until it is running again"
    elif state is STOPPING:
        remedy = "do it before the stop begins, for instance in on_start"
    else:
        remedy = "start it again first"
    return NotRunning(path_of(node), state.value, action, remedy)
