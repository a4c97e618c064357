"""Children that come up side by side, each as soon as it has what it needs.

Who works: the greenlet of the parent's `on_start`, or one that adds several to a parent that runs.
It places all children, `restarting`, takes the turn of the parent, and begins one start after
another, each in a greenlet of the pool, whose call it waits for: so a child whose `on_start` asks
for the turn finds that it would wait for itself.

Order: a child with `needs` begins when these are met; one without, when all that come before it in
the list are over: up, left out, or waiting for what no start under way can bring. What still waits
when no start is under way is left to the parent, as after a backoff. The first start that fails
fails them all, as in a list without needs: the others are called off, and awaited.

Guarded by tests/supervisor/test_needs.py.
"""

from __future__ import annotations

import contextvars
import math
from functools import partial
from typing import TYPE_CHECKING, Final

from gevent import getcurrent

from sprag_supervisor.exceptions import StartFailed, WouldDeadlock
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.bugs import report_bug
from sprag_supervisor.life.needing import unmet, wait_for
from sprag_supervisor.life.resting import hold_back
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.loop.calls import Apart
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.pool import was_thrown_in
from sprag_supervisor.rules.graph import called_for
from sprag_supervisor.rules.states import RESTARTING, STOPPED
from sprag_supervisor.tree.moves import move
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor.tree.node import Node, Supervision

_CALLED_OFF = "a sibling failed to start"
_FEW: Final = 8
"""So many starts under way are looked at, each time, whether they have said that they are over."""


class _Start(Apart):
    """One start, which says itself that it is over: nobody looks through all that are under way.

    Args:
        body: What brings the child up.
        over: Takes the place of the child, maybe more than once.
        place: That.
    """

    def __init__(self, body: Callable[[], object], over: list[int], place: int) -> None:
        super().__init__(self._run)
        self._bring_up = body
        self._over = over
        self._place = place

    def _run(self) -> None:
        try:
            self._bring_up()
        finally:
            self._over.append(self._place)

    def revoke(self) -> None:
        super().revoke()
        self._over.append(self._place)

    def broke(self, error: BaseException) -> None:
        super().broke(error)
        self._over.append(self._place)


