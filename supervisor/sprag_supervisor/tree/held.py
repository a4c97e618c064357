"""What is held: whose exits wait, and where they wait meanwhile.

A hold is a mark on a path, kept by the tree: a service that takes the place of another is held as
that one was. Nobody who holds nothing is asked about it: a supervisor that has something held gets
another inbox, and that one asks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from sprag_supervisor.loop import clock
from sprag_supervisor.rules.states import RESTARTING
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sprag_supervisor.facts.hold import Hold
    from sprag_supervisor.tree.node import Item, Node, Tree

_END: Final = ""
"""What waits under no name of a child: the end of the supervisor itself, by an escalation."""


def hold_of(node: Node, path: str | None = None) -> Hold | None:
    """Return what holds *node*: a hold of itself, or else the nearest one above it.

    Args:
        node: The service.
        path: Its path, if the caller has it.
    """
    tree = node._tree_
    holds = None if tree is None else tree.holds
    if holds is None:
        return None
    place = path_of(node) if path is None else path
    while place:
        if (found := holds.by_path.get(place)) is not None:
            return found
        place = place.rpartition("/")[0]
    return None


def is_held(node: Node) -> bool:
    """Whether *node*, or something above it, is held; what watches over it pauses meanwhile."""
    return hold_of(node) is not None


def forget_holds(tree: Tree) -> None:
    """Hold nothing any more: the tree has ended."""
    if tree.holds is not None:
        for path in tuple(tree.holds.by_path):
            tree.holds.drop(path)
        tree.holds = None


class HeldInbox(deque["Item"]):
    """The inbox of a supervisor that has something held: those exits are kept aside.

    Each item is told the time at which it came, and counts at that time when it is decided on.
    """

    __slots__ = ("aside", "node")

    def __init__(self, node: Node, items: Iterable[Item] = ()) -> None:
        super().__init__()
        self.node = node
        self.aside: dict[str, Item] = {}
        """What waits for a release, in its order, by the name of whose end it was."""
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Take *item*, or put it aside. Never blocks; callable from the hub."""
        child, incarnation, reason, failure, came = item
        if came is False or came is True:
            item = child, incarnation, reason, failure, clock.now()
        if child._incarnation_ != incarnation or not is_held(child):
            super().append(item)
        elif child._state_ is RESTARTING or (reason is not None and child._policy_.significant):
            name = child._name_ or ""
            self.aside.pop(name, None)
            self.aside[name] = item
        elif failure is not None and failure.action == "escalate":
            before = self.aside.get(_END)
            if before is None or before[0]._incarnation_ != before[1]:
                self.aside[_END] = item  # a supervisor ends but once
        else:
            super().append(item)  # it restarts nobody and ends nobody

    def let_go(self) -> None:
        """Take what is held no more."""
        aside, self.aside = self.aside, {}
        for name, item in aside.items():
            if name == _END or item[0]._parent_ is self.node:  # else somebody has deleted it
                self.append(item)

    def leave_out(self, group: Sequence[Node], failed: Node) -> tuple[list[Node], list[Node]]:
        """Part those restarted with *failed* from those who are held, and have to wait."""
        held = [one for one in group if one is not failed and is_held(one)]
        supervision = self.node._supervision_
        for one in held:
            for each in () if supervision is None else supervision.groups:
                each.waiting.pop(id(one), None)
            before = self.aside.get(one._name_ or "")
            if before is None or before[0] is not one or before[1] != one._incarnation_:
                # It has waited for its group: for its own start now, and that counts nothing.
                self.aside[one._name_ or ""] = one, one._incarnation_, None, None, clock.now()
        out = {id(one) for one in held}
        return [one for one in group if id(one) not in out], held
