"""In which order the children of a list start, if one of them says what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sprag_supervisor import NeedsThemselvesError, check_need, choices, start_order, wanted_name
from sprag_supervisor.exceptions import BadPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sprag_supervisor import Node, Policy

NodeT = TypeVar("NodeT", bound="Node")


def policy_of(child: Node, given: dict[str, Any]) -> Policy:
    """Return what *child* asks for, with what its parent is given for it."""
    return child._policy_.with_(given) if given else child._policy_


def in_order_of_needs(
    children: Sequence[tuple[NodeT, str | None, dict[str, Any]]],
) -> tuple[tuple[NodeT, str | None, dict[str, Any]], ...]:
    """Return *children*, each after those it needs, and all with their names.

    Raises:
        BadPolicy: One needs what is not in the list, what can never be what it has to be, or,
            in the end, itself.
    """
    named = dict(zip(_names(children), children, strict=True))
    policies = {name: policy_of(child, given) for name, (child, _, given) in named.items()}
    for policy in policies.values():
        for wanted, need in (policy.needs or {}).items():
            if wanted not in named:
                raise BadPolicy("needs", wanted, f"names of siblings: {choices(wanted, named)}")
            check_need(wanted, need, policies[wanted])
    try:
        order = start_order({name: policy.needs for name, policy in policies.items()})
    except NeedsThemselvesError as error:
        circle = " -> ".join(error.circle)
        accepted = (
            f"no circle: {circle}; who says nothing comes after all that are listed before it, and "
            "needs=() after nobody"
        )
        raise BadPolicy("needs", error.circle[1], accepted) from None
    return tuple([(named[name][0], name, named[name][2]) for name in order])


def _names(children: Sequence[tuple[Node, str | None, dict[str, Any]]]) -> list[str]:
    """Return the names that *children* get, as `adopt` gives them."""
    names = {name for _, name, _ in children if name is not None}
    found: list[str] = []
    for child, name, _ in children:
        own = name
        if own is None:
            wanted = own = wanted_name(child)
            number = 1
            while own in names:
                number += 1
                own = f"{wanted}-{number}"
            names.add(own)
        found.append(own)
    return found