class Lineup:
    """The children of one list, on their way up.

    Args:
        parent: Whose they are; it is starting, or runs.
        start: Brings a child up that has its place, and raises what keeps it from that.

    Attributes:
        owner: Whose list it is: who makes it.
    """

    def __init__(self, parent: Node, start: Callable[[Node], None]) -> None:
        self.owner = getcurrent()
        self._parent = parent
        self._life = parent._supervision_
        self._start = start
        self._parking = Parking()
        self._places: dict[int, int] = {}
        """Of each child by id: its place in the list, for those that are still to be seen to."""
        self._children: list[Node] = []
        self._under_way: dict[int, _Start] = {}
        """By place."""
        self._over: list[int] = []
        """Places of those whose start is over, and has not been looked at."""
        self._news: set[int] = set()
        """Places of those who may have got what they need."""
        self._front = 0
        """The first place that is not over."""
        self._error: BaseException | None = None

    def take(self, child: Node) -> None:
        """Take a child in that has its place in the tree: `restarting`, or without autostart."""
        self._places[id(child)] = len(self._children)
        self._children.append(child)

    # -- all of them ------------------------------------------------------------------

    def bring_up(self, supervision: Supervision) -> None:
        """Start all; return when each is up, left out, tried again, or waits for its parent.

        Raises:
            StartFailed: One could not be started. Nothing is under way any more.
        """
        parent, turn = self._parent, supervision.turn
        if turn.is_mine():
            raise WouldDeadlock(path_of(parent), "start its children")
        try:
            try:
                if not turn.take():
                    raise WouldDeadlock(path_of(parent), "start its children")
                above = parent._op_
                if isinstance(above, Starting):
                    self._bring_up_within(above)
                else:
                    self._bring_up_in_turn()
            finally:
                turn.give()
        except BaseException:
            turn.give()  # again: a signal handler may have raised at the first one
            raise
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None

    def _bring_up_within(self, above: Starting) -> None:
        above.adopts = True  # what they take is not its own time
        try:
            self._bring_up_in_turn()
        finally:
            above.has_adopted()

    def _bring_up_in_turn(self) -> None:
        self._call_up()
        for child in self._children:
            if child._policy_.needs is not None and child._state_ is RESTARTING:
                self._watch(child)
        while True:
            while self._begin_who_can():
                pass
            if not self._under_way:
                break
            self._wait()
        self._leave_to_parent()

    def _call_up(self) -> None:
        """Let those come up, too, whom a sibling calls for that comes up."""
        needs = {child._name_ or "": child._policy_.needs for child in self._children}
        wanted = [child._name_ or "" for child in self._children if child._policy_.autostart]
        for name in called_for(needs, wanted):
            child = (self._parent._children_ or {}).get(name)
            if child is not None and child._state_ is STOPPED and id(child) in self._places:
                move(child, RESTARTING)

    def _watch(self, child: Node) -> None:
        place = self._places[id(child)]

        def has_all() -> None:
            self._news.add(place)
            self._parking.poke()

        missing = unmet(child)
        if missing:
            wait_for(child, missing, has_all)
        else:
            self._news.add(place)

    def _wait(self) -> None:
        try:
            self._parking.park()
        except BaseException as error:  # noqa: BLE001 - raised again when all is over
            self._call_off(error)
        over, self._over[:] = tuple(self._over), ()
        for place in over:
            self._see_to(place)
        if len(self._under_way) <= _FEW:  # a signal handler may have kept one from saying so
            for place in tuple(self._under_way):
                self._see_to(place)

    def _see_to(self, place: int) -> None:
        """Take note of the start at *place*, if it is over."""
        call = self._under_way.get(place)
        if call is not None and call.done:
            del self._under_way[place]
            if call.error is not None:
                self._call_off(call.error)
                call.error = None

    def _call_off(self, error: BaseException) -> None:
        """Begin no more, and cut short what is under way: one has failed, or we are killed."""
        is_first = self._error is None
        if is_first or is_a(error, KeyboardInterrupt):
            self._error = error
        elif not (is_a(error, StartFailed) or was_thrown_in(error)):
            report_bug(self._parent, "start", error)  # else nobody would hear of it
        if not is_first:
            return
        for child in self._children:
            if id(child) in self._places:
                hold_back(child)
        for place, call in self._under_way.items():
            operation = self._children[place]._op_
            if isinstance(operation, Starting):
                operation.call_off(math.inf, _CALLED_OFF)
            else:
                call.kill()

    # -- one after another --------------------------------------------------------------

    def _begin_who_can(self) -> bool:
        """Begin the starts that may begin now; return whether there may be more."""
        if self._error is not None or self._is_of_the_past():
            return False
        began = False
        for place in sorted(self._news):
            self._news.discard(place)
            child = self._children[place]
            if child._state_ is RESTARTING and place not in self._under_way and not unmet(child):
                self._begin(child, place)
                began = True
        while self._front < len(self._children):
            child = self._children[self._front]
            if self._front in self._under_way:
                break
            if self._is_over(child):
                self._front += 1
            elif child._policy_.needs is not None:
                if self._under_way:
                    break  # it may still get what it needs
                self._front += 1
            else:
                self._begin(child, self._front)
                return True
        return began

    def _is_of_the_past(self) -> bool:
        """Whether the parent has ended; the children of its next life may be the same ones."""
        return self._parent._supervision_ is not self._life

    def _is_over(self, child: Node) -> bool:
        return child._state_ is not RESTARTING or id(child) not in self._places

    def _begin(self, child: Node, place: int) -> None:
        hold_back(child)
        del self._places[id(child)]
        call = _Start(partial(self._start, child), self._over, place)
        call.context = contextvars.copy_context()
        call.waiter = self._parking
        self._under_way[place] = call
        tree = self._parent._tree_
        assert tree is not None
        tree.pool.run_soon(call)

    def _leave_to_parent(self) -> None:
        """Let the parent see to those who wait, once it runs."""
        if self._error is not None or self._is_of_the_past():
            return
        for child in self._children:
            if child._state_ is RESTARTING and id(child) in self._places:
                missing = unmet(child)
                if missing:
                    wait_for(child, missing)
                else:
                    hold_back(child)


def lineup_of(supervision: Supervision) -> Lineup | None:
    """Return the list that the caller brings up; somebody else's child is none of its business."""
    lineup: Lineup | None = supervision.lineup
    return lineup if lineup is not None and lineup.owner is getcurrent() else None
