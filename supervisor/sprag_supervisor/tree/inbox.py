"""The inbox of a supervisor: what has happened to its children, and is to be decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.tree.node import Supervision

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def supervision_of(node: Node) -> Supervision:
    """Return the node's supervision, made on first use."""
    supervision = node._supervision_
    if supervision is None:
        supervision = node._supervision_ = Supervision()
    return supervision
