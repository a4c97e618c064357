"""The first part of every end but that of a group restart: all that has an `on_drain` drains.

Who is stopped last is often who gives work to all others, or does it for them. So nobody ends
before everybody below the service that is stopped has taken its last work and seen to it: parents
before children, who may be fed by them, who needs another before that one (`drain_order`), and all
others side by side.

Whoever drains is `stopping` from the first moment on, with an `Ending` that nobody carries out yet
(`Ending.drain`): it acquires what it needs, what it crashes of is an error of the stop, and when
its turn comes the walk takes up its `Ending`. Should somebody want it down before that, it is
walked by itself (`stopping.end_now`). Those in between that have no `on_drain` run on, and restart
what crashes, until their turn comes. Who comes up meanwhile drains then.

Each `on_drain` is seen through by an engine greenlet of its own, which sets those below it going
where nobody needs anybody.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sprag_supervisor.life.drain_order import drain_in_order
from sprag_supervisor.life.ending import Drain, Ending, tighten
from sprag_supervisor.life.settling import End
from sprag_supervisor.life.steps import see_to_work
from sprag_supervisor.life.stopping import begin, go_on
from sprag_supervisor.loop.pace import Batches, Pace
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.waiting import joiners_served
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.drainers import drainers, drains, nearest, noted
from sprag_supervisor.tree.names import is_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor.tree.node import Node, Tree


def drain(ending: Ending) -> None:
    """Have everything at and below a service drain that is about to end, and wait for that.

    In the engine greenlet that carries out its end. May be called again, and goes on then.
    """
    node, tree = ending.node, ending.node._tree_
    if tree is None or id(node) not in tree.drainers or not ending.drains:
        return
    if ending.drain is None and ending.reason.is_clean and ending.had_started:
        ending.drain = Drain(ending.deadline)
    everyone: list[Node] = []
    by_needs, pace = False, Pace()
    for one in noted(node, tree):
        if drains(one, tree):
            everyone.append(one)
        supervision = one._supervision_
        by_needs = by_needs or (supervision is not None and supervision.needed is not None)
    subs: list[Ending] = []
    for one in everyone:
        pace()
        sub = _prepared(one, ending)
        if sub is not None:
            subs.append(sub)
    own = ending.drain
    parking = Parking()  # in that of an `Ending` waits who sees its `on_drain` through
    if own is not None and own.has_begun:
        ending.join_drain(parking)  # it is stopped by hand amid that of something above it
    elif own is not None:
        if everyone and everyone[0] is node and not ending.is_drained:
            _perform(ending, own)
        else:
            own.has_begun = own.is_over = True
    # Who drains already was begun by another end, which knows nobody who has come up since.
    if by_needs or any(sub is not ending and _has_begun(sub) for sub in subs):
        drain_in_order(node, tree, subs, partial(_launch, goes_on=False))
        return
    _set_going(node, tree)
    for sub in subs:
        sub.join_drain(parking)


def still_drain(root: Node) -> Iterator[Node]:
    """Yield whose `on_drain` runs now, at and below a service that drains."""
    tree, operation = root._tree_, root._op_
    if tree is None or operation is None or not operation.is_draining:
        return
    for one in drainers(root, tree):
        sub = one._op_
        own = sub.drain if isinstance(sub, Ending) else None
        if own is not None and own.has_begun and not own.is_over:
            yield one


def _prepared(one: Node, ending: Ending) -> Ending | None:
    """Return what is to be waited for of *one* that drains, now stopping; None: nothing."""
    node = ending.node
    if one is node:
        return ending
    tree = node._tree_
    if tree is None or one._tree_ is not tree or not is_within(one, node):
        return None  # it has left meanwhile
    if not drains(one, tree):
        return None  # its work is done
    if one._state_ is RUNNING:
        try:
            sub = begin(End(one, Reason.STOPPED), ending.deadline)
            if sub is not None:
                sub.drain = Drain(ending.deadline)
        except BaseException:
            go_on(one, on_purpose=True)
            raise
        return sub
    operation = one._op_
    if not isinstance(operation, Ending) or operation.drain is None:
        return None  # it starts, and is stopped when its turn comes; or it ends by itself
    operation.on_purpose = True
    tighten(one, ending.deadline)
    return operation


def _has_begun(sub: Ending) -> bool:
    return sub.drain is not None and sub.drain.has_begun


def _set_going(node: Node, tree: Tree) -> None:
    """Let those drain who have waited for *node* alone."""
    batches = Batches()
    for one in list(nearest(node, tree)):
        sub = one._op_
        if isinstance(sub, Ending) and sub.drain is not None and not _has_begun(sub):
            _launch(sub)
            batches()


def _launch(sub: Ending, *, goes_on: bool = True) -> None:
    tree = sub.node._tree_
    if tree is not None:  # else it is down already
        tree.pool.launch(partial(_see_through, sub, goes_on=goes_on), sub.node, "drain")


def _see_through(sub: Ending, *, goes_on: bool) -> None:
    """Let one service drain, and then, if it *goes_on*, those below it; in an engine greenlet."""
    tree, own = sub.node._tree_, sub.drain
    if tree is None or own is None or own.has_begun:
        return  # somebody wants it down at once, and was faster
    served = joiners_served()
    served.append(sub.joiners)
    _perform(sub, own)
    if goes_on:
        _set_going(sub.node, tree)
    served.pop()


def _perform(ending: Ending, own: Drain) -> None:
    try:
        try:
            own.has_begun = ending.is_drained = True
            see_to_work(ending)
        finally:
            ending.drained()
    except BaseException:
        ending.drained()  # again: a bug of sprag's may have come in between
        raise
