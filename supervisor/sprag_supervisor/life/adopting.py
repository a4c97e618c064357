"""A child gets its place below a parent, or starts there again; a root founds a tree."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gevent import getcurrent

from sprag_supervisor.exceptions import (
    AlreadyAdopted,
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    SpragError,
    StartFailed,
    WouldDeadlock,
)
from sprag_supervisor.life.beating import expect_beats
from sprag_supervisor.life.bringing_up import note_first_start, start
from sprag_supervisor.life.lineup import Lineup
from sprag_supervisor.life.needing import call_up, is_waited_for, unmet, wait_for
from sprag_supervisor.life.resting import detach, leave_if_over
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.loop.left_behind import is_left_behind, left_behind
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.policy import check_need
from sprag_supervisor.rules.states import ACTIVE, DOWN, RESTARTING, STOPPED
from sprag_supervisor.tree.acquiring import not_active
from sprag_supervisor.tree.classes import made_of
from sprag_supervisor.tree.home import get_ident, must_be_able_to_wait
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.moves import is_active, move
from sprag_supervisor.tree.names import checked_name, name_of, path_of, wanted_name
from sprag_supervisor.tree.node import Node, Supervision
from sprag_supervisor.wording import choices, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sprag_supervisor.rules.graph import Need
    from sprag_supervisor.rules.policy import Policy


_NEEDED: Final = 100
"""Names that are remembered before any of them is forgotten."""


def adopt(  # noqa: C901, PLR0912, PLR0915 - in two functions it costs a tenth more
    parent: Node, child: Node, name: str | None = None, policy: Mapping[str, object] | None = None
) -> Node:
    """Give *child* a place below *parent* and start it there; return it.

    A class is called, without arguments.

    Raises:
        NotRunning: The parent is neither starting nor running.
        AlreadyAdopted: The child has a place in a tree already.
        AlreadyStarted: *name* belongs to a running child of the parent.
        AlreadyPresent: *name* belongs to a child that does not run.
        BadPolicy: A keyword of *policy* is unknown or wrong.
        BadValue: *name* is empty or holds a slash; *child* is no service, and no class that
            makes one without arguments.
        WrongThread, AfterFork: The parent lives elsewhere.
        CalledInHub: The caller is the hub.
        WouldDeadlock: The parent waits for the hook that makes this call.
        StartFailed: The child could not be started; it has left the tree again.
    """
    if not issubclass(type(child), Node):
        child = made_of(child, "child", "a Service, or a class of them")
        parent._check_room_()  # again: its constructor may have taken its time
    tree, current = parent._tree_, getcurrent()
    if tree is None:
        raise not_active(parent, "adopt a child")
    if tree.thread != get_ident() or current is tree.hub:
        must_be_able_to_wait(parent, "adopt a child")
    if parent._state_ not in ACTIVE or (left_behind and is_left_behind()):
        raise not_active(parent, "adopt a child")
    if name is not None and (type(name) is not str or not name or "/" in name):
        name = checked_name(name)
    checked = child._policy_
    if checked.own is not None:
        checked = checked.own  # what it was given elsewhere does not count here
    if policy:
        checked = checked.overlaid(policy)
    if checked.asks_more:
        _check_place(parent, name or name_of(child), checked)
    supervision = parent._supervision_ or supervision_of(parent)
    if supervision.path is None:
        supervision.path = path_of(parent)
    turn = supervision.turn
    if turn.holder is current:
        raise WouldDeadlock(path_of(parent), "adopt a child")
    try:
        try:
            if turn.holder is None:
                turn.holder = current
            elif turn.take():
                must_accept(parent, supervision, "adopt a child")  # it may have ended meanwhile
                parent._check_room_()
            else:
                raise WouldDeadlock(path_of(parent), "adopt a child")
            if parent._op_ is not None:
                must_accept(parent, supervision, "adopt a child")
            if child._parent_ is not None or child._state_ not in DOWN:
                raise AlreadyAdopted(path_of(child), child._state_.value)
            children = supervision.children
            if name is None:
                name = wanted_name(child)
                if name in children:
                    name = _numbered(supervision, name)
            elif name in children:
                _make_room(parent, children[name])
            if child._history_ is not None:
                need_room()  # to undo it takes some
                if child._tree_ is not None:  # it was the root of another
                    child._tree_.memories.leave(child._history_)
                tree.memories.join(child._history_)
            try:
                child._name_, child._parent_, child._tree_ = name, parent, tree
                children[name] = child
                child._policy_ = checked
                if checked.asks_more or supervision.lineup is not None:
                    come_in(child, supervision)
                else:
                    start(child)
            except BaseException:
                if child._state_ in DOWN:
                    if child._history_ is not None:
                        detach(child)
                    elif child._parent_ is parent:  # no call: the stack may have no room for one
                        child._parent_ = child._tree_ = None
                        if name in children:
                            del children[name]
                raise
        finally:
            if turn.holder is current and not turn.queue:
                turn.holder = None
            else:
                turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise
    return child


def _check_place(parent: Node, name: str, policy: Policy) -> None:
    """Refuse what a child asks for and *parent* cannot give."""
    if policy.significant and parent._policy_.auto_shutdown == "never":
        # otp-rules 63
        raise BadPolicy("significant", True, "it below a parent with auto_shutdown set")
    if policy.needs:
        _check_needs(parent, name, policy.needs)
        in_list = parent._supervision_ is not None and _lineup_of(parent._supervision_) is not None
        if not in_list and name not in (parent._children_ or {}):
            # A list is looked at as a whole, and who has the name already is refused for that.
            _check_circle(parent, name, policy.needs)


def _check_needs(parent: Node, child: str, needs: Mapping[str, Need]) -> None:
    """Refuse a need of what is not there, or can never be what it has to be."""
    siblings = parent._children_ or {}
    for name, need in needs.items():
        sibling = siblings.get(name)
        if sibling is None:
            known = choices(name, siblings) if siblings else "there is none"
            why = f"it needs {shown(name)}, which is no sibling of it ({known}): adopt that before"
            raise StartFailed(f"{path_of(parent)}/{child}", why)
        check_need(name, need, sibling._policy_)
        if need == "finished" and parent._forgets_ended_:
            accepted = f"'started' or 'ready': who has finished leaves {path_of(parent)}"
            raise BadPolicy("needs", {name: need}, accepted)


class Needed:
    """Whom the children of one parent need, or have needed: nobody else can be in a circle."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._most = _NEEDED

    def __contains__(self, name: str) -> bool:
        """Whether somebody may need what has that *name*."""
        return name in self._names

    def note(self, needs: Mapping[str, Need], parent: Node | None) -> None:
        """Take note of what a child of *parent* needs; forget now and then what none does."""
        self._names.update(needs)
        if len(self._names) > self._most:
            self._names.clear()
            for child in ((None if parent is None else parent._children_) or {}).values():
                self._names.update(child._policy_.needs or ())
            self._most = 2 * len(self._names) + _NEEDED


