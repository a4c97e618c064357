"""A child gets its place below a parent, or starts there again; a root founds a tree."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gevent import getcurrent

from sprag_supervisor.exceptions import (
    AlreadyAdopted,
    AlreadyPresent,
    AlreadyStarted,
    SpragError,
    StartFailed,
    WouldDeadlock,
)
from sprag_supervisor.foreign import class_name
from sprag_supervisor.life.beating import expect_beats
from sprag_supervisor.life.bringing_up import NOTHING_TO_START, note_first_start, start
from sprag_supervisor.life.lineup import Lineup, lineup_of
from sprag_supervisor.life.needing import call_up, is_waited_for, unmet, wait_for
from sprag_supervisor.life.placing import Needed, check_place, refuse_present
from sprag_supervisor.life.resting import detach, leave_if_over
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.left_behind import is_left_behind, left_behind
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.states import (
    ACTIVE,
    DOWN,
    NEW,
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
)
from sprag_supervisor.tree.acquiring import not_active
from sprag_supervisor.tree.classes import made_of
from sprag_supervisor.tree.home import get_ident, must_be_able_to_wait
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.moves import is_active, move
from sprag_supervisor.tree.names import checked_name, name_of, path_of, wanted_name
from sprag_supervisor.tree.node import Node, Supervision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def adopt(
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
    if name is not None or policy:
        return _adopt(parent, child, name, policy)
    supervision, kind = parent._supervision_, type(child)
    tree: Any = parent._tree_
    if (
        supervision is not None
        and kind is supervision.plain
        and child._state_ is NEW
        and child._policy_ is supervision.plain_policy
        and child._parent_ is None
        and child._history_ is None
        and parent._state_ is RUNNING
        and parent._op_ is None
        and supervision.turn.holder is None
        and supervision.lineup is None
        and not tree.observers
        and not (left_behind and is_left_behind())
        and tree.thread == get_ident()
        and getcurrent() is not tree.hub
        and kind.on_start is NOTHING_TO_START
        and getattr(child, "name", None) is None
    ):
        # The short way, for one more of many that have nothing to do at their start: nothing in it
        # can wait, so nobody needs the turn, and nothing can come in between. What it does `_adopt`
        # does, too; tests/supervisor/test_quick.py goes both.
        now, children, wanted = clock.now(), supervision.children, supervision.plain_name
        number = supervision.numbers.get(wanted, 1) + 1
        name = f"{wanted}-{number}"
        if wanted in children and name not in children:
            supervision.numbers[wanted] = number
            try:
                child._name_, child._parent_, child._tree_ = name, parent, tree
                children[name] = child
                child._since_, child._incarnation_, child._state_, child._state_ = (
                    now,
                    1,
                    STARTING,
                    RUNNING,
                )
            except BaseException:
                if child._state_ is not RUNNING:
                    child._incarnation_, child._state_ = 0, NEW
                    child._parent_ = child._tree_ = None
                    children.pop(name, None)
                raise
            return child
    child = _adopt(parent, child, None, policy)
    _note_plain(parent, child)
    return child


def _note_plain(parent: Node, child: Node) -> None:
    """Let the next of its class take the short way, if *child* has had nothing to do."""
    supervision, kind, policy = parent._supervision_, type(child), child._policy_
    if (
        supervision is not None
        and kind is not supervision.plain
        and kind.on_start is NOTHING_TO_START
        and not (kind._prepares_ or kind._does_more_ or policy.asks_more)
        and policy is kind._class_policy_
        and getattr(kind, "__getattr__", None) is None
        and kind.__getattribute__ is Node.__getattribute__
        and not any("name" in vars(each) for each in kind.__mro__)
        and getattr(child, "name", None) is None
    ):
        supervision.plain_policy, supervision.plain_name = policy, class_name(kind)
        supervision.plain = kind


def _adopt(  # noqa: C901, PLR0912, PLR0915 - in two functions it costs a tenth more
    parent: Node, child: Node, name: str | None, policy: Mapping[str, object] | None
) -> Node:
    if not issubclass(type(child), Node):
        child = made_of(child, "child", "a Service, or a class of them")
    elif child._parent_ is parent and parent._forgets_ended_:
        refuse_present(parent, child)
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
        check_place(parent, name or name_of(child), checked)
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
            else:
                raise WouldDeadlock(path_of(parent), "adopt a child")
            if parent._op_ is not None:
                must_accept(parent, supervision, "adopt a child")
            if child._parent_ is not None or child._state_ not in DOWN:
                raise AlreadyAdopted(path_of(child), child._state_.value)
            if parent._forgets_ended_:
                parent._check_room_()
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


def come_in(child: Node, supervision: Supervision) -> None:
    """Start *child* at its new place, now or later, as it asks for."""
    policy, lineup = child._policy_, lineup_of(supervision)
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
