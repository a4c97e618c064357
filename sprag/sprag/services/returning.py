"""How what runs once comes to its end here, before others may have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gevent import sleep

from sprag.services import stopping
from sprag_supervisor import name_of, stragglers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor import Node

_A_MOMENT: Final = 0.02


def stop_for_good(node: Node, child: Node, is_starting: Callable[[], bool]) -> bool:
    """Stop *child*, and what is about to start it; return whether nothing of it is left.

    Blocks for that.
    """
    while True:
        stopping.stop(child, None)
        if not is_starting():
            return not leaves_something(node, child)
        sleep(_A_MOMENT)  # its start was called off, or is yet to begin


def leaves_something(*nodes: Node) -> bool:
    """Whether earlier lives of *nodes*, or of what is below them, still run."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if stragglers_of(node):
            return True
        pending.extend((node._children_ or {}).values())
    return False


def name_below_root(node: Node) -> str:
    """Return the names from below the root down to *node*, joined by slashes."""
    names: list[str] = []
    while node._parent_ is not None:
        names.append(name_of(node))
        node = node._parent_
    return "/".join(reversed(names)) or name_of(node)