def _check_circle(parent: Node, child: str, needs: Mapping[str, Need]) -> None:
    """Refuse to need who needs *child* already: one that has left comes back, maybe."""
    needed = None if parent._supervision_ is None else parent._supervision_.needed
    if needed is None or child not in needed:
        return  # the way down a long chain is not gone for each of its links
    siblings = parent._children_ or {}
    came_from = dict.fromkeys(needs, child)
    pending = list(needs)
    while pending:
        name = pending.pop()
        for wanted in () if name not in siblings else siblings[name]._policy_.needs or ():
            if wanted == child:
                way = [child, name]
                while way[-1] != child:
                    way.append(came_from[way[-1]])
                circle = " -> ".join([child, *reversed(way[1:-1]), child])
                raise BadPolicy("needs", list(needs), f"no circle: {circle}")
            if wanted not in came_from:
                came_from[wanted] = name
                pending.append(wanted)


def adopt_all(
    parent: Node,
    children: Sequence[tuple[Node, str | None, Mapping[str, object]]],
    *,
    by_needs: bool,
    leave_out: Callable[[Node, SpragError], object] | None = None,
) -> None:
    """Give *children* their places below *parent*, which is starting or runs, and start them.

    Args:
        parent: Whose children they are to be.
        children: Each with its name and policy, in start order.
        by_needs: Side by side, each as soon as it has what it needs; else one after another.
        leave_out: Called with each that could not be started, and has no place, while the others
            go on; only by needs. None: the first one keeps them all from it.

    Raises:
        StartFailed: One could not be started. Those before it run.
    """
    pace = Pace()
    if not by_needs:
        for child, name, policy in children:
            pace()
            adopt(parent, child, name, policy)
        return
    supervision = parent._supervision_ or supervision_of(parent)
    begin = start_first if leave_out is None else partial(_start_or_leave_out, leave_out)
    supervision.lineup = lineup = Lineup(parent, begin)
    try:
        for child, name, policy in children:
            pace()
            try:
                adopt(parent, child, name, policy)
            except SpragError as error:
                if leave_out is None:
                    raise
                leave_out(child, error)
    finally:
        supervision.lineup = None
    lineup.bring_up(supervision)


