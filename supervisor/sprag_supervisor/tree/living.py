"""The life of a tree, from the start of its root to its end, and who is told of what happens."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from sprag_supervisor.facts.lifecycle import Lifecycle, Move
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pools import join_pool, leave_pool
from sprag_supervisor.tree import home
from sprag_supervisor.tree.held import forget_holds
from sprag_supervisor.tree.log import logger
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.tree.node import Node, Tree


def enter(tree: Tree, attend: Callable[[Node], None], drive: Callable[[Any], None]) -> None:
    """Begin a life of the root, in the hub of the calling thread."""
    tree.hub = get_hub()
    tree.pool = join_pool(tree.hub)
    home.settle_here(tree)
    tree.attend = attend
    tree.drive = drive
    tree.awaits_ready = False
    tree.exit_code = None


def leave(tree: Tree) -> None:
    """End a life of the root: nothing runs any more."""
    if tree.holds is not None:
        forget_holds(tree)
    if tree.thread:
        home.leave(tree)
        leave_pool(tree.pool)


def let_hear(node: Node, step: str, error: BaseException) -> None:
    """Tell who hears of crashes of one that `guard.report_crash` is not told of."""
    tree = node._tree_
    if tree is not None and tree.hears_crash is not None:
        tree.hears_crash(node, node._incarnation_, step, error)


def announce(  # noqa: PLR0917 - by position, as all that each start calls
    node: Node,
    event: str,
    context: str,
    reason: str | None = None,
    failure: Failure | None = None,
    seconds: float | None = None,
    *,
    told: list[object] | None = None,
    make: Callable[..., Lifecycle] = Lifecycle,
) -> None:
    """Tell the observers what happened to *node*, but for those in *told*.

    What they are told is what *make* makes of it.
    """
    tree = node._tree_
    if tree is None or not tree.observers:
        return
    record = make(
        event,
        path_of(node),
        node._incarnation_,
        context,
        reason,
        None if failure is None else failure.type,
        None if failure is None else failure.message,
        node._restarts_,
        clock.wall(),
        seconds,
    )
    for observer in tuple(tree.observers):
        if told is not None:
            if observer in told:
                continue
            told.append(observer)
        try:
            observer(record)
        except Exception:  # noqa: BLE001 - whatever it is, it is not to be asked again
            tree.observers.remove(observer)
            with suppress(Exception):  # it may be logging that is broken
                logger.exception("an observer of the tree raised and was removed")


def announce_move(node: Node, because: str, *, origin: str, here: str, token: int) -> None:
    """Tell the observers that what runs once below *node* has come here.

    Args:
        node: The service that has it run.
        because: Why, for people.
        origin: Where it was before.
        here: What this place is called.
        token: Of its lease.
    """
    make = partial(Move, origin=origin, node=here, token=token)
    announce(node, "moved", "ownership", because, make=make)
