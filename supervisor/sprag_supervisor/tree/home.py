"""A tree belongs to one thread of one process: the one that started it.

gevent's loop belongs to a thread, so a call from another one would work on the wrong loop:
greenlets that never run, a LoopExit that explains nothing (gevent-traps 30). And a fork copies
every greenlet into a process in which no service may run (trap 31). `Tree.thread` holds the
native thread's number while the tree lives there, and 0 otherwise, so that one comparison on
every public call tells all: whoever finds another number asks `refuse`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gevent import get_hub, getcurrent, monkey

from sprag_supervisor.exceptions import AfterFork, CalledInHub, WrongThread
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node, Tree

# The original: once patched, it numbers greenlets.
get_ident: Final = monkey.get_original("_thread", "get_ident")

living: Final[set[Tree]] = set()
"""The trees of this process, from the start of their root to its end."""


def settle_here(tree: Tree) -> None:
    """Let the tree belong to the calling thread."""
    tree.thread = get_ident()
    tree.process = os.getpid()
    living.add(tree)


def leave(tree: Tree) -> None:
    """Let the tree, which has ended, belong to whoever starts it next."""
    tree.thread = 0
    living.discard(tree)


def disown_all() -> None:
    """Make every tree a copy: this is a forked child."""
    for tree in living:
        tree.thread = 0
        tree.is_copy = True
        tree.hears_crash = _of_a_copy
    living.clear()


def _of_a_copy(_node: Node, _incarnation: int, _step: str, _error: BaseException) -> bool:
    """Leave a crash alone: it is the child's end, and the parent's tree is not told."""
    return False


def must_be_at_home(node: Node) -> None:
    """Refuse a call about *node* from where its tree does not live.

    Raises:
        WrongThread: Its tree lives in another native thread.
        AfterFork: Its tree lives in the process that this one is a copy of.
    """
    tree = node._tree_
    if tree is not None and tree.thread != get_ident():
        refuse(node, tree)


def must_be_able_to_wait(node: Node, action: str) -> None:
    """Refuse a call about *node* that may block from where its tree does not live, or nobody can.

    A hook that blocks would hand control straight back to the callback that has called, which
    would wait for it by spinning.

    Raises:
        WrongThread, AfterFork: As for `must_be_at_home`.
        CalledInHub: The caller is the hub.
    """
    must_be_at_home(node)
    if getcurrent() is get_hub():
        raise CalledInHub(path_of(node), action)


def refuse(node: Node, tree: Tree) -> None:
    """Raise what is wrong about a call from where *tree* does not live, if anything is."""
    if tree.is_copy:
        raise AfterFork(path_of(node), tree.process)
    if tree.thread:
        raise WrongThread(path_of(node))
