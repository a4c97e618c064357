"""Where a service is, for who counts by place: what there may be any number of is one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sprag.services.finding import name_of_app
from sprag_supervisor import is_a, name_of

if TYPE_CHECKING:
    from sprag_supervisor import Node

ANY: Final = "*"


def place_of(node: Node) -> str:
    """Return the path of *node* with ``*`` for each that is one of any number.

    Those are the children of a `DynamicSupervisor`, of a pool and of a `Sharded`, the replicas of a
    program, and temporary services, which come and go. In a worker it begins with the name of
    the app: it is the same in all of them.
    """
    names: list[str] = []
    parent = node._parent_
    while parent is not None:
        names.append(ANY if is_one_of_many(node, parent) else name_of(node))
        node, parent = parent, parent._parent_
    return "/".join([name_of_app(node), *reversed(names)])


def is_one_of_many(node: Node, parent: Node) -> bool:
    """Whether *node*, a child of *parent*, is one of any number."""
    return parent._forgets_ended_ or node._policy_.restart == "temporary" or _is_sized(parent)


def _is_sized(node: Node) -> bool:
    from sprag.services.service import Service

    kind: Any = type(node)
    if not is_a(node, Service) or kind._sized_ is Service._sized_:
        return False
    return node._sized_() is not None
