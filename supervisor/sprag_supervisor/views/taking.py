"""Taking a picture of a subtree, at any time and without blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor.foreign import class_name
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.group import next_try_of
from sprag_supervisor.tree.held import hold_of
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.moves import is_draining
from sprag_supervisor.tree.names import name_of, path_of
from sprag_supervisor.tree.stragglers import stragglers_of
from sprag_supervisor.views.because import why_down
from sprag_supervisor.views.owned import owned_by
from sprag_supervisor.views.rows import Known, Rows, row_of, whole
from sprag_supervisor.views.snapshot import Items, Ownership, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sprag_supervisor.tree.node import Node


def snapshot(root: Node, pause: Callable[[], object] | None = None) -> Snapshot:
    """Take a picture of *root* and everything below it.

    Args:
        root: Where to begin.
        pause: Called after every 50 services, to let others run; the picture is
            then of a tree that may change meanwhile. Without it, it is of one moment.
    """
    now, wall = clock.now(), clock.wall()
    left = _AT_ONCE
    known = Known()
    # A loop over the way down: no depth of tree meets the recursion limit.
    way = [_Half(root, path_of(root))]
    while True:
        half = way[-1]
        path, rows = half.path, half.rows
        for node in half.rest:
            name = node._name_ or name_of(node)
            if node._supervision_ is not None and node._children_:
                way.append(_Half(node, f"{path}/{name}"))
                break
            rows += row_of(node, name, now, wall, known) or whole(
                _picture(node, f"{path}/{name}", (), now, wall)
            )
            left -= 1
            if not left:
                break
        else:
            picture = _picture(half.node, path, Rows(path, rows), now, wall)
            way.pop()
            if not way:
                return picture
            way[-1].rows += whole(picture)
            left -= 1
        if pause is not None and left <= 0:
            pause()
            left = _AT_ONCE
            now, wall = clock.now(), clock.wall()


class _Half:
    """A service of which not all children are pictured yet."""

    __slots__ = ("node", "path", "rest", "rows")

    def __init__(self, node: Node, path: str) -> None:
        self.node = node
        self.path = path
        self.rows: list[Any] = []
        self.rest = iter(tuple((node._children_ or {}).values()))


def walk(root: Node) -> Iterator[tuple[int, str, Node]]:
    """Yield depth, path and node of everything at and below *root*, parents before children.

    The tree may change meanwhile: it is looked at step by step. Nothing is kept but the way
    down, so that a walk over 100,000 services gives the garbage collector no reason to look
    at all of them.
    """
    yield 0, path_of(root), root
    way = [(path_of(root), iter(tuple((root._children_ or {}).values())))]
    while way:
        above, rest = way[-1]
        node = next(rest, None)
        if node is None:
            way.pop()
            continue
        path = f"{above}/{name_of(node)}"
        yield len(way), path, node
        if node._children_:
            way.append((path, iter(tuple(node._children_.values()))))


def pictures(root: Node) -> Iterator[tuple[int, Snapshot]]:
    """Yield depth and picture of everything at and below *root*, each without its children.

    As `walk` goes: each service is pictured when its turn comes.
    """
    for depth, path, node in walk(root):
        yield depth, _picture(node, path, (), clock.now(), clock.wall())


def picture(node: Node) -> Snapshot:
    """Take a picture of *node* alone, without its children."""
    return _picture(node, path_of(node), (), clock.now(), clock.wall())


_AT_ONCE: Final = 50
"""Services pictured between two pauses.

gevent comes back from a sleep of 0 seconds up to fifty times before it looks at timers.
"""


def _picture(
    node: Node, path: str, children: Sequence[Snapshot], now: float, wall: float
) -> Snapshot:
    uptime = uptime_of(node)
    down = node._incarnation_ > 0 and uptime is None and node._op_ is None
    history = node._history_
    next_try = next_try_of(node)
    return Snapshot(
        name_of(node),
        path,
        class_name(type(node)),
        "supervisor" if node._is_supervisor_ else "worker",
        node._state_,
        node._incarnation_,
        node._restarts_,
        uptime,
        None if uptime is None else wall - uptime,
        wall - (now - node._since_) if down else None,
        node._policy_,
        owned_by(node),
        () if history is None else history.failures,
        None if next_try is None else max(next_try - now, 0.0),
        () if history is None else stragglers_of(node),
        children,
        unready(node),
        status_of(node),
        None if (load := node._load_()) is None else Items(*load),
        None if node._tree_ is None or node._tree_.holds is None else hold_of(node, path),
        is_draining(node),
        () if history is None else tuple(history.waits_for),
        node._pid_(),
        None if node._state_ is RUNNING else why_down(node, path),
        None if (owned := node._ownership_()) is None else Ownership(*owned),
    )


def status_of(node: Node) -> str | None:
    """Return what *node* says that it is at; None: nothing."""
    holdings = node._holdings_
    return holdings.status if type(holdings) is Holdings else None


def unready(node: Node) -> str | None:
    """Return why others are not to count on *node*, which runs; None: they may."""
    holdings = node._holdings_
    if type(holdings) is Holdings and node._state_ is RUNNING:
        return holdings.unready
    return None


def uptime_of(node: Node) -> float | None:
    """Return the seconds since the node came up, or None while it is down."""
    if node._state_ is RUNNING:
        return clock.now() - node._since_
    return None
