"""What a node needs to supervise: its turn, its inbox, its restart window."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sprag_supervisor._turn import Turn

if TYPE_CHECKING:
    from sprag_supervisor._decide import Reason, RestartWindow
    from sprag_supervisor._failure import Failure
    from sprag_supervisor._group import GroupRestart
    from sprag_supervisor._node import Node


class ChildExit(NamedTuple):
    """A child ended by itself, or a try to restart it failed."""

    child: Node
    incarnation: int
    reason: Reason
    failure: Failure | None
    is_retry: bool = False


class BackoffOver(NamedTuple):
    """A child has waited long enough for its next try."""

    child: Node
    incarnation: int


Item = ChildExit | BackoffOver


class Supervision:
    """Made with the first child of an incarnation, dropped with its end."""

    __slots__ = ("_numbers", "attended", "groups", "inbox", "names", "path", "turn", "window")

    def __init__(self) -> None:
        self.path: str | None = None
        """Where it is in the tree, once the ledger has asked; it stays there for a life."""
        self.names: tuple[str, ...] = ()
        """Whom the last ruling in the ledger covers."""
        self.turn = Turn()
        self.inbox: deque[Item] = deque()
        self.attended = False  # Invariant: a greenlet works through the inbox, or is about to
        self.window: RestartWindow | None = None
        self.groups: list[GroupRestart] = []
        """Restarts of several children together, under way or waiting for their next try."""
        self._numbers: dict[str, int] | None = None

    def free_name(self, wanted: str, taken: dict[str, Node]) -> str:
        """Return *wanted*, or if it is taken the next of ``wanted-2``, ``wanted-3``, ….

        A number is not used again, but *wanted* is when it is free: a second try to adopt
        the same service keeps its name.
        """
        if wanted not in taken:
            return wanted
        numbers = self._numbers
        if numbers is None:
            numbers = self._numbers = {}
        number = numbers.get(wanted, 1) + 1
        while (name := f"{wanted}-{number}") in taken:
            number += 1
        numbers[wanted] = number
        return name


def supervision_of(node: Node) -> Supervision:
    """Return the node's supervision, made on first use."""
    supervision = node._supervision_
    if supervision is None:
        supervision = node._supervision_ = Supervision()
    return supervision


def post(parent: Node, item: Item) -> None:
    """Put *item* into the parent's inbox. Never blocks; callable from the hub."""
    supervision = supervision_of(parent)
    supervision.inbox.append(item)
    attend_soon(parent)


def attend_soon(node: Node) -> None:
    """See to it that somebody works through the node's inbox."""
    supervision = node._supervision_
    tree = node._tree_
    if supervision is None or tree is None or supervision.attended or not supervision.inbox:
        return
    supervision.attended = True
    tree.pool.launch(lambda: tree.attend(node), node, "supervise")
