"""An end that is on its way: asked for where nobody can wait, carried out in the next turn.

Code of a service cannot wait for that service's own end, nor the hub for any. Until the end has
begun the service looks as if it ran on; whoever starts it meanwhile must not be told so, and
must not be overtaken by the end: it waits.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sprag_supervisor.exceptions import AlreadyStarted
from sprag_supervisor.loop.waiting import waits_for_caller
from sprag_supervisor.rules.states import STOPPING
from sprag_supervisor.tree.home import get_ident
from sprag_supervisor.tree.names import is_within, path_of
from sprag_supervisor.tree.seat import current_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor.loop.parking import Parking
    from sprag_supervisor.tree.node import Node, Tree
    from sprag_supervisor.tree.operation import Operation, PendingOperation


_TRIES: Final = 2
"""As often is it begun, should a bug of sprag's come in between (`Pool.launch`)."""


class PendingEnd:
    """What is to be done to one service in the next turn of the loop, and who waits for that."""

    __slots__ = ("_ends", "_joiners", "_node", "_tree", "_tries")

    def __init__(self, node: Node, tree: Tree) -> None:
        self._node = node
        self._tree = tree
        self._ends: list[Callable[[], object]] = []
        self._joiners: list[Parking] = []
        self._tries = 0

    def add(self, end: Callable[[], object]) -> None:
        """Do *end*, too: a stop may be nearer than the one before it."""
        self._ends.append(end)

    def join(self, parking: Parking) -> None:
        """Wait in *parking* until the end has begun, or is over."""
        self._joiners.append(parking)
        pending = self._tree.pending_ends
        while pending.get(id(self._node)) is self:
            parking.park()

    def carry_out(self) -> None:
        """Begin the end. The engine's own work, in a greenlet of the pool."""
        node, tree = self._node, self._tree
        self._tries += 1
        try:
            # Else another end was faster, and the service has gone elsewhere.
            while self._ends and node._tree_ is tree and tree.thread == get_ident():
                self._ends[0]()
                del self._ends[0]
        except BaseException:
            if self._tries == _TRIES:
                self._give_way()
            raise
        self._give_way()

    def _give_way(self) -> None:
        self._tree.pending_ends.pop(id(self._node), None)
        for parking in self._joiners:
            parking.poke()


def end_in_next_turn(node: Node, tree: Tree, end: Callable[..., object], *args: object) -> None:
    """Have ``end(node, *args)`` done in the next turn of the loop. Callable from the hub."""
    pending = tree.pending_ends.get(id(node))
    if pending is None:
        pending = PendingEnd(node, tree)
        pending.add(partial(end, node, *args))
        tree.pool.launch(pending.carry_out)
        tree.pending_ends[id(node)] = pending
    else:
        pending.add(partial(end, node, *args))


def is_end(operation: Operation) -> bool:
    """Whether the service is down after it: a start that a stop has called off is an end, too."""
    return not operation.is_start or operation.on_purpose


def in_progress(node: Node) -> Operation | PendingOperation | None:
    """Return what a start of *node* must wait for.

    Raises:
        AlreadyStarted: It is an end which cannot be over before the caller goes on, or with
            which the caller ends.
    """
    tree = node._tree_
    found = None if tree is None else tree.pending_ends.get(id(node))
    operation = node._op_
    if found is not None or (operation is not None and is_end(operation)):
        joiners = None if operation is None else operation.joiners
        if (
            (joiners and waits_for_caller(joiners))
            or is_within(current_node(), node)
            or node._ends_with_caller_()
        ):
            raise AlreadyStarted(path_of(node), STOPPING.value)
    return operation if found is None else found
