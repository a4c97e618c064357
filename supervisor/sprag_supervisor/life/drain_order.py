"""In which order services drain where some need others: who needs another has drained before it.

Who feeds another needs it, and may still give it work while it drains itself. So all that drains
at and below a service does so before anything at and below those that it names in its `needs`,
directly or by others that do not drain at all. Who names nobody drains beside all others, whatever
the order of the list.

What has to be over before what is a graph of steps: one for each service that drains, and two for
each child of a supervisor with needs, before the first and after the last of those at and below
it. The greenlet that carries out the end above them all begins each as soon as it may, and hears
of its end. So nothing is left of the order if a bug of sprag's ends that: who has not drained then
does so when its turn to stop comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor.life.ending import Ending
from sprag_supervisor.life.notices import Notices
from sprag_supervisor.loop.pace import Batches, Pace
from sprag_supervisor.loop.parking import Parking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sprag_supervisor.tree.node import Node, Tree


class _Step:
    """Something that has to be over before others begin: the drain of one service, or nothing."""

    __slots__ = ("left", "sub", "then")

    def __init__(self, sub: Ending | None = None) -> None:
        self.sub = sub
        self.left = 0
        """How many that come before it are not over."""
        self.then: list[_Step] = []

    def comes_before(self, other: _Step) -> None:
        self.then.append(other)
        other.left += 1

    def over(self) -> list[_Step]:
        """Return those that may begin, now that this is over."""
        for each in self.then:
            each.left -= 1
        return [each for each in self.then if not each.left]


def drain_in_order(
    node: Node, tree: Tree, subs: Sequence[Ending], begin: Callable[[Ending], object]
) -> None:
    """Have all of *subs* drain, each as soon as it may, and wait for that.

    Args:
        node: At and below which they are; if it drains itself, it has done so.
        tree: Its tree.
        subs: The ends of those that drain, which nobody carries out yet.
        begin: Begins the drain of one of them, in a greenlet of its own. Does nothing if somebody
            has been faster.
    """
    draining = {id(sub.node): sub for sub in subs if not sub.has_drained()}
    steps, free = _steps(node, tree, draining)
    notices = Notices[Ending](Parking(), Ending.has_drained)
    for sub in draining.values():
        if id(sub) in steps and not sub.has_drained():
            notices.of(sub)
    begun: set[int] = set()
    pace, batches = Pace(), Batches()
    while True:
        while free:
            pace()
            step = free.pop()
            begins = step.sub
            if begins is None or id(begins) not in notices.awaited:
                free.extend(reversed(step.over()))
            else:
                begun.add(id(begins))
                begin(begins)
                batches()
        if not notices.awaited:
            return
        if not begun:  # they need each other in a circle: one has left and come back, say
            for sub in notices.awaited.values():
                begun.add(id(sub))
                begin(sub)
        for sub in notices.wait():
            if id(sub) in begun:
                begun.discard(id(sub))
                free.extend(reversed(steps[id(sub)].over()))
            # Else somebody wanted it down at once; who comes after it has to wait for others, too.


def _steps(
    node: Node, tree: Tree, subs: Mapping[int, Ending]
) -> tuple[dict[int, _Step], list[_Step]]:
    """Return the steps of *subs* (by node), by the identity of the end, and the first to begin."""
    steps: dict[int, _Step] = {}
    first = _Step()
    pending: list[tuple[Node, _Step, _Step | None]] = [(node, first, None)]
    pace = Pace()
    while pending:
        pace()
        one, before, after = pending.pop()
        sub = subs.get(id(one))
        if sub is not None:
            step = steps[id(sub)] = _Step(sub)
            before.comes_before(step)
            if after is not None:
                step.comes_before(after)
            before = step
        below = [each for each in tree.drainers.get(id(one), {}).values() if each is not one]
        if one._supervision_ is None or one._supervision_.needed is None:
            pending.extend((each, before, after) for each in below)
            continue
        for each, (begin, end) in zip(below, _by_needs(one, below), strict=True):
            before.comes_before(begin)
            if after is not None:
                end.comes_before(after)
            pending.append((each, begin, end))
    return steps, [first]


def _by_needs(parent: Node, below: Sequence[Node]) -> list[tuple[_Step, _Step]]:
    """Return for each of these children what comes before and after all at and below it."""
    siblings = parent._children_ or {}
    around: dict[str, tuple[_Step, _Step]] = {}
    for child in below:
        begin, end = around[child._name_ or ""] = _Step(), _Step()
        begin.comes_before(end)
    pending = list(below)
    while pending:
        child = pending.pop()
        _, end = around[child._name_ or ""]
        for name in child._policy_.needs or ():
            if name not in around:
                sibling = siblings.get(name)
                if sibling is None:
                    continue
                only = _Step()  # it does not drain, but may need somebody who does
                around[name] = only, only
                pending.append(sibling)
            end.comes_before(around[name][0])
    return [around[child._name_ or ""] for child in below]
