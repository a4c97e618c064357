"""How a node gets from one state to another, and what its state allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.foreign import attribute_of
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
    """Whether the node may acquire things now."""
    return node._state_ in ACTIVE


def reset(node: Node) -> None:
    """Bring the object back to its first state: no attributes, ``__init__`` run again.

    The constructor's arguments are the same objects as the first time.
    """
    attributes = attribute_of(node, "__dict__")
    if attributes:
        attributes.clear()
    for descriptor in type(node)._user_slots_:
        try:
            descriptor.__delete__(node)
        except AttributeError:
            continue  # was never set
    node._policy_ = type(node)._class_policy_
    type(node).__init__(node, *node._args_, **(node._kwargs_ or {}))
    if node._given_ is not None:
        own, given = node._policy_, node._given_[1]
        node._given_ = own, given
        node._policy_ = own.with_(given)
