"""A request that needs a service amid its restart waits a moment for it.

Most restarts take a few milliseconds, in which a busy server gets many requests: none of them need
be refused, nor see what the last life has left.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gevent import getcurrent

from sprag_supervisor import RUNNING, Parking, State, clock, path_of

if TYPE_CHECKING:
    from sprag_supervisor import Lifecycle, Node

WITHIN: Final = 1.0
"""Seconds for which a request waits at most."""


def comes_back(node: Node) -> bool:
    """Wait while *node* is restarted; return whether it runs.

    Does not wait where it will not be back within `WITHIN`: it is down, tries again later, or
    comes up for the first time. Nor in the hub, which cannot.
    """
    tree = node._tree_
    if tree is None or getcurrent() is tree.hub:
        return node._state_ is RUNNING
    until = clock.now() + WITHIN
    parking, path = Parking(), path_of(node)

    def hear(event: Lifecycle) -> None:
        if event.path == path:
            parking.poke()

    tree.observers.append(hear)
    try:
        while _is_on_its_way(node, until) and clock.now() < until:
            parking.park(until)
    finally:
        with suppress(ValueError):  # all are let go of where a tree is given up
            tree.observers.remove(hear)
    return node._state_ is RUNNING


def _is_on_its_way(node: Node, until: float) -> bool:
    if node._state_ is State.STARTING:
        return node._incarnation_ > 1
    history = node._history_
    due = None if history is None else history.next_try
    return node._state_ is State.RESTARTING and (due is None or due <= until)
