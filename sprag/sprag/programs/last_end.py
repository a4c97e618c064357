"""How the last run of a program has ended: remembered beyond its life, as long as its service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    from sprag_supervisor import Node


class Ended(NamedTuple):
    """How a run has ended.

    Attributes:
        code: The exit code; minus the signal that has ended it.
        at: When, in seconds since the epoch.
        incarnation: Which life it was of.
        is_asked: Whether sprag had asked it to end.
    """

    code: int
    at: float
    incarnation: int
    is_asked: bool


# By the service's id: what lies in the service itself goes with its life.
_ends: Final[dict[int, tuple[ref[Node], Ended]]] = {}


def remember(node: Node, ended: Ended) -> None:
    """Remember how the last run of *node* has ended."""
    key = id(node)
    _ends[key] = ref(node, lambda _gone: _ends.pop(key, None)), ended


def last_end_of(node: Node) -> Ended | None:
    """Return how the last run of a service that has ended did so; None: none has."""
    known = _ends.get(id(node))
    return None if known is None else known[1]
