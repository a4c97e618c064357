"""Restarts of several children together: who waits for whom, from the first stop to the last start.

A sibling that goes down with the one that failed is `restarting` until its turn comes, like that
one itself. It has no exit in the inbox and no timer of its own: it waits for the one whose next
try begins the group's restart. A stop on purpose takes it out, until a new failure covers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.rules.states import RESTARTING
from sprag_supervisor.tree.node import GroupRestart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sprag_supervisor.tree.node import Node, Supervision


def gather(
    supervision: Supervision, group: Sequence[Node], failed: Node, *, waits: bool
) -> GroupRestart:
    """Let all of *group* wait together, whatever they have waited for.

    Args:
        supervision: Their parent's.
        group: Who is restarted with *failed*, itself included.
        failed: Whose restart it is.
        waits: For a next try of *failed*; else the restart is under way.
    """
    together = led_by(supervision, failed)
    if together is None:
        together = GroupRestart()
        supervision.groups.append(together)
    together.failed = failed
    together.leader = failed if waits else None
    together.waiting = {id(one): one for one in group if not (waits and one is failed)}
    for other in tuple(supervision.groups):
        if other is not together:
            if id(other.leader) in together.waiting:
                supervision.groups.remove(other)  # all of it waits for *failed* now
                together.waiting.update(other.waiting)
            for one in together.waiting:
                other.waiting.pop(one, None)
    return together


def led_by(supervision: Supervision, leader: Node) -> GroupRestart | None:
    """Return the group restart that waits for the next try of *leader*."""
    for each in supervision.groups:
        if each.leader is leader:
            return each
    return None


def _that_holds(child: Node) -> GroupRestart | None:
    """Return the group restart that is still to start *child*."""
    parent = child._parent_
    supervision = None if parent is None else parent._supervision_
    if supervision is None or not supervision.groups:
        return None
    return next((each for each in supervision.groups if id(child) in each.waiting), None)


def waits_with_others(child: Node) -> bool:
    """Whether *child* is started with its group, and not by itself."""
    return _that_holds(child) is not None


def waits_because_of(child: Node) -> Node | None:
    """Return whose restart *child* is part of, and waits for; None: of nobody else's."""
    together = _that_holds(child) if child._state_ is RESTARTING else None
    other = None if together is None else together.leader or together.failed
    return None if other is child else other


def next_try_of(node: Node) -> float | None:
    """Return the monotonic time of the node's next start, if it waits for one that has a time."""
    history = node._history_
    if history is not None and history.next_try is not None:
        return history.next_try
    if node._state_ is not RESTARTING:
        return None  # one that was down before is started with the others, and waits for nothing
    together = _that_holds(node)
    if together is None or together.leader is None or together.leader._history_ is None:
        return None
    return together.leader._history_.next_try


def take_out(supervision: Supervision, child: Node) -> None:
    """Do not start *child* with its group: it is stopped on purpose."""
    for each in supervision.groups:
        if each.leader is not child:
            each.waiting.pop(id(child), None)
            each.taken_out[id(child)] = child


def take_back(supervision: Supervision, child: Node) -> None:
    """Take note that *child* was started by hand, whatever its group does."""
    for each in supervision.groups:
        each.waiting.pop(id(child), None)
        each.taken_out.pop(id(child), None)


def dissolved(supervision: Supervision, together: GroupRestart) -> Iterator[Node]:
    """End a group restart that nobody will make; yield who has waited for it."""
    supervision.groups.remove(together)
    waiting, together.waiting = together.waiting, {}
    for child in waiting.values():
        if child._state_ is RESTARTING:
            yield child
