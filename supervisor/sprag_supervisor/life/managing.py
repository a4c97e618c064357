"""OTP's management calls, for the children of any node.

Their results are those of otp-rules appendix A, as exceptions instead of tuples.
Queries never wait. A start takes the parent's turn like every other change of its
children; a stop needs none and gets through while the parent is busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sprag_supervisor.exceptions import (
    AlreadyStarted,
    ChildRestarting,
    ChildRunning,
    NotRunning,
    UnknownChild,
    WouldDeadlock,
)
from sprag_supervisor.life.by_hand import start_again
from sprag_supervisor.life.pending import in_progress
from sprag_supervisor.life.resting import detach
from sprag_supervisor.record import Record
from sprag_supervisor.rules.states import ACTIVE, DOWN, RESTARTING, STOPPING, State
from sprag_supervisor.tree.home import must_be_able_to_wait, must_be_at_home
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.making import arguments_of
from sprag_supervisor.tree.moves import is_active
from sprag_supervisor.tree.names import name_of, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag_supervisor.rules.policy import Policy, Restart
    from sprag_supervisor.tree.node import Node

Kind = Literal["worker", "supervisor"]


class ChildInfo(Record):
    """One row of `which_children`."""

    name: str
    state: State
    service: Node
    restart: Restart
    kind: Kind


class ChildCounts(Record):
    """What `count_children` returns (otp-rules 60).

    Attributes:
        specs: Children that are kept, running or not.
        active: Those that run.
        supervisors: Those of kind "supervisor", running or not.
        workers: The others.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


class ChildSpec(Record):
    """How a child is made and treated.

    Attributes:
        name: Its name below its parent.
        service_class: Its class.
        args: What it was constructed with, and is again at every restart; None for a
            temporary child, which is never made again (otp-rules 34).
        kwargs: Likewise.
        policy: What it asks for, with what `adopt` was given.
        kind: "worker" or "supervisor".
    """

    name: str
    service_class: type[Node]
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None
    policy: Policy
    kind: Kind


def kind_of(node: Node) -> Kind:
    """Return OTP's child type of *node*."""
    return "supervisor" if node._is_supervisor_ else "worker"


def child_of(parent: Node, name: str) -> Node:
    """Return the child called *name*.

    Raises:
        UnknownChild: There is none; names that look alike are listed.
    """
    must_be_at_home(parent)
    children = parent._children_ or {}
    child = children.get(name)
    if child is None:
        raise UnknownChild(path_of(parent), name, children)
    return child


def restart_child(child: Node, *, now: bool = False) -> None:
    """Start a child that is kept but down (otp-rules 56); *now*: also one that would come back."""
    must_be_able_to_wait(child, "start it")
    if child._state_ is RESTARTING and not now and in_progress(child) is None:
        raise ChildRestarting(path_of(child))
    parent, name = child._parent_, name_of(child)
    try:
        start_again(child, now=now)
    except AlreadyStarted as error:
        if error.state == STOPPING.value:
            raise
        raise ChildRunning(error.path, error.state) from None
    except NotRunning:
        if parent is not None and is_active(parent) and child._parent_ is not parent:
            # It has left while this waited for its turn.
            raise UnknownChild(path_of(parent), name, parent._children_ or {}) from None
        raise


def delete_child(parent: Node, child: Node) -> None:
    """Forget a child that is down (otp-rules 57). Never stops anything."""
    must_be_able_to_wait(parent, f"delete {name_of(child)}")
    turn = supervision_of(parent).turn
    if turn.is_mine():
        raise WouldDeadlock(path_of(parent), f"delete {name_of(child)}")
    try:
        try:
            if not turn.take():
                raise WouldDeadlock(path_of(parent), f"delete {name_of(child)}")
            if child._parent_ is not parent:
                raise UnknownChild(path_of(parent), name_of(child), parent._children_ or {})
            if child._state_ is RESTARTING:
                raise ChildRestarting(path_of(child))
            if child._state_ not in DOWN:
                raise ChildRunning(path_of(child), child._state_.value)
            detach(child)
        finally:
            turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise


def which_children(parent: Node) -> list[ChildInfo]:
    """List the children in start order."""
    must_be_at_home(parent)
    return [
        ChildInfo(name_of(child), child._state_, child, child._policy_.restart, kind_of(child))
        for child in (parent._children_ or {}).values()
    ]


def count_children(parent: Node) -> ChildCounts:
    """Count the children (otp-rules 60)."""
    must_be_at_home(parent)
    children = (parent._children_ or {}).values()
    supervisors = sum(child._is_supervisor_ for child in children)
    active = sum(child._state_ in ACTIVE for child in children)
    return ChildCounts(len(children), active, supervisors, len(children) - supervisors)


def childspec_of(child: Node) -> ChildSpec:
    """Return how the child is made and treated."""
    is_temporary = child._policy_.restart == "temporary"
    args, kwargs = arguments_of(child)
    return ChildSpec(
        name_of(child),
        type(child),
        None if is_temporary else args,
        None if is_temporary else dict(kwargs),
        child._policy_,
        kind_of(child),
    )
