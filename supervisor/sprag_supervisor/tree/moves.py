"""How a node gets from one state to another, and what its state allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.rules.states import ACTIVE, MOVES, SETTLED, State
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def move(node: Node, to: State) -> None:
    """Move *node* to another state: the only place where states change."""
    must_be_legal(node, to)
    node._state_ = to


def must_be_legal(node: Node, to: State) -> None:
    """Assert that *node* may move to another state: anything else is a bug of sprag."""
    assert to in MOVES[node._state_], f"{path_of(node)}: {node._state_.value} -> {to.value}"


def settled(node: Node) -> bool:
    """Whether the node has ended and will not come back by itself."""
    return node._state_ in SETTLED


def is_active(node: Node) -> bool:
    """Whether the node starts or runs."""
    return node._state_ in ACTIVE


def is_draining(node: Node) -> bool:
    """Whether a stop has begun that leaves the node at work for as long as there is to drain."""
    operation = node._op_
    return operation is not None and operation.is_draining


def is_at_work(node: Node) -> bool:
    """Whether the node starts, runs or drains: things may be acquired for it."""
    return node._state_ in ACTIVE or is_draining(node)