def _start_or_leave_out(leave_out: Callable[[Node, SpragError], object], child: Node) -> None:
    try:
        start_first(child)
    except StartFailed as error:
        if child._state_ in DOWN and child._parent_ is not None:
            detach(child)
        leave_out(child, error)


def _lineup_of(supervision: Supervision) -> Lineup | None:
    """Return the list that the caller brings up; somebody else's child is none of its business."""
    lineup: Lineup | None = supervision.lineup
    return lineup if lineup is not None and lineup.owner is getcurrent() else None


def come_in(child: Node, supervision: Supervision) -> None:
    """Start *child* at its new place, now or later, as it asks for."""
    policy, lineup = child._policy_, _lineup_of(supervision)
    if policy.heartbeat is not None:
        expect_beats(child)
    if policy.needs is not None:
        needed: Needed | None = supervision.needed
        if needed is None:
            needed = supervision.needed = Needed()
        needed.note(policy.needs, child._parent_)
    if policy.retry_start:
        note_first_start(child)  # until it has come up here, or is started by hand
    if not policy.autostart:
        if child._state_ is not STOPPED:
            move(child, STOPPED)
        if lineup is not None:
            lineup.take(child)
        elif is_waited_for(child):
            call_up(child)
    elif lineup is not None:
        move(child, RESTARTING)
        lineup.take(child)
    elif missing := unmet(child):
        move(child, RESTARTING)
        wait_for(child, missing)
    else:
        start_first(child)


def start_first(child: Node) -> None:
    """Start *child* for the first time at its place; a failure is tried again if it asks for that.

    Raises:
        StartFailed: It is not.
    """
    try:
        start(child)
    except StartFailed:
        if child._state_ is not RESTARTING:
            raise
        # It is tried again once its parent runs.
    finally:
        history = child._history_
        if history is not None and child._state_ is not RESTARTING:
            history.first_start = False


def _numbered(supervision: Supervision, wanted: str) -> str:
    """Return *wanted* with the next number, as in ``wanted-2``.

    A number is not used again, but *wanted* is when it is free: a second try to adopt
    the same service keeps its name.
    """
    numbers, taken = supervision.numbers, supervision.children
    number = numbers[wanted] + 1 if wanted in numbers else 2
    while (name := f"{wanted}-{number}") in taken:
        number += 1
    numbers[wanted] = number
    return name


def _make_room(parent: Node, other: Node) -> None:
    """Take the name of *other* from it, if it is over and has only not been heard of yet."""
    if not leave_if_over(parent, other):
        if is_active(other):
            raise AlreadyStarted(path_of(other), other._state_.value)
        raise AlreadyPresent(path_of(other), other._state_.value)


def must_accept(parent: Node, supervision: Supervision, action: str) -> None:
    """Refuse to start children if the parent has ended while the turn was waited for.

    Nor while its own `on_start` is being called off: they would be stopped at once.
    """
    operation = parent._op_
    is_called_off = isinstance(operation, Starting) and operation.aborted is not None
    if is_called_off or parent._state_ not in ACTIVE or parent._supervision_ is not supervision:
        raise not_active(parent, action)
