"""Children that end at the same time: all at once, or each before those it needs.

Each end is carried out in an engine greenlet of its own.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from sprag_supervisor.life.ending import Ending
from sprag_supervisor.life.going_down import (
    AT_ONCE,
    PARENT,
    call_off,
    end_child,
    put_down,
    taken_up,
    wait_until_down,
)
from sprag_supervisor.life.notices import Notices
from sprag_supervisor.life.resting import call_off_restart, detach, leave_memories
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.life.stopping import launch
from sprag_supervisor.loop.pace import Batches, Pace
from sprag_supervisor.rules.states import RESTARTING

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def end_together(ending: Ending, children: dict[str, Node]) -> None:
    """End all *children*, the last begun first."""
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
        if put_down(ending, left, down):
            continue
        for _ in range(min(AT_ONCE, len(left))):
            child = left.pop()
            if child._parent_ is not ending.node:
                continue  # it has left meanwhile, and may run elsewhere
            everyone.append(child)
            sub = end_child(child, ending) or taken_up(child, ending)
            if sub is not None:
                sub.above = ending
                launch(sub)
                launched.append(sub)
                if batches():
                    _sort_out(ending, launched, subs)
            elif child._op_ is not None:
                child._op_.call_off(
                    ending.deadline, PARENT
                )  # now: else it is up before it is waited for
            elif child._state_ is RESTARTING:
                call_off_restart(child)  # now: it need not look as if it were to come back
    _sort_out(ending, launched, subs)
    _wait_for_all(ending, everyone, subs)
    # Not before the last is down: till then they keep their places.
    _let_go(ending, everyone)
    _let_go(ending, down)
    children.clear()
    _forget(everyone)
    _forget(down)


def _wait_for_all(ending: Ending, everyone: list[Node], subs: dict[int, Ending]) -> None:
    """Wait until all children are down."""
    pace = Pace()
    for number, child in enumerate(reversed(everyone)):
        if not number % AT_ONCE:
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
    for at in range(0, len(children), AT_ONCE):
        pace()
        for child in children[at : at + AT_ONCE]:
            if child._parent_ is ending.node:
                if child._history_ is not None:
                    leave_memories(child, ending.node)
                child._parent_ = child._tree_ = None


def _forget(children: list[Node]) -> None:
    """Let children be freed, if nobody else has them: a million at once would hold the loop."""
    pace = Pace()
    while children:
        pace()
        del children[-AT_ONCE:]


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


# -- each before those it needs ----------------------------------------------------------


def end_by_needs(ending: Ending, children: dict[str, Node]) -> None:
    """End all *children*, each as soon as those that need it are down.

    Who says nothing needs all that come before it.
    """
    everyone = list(children.values())  # nobody is adopted any more
    order = _Order(everyone)
    notices = Notices[Ending | Starting](ending.parking, _is_over)
    ending.by_needs = {id(child): place for place, child in enumerate(everyone)}
    ending.rest, ending.counted = everyone, None
    pace = Pace()
    while True:
        while (child := order.next(is_stuck=not notices.awaited)) is not None:
            pace()
            sub = None
            if child._parent_ is ending.node:  # else it has left meanwhile, and may run elsewhere
                sub = end_child(child, ending) or taken_up(child, ending)
            if sub is not None:
                sub.above = ending
                notices.of(sub)
                launch(sub)
            elif child._parent_ is ending.node and isinstance(child._op_, (Ending, Starting)):
                call_off(child._op_, ending)
                notices.of(child._op_)  # others need not wait for it, too
            else:
                _is_down(child, ending, order)
        if not notices.awaited:
            return
        for each in notices.wait():
            if isinstance(each, Ending):
                ending.absorb(each)
            _is_down(each.node, ending, order)


def _is_over(operation: Ending | Starting) -> bool:
    if isinstance(operation, Ending):
        return operation.done
    return operation.node._op_ is not operation


def _is_down(child: Node, ending: Ending, order: _Order) -> None:
    wait_until_down(child, ending)  # it may end now, because its start was called off
    order.is_down(child)
    if child._parent_ is ending.node:
        detach(child)


class _Order:
    """Whose end may begin: of whom those are down that need it."""

    def __init__(self, children: list[Node]) -> None:
        self._children = children
        self._place = place = {child._name_ or "": at for at, child in enumerate(children)}
        self._needs = [
            None
            if (names := child._policy_.needs) is None
            else [place[n] for n in names if n in place]
            for child in children
        ]
        """Of each the places of those it needs, as it is now; None: of all before it."""
        self._needed_by = [0] * len(children)
        """By how many that are not down, by place; those that need all before them do not count."""
        for needs in self._needs:
            for needed in needs or ():
                self._needed_by[needed] += 1
        self._free = [-at for at, count in enumerate(self._needed_by) if not count]
        """The places of those whom nobody needs by name, the last first."""
        heapify(self._free)
        self._need_all = [at for at, needs in enumerate(self._needs) if needs is None]
        """Of those that need all before them, and are not down: of which the last goes first."""
        self._left = dict.fromkeys(range(len(children)))
        """The places of those whose end has not begun."""

    def next(self, *, is_stuck: bool) -> Node | None:
        """Return the next one whose end may begin now.

        Args:
            is_stuck: Nobody ends now. Who has left and come back, behind those that need it, may
                need them all in turn: then the last that nobody needs is the next, or the last.
        """
        last = self._need_all[-1] if self._need_all and not is_stuck else 0
        while self._free and -self._free[0] >= last:
            place = -heappop(self._free)
            if place in self._left:
                del self._left[place]
                return self._children[place]
        if not is_stuck or not self._left:
            return None
        place, _ = self._left.popitem()
        return self._children[place]

    def is_down(self, child: Node) -> None:
        """Take note that *child* keeps nobody up any more."""
        place = self._place[child._name_ or ""]
        needs = self._needs[place]
        if needs is None:
            if self._need_all[-1] == place:  # as it is but for those that were stuck
                self._need_all.pop()
            else:
                self._need_all.remove(place)
        for needed in needs or ():
            self._needed_by[needed] -= 1
            if not self._needed_by[needed]:
                heappush(self._free, -needed)
