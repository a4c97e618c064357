"""What every resource of the control plane works with: the tree, its log, who watches."""

from __future__ import annotations

import os
from difflib import get_close_matches
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from sprag.control.http import Refused
from sprag.control.log_ring import LogRing
from sprag.control.loop_watch import LoopWatch
from sprag.control.pictures import SCHEMA
from sprag.control.pieces import looking
from sprag.control.sampler import Sampler
from sprag.control.start_times import StartTimes
from sprag.services.finding import meanings
from sprag_supervisor import attribute_of, clock, name_of, path_of, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.services.finding import Meaning
    from sprag.services.service import Service
    from sprag_supervisor import Node, Tree


class Desk:
    """Where the requests about one tree are worked on.

    Attributes:
        root: The root of the tree.
        opened_at: When it was made, in seconds since the epoch: before the first start.
        ring: The last log records of its services.
        starts: How long the services took to start.
        sampler: Who uses the CPU, while somebody asks for it.
        loop_watch: How late the loop is and who holds it, likewise.
        farewells: Called when the app ends; those who stream say goodbye.

    Args:
        log: Returns how many records of the log were dropped so far, and how many are still to
            be written; None where it does not go through a queue.
    """

    def __init__(
        self, root: Service, log: Callable[[], tuple[int, int] | None] | None = None
    ) -> None:
        self.root = root
        self._log = log
        self.opened_at = clock.wall()
        self.ring = LogRing(root)
        self.starts = StartTimes(root)
        self.sampler = Sampler()
        self.loop_watch = LoopWatch()
        self.farewells: set[Callable[[], None]] = set()

    def open(self) -> None:
        """Begin to remember what is logged, and how long starts take."""
        self.ring.install()
        _open[id(self.tree)] = self
        self.tree.observers.append(self.starts)

    def close(self) -> None:
        """Let go, and tell those who stream."""
        self.ring.remove()
        self.loop_watch.close()
        _open.pop(id(self.tree), None)
        if self.starts in self.tree.observers:
            self.tree.observers.remove(self.starts)
        for farewell in tuple(self.farewells):
            farewell()

    @property
    def tree(self) -> Tree:
        """What all services of the tree share."""
        tree = self.root._tree_
        assert tree is not None, "the host has made it before it opens the socket"
        return tree

    def about(self) -> dict[str, Any]:
        """Return what identifies the app in an answer."""
        return {"app": name_of(self.root), "pid": os.getpid(), "schema": SCHEMA}

    def log(self) -> dict[str, int] | None:
        """Return how the log gets on; None if that is not known."""
        backlog = None if self._log is None else self._log()
        return None if backlog is None else {"dropped": backlog[0], "waiting": backlog[1]}

    def process(self) -> dict[str, Any]:
        """Return what is told of the process as a whole, beside its root."""
        member, reports = self.tree.cluster, attribute_of(self.root, "_reports_")
        return {
            "log_queue": self.log(),
            "broadcasts": None if member is None else member.counts(),
            "crash_reports": None if reports is None else reports.counts(),
        }

    def find(self, path: str) -> Node:
        """Return the service at *path*: a full one, or one from the root's children on.

        As services find each other; but what is meant from outside can be meant to stop it, so
        one of several is not picked. With a slash in front it is meant from the root's children
        on. No path is the root.

        Raises:
            Refused: There is none, or it is not in the tree yet; 404. Or it can mean two; 400.
        """
        tree = self.tree
        found = [each for each in meanings(tree, path) if each[1]._tree_ is tree]
        if len(found) > 1:
            raise _ambiguous(path, *sorted(found, key=lambda meaning: len(meaning[0])))
        if not found:
            parts = [part for part in path.split("/") if part]
            is_full = bool(parts) and parts[0] == name_of(self.root) and not path.startswith("/")
            raise self._unknown(path, parts[1:] if is_full else parts)
        return found[0][1]

    def _unknown(self, path: str, parts: list[str]) -> Refused:
        node: Node = self.root
        part = ""
        for part in parts:
            child = (node._children_ or {}).get(part)
            if child is None:
                break
            node = child
        return Refused(
            HTTPStatus.NOT_FOUND, _nowhere(path, node, part, self.root), name="UnknownService"
        )


_open: dict[int, Desk] = {}
"""Those of trees that have a control socket now, by the identity of the tree."""


def is_open(tree: Tree) -> bool:
    """Whether *tree* has a control socket now."""
    return id(tree) in _open


def desk_of(root: Node) -> Desk:
    """Return the desk of a tree: of its control socket, or one that knows no past."""
    return _open.get(id(root._tree_)) or Desk(cast("Service", root))


_LISTED = 6
_COMPARED = 1000
_ALIKE = 3
_LONGEST = 100


def _ambiguous(path: str, first: Meaning, second: Meaning) -> Refused:
    meant = [
        (f"{'' if way else 'the app '}{path_of(node)}", f"/{'/'.join(way)}")
        for way, node in (first, second)
    ]
    said = f"{_shortened(path)!r} can mean {meant[0][0]} or {meant[1][0]}"
    remedy = " or ".join(f"'{word}' for {what}" for what, word in meant)
    return Refused(HTTPStatus.BAD_REQUEST, f"{said}: write {remedy}", name="AmbiguousPath")


def _nowhere(path: str, parent: Node, part: str, root: Node) -> str:
    """Say where *path* breaks off: *part* is no child of *parent*."""
    names = list(parent._children_ or ())
    listed = ", ".join(map(_shortened, names[:_LISTED])) or "no children"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    said = f"no service {_shortened(path)!r}: {path_of(parent)} has {listed}{more}"
    near = get_close_matches(part[:_LONGEST], names[:_COMPARED], n=_ALIKE)
    if near:
        alike = [f"{path_of(parent)}/{name}" for name in near]
    else:
        last = path.rstrip("/").rpartition("/")[2]
        alike = list(islice((where for where, name in _named(root) if name == last), _ALIKE))
    return f"{said}; did you mean {' or '.join(alike)}?" if alike else said


def _named(root: Node) -> Iterator[tuple[str, str]]:
    pace = looking()
    for _depth, path, node in walk(root):
        pace()
        yield path, name_of(node)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
