"""A stop's time, shared out among those whose steps are still to come.

Services that end one after another may ask for more seconds together, by their ``shutdown``, than
the stop has left. Then whoever came first could use up all of it, and the last would be killed at
once. So each has its part, in proportion to what it asks for; nobody asks for more than there is,
and "infinity" for that.
What one does not use is shared by those after it.

Only those count in whose end something can block. They are looked for when the first of them ends,
not before: the stop of 100,000 idle services counts nobody. Those that were counted once at a
level of the tree keep their seconds until their turn has passed.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Final

from sprag_supervisor.life.ending import Ending
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.rules.graph import seconds_after
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AT_ONCE: Final = 100
"""Services that are counted between two looks at the time."""


def take_part(ending: Ending) -> None:
    """Leave a service, whose own steps come next, no more than its part of the stop's time."""
    if not _may_take_some(ending):
        return
    left = max(ending.deadline - clock.now(), 0.0)
    if not left:
        ending.own_left = 0.0
        return
    later, infinity = _later(ending, left)
    own = min(ending.own_left, infinity)
    if own + later > left:
        ending.own_left = own * left / (own + later)


def _may_take_some(ending: Ending) -> bool:
    """Whether something blocks, maybe, in the own steps that are still to come of one."""
    node = ending.node
    says_goodbye = ending.had_started and type(node).on_stop is not Node.on_stop
    return ending.own_left > 0 and (says_goodbye or _holds_what_blocks(node))


def _holds_what_blocks(node: Node) -> bool:
    return node._holdings_ is not None and not node._holdings_.is_idle()


def _later(ending: Ending, left: float) -> tuple[float, float]:
    """Return what those ask for that come after *ending* within the same time, and infinity.

    That asks for what was left when it was asked for the first time: it is the same for all.
    """
    way: list[tuple[Ending, Ending]] = []
    one = ending
    while one.later is None and (above := one.above) is not None and above.deadline <= one.deadline:
        way.append((one, above))
        one = above
    if one.later is None:
        one.later = 0.0, left
    later, infinity = one.later
    for below, above in reversed(way):
        if _may_take_some(above):
            later += min(above.own_left, infinity)
        later += _rest(above, below.node, infinity)
        below.later = later, infinity  # for as long as *below* is what its parent waits for
    return later, infinity


def _rest(ending: Ending, child: Node, infinity: float) -> float:
    """Return what the children may take that end after *child*; 0 if they end together."""
    if ending.by_needs is not None:
        return _after_by_needs(ending, child, infinity)
    if ending.counted is None:
        counted, pace = [0.0], Pace()
        for number, each in enumerate(tuple(ending.rest)):
            if not number % _AT_ONCE:
                pace()
            counted.append(counted[-1] + _of_all(each, infinity))
        ending.counted = counted
    return ending.counted[len(ending.rest)]


def _after_by_needs(ending: Ending, child: Node, infinity: float) -> float:
    """Return what those may take one after another that *child* needs, directly or not."""
    if ending.counted is None:
        pace = Pace()
        seconds: list[float] = []
        for number, each in enumerate(ending.rest):
            if not number % _AT_ONCE:
                pace()
            seconds.append(_of_all(each, infinity))
        ending.counted = seconds_after(_needs(ending.rest), seconds)
    return ending.counted[(ending.by_needs or {})[id(child)]]


def _needs(children: Sequence[Node]) -> list[list[int] | None]:
    """Return the places of those that each of *children* needs; None: of all before it."""
    place = {child._name_ or "": at for at, child in enumerate(children)}
    return [
        None if (needs := child._policy_.needs) is None else [place[n] for n in needs if n in place]
        for child in children
    ]


def _of_all(child: Node, infinity: float) -> float:
    """Return what the end of *child* may take, with all below it."""
    if not child._children_:
        return _asks(child, infinity)
    order = list(_to_be_ended(child))
    seconds: dict[int, float] = {}
    for node in reversed(order):  # children before their parents
        children = list((node._children_ or {}).values())
        below = [seconds.pop(id(each), 0.0) for each in children]
        if type(node)._stops_together_:
            all_below = max(below, default=0.0)
        elif node._supervision_ is not None and node._supervision_.needed is not None:
            after = seconds_after(_needs(children), below)
            all_below = max(map(add, after, below), default=0.0)
        else:
            all_below = sum(below)
        seconds[id(node)] = _asks(node, infinity) + all_below
    return seconds.get(id(child), 0.0)


def _to_be_ended(child: Node) -> Iterator[Node]:
    stack = [child]
    while stack:
        node = stack.pop()
        if node._state_ is RUNNING or _prepared(node) is not None:
            yield node
            stack.extend((node._children_ or {}).values())


def _prepared(node: Node) -> Ending | None:
    """Return the end of one that has drained, and that nobody has begun to carry out."""
    operation = node._op_
    is_prepared = isinstance(operation, Ending) and operation.is_draining and not operation.walk
    return operation if is_prepared else None  # type: ignore[return-value]


def _asks(node: Node, infinity: float) -> float:
    """Return what the own steps of one may take whose turn is still to come."""
    if node._state_ is not RUNNING:
        prepared = _prepared(node)
        if prepared is None or not _may_take_some(prepared):
            return 0.0
        return min(prepared.own_left, infinity)
    kind = type(node)
    has_hooks = kind.on_stop is not Node.on_stop or kind.on_drain is not Node.on_drain
    if not (has_hooks or _holds_what_blocks(node)):
        return 0.0
    return min(node._policy_.own_seconds, infinity)
