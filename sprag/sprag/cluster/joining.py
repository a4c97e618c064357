"""How the tree of an app that has a `Cluster` comes to be one of its nodes, and leaves."""

from __future__ import annotations

import logging
import platform
from typing import TYPE_CHECKING, Any

from sprag.cluster import boottime
from sprag.cluster.asking import Asking
from sprag.cluster.engines import open_engine
from sprag.cluster.exceptions import EngineAway
from sprag.cluster.lease import ANSWER
from sprag.cluster.member import Member
from sprag.control.answering import reply_to
from sprag.process.deadline import Deadline
from sprag.process.worker import worker
from sprag.services.finding import name_of_app
from sprag_supervisor import holdings_of, say

if TYPE_CHECKING:
    from sprag.cluster.cluster import Cluster
    from sprag_supervisor import Node


def join(root: Node, cluster: Cluster) -> None:
    """Have the tree of *root* be a node until it ends. Blocks until it is, at most a ttl.

    Raises:
        EngineAway: The engine cannot be asked, and is required.
        BadEngine, MissingClient, BadValue: It cannot be used.
    """
    tree = root._tree_
    assert tree is not None
    told = worker()
    app = name_of_app(root)  # not as its workers' parent is called: a node may have none
    host = platform.node() or "node"
    name = cluster.node or host
    engine: Any = open_engine(cluster.url, app=app, timeout=ANSWER * cluster.ttl)
    member = Member(
        tree,
        engine,
        app=app,
        where=name if told is None else f"{name}-{told.slot}",
        generation=1 if told is None else told.generation,
    )
    member.cluster = cluster
    keeper = member.keep(cluster.ttl, host, cluster.address)
    if boottime.is_real():
        keeper.deadline = Deadline(lambda: f"{', '.join(keeper.held)} did not stop in time")
    tree.cluster = member
    asking = member.asking = Asking(
        tree, engine, member.prefix, lambda: member.life, lambda ask: reply_to(root, ask)
    )
    member.watchers[asking] = asking.begin_soon
    holdings_of(root).add_cleanup(_leave, (member,), {})
    try:
        for each in engine.warnings():
            say(logging.WARNING, root, "the engine has a weakness", because=each)
    except EngineAway:
        pass  # that is told below, if it lasts
    try:
        member.join()
    except EngineAway as error:
        if cluster.required:
            raise
        say(logging.WARNING, root, "the engine is away", because=error.why)


def _leave(member: Member) -> None:
    member.leave()
    keeper = member.keeper
    if keeper is not None and keeper.deadline is not None and not keeper.held:
        keeper.deadline.close()  # else the process ends with what is left
    engine: Any = member.engine
    engine.close()
    member.tree.cluster = None
