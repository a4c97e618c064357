"""A start by hand: of a root, which founds a tree, or of a child that is kept but down."""

from __future__ import annotations

from contextlib import suppress

from sprag_supervisor.exceptions import (
    AlreadyStarted,
    ChildRestarting,
    NotRunning,
    StartFailed,
    WouldDeadlock,
)
from sprag_supervisor.life.adopting import must_accept
from sprag_supervisor.life.beating import expect_beats
from sprag_supervisor.life.bringing_up import start
from sprag_supervisor.life.pending import in_progress
from sprag_supervisor.life.regrouping import group_of, restart_group
from sprag_supervisor.life.resting import hold_back
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.life.supervising import attend
from sprag_supervisor.life.walking import drive
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.states import DOWN, RESTARTING, RUNNING
from sprag_supervisor.tree.acquiring import not_active, starts_later
from sprag_supervisor.tree.group import led_by, take_back
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.living import enter, leave
from sprag_supervisor.tree.names import name_of, path_of, wanted_name
from sprag_supervisor.tree.node import Node, Supervision, Tree


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
    tree = tree_of(root)
    if root._policy_.heartbeat is not None:
        expect_beats(root)
    try:
        enter(tree, attend, drive)
        start(root)
    except BaseException:
        if root._state_ in DOWN:
            leave(tree)
        raise


def start_again(node: Node, *, now: bool = False) -> None:
    """Start a child that is kept but down (OTP's restart_child, otp-rules 56).

    Never counts toward the limit (otp-rules 17); a failure keeps it, `failed`. Its backoff begins
    anew.

    Args:
        node: The child.
        now: Also one that waits for its restart, and with it those who wait for that.
    """
    parent = node._parent_
    assert parent is not None
    need_room()
    supervision = supervision_of(parent)
    turn = supervision.turn
    with suppress(NotRunning):
        must_accept(parent, supervision, "start it")
        in_progress(node)  # raises where the caller would wait for the turn to its own end
    if turn.is_mine():
        raise WouldDeadlock(path_of(parent), f"start {name_of(node)}")
    try:
        try:
            if not turn.take():
                raise WouldDeadlock(path_of(parent), f"start {name_of(node)}")
            while True:
                must_accept(parent, supervision, f"start {name_of(node)}")
                if node._parent_ is not parent:
                    raise not_active(node, "start")
                operation = in_progress(node)
                if operation is None:
                    break
                operation.join(Parking())
            if node._state_ is RESTARTING and not now:
                raise ChildRestarting(path_of(node))
            if node._state_ not in DOWN:
                raise AlreadyStarted(path_of(node), node._state_.value)
            if node._history_ is not None:
                node._history_.in_a_row = 0
                node._history_.first_start = False  # who starts it by hand is told (56)
            if led_by(supervision, node) is not None:
                _start_with_group(parent, supervision, node)
                return
            hold_back(node)
            take_back(supervision, node)
            start(node)
        finally:
            turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise


def _start_with_group(parent: Node, supervision: Supervision, node: Node) -> None:
    """Start *node*, for which others wait, and them."""
    hold_back(node)
    group = group_of(parent, supervision, node)
    restart_group(parent, supervision, group, node)
    if node._state_ is not RUNNING:
        history = node._history_
        last = () if history is None else history.failures[-1:]
        raise StartFailed(path_of(node), str(last[0]) if last else f"it is {node._state_.value}")
