"""The inbox of a supervisor: what has happened to its children, and is to be decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.tree.node import Supervision

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Item, Node


def supervision_of(node: Node) -> Supervision:
    """Return the node's supervision, made on first use."""
    supervision = node._supervision_
    if supervision is None:
        supervision = node._supervision_ = Supervision()
    return supervision


def post(parent: Node, item: Item) -> None:
    """Put *item* into the parent's inbox. Never blocks; callable from the hub."""
    supervision = supervision_of(parent)
    supervision.inbox.append(item)
    attend_soon(parent)


def attend_soon(node: Node) -> None:
    """See to it that somebody works through the node's inbox."""
    supervision = node._supervision_
    tree = node._tree_
    if supervision is None or tree is None or supervision.attended or not supervision.inbox:
        return
    supervision.attended = True
    tree.pool.launch(lambda: tree.attend(node), node, "supervise")
