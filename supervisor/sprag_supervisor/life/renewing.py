"""A service that has its place is declared anew: with other arguments, policy, or neighbours.

None of it begins or ends a life. Its arguments hold from its next start on, its policy from the
next decision on (otp-rules 72), its place from the next group restart, or stop, on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.exceptions import WouldDeadlock
from sprag_supervisor.life.bringing_up import reset
from sprag_supervisor.tree.home import must_be_able_to_wait
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sprag_supervisor.tree.node import Node


def renew(node: Node, like: Node, policy: Mapping[str, object]) -> None:
    """Declare *node* as *like* is, which was never started and is of the same class.

    Starts and stops nothing. One that was never started is made again at once: its first life
    begins as it was made.

    Args:
        node: The service.
        like: What it is to be made like, at its next start.
        policy: What is laid over what *like* asks for, as `adopt` is given it.

    Raises:
        BadPolicy: A keyword of *policy* is unknown or wrong.
    """
    assert type(node) is type(like)
    node._policy_ = like._policy_.overlaid(policy) if policy else like._policy_
    node._arguments_ = like._arguments_
    if not node._incarnation_:
        reset(node)


def order_children(parent: Node, names: Iterable[str]) -> None:
    """Let the children of those *names* come one after another; others come behind them.

    Blocks while others change the children of *parent*.

    Raises:
        WouldDeadlock: *parent* waits for the hook that makes this call.
        WrongThread, AfterFork, CalledInHub: As for `adopt`.
    """
    must_be_able_to_wait(parent, "order its children")
    supervision = supervision_of(parent)
    turn = supervision.turn
    if turn.is_mine():
        raise WouldDeadlock(path_of(parent), "order its children")
    try:
        try:
            if not turn.take():
                raise WouldDeadlock(path_of(parent), "order its children")
            children = supervision.children
            first = {name: children[name] for name in names if name in children}
            supervision.children = {**first, **children}
        finally:
            turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise
