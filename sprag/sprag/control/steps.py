"""What no observer of a tree is told, for who follows its events and has asked for it.

Who takes time to start or to stop, and who has left the tree. Nobody is told of these when they
happen, so that they cost nothing; who follows looks now and then.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sprag.control.decisions import node_at
from sprag.control.pictures import iso
from sprag_supervisor import Ending, Starting, clock, path_of, settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor import Lifecycle, Node, Tree

LOOK: Final = 0.25
"""Seconds between two looks."""
MOST: Final = 1000
"""Services that have ended, and are looked at to see whether they leave the tree."""
ENDS: Final = frozenset({"crashed", "finished", "stopped", "gave_up"})
"""Changes after which a service is down."""
_AT_ONCE: Final = 100
"""Of them in one look, beside those that have ended since the last."""
_STARTS: Final = frozenset({"started", "restarted"})


class Steps:
    """Looks at one tree for one client."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._told: dict[int, Starting | Ending] = {}
        """What is under way and was told, by identity."""
        self._down: dict[str, None] = {}
        """The paths of those that have ended, in the order in which they are looked at."""
        self._fresh: dict[str, None] = {}
        """Those among them that have ended since the last look."""
        self._next = clock.now() + LOOK

    def note(self, record: Lifecycle) -> Iterator[dict[str, Any]]:
        """Take note of a change; yield who has left of those for whom there is no room."""
        if record.event in ENDS:
            yield from self.note_down(record.path)
        elif record.event in _STARTS:
            self._down.pop(record.path, None)

    def note_down(self, path: str) -> Iterator[dict[str, Any]]:
        """Take note that the service at *path* is down."""
        down = self._down
        down.pop(path, None)
        down[path] = self._fresh[path] = None
        if len(down) > MOST:
            oldest = next(iter(down))
            del down[oldest]
            self._fresh.pop(oldest, None)
            if node_at(self._root, oldest) is None:
                yield _left(oldest)

    def look(self) -> Iterator[dict[str, Any]]:
        """Yield what is to be seen, if it is time to look."""
        now = clock.now()
        if now < self._next:
            return
        self._next = now + LOOK
        yield from self._leavers()
        yield from self._under_way(now)

    def _leavers(self) -> Iterator[dict[str, Any]]:
        fresh, self._fresh = self._fresh, {}
        for path in {**fresh, **dict.fromkeys(islice(self._down, _AT_ONCE))}:
            if path not in self._down:
                continue
            del self._down[path]
            node = node_at(self._root, path)
            if node is None:
                yield _left(path)
            elif settled(node) or node._op_ is not None:
                self._down[path] = None  # else it comes back, or is there again

    def _under_way(self, now: float) -> Iterator[dict[str, Any]]:
        tree = self._root._tree_
        before, self._told = self._told, {}
        for each in () if tree is None or not tree.thread else _operations(tree):
            self._told[id(each)] = each
            if id(each) in before:
                continue
            node = each.node
            began = each.began if isinstance(each, Starting) else each.since
            yield {
                "event": "starting" if isinstance(each, Starting) else "stopping",
                "path": path_of(node),
                "incarnation": node._incarnation_,
                "at": iso(clock.wall() - (now - began)),
            }


def _operations(tree: Tree) -> Iterator[Starting | Ending]:
    """Yield what takes its time: all starts, and the ends that are not part of another."""
    for call in tree.pool.under_way():
        node: Any = call.node if isinstance(call, Starting) else getattr(call, "concerns", None)
        operation = None if node is None else getattr(node, "_op_", None)
        if (
            isinstance(operation, Starting | Ending)
            and operation.node._tree_ is tree
            and (not isinstance(call, Starting) or operation is call)
        ):
            yield operation


def _left(path: str) -> dict[str, Any]:
    return {"event": "left", "path": path, "at": iso(clock.wall())}
