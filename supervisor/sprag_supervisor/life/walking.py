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
from sprag_supervisor.life import quick
from sprag_supervisor.life.bugs import give_in, report_bug
from sprag_supervisor.life.draining import drain
from sprag_supervisor.life.ending import Ending, Walk
from sprag_supervisor.life.resting import call_off_restart, detach, leave_memories
from sprag_supervisor.life.settling import End, settle
from sprag_supervisor.life.sharing import take_part
from sprag_supervisor.life.steps import call_hook, perform, release, see_to_work, take_up_call
from sprag_supervisor.life.stopping import begin, force, launch
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pace import Batches, Pace
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.waiting import joiners_served
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import RESTARTING, RUNNING, STOPPING
from sprag_supervisor.tree.drainers import forget
from sprag_supervisor.tree.holdings import holdings_of
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Generator

_PARENT: Final = "its parent is stopping"
_AT_ONCE: Final = 100
"""Children without hooks that end between two looks at the time."""
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
        walk.faults += 1
        raise


def _carry_out(ending: Ending, walk: Walk) -> None:
    served = joiners_served()
    served.append(ending.joiners)
    if not walk.faults:  # else who has an `on_drain` drains when its turn comes
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
    walk.faults += 1
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
        if cls._stops_together_:
            _end_together(ending, node._children_)
        else:
            yield from _end_in_reverse(ending, node._children_)
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


def _end_in_reverse(ending: Ending, children: dict[str, Node]) -> Generator[Ending]:
    everyone = ending.rest = list(children.values())  # nobody is adopted any more
    ending.counted = None
    pace = Pace()
    while everyone:
        pace()
        if _put_down(ending, everyone):
            continue
        for _ in range(min(_AT_ONCE, len(everyone))):
            child = everyone.pop()
            if child._parent_ is not ending.node:
                continue  # it has left meanwhile, and may run elsewhere
            sub = end_child(child, ending) or _taken_up(child, ending)
            if sub is not None:
                sub.above = ending
                sub.walk = ending.walk  # now: else one that drains could be launched by others
                yield sub
                ending.absorb(sub)
            if child._op_ is not None or child._state_ is RESTARTING:
                wait_until_down(child, ending)
            if child._parent_ is ending.node:
                detach(child)


def _put_down(ending: Ending, everyone: list[Node], staying: list[Node] | None = None) -> bool:
    """Let the last of *everyone* end, as long as that is nobody's business."""
    tree = ending.node._tree_
    if tree is None or tree.observers:
        return False
    before = len(everyone)
    try:
        quick.put_down(ending.node, everyone, _AT_ONCE, clock.now(), staying)
    finally:
        count = before - len(everyone)
        ending.counts[Outcome.CLEAN.value] += count
    return count > 0


def _end_together(ending: Ending, children: dict[str, Node]) -> None:
    tree = ending.node._tree_
    assert tree is not None
    left = list(children.values())
    everyone: list[Node] = []
    down: list[Node] = []
    subs: dict[int, Ending] = {}  # by identity: a service may be a dataclass, without a hash
    launched: list[Ending] = []
    pace, batches = Pace(), Batches()
    while left:
        pace()
        if _put_down(ending, left, down):
            continue
        for _ in range(min(_AT_ONCE, len(left))):
            child = left.pop()
            if child._parent_ is not ending.node:
                continue  # it has left meanwhile, and may run elsewhere
            everyone.append(child)
            sub = end_child(child, ending)
            if sub is not None:
                sub.above = ending
                launch(sub)
                launched.append(sub)
                if batches():
                    _sort_out(ending, launched, subs)
            elif child._op_ is not None:
                child._op_.call_off(
                    ending.deadline, _PARENT
                )  # now: else it is up before it is waited for
    _sort_out(ending, launched, subs)
    _wait_for_all(ending, everyone, subs)
    # Not before the last is down: till then they keep their places.
    _let_go(ending, everyone)
    _let_go(ending, down)
    children.clear()


def _wait_for_all(ending: Ending, everyone: list[Node], subs: dict[int, Ending]) -> None:
    """Wait until all children are down."""
    pace = Pace()
    for number, child in enumerate(reversed(everyone)):
        if not number % _AT_ONCE:
            pace()
        sub = subs.pop(id(child), None)
        if sub is not None:
            sub.join(ending.parking)
            ending.absorb(sub)
        if child._op_ is not None or child._state_ is RESTARTING:
            wait_until_down(child, ending)


def _let_go(ending: Ending, children: list[Node]) -> None:
    """Take children, which are down, out of the tree; but for the names of their parent's."""
    pace = Pace()
    while children:
        pace()
        for child in children[-_AT_ONCE:]:
            if child._parent_ is ending.node:
                if child._history_ is not None:
                    leave_memories(child, ending.node)
                child._parent_ = child._tree_ = None
        del children[-_AT_ONCE:]


def _sort_out(ending: Ending, launched: list[Ending], subs: dict[int, Ending]) -> None:
    """Take in what has ended meanwhile.

    100,000 records, if they were kept, would be looked at by the garbage collector again and again.
    """
    for sub in launched:
        if sub.done:
            ending.absorb(sub)
        else:
            subs[id(sub.node)] = sub
    launched.clear()


def _taken_up(child: Node, ending: Ending) -> Ending | None:
    """Return the end of *child* that this walk was in the midst of when a step of it raised."""
    operation, walk = child._op_, ending.walk
    assert walk is not None
    if isinstance(operation, Ending):
        is_ours = operation.walk is walk or (walk.faults and operation.walk is None)
        return operation if is_ours else None
    if operation is None and child._state_ is STOPPING:
        return force(End(child, Reason.STOPPED))
    return None


def end_child(child: Node, ending: Ending) -> Ending | None:
    """End a running child on behalf of its parent's *ending*; return what is to be waited for."""
    if child._state_ is not RUNNING:
        operation = child._op_
        if isinstance(operation, Ending) and operation.is_draining and operation.walk is None:
            operation.call_off(ending.deadline)
            return operation  # it has drained with all others
        return None
    sub = begin(End(child, Reason.STOPPED), ending.deadline)
    if sub is None:
        ending.counts[0] += 1
    else:
        sub.drains = ending.drains
    return sub


def wait_until_down(child: Node, ending: Ending) -> None:
    """Wait for a child that somebody else is starting or ending, as long as it is a child of ours.

    One whose start fails leaves the tree, and who has asked for it may at once adopt it elsewhere.
    """
    while child._parent_ is ending.node and (operation := child._op_) is not None:
        operation.call_off(ending.deadline, _PARENT)
        if isinstance(operation, Ending) and operation.walk is None and ending.faults:
            launch(operation)
        operation.join(ending.parking)
        if isinstance(operation, Ending):
            ending.absorb(operation)
    if child._parent_ is ending.node and child._state_ is RESTARTING:
        call_off_restart(child)


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
