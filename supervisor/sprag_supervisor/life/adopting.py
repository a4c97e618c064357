"""A child gets its place below a parent, or starts there again; a root founds a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent import getcurrent

from sprag_supervisor.exceptions import (
    AlreadyAdopted,
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    BadValue,
    CalledInHub,
    ChildRestarting,
    WouldDeadlock,
)
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.pending import in_progress
from sprag_supervisor.life.resting import detach, leave_if_over
from sprag_supervisor.life.starting import Starting, start
from sprag_supervisor.life.supervising import attend
from sprag_supervisor.life.walking import drive
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.states import ACTIVE, DOWN, RESTARTING
from sprag_supervisor.tree.acquiring import may_acquire, not_active, starts_later
from sprag_supervisor.tree.group import take_back
from sprag_supervisor.tree.home import get_ident, refuse
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.living import enter, leave
from sprag_supervisor.tree.moves import is_active
from sprag_supervisor.tree.names import called, checked_name, name_of, path_of, wanted_name
from sprag_supervisor.tree.node import Node, Supervision, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag_supervisor.rules.policy import Policy


def adopt(
    parent: Node, child: Node, name: str | None = None, policy: Mapping[str, object] | None = None
) -> None:
    """Give *child* a place below *parent* and start it there.

    Raises:
        NotRunning: The parent is neither starting nor running.
        AlreadyAdopted: The child has a place in a tree already.
        AlreadyStarted: *name* belongs to a running child of the parent.
        AlreadyPresent: *name* belongs to a child that does not run.
        BadPolicy: A keyword of *policy* is unknown or wrong.
        BadValue: *name* is empty or holds a slash.
        WrongThread, AfterFork: The parent lives elsewhere.
        CalledInHub: The caller is the hub.
        WouldDeadlock: The parent waits for the hook that makes this call.
        StartFailed: The child could not be started; it has left the tree again.
    """
    if not is_a(child, Node):
        raise BadValue("child", child, f"an instance of a Service{called(child)}")
    tree = parent._tree_
    if tree is not None and tree.thread != get_ident():
        refuse(parent, tree)
    if tree is not None and tree.thread and getcurrent() is tree.hub:
        raise CalledInHub(path_of(parent), "adopt a child")
    if not may_acquire(parent):
        raise not_active(parent, "adopt a child")
    if name is not None:
        name = checked_name(name)
    own = child._policy_ if child._given_ is None else child._given_[0]
    checked = own.with_(policy) if policy else own
    if checked.significant and parent._policy_.auto_shutdown == "never":
        # otp-rules 63
        raise BadPolicy("significant", True, "it below a parent with auto_shutdown set")
    if checked.needs:
        _check_needs(parent, checked.needs)
    supervision = parent._supervision_ or supervision_of(parent)
    turn = supervision.turn
    if turn.holder is not None and turn.is_mine():
        raise WouldDeadlock(path_of(parent), "adopt a child")
    try:
        try:
            if not turn.take():
                raise WouldDeadlock(path_of(parent), "adopt a child")
            if not _accepts(parent, supervision):
                raise not_active(parent, "adopt a child")
            name = _free_name(parent, supervision, child, name)
            _start_below(parent, child, name, checked, (own, dict(policy)) if policy else None)
        finally:
            turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise


def _check_needs(parent: Node, needs: tuple[str, ...]) -> None:
    """Refuse a need that comes later: start order stays the order of adoption."""
    siblings = parent._children_ or {}
    for name in needs:
        if name not in siblings:
            raise BadPolicy("needs", name, f"names of siblings adopted before: {list(siblings)}")


def _free_name(parent: Node, supervision: Supervision, child: Node, name: str | None) -> str:
    """Return the name of a child that may be adopted."""
    if child._parent_ is not None or child._state_ not in DOWN:
        raise AlreadyAdopted(path_of(child), child._state_.value)
    if parent._forgets_ended_:
        parent._check_room_()
    children = parent._children_
    if children is None:
        children = parent._children_ = {}
    if name is None:
        return supervision.free_name(wanted_name(child), children)
    if (other := children.get(name)) is not None and not leave_if_over(parent, other):
        if is_active(other):
            raise AlreadyStarted(path_of(other), other._state_.value)
        raise AlreadyPresent(path_of(other), other._state_.value)
    return name


def _start_below(
    parent: Node,
    child: Node,
    name: str,
    policy: Policy,
    given: tuple[Policy, dict[str, object]] | None,
) -> None:
    assert parent._children_ is not None
    try:
        child._name_, child._parent_, child._tree_ = name, parent, parent._tree_
        parent._children_[name] = child
        child._policy_, child._given_ = policy, given
        start(child)
    except BaseException:
        if child._state_ in DOWN:
            detach(child)
        raise


def tree_of(root: Node) -> Tree:
    """Return the tree of a root, made on first use."""
    tree = root._tree_
    if tree is None:
        tree = root._tree_ = Tree(root)
        root._found_(tree)
        if root._name_ is None:
            root._name_ = wanted_name(root)
    return tree


def found(root: Node) -> None:
    """Start *root* and with it its tree; see `start_again` for a service below another.

    Waits for a stop that is pending or in progress.
    """
    if starts_later(root) is not None:
        raise not_active(root, "start")
    while (operation := in_progress(root)) is not None:
        if isinstance(operation, Starting) and not operation.on_purpose:
            break
        operation.join(Parking())
    if root._state_ not in DOWN:
        raise AlreadyStarted(path_of(root), root._state_.value)
    need_room()
    tree = tree_of(root)
    try:
        enter(tree, attend, drive)
        start(root)
    except BaseException:
        if root._state_ in DOWN:
            leave(tree)
        raise


def start_again(node: Node) -> None:
    """Start a child that is kept but down (OTP's restart_child, otp-rules 56).

    Never counts toward the limit (otp-rules 17); a failure keeps it, `failed`.
    """
    parent = node._parent_
    assert parent is not None
    need_room()
    supervision = supervision_of(parent)
    turn = supervision.turn
    if _accepts(parent, supervision):
        in_progress(node)  # raises where the caller would wait for the turn to its own end
    if turn.is_mine():
        raise WouldDeadlock(path_of(parent), f"start {name_of(node)}")
    try:
        try:
            if not turn.take():
                raise WouldDeadlock(path_of(parent), f"start {name_of(node)}")
            while True:
                if not _accepts(parent, supervision):
                    raise not_active(parent, f"start {name_of(node)}")
                if node._parent_ is not parent:
                    raise not_active(node, "start")
                operation = in_progress(node)
                if operation is None:
                    break
                operation.join(Parking())
            if node._state_ is RESTARTING:
                raise ChildRestarting(path_of(node))
            if node._state_ not in DOWN:
                raise AlreadyStarted(path_of(node), node._state_.value)
            take_back(supervision, node)
            start(node)
        finally:
            turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise


def _accepts(parent: Node, supervision: Supervision) -> bool:
    """Whether the holder of the turn may start children: not if the parent has ended meanwhile.

    Nor while its own `on_start` is being called off: they would be stopped at once.
    """
    if parent._state_ not in ACTIVE or parent._supervision_ is not supervision:
        return False
    operation = parent._op_
    return not isinstance(operation, Starting) or operation.aborted is None
