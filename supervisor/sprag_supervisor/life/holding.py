"""Holding a service: from now on the exits at and below it wait, until it is released.

While something is held, a tree has its inboxes worked through by `attend` of this module. Before
the first decision of a supervisor it sees to it that what is held does not get there: it gives the
supervisor a `HeldInbox`. So who holds nothing is asked nothing.

What has been decided already goes on: a restart under way comes to its end, and may fail; that
end waits then.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.facts.hold import Hold, HoldNote, Holds
from sprag_supervisor.life import supervising
from sprag_supervisor.life.settling import attend_soon
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.tree.acquiring import not_active
from sprag_supervisor.tree.held import HeldInbox, hold_of
from sprag_supervisor.tree.home import must_be_able_to_wait
from sprag_supervisor.tree.log import say
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor.facts.hold import Held
    from sprag_supervisor.tree.node import Node, Tree

_SAID: Final[dict[Held, str]] = {
    "held": "service is held: its exits wait",
    "released": "service is released: what has waited is decided",
    "expired": "service is held no longer: what has waited is decided",
}
_MOST: Final = 100
"""Paths of one tree that may be held."""


def hold_exits(node: Node, seconds: float | None = None, by: int | None = None) -> Hold:
    """Let the exits of *node* and of all below it wait undecided; return what holds it.

    Whoever is down or goes down stays `restarting`, and no sibling is touched. Holding it again
    gives it a new time.

    Args:
        node: A service of a tree that lives here.
        seconds: After so many it is released; None: when somebody does it.
        by: The user id of who asks, if it is not the app itself.

    Raises:
        NotRunning: It has no place in a tree that lives.
        BadValue: 100 paths of the tree are held already.
        CalledInHub: The caller is the hub.
    """
    must_be_able_to_wait(node, "hold it")
    tree = node._tree_
    if tree is None or not tree.thread:
        raise not_active(node, "hold its exits")
    path = path_of(node)
    holds = tree.holds
    if holds is None:
        holds = tree.holds = Holds()
    if path not in holds.by_path and len(holds.by_path) >= _MOST:
        raise BadValue("path", path, f"at most {_MOST} of them at a time: release some first")
    holds.drop(path)
    now = clock.wall()
    found = Hold(path, now, None if seconds is None else now + seconds, by)
    tree.attend = attend
    holds.by_path[path] = found
    if seconds is not None:
        holds.timers[path] = clock.call_later(seconds, _over_in_hub, tree, found)
    _write_down(node, tree, path, "held", by, seconds)
    for each in _supervisors(node):
        supervision = each._supervision_
        # Who is at work decides with the inbox as it is; all others get theirs when they begin.
        if supervision is not None and supervision.attended:
            _keep_aside(each)
    return found


def release_exits(tree: Tree, path: str, by: int | None = None) -> Hold | None:
    """Let what waits at and below *path* be decided, in its order; return what has held it.

    Each exit counts at the time at which it happened. None: nobody has held exactly this path.
    Does not block.
    """
    return _release(tree, path, "released", by)


def _release(tree: Tree, path: str, what: Held, by: int | None) -> Hold | None:
    holds = tree.holds
    if holds is None or (found := holds.drop(path)) is None:
        return None
    node = _at(tree, path)
    if node is not None:
        tree.pool.launch(partial(_decide, node))
    if not holds.by_path:
        tree.holds = None
        tree.attend = supervising.attend
    _write_down(tree.root if node is None else node, tree, path, what, by, None)
    return found


def _over_in_hub(tree: Tree, held: Hold) -> None:
    tree.pool.launch(partial(_over, tree, held))


def _over(tree: Tree, held: Hold) -> None:
    if tree.holds is not None and tree.holds.by_path.get(held.path) is held:
        _release(tree, held.path, "expired", None)


def _decide(node: Node) -> None:
    """Let the supervisors at, below and above *node* decide what is held no more."""
    for each in _supervisors(node):
        supervision = each._supervision_
        if supervision is not None and isinstance(supervision.inbox, HeldInbox):
            inbox = supervision.inbox
            inbox.let_go()
            tree = each._tree_
            if tree is None or tree.holds is None:
                supervision.inbox = deque(inbox)
            attend_soon(each)


def attend(node: Node) -> None:
    """Work through the inbox of *node*, in an engine greenlet, but for what is held."""
    tree = node._tree_
    if tree is not None and tree.holds is not None:
        path = path_of(node)
        below = any(each.rpartition("/")[0] == path for each in tree.holds.by_path)
        if below or hold_of(node, path) is not None:
            _keep_aside(node)
    supervising.attend(node)


def _keep_aside(node: Node) -> None:
    supervision = node._supervision_
    if supervision is None:
        return
    if isinstance(supervision.inbox, HeldInbox):
        items = list(supervision.inbox)
        supervision.inbox.clear()
        for item in items:
            supervision.inbox.append(item)
    else:
        supervision.inbox = HeldInbox(node, supervision.inbox)


def _supervisors(node: Node) -> Iterator[Node]:
    """Yield who decides about *node* and about all below it. Lets others run meanwhile."""
    pace = Pace()
    if node._parent_ is not None:
        yield node._parent_
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend([child for child in (each._children_ or {}).values() if child._children_])
        pace()


def _at(tree: Tree, path: str) -> Node | None:
    """Return the service at *path*, a full one; None if there is none any more."""
    node: Node | None = tree.root
    for name in path[len(path_of(tree.root)) + 1 :].split("/"):
        if name and node is not None:
            below: dict[str, Node] = node._children_ or {}
            node = below.get(name)
    return node


def _write_down(  # noqa: PLR0917 - a line of the ledger, taken apart
    node: Node, tree: Tree, path: str, what: Held, by: int | None, seconds: float | None
) -> None:
    tree.ledger.holds.append(HoldNote(clock.wall(), path, what, by, seconds))
    fields: dict[str, Any] = {"path": path, "by": by, "seconds": seconds}
    told = {key: each for key, each in fields.items() if each is not None}
    say(logging.WARNING, node, _SAID[what], **told)
