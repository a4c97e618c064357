"""``GET /v1/paths``: how the beginning of a path goes on. For completion at a prompt."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.control import across
from sprag.control.http import Answer, Refused, Request
from sprag.control.pieces import looking
from sprag_supervisor import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag.control.desk import Desk
    from sprag_supervisor import Node

_MOST: Final = 200


def answer(desk: Desk, request: Request) -> Answer:
    """Return the paths that begin with ``?prefix=``, one level deep, at most 200."""
    prefix = request.query.get("prefix", "")
    if (found_there := _at_node(desk, request, prefix)) is not None:
        return found_there
    parent, slash, begun = prefix.rpartition("/")
    found: list[dict[str, object]] = []
    if not slash and name_of(desk.root).startswith(begun):
        found.append(_told(name_of(desk.root), desk.root))
    if not slash:
        found += [_node_told(name) for name in across.others(desk) if name.startswith(begun)]
    try:
        node = desk.find(parent)
    except Refused:
        return Answer({"paths": found})
    found += islice(_children(node, parent + slash, begun), _MOST)
    return Answer({"paths": found})


def _at_node(desk: Desk, request: Request, prefix: str) -> Answer | None:
    """Return the paths at the node that *prefix* names; None: it names none."""
    try:
        there = across.far(desk, prefix)
        if there is None or there.is_here:
            return None
        asked = Request("GET", "/v1/paths", {"prefix": there.path}, request.by)
        body = cast("Iterable[bytes]", across.answer(desk, asked, "/v1/paths", there, bool).body)
        told: dict[str, Any] = json.loads(b"".join(body))
        return Answer(
            {"paths": [{**each, "path": f"{there.node}:{each['path']}"} for each in told["paths"]]}
        )
    except (Refused, ValueError, KeyError, TypeError):
        return None


def _children(node: Node, before: str, begun: str) -> Iterator[dict[str, object]]:
    pace = looking()
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


def _node_told(name: str) -> dict[str, object]:
    return {"path": f"{name}:", "class": "Node", "state": "running", "has_children": True}
