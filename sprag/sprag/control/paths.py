"""``GET /v1/paths``: how the beginning of a path goes on. For completion at a prompt."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from sprag.control.http import Answer, Refused
from sprag_supervisor import Pace, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Node

_MOST: Final = 200


def answer(desk: Desk, request: Request) -> Answer:
    """Return the paths that begin with ``?prefix=``, one level deep, at most 200."""
    prefix = request.query.get("prefix", "")
    parent, slash, begun = prefix.rpartition("/")
    found: list[dict[str, object]] = []
    if not slash and name_of(desk.root).startswith(begun):
        found.append(_told(name_of(desk.root), desk.root))
    try:
        node = desk.find(parent)
    except Refused:
        return Answer({"paths": found})
    found += islice(_children(node, parent + slash, begun), _MOST)
    return Answer({"paths": found})


def _children(node: Node, before: str, begun: str) -> Iterator[dict[str, object]]:
    pace = Pace()
    children = node._children_ or {}
    for name in tuple(children):
        pace()
        if name.startswith(begun) and (child := children.get(name)) is not None:
            yield _told(before + name, child)


def _told(path: str, node: Node) -> dict[str, object]:
    return {
        "path": path,
        "class": type(node).__name__,
        "state": node._state_.value,
        "has_children": bool(node._children_),
    }
