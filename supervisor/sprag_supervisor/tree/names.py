"""Names and paths: where a node is in its tree, and what it is called there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.foreign import class_name, is_a

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor.tree.node import Node


def lineage(node: Node) -> Iterator[Node]:
    """Yield the node and its parents up to the root."""
    above: Node | None = node
    while above is not None:
        yield above
        above = above._parent_


def checked_name(name: object) -> str:
    """Return what names a service as plain text: paths are joined by slashes.

    Raises:
        BadValue: *name* is empty, holds a slash, or is no text.
    """
    plain = str.__str__(name) if is_a(name, str) else ""
    if not plain or "/" in plain:
        raise BadValue("name", name, "a text that is not empty and holds no slash")
    return plain


def called(given: object) -> str:
    """Say what to do with a class that is given in the place of a service."""
    return f": write {class_name(given)}(...)" if is_a(given, type) else ""


def wanted_name(node: Node) -> str:
    """Return the name a node asks for: its attribute `name` if it has one, else its class's."""
    try:
        name: object = getattr(node, "name", None)
    except Exception:  # noqa: BLE001 - a property, or a `__getattr__`, of the user's
        name = None
    if name is None:
        return class_name(type(node))
    plain = str.__str__(name) if is_a(name, str) else ""
    return plain if plain and "/" not in plain else class_name(type(node))


def name_of(node: Node) -> str:
    """Return the node's name in its tree, or the name it would have."""
    return node._name_ or wanted_name(node)


def path_of(node: Node) -> str:
    """Return the names from the root down, joined by slashes."""
    return "/".join(reversed([name_of(above) for above in lineage(node)]))


def is_within(node: Node | None, root: Node) -> bool:
    """Whether *node* is *root* or lies below it."""
    return node is not None and any(above is root for above in lineage(node))
