"""A tree that is run by a worker: what it shares with the others, and what it tells its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag.process.worker import place_of, tell_why, worker
from sprag_supervisor import is_a
from sprag_supervisor.exceptions import StartFailed

if TYPE_CHECKING:
    from contextlib import ExitStack

    from sprag_supervisor import Node, Tree


def share(tree: Tree, life: ExitStack) -> None:
    """Let the tree share what its parent has for all workers, for as long as *life*."""
    told = worker()
    if told is None or told.engine is None:
        return
    from sprag.cluster.member import Member
    from sprag.cluster.remote import RemoteEngine

    engine = RemoteEngine(told.engine, told.life)
    life.callback(engine.close)
    engine.open()
    member = Member(
        tree, engine, app=told.app, where=told.name, life=told.life, generation=told.generation
    )
    member.join()
    tree.cluster = member


def tell_why_it_ended(root: Node, start_error: BaseException | None, summary: str) -> None:
    """Tell the parent of a worker, if this is one, why its tree has not ended as asked."""
    if worker() is None:
        return
    history = root._history_
    failure = None if history is None or history.exit is None else history.exit.failure
    if is_a(start_error, StartFailed):
        failure = getattr(start_error, "failure", None) or failure
    first = failure
    while first is not None and first.cause is not None:
        first = first.cause
    if first is None:
        tell_why(summary)
    else:
        place = place_of(first)
        told = first if start_error is not None else failure  # who gave up names the first as well
        tell_why(f"{place}: {told}" if place else str(told))


def say_what_each_runs(tree: Tree) -> None:
    """Say which services each of several workers runs by itself, if this is one. May block."""
    told = worker()
    if told is not None:
        from sprag.process import in_each

        in_each.say_what_each_runs(tree.root, tree.cluster, told.workers)
