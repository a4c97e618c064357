"""Who is meant by a name or a path: one answer, for the services themselves and for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sprag.exceptions import UnknownService
from sprag.services.kinds import check_name
from sprag_supervisor import must_be_at_home, name_of, not_active

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sprag_supervisor import Node, Tree

_LOOKED_AT: Final = 10_000
_NAMESAKES: Final = 3

Meaning = tuple["Sequence[str]", "Node"]
"""The names from the root's children downwards, and who is there."""


def meanings(tree: Tree, path: str) -> Iterator[Meaning]:
    """Yield what *path* can mean in *tree*; the first is what a service means by it.

    A name alone is a provider, or else a child of the root, or else the root itself. A path of
    several names is a full one, from the root's own name on, as logs and the tree show it; or
    else one from the root's children on. With a slash in front it is only the latter. No name at
    all is the root.

    In a worker the root's name is ``shop/worker-2``; what follows ``shop`` alone, as the app calls
    itself, is meant there, too. What another worker has is not found.
    """
    parts = [part for part in path.split("/") if part]
    root = tree.root
    ways = [parts]
    for name in (name_of(root), *tree.also_called):
        own = name.split("/")
        if parts[: len(own)] == own and not path.startswith("/"):
            way = parts[len(own) :]
            if way not in ways:
                ways.insert(len(ways) - bool(way), way)  # last, if it is the root itself
    for way in ways:
        found = _descend(root, way)
        if found is None and len(way) == 1:
            found = tree.providers.get(way[0])  # whose start is still to come
        if found is not None:
            yield way, found


def name_of_app(root: Node) -> str:
    """Return what an app calls itself, or is called by ``--name``: without the worker's."""
    tree = root._tree_
    return tree.also_called[0] if tree is not None and tree.also_called else name_of(root)


def find(tree: Tree, path: str) -> Node | None:
    """Return who a service of *tree* means by *path*, or None."""
    return next((node for _way, node in meanings(tree, path)), None)


def found_by(node: Node, path: str) -> Node:
    """Carry out `Service.service`, of whatever kind what is found is."""
    check_name(path)
    tree = node._tree_
    if tree is None:
        raise not_active(node, "look up a service")
    must_be_at_home(node)
    found = find(tree, path) if path.strip("/") else None
    if found is None:
        known = [*namesakes(tree, path), *{**tree.providers, **(tree.root._children_ or {})}]
        raise UnknownService(path, known)
    meant: Node = cast("Any", found)._meant_() if found._outlives_limit_ else found
    return meant


def namesakes(tree: Tree, path: str) -> list[str]:
    """Return the paths of services deeper down that are called as *path* ends: who was meant?"""
    wanted = path.rstrip("/").rpartition("/")[2]
    found: list[str] = []
    pending: list[tuple[tuple[str, ...], Node]] = [((), tree.root)]
    looked_at = 0
    while pending and looked_at < _LOOKED_AT and len(found) < _NAMESAKES:
        way, node = pending.pop()
        looked_at += 1
        if len(way) > 1 and way[-1] == wanted:
            found.append("/".join(way))
        pending.extend(((*way, name), child) for name, child in (node._children_ or {}).items())
    return found


def _descend(node: Node, parts: Sequence[str]) -> Node | None:
    for part in parts:
        child = (node._children_ or {}).get(part)
        if child is None:
            return None
        node = child
    return node
