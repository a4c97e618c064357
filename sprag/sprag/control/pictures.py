"""A snapshot as JSON: what the control socket sends and the command line draws.

Nothing here recurses, so that no depth of tree meets a recursion limit.
"""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor import KEYWORDS, Backoff, ExitApp, class_name, is_a

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag_supervisor import Failure, Hold, Policy, Snapshot

SCHEMA: Final = 1
"""Version of the node's keys: raised when one changes its meaning or goes."""


def to_json(root: Snapshot) -> dict[str, Any]:
    """Return the tree of *root* as plain dicts, lists, strings and numbers.

    Durations are seconds, clock times ISO 8601 in UTC. ``next_try`` is in seconds from
    the time of the snapshot.
    """
    top = _whole(root)
    stack = [(root, top)]
    while stack:
        node, data = stack.pop()
        data["children"] = [_whole(child) for child in node.children]
        stack.extend(zip(node.children, data["children"], strict=True))
    return top


def encode(nodes: Iterable[tuple[int, Snapshot]], **extra: object) -> Iterator[str]:
    """Yield the JSON text of a tree piece by piece.

    Args:
        nodes: Those of the tree with their depths, parents before children.
        **extra: Keys for the root to have besides its own.
    """
    policies: dict[int, str] = {}  # few objects, in a tree of any size, and kept by it
    last = -1
    for depth, node in nodes:
        policy = policies.get(id(node.policy))
        if policy is None:
            policy = policies[id(node.policy)] = json.dumps(_policy(node.policy))
        before = "" if depth > last else f"{']}' * (last - depth + 1)}, "
        flat = json.dumps({**extra, **_flat(node)} if last < 0 else _flat(node))
        yield f'{before}{flat[:-1]}, "policy": {policy}, "children": ['
        last = depth
    yield "]}" * (last + 1)


def node_to_json(node: Snapshot) -> dict[str, Any]:
    """Return one node without its children."""
    return _whole(node)


def failure_to_json(failure: Failure) -> dict[str, Any]:
    """Return a crash without its traceback."""
    return {
        "type": failure.type,
        "message": failure.message,
        "at": iso(failure.at),
        "incarnation": failure.incarnation,
    }


def hold_to_json(hold: Hold) -> dict[str, Any]:
    """Return what holds a service."""
    return {
        "path": hold.path,
        "since": iso(hold.since),
        "until": iso(hold.until),
        "by": hold.by,
    }


def _whole(node: Snapshot) -> dict[str, Any]:
    return {**_flat(node), "policy": _policy(node.policy)}


def _flat(node: Snapshot) -> dict[str, Any]:
    return {
        "name": node.name,
        "path": node.path,
        "class": node.class_name,
        "kind": node.kind,
        "state": node.state.value,
        "incarnation": node.incarnation,
        "restarts": node.restarts,
        "uptime": rounded(node.uptime),
        "started_at": iso(node.started_at),
        "ended_at": iso(node.ended_at),
        "owned": node.owned._asdict(),
        "last_failure": _failure(node.last_failure),
        "next_try": rounded(node.next_try),
        "stragglers": [each._asdict() for each in node.stragglers],
        "ready": node.is_ready,
        "unready": node.unready,
        "status": node.status,
        "items": None if node.items is None else node.items._asdict(),
        "held": None if node.held is None else hold_to_json(node.held),
        "draining": node.draining,
        "waits_for": list(node.waits_for),
        "process": None if node.pid is None else {"pid": node.pid},
    }


def _policy(policy: Policy) -> dict[str, Any]:
    given: dict[str, Any] = {keyword: getattr(policy, keyword) for keyword in KEYWORDS}
    given["on_failure"] = {
        class_name(kind): said if type(said) is str else _said_of(said)
        for kind, said in policy.on_failure.items()
    }
    given["backoff"] = None if policy.backoff is None else dataclasses.asdict(policy.backoff)
    needs = policy.needs
    given["needs"] = None if needs is None else list(needs)
    given["needs_states"] = None if needs is None else dict(needs)
    # JSON has no infinity.
    return {keyword: None if value == math.inf else value for keyword, value in given.items()}


def _said_of(action: object) -> str:
    """Return in short what is done about an exception, if it has no word."""
    if is_a(action, Backoff):
        return f"Backoff({action.initial:g}, maximum={action.maximum:g})"
    return f"ExitApp({action.code})" if is_a(action, ExitApp) else ""


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"type": failure.type, "message": failure.message, "at": iso(failure.at)}


def rounded(seconds: float | None) -> float | None:
    """Return seconds to the millisecond, None for None."""
    return None if seconds is None else round(seconds, 3)


def iso(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC, None for None.

    The last moment that has a name for all that is later, as the end of a hold may be.
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(min(seconds, _LAST), UTC).isoformat(timespec="milliseconds")


_LAST: Final = datetime.max.replace(tzinfo=UTC).timestamp() - 1
