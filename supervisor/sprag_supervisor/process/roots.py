"""The start of a tree: what a process does once, before the first of its trees comes up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.life.by_hand import found
from sprag_supervisor.loop import pools
from sprag_supervisor.process import at_exit, forking
from sprag_supervisor.tree import home

if TYPE_CHECKING:
    from gevent.hub import Hub

    from sprag_supervisor.tree.node import Node


def start_root(root: Node) -> None:
    """Start *root* and with it its tree; see `start_again` for a service below another.

    Waits for a stop that is pending or in progress.

    Raises:
        AlreadyStarted: It runs, or is on its way up, or the caller ends with it.
        StartFailed: It could not be started; nothing of it is left.
    """
    forking.prepare()
    at_exit.prepare()
    found(root)


def forget_hub(hub: Hub) -> None:
    """Let go of the trees of a hub that is about to be destroyed, by a test that failed, say.

    They would stay in memory, and the end of the program would try to stop them.
    """
    for tree in tuple(home.living):
        if tree.hub is hub:
            home.leave(tree)
    pools.forget(hub)
