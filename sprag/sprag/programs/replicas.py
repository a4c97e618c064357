"""Several of one program: how many there are, and whether all of them are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor import (
    RUNNING,
    Node,
    adopt,
    adopt_all,
    delete_child,
    name_of,
    path_of,
    picture,
    set_ready,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.services.service import Service
    from sprag_supervisor import Lifecycle, Policy

_EVENTS: Final = ("ready", "unready", "started", "restarted", "crashed", "stopped", "finished")
_THEIRS: Final = (
    "restart",
    "shutdown",
    "start_timeout",
    "backoff",
    "on_failure",
    "heartbeat",
    "retry_start",
)
"""What is asked for each replica; all else is asked for the group."""


_ALONE: Final[dict[str, Any]] = {"needs": ()}
"""They start and stop side by side."""


def policy_of_each(policy: Policy) -> dict[str, Any]:
    """Return what each replica asks for, of what the group was given."""
    return {keyword: getattr(policy, keyword) for keyword in _THEIRS}


def pass_on_policy(group: Service) -> None:
    """Let the replicas that are there ask for what their group asks for now."""
    asked = policy_of_each(group._policy_)
    for each in (group._children_ or {}).values():
        each._policy_ = each._policy_.with_(asked).overlaid(each._policy_.given or {})


def bring_to_size(
    group: Service, size: int, make: Callable[[int], Service], stop: Callable[[Service], object]
) -> None:
    """Start replicas, or stop those with the highest numbers, so that there are so many.

    Args:
        group: The node above them.
        size: How many.
        make: Makes the one with a number.
        stop: Stops one; blocks.
    """
    if not group._children_:
        names = [str(number) for number in range(1, size + 1)]
        adopt_all(group, [(make(int(name)), name, _ALONE) for name in names], by_needs=True)
    for number in range(1, size + 1):
        if str(number) not in (group._children_ or {}):
            adopt(group, make(number), str(number), _ALONE)
    surplus: list[Any] = [
        child for name, child in (group._children_ or {}).items() if int(name) > size
    ]
    for child in reversed(surplus):
        stop(child)
        if child._parent_ is group:
            delete_child(group, child)


def tell_readiness(group: Service) -> None:
    """Have *group* be ready as long as all below it are."""
    inside = f"{path_of(group)}/"

    def heard(event: Lifecycle) -> None:
        if event.path.startswith(inside):
            _see(group)

    for event in _EVENTS:
        type(group).listen(group, f"sprag:{event}", heard)
    _see(group)


def _see(group: Node) -> None:
    replicas = list((group._children_ or {}).values())
    lacking = [name_of(each) for each in replicas if not _is_well(each)]
    if lacking:
        count = f"{len(replicas) - len(lacking)} of {len(replicas)} are ready"
        set_ready(group, ready=False, reason=count)
    else:
        set_ready(group, ready=True, reason="")


def _is_well(replica: Node) -> bool:
    return replica._state_ is RUNNING and picture(replica).is_ready
