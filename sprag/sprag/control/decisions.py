"""``GET /v1/decisions``: what the supervisors of the whole app have decided, the latest last.

Each decision has a number, which rises by one; who has seen some asks for what came ``since``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from sprag.control.http import Answer, Refused
from sprag.control.pictures import action_text, failure_to_json, finite, iso
from sprag.control.pieces import looking
from sprag_supervisor import State, clock, name_of, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Node, Pace, Policy, Ruling

TOLD: Final = 100
"""Decisions that are told where nobody says how many."""
MOST: Final = 1000
_NAMED: Final = 50
_NUMBERS: Final = 999_999_999


def answer(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Tell the last ``?limit=`` of those after number ``?since=``.

    Of all of the app; with a path, or ``?supervisor=``, those at and below it, and those about it.
    """
    since = request.number("since", 0, most=_NUMBERS)
    limit = request.number("limit", TOLD, most=MOST)
    pace = looking()
    found, full = _found(desk, path, since, pace)
    chosen = found[max(len(found) - limit, 0) :]
    ledger = desk.tree.ledger
    return Answer(
        {
            **desk.about(),
            "path": full,
            "decisions": list(_told(desk.root, chosen, pace)),
            "count": len(found),
            "first": ledger.first,
            "last": ledger.last,
        }
    )


def _told(root: Node, chosen: list[tuple[int, Ruling]], pace: Pace) -> Iterator[dict[str, Any]]:
    for seq, ruling in chosen:
        pace()
        yield to_json(root, seq, ruling)


def _found(desk: Desk, given: str, since: int, pace: Pace) -> tuple[list[tuple[int, Ruling]], str]:
    """Return the rulings after number *since* about *given*, and what path that is.

    Raises:
        Refused: It is not there, and nobody has decided about it.
    """
    unknown: Refused | None = None
    root = path_of(desk.root)
    try:
        full = path_of(desk.find(given))
    except Refused as refused:
        if refused.status is not HTTPStatus.NOT_FOUND:
            raise
        unknown = refused
        full = given.strip("/")
        if not full.startswith(f"{name_of(desk.root)}/"):
            full = f"{root}/{full}"
    is_all = full == root
    found: list[tuple[int, Ruling]] = []
    is_known = False
    for seq, ruling in desk.tree.ledger.numbered():
        pace()
        if is_all or is_about(ruling, full):
            is_known = True
            if seq > since:
                found.append((seq, ruling))
    if unknown is not None and not is_known:
        raise unknown
    return found, full


def is_about(ruling: Ruling, path: str) -> bool:
    """Whether somebody at or below *path* has made it, or it is about the service there."""
    above = ruling.supervisor
    return above == path or above.startswith(f"{path}/") or ruling.child == path


def to_json(root: Node, seq: int, ruling: Ruling) -> dict[str, Any]:
    """Return what is told of a decision.

    What the child asks for, and when it is tried again, is looked up as it is now.
    """
    node = node_at(root, ruling.child)
    others = [path for path in ruling.covered(_NAMED + 1) if path != ruling.child]
    supervisor = ruling.policy
    return {
        "seq": seq,
        "at": iso(ruling.at),
        "supervisor": ruling.supervisor,
        "path": ruling.child,
        "incarnation": ruling.incarnation,
        "kind": ruling.reason.value,
        "error": None if ruling.failure is None else failure_to_json(ruling.failure),
        "rule": _rule(None if node is None else node._policy_, ruling),
        "action": ruling.decision,
        "with": others[:_NAMED],
        "with_count": max(ruling.covered_count - 1, 0),
        "limit": {
            "used": ruling.restarts,
            "of": finite(supervisor.max_restarts),
            "window": finite(supervisor.max_seconds),
        }
        if ruling.restarts
        else None,
        "delay": round(ruling.delay, 3),
        "next_try": _next_try(node, ruling),
    }


def _rule(child: Policy | None, ruling: Ruling) -> dict[str, Any]:
    action = None if ruling.failure is None else ruling.failure.action
    backoff = None if child is None else child.backoff_after(action)
    return {
        "restart": None if child is None else child.restart,
        "strategy": ruling.policy.strategy,
        "on_failure": None if action is None else action_text(action),
        "backoff": None if backoff is None else backoff.as_dict(),
    }


def _next_try(node: Node | None, ruling: Ruling) -> float | None:
    """Return the seconds until the restart that was decided on, if that is still to come."""
    if (
        ruling.decision != "back_off"
        or node is None
        or node._state_ is not State.RESTARTING
        or node._incarnation_ != ruling.incarnation
        or node._history_ is None
        or node._history_.next_try is None
    ):
        return None
    return round(max(node._history_.next_try - clock.now(), 0.0), 3)


def node_at(root: Node, path: str) -> Node | None:
    """Return the service at exactly *path*, which begins with the root's; None: there is none."""
    top = path_of(root)
    if path == top:
        return root
    if not path.startswith(f"{top}/"):
        return None
    node = root
    for name in path[len(top) + 1 :].split("/"):
        child = (node._children_ or {}).get(name)
        if child is None:
            return None
        node = child
    return node


def merged(mine: dict[str, Any], others: Iterable[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Return the answer of a parent with those of its workers in it, the latest last."""
    decisions = list(mine["decisions"])
    count = mine["count"]
    for other in others:
        decisions += other["decisions"]
        count += other["count"]
    decisions.sort(key=_when)
    return {**mine, "decisions": decisions[max(len(decisions) - limit, 0) :], "count": count}


def _when(decision: dict[str, Any]) -> str:
    return str(decision["at"])
