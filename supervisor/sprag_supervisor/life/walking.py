"""The carrying out of an end: drain, children, on_stop, resources.

`drive` walks a subtree as a loop over a stack of generators, so no depth of tree
meets the recursion limit. It runs in an engine greenlet, where no Timeout and no
kill of a user's can cut it in half.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from sprag_supervisor.exceptions import EngineError
from sprag_supervisor.facts.report import WORTH_TELLING, Outcome
from sprag_supervisor.life.bugs import give_in, report_bug
from sprag_supervisor.life.draining import drain
from sprag_supervisor.life.ending import Ending, Walk
from sprag_supervisor.life.going_down import (
    AT_ONCE,
    end_child,
    put_down,
    taken_up,
    wait_until_down,
)
from sprag_supervisor.life.resting import detach
from sprag_supervisor.life.settling import settle
from sprag_supervisor.life.sharing import take_part
from sprag_supervisor.life.steps import call_hook, perform, release, see_to_work, take_up_call
from sprag_supervisor.life.together import end_by_needs, end_together
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.waiting import joiners_served
from sprag_supervisor.rules.states import RESTARTING
from sprag_supervisor.tree.drainers import forget
from sprag_supervisor.tree.holdings import holdings_of
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_FAULTS: Final = 2
"""So many bugs of sprag's in one end are overcome; with one more it gives in."""


def drive(ending: Ending) -> None:
    """Carry out the end of a subtree, depth-first, in the calling engine greenlet.

    Whatever a step raises is a bug of sprag: it is reported, and the walk goes on behind it.
    """
    walk = ending.walk
    if walk is None:
        walk = ending.walk = Walk()
    if ending.done or walk.is_under_way:
        return
    try:
        walk.is_under_way = True
        _carry_out(ending, walk)
    except BaseException:
        walk.is_under_way = False
        walk.has_faults = True
        raise


def _carry_out(ending: Ending, walk: Walk) -> None:
    served = joiners_served()
    served.append(ending.joiners)
    if not walk.has_faults:  # else who has an `on_drain` drains when its turn comes
        drain(ending)
    way = [(ending, _steps(ending))]
    pace: Pace | None = None
    while way:
        last, steps = way[-1]
        try:
            child = next(steps, None)
        except BaseException as error:  # noqa: BLE001 - a bug of sprag
            way[-1] = last, _steps_left(last, walk, error)
            continue
        if child is None:
            way.pop()
            served.pop()
        else:
            if pace is None:
                pace = Pace()
            pace()
            child.walk = walk
            way.append((child, _steps(child)))
            served.append(child.joiners)


def _steps_left(ending: Ending, walk: Walk, error: BaseException) -> Generator[Ending]:
    """Return what is left to be done after one of its steps has raised *error*."""
    node = ending.node
    walk.has_faults = True
    ending.faults += 1
    if report_bug(node, "stop", error) is not None:
        ending.note(Outcome.ERROR, "stop", str(EngineError("stop")))
    if ending.faults <= _FAULTS:
        return _steps(ending)
    give_in(node)
    return iter(())  # type: ignore[return-value]


def _steps(ending: Ending) -> Generator[Ending]:
    """Yield the endings of the children, to be walked before going on."""
    node = ending.node
    cls = type(node)
    if ending.drain is not None:
        if ending.drain.has_begun:
            ending.join_drain(Parking())
        ending.drain = None
    if ending.call is not None:
        take_up_call(ending, *ending.call)
    says_goodbye = ending.had_started and node._policy_.shutdown != "brutal_kill"
    if says_goodbye and not ending.is_drained:
        ending.is_drained = True
        if ending.drains and ending.reason.is_clean:
            see_to_work(ending)
    if node._children_:
        yield from _end_children(ending, node._children_)
    if ending.deadline != math.inf and not ending.has_part:
        ending.has_part = True
        take_part(ending)
    if says_goodbye and not ending.said_goodbye:
        ending.said_goodbye = True
        if cls.on_stop is not Node.on_stop:
            perform(ending, "on_stop", partial(call_hook, node, "on_stop"))
    if node._holdings_ is not None:
        release(ending, holdings_of(node))
    _over(ending)


def _end_children(ending: Ending, children: dict[str, Node]) -> Iterator[Ending]:
    supervision = ending.node._supervision_
    if ending.node._stops_together_:
        end_together(ending, children)
    elif supervision is not None and supervision.needed is not None:
        end_by_needs(ending, children)
    else:
        return _end_in_reverse(ending, children)
    return iter(())


def _end_in_reverse(ending: Ending, children: dict[str, Node]) -> Generator[Ending]:
    everyone = ending.rest = list(children.values())  # nobody is adopted any more
    ending.counted = None
    pace = Pace()
    while everyone:
        pace()
        if put_down(ending, everyone):
            continue
        for _ in range(min(AT_ONCE, len(everyone))):
            child = everyone.pop()
            if child._parent_ is not ending.node:
                continue  # it has left meanwhile, and may run elsewhere
            sub = end_child(child, ending) or taken_up(child, ending)
            if sub is not None:
                sub.above = ending
                sub.walk = ending.walk  # now: else one that drains could be launched by others
                yield sub
                ending.absorb(sub)
            if child._op_ is not None or child._state_ is RESTARTING:
                wait_until_down(child, ending)
            if child._parent_ is ending.node:
                detach(child)


def _over(ending: Ending) -> None:
    """Let go of everything and tell everybody."""
    node = ending.node
    if not ending.is_counted:
        ending.is_counted = True
        ending.counts[ending.worst.value] += 1
        if ending.took >= WORTH_TELLING:
            ending.times.append((path_of(node), ending.took))
    tree = node._tree_
    if tree is not None:
        if tree.drainers:
            forget(node, tree)
        if node._parent_ is None:
            tree.report = ending.report()
    settle(ending)
    ending.done = True
    for parking in ending.joiners:
        parking.poke()
