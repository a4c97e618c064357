"""Who drains: has an `on_drain`, or work under way, found without a look at all others.

A stop has everything below it drain first, and must not walk 100,000 idle children to learn that
there is nobody. So a service that has an `on_drain` is noted from its start to its end, and one
that has not from its first task to the end of the last: with itself, with its parent, and on the
way up with all others. Whoever has no note has nobody at or below it. Notes are made by such
services alone, and looked at by what stops above them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.tree.moves import is_draining
from sprag_supervisor.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor.tree.holdings import Holdings
    from sprag_supervisor.tree.node import Tree


def note(node: Node, tree: Tree) -> None:
    """Take note that *node*, which has come up, drains when it is stopped."""
    below, above = node, node
    while True:
        noted = tree.drainers.setdefault(id(above), {})
        if id(below) in noted:
            return  # so it is known further up
        noted[id(below)] = below
        parent = above._parent_
        if parent is None:
            return
        below, above = above, parent


def forget(node: Node, tree: Tree) -> None:
    """Take note that *node* drains no more. Harmless a second time."""
    below, above = node, node
    while (noted := tree.drainers.get(id(above))) is not None:
        noted.pop(id(below), None)
        if noted:
            return
        del tree.drainers[id(above)]
        parent = above._parent_
        if parent is None:
            return
        below, above = above, parent


def note_work(node: Node) -> None:
    """Take note that *node* has begun work that a stop waits for."""
    if node._tree_ is not None and node._policy_.shutdown != "brutal_kill":
        note(node, node._tree_)


def forget_work(node: Node, holdings: Holdings) -> None:
    """Take note that some work of *node* is done, in the life that has these *holdings*."""
    tree = node._tree_
    if (
        tree is not None
        and node._holdings_ is holdings
        and type(node).on_drain is Node.on_drain
        and not any(call.is_work for call in holdings.calls or ())
        and not is_draining(node)  # a stop waits for it, and finds it by its note
    ):
        forget(node, tree)


def drains(node: Node, tree: Tree) -> bool:
    """Whether *node* itself drains when it is stopped."""
    return id(node) in tree.drainers.get(id(node), ())


def noted(node: Node, tree: Tree) -> Iterator[Node]:
    """Yield all at and below *node* that drain or are above one, parents first, latest first."""
    stack = [node]
    while stack:
        one = stack.pop()
        below = tree.drainers.get(id(one))
        if below is not None:
            yield one
            stack.extend(each for each in below.values() if each is not one)


def drainers(node: Node, tree: Tree) -> Iterator[Node]:
    """Yield who drains at and below *node*, parents before children, the latest first."""
    return (one for one in noted(node, tree) if drains(one, tree))


def nearest(node: Node, tree: Tree) -> Iterator[Node]:
    """Yield whom a stop has drain below *node* with nobody in between, the latest first.

    Who has come up since that began is passed by: those below it are not its to set going.
    """
    stack = [node]
    while stack:
        one = stack.pop()
        noted = tree.drainers.get(id(one), {})
        if one is not node and is_draining(one) and id(one) in noted:
            yield one
        else:
            stack.extend(each for each in noted.values() if each is not one)
