"""Whose a greenlet is, for who looks at all of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sprag_supervisor import Managed, is_a, seat

if TYPE_CHECKING:
    from sprag_supervisor import Node, Tree


def owner_of(greenlet: Any, tree: Tree | None) -> Node | None:
    """Return the service in whose context *greenlet* runs; None for none, or one elsewhere."""
    if is_a(greenlet, Managed):
        managed: Node = greenlet._node
        return managed
    context = None
    with suppress(ValueError):  # it runs in another thread
        context = greenlet.gr_context
    place = None if context is None else context.get(seat)
    node = None if place is None else place.node
    return node if node is not None and node._tree_ is tree else None
