"""A snapshot as JSON: what the control socket sends and the command line draws.

Nothing here recurses, so that no depth of tree meets a recursion limit.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor import KEYWORDS, Backoff, ExitApp, class_name, is_a

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sprag_supervisor import Because, Failure, Hold, Policy, Snapshot

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
    policies: dict[int, str] = {}
    last = -1
    for depth, node in nodes:
        policy = _policy_text(node.policy, policies)
        before = "" if depth > last else f"{']}' * (last - depth + 1)}, "
        flat = _flat(node)
        if last < 0 and extra:
            flat = f"{json.dumps(extra)[:-1]}, {flat[1:]}"
        yield f'{before}{flat}, "policy": {policy}, "children": ['
        last = depth
    yield "]}" * (last + 1)


def encode_one(node: Snapshot, policies: dict[int, str], **extra: object) -> str:
    """Return the JSON text of one node without its children.

    Args:
        node: The node.
        policies: Those whose text is made already; the same dict for all nodes of a tree.
        **extra: Keys to begin with.
    """
    policy = _policy_text(node.policy, policies)
    return f'{json.dumps(extra)[:-1]}, {_flat(node)[1:]}, "policy": {policy}}}'


def _policy_text(policy: Policy, policies: dict[int, str]) -> str:
    """Return the JSON of *policy*, made once: a tree of any size has few, and keeps them."""
    text = policies.get(id(policy))
    if text is None:
        text = policies[id(policy)] = json.dumps(_policy(policy))
    return text


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
    return {**json.loads(_flat(node) + "}"), "policy": _policy(node.policy)}


def _flat(node: Snapshot) -> str:
    """Return the JSON of one node but for its policy, its children and the last brace.

    Written out: a tree of thousands is pictured while it is in trouble, and the dict that the
    standard library would want of each costs three times as much.
    """
    owned = node.owned
    return (
        f'{{"name": {_quoted(node.name)}, "path": {_quoted(node.path)},'
        f' "class": {_quoted(node.class_name)}, "kind": "{node.kind}",'
        f' "state": "{node.state.value}", "incarnation": {node.incarnation},'
        f' "restarts": {node.restarts}, "uptime": {_number(node.uptime)},'
        f' "started_at": {_time(node.started_at)}, "ended_at": {_time(node.ended_at)},'
        f' "owned": {{"greenlets": {owned.greenlets}, "timers": {owned.timers},'
        f' "listeners": {owned.listeners}, "cleanups": {owned.cleanups}, "tasks": {owned.tasks}}},'
        f' "last_failure": {_failure(node.last_failure)},'
        f' "next_try": {_number(node.next_try)},'
        f' "stragglers": {_list([each._asdict() for each in node.stragglers])},'
        f' "ready": {"true" if node.is_ready else "false"},'
        f' "unready": {_text(node.unready)}, "status": {_text(node.status)},'
        f' "items": {"null" if node.items is None else json.dumps(node.items._asdict())},'
        f' "held": {"null" if node.held is None else json.dumps(hold_to_json(node.held))},'
        f' "draining": {"true" if node.draining else "false"},'
        f' "waits_for": {_list(node.waits_for)},'
        f' "down_because": {_because(node.because)},'
        f' "lease": {"null" if node.ownership is None else json.dumps(node.ownership._asdict())},'
        f' "process": {"null" if node.pid is None else json.dumps({"pid": node.pid})}'
    )


def because_to_json(because: Because | None) -> dict[str, Any] | None:
    """Return why a service is down; None for one that is not."""
    return None if because is None else {"by": because.by, "with": because.of}


def _because(because: Because | None) -> str:
    return "null" if because is None else json.dumps(because_to_json(because))


def _text(said: str | None) -> str:
    return "null" if said is None else _quoted(said)


def _number(seconds: float | None) -> str:
    # JSON has no infinity.
    return "null" if seconds is None or seconds == math.inf else repr(round(seconds, 3))


def _time(seconds: float | None) -> str:
    return "null" if seconds is None else f'"{iso(seconds)}"'


def _list(items: Sequence[object]) -> str:
    return json.dumps(items) if items else "[]"


def _policy(policy: Policy) -> dict[str, Any]:
    given: dict[str, Any] = {keyword: getattr(policy, keyword) for keyword in KEYWORDS}
    given["on_failure"] = {
        class_name(kind): action_text(said) for kind, said in policy.on_failure.items()
    }
    given["backoff"] = None if policy.backoff is None else policy.backoff.as_dict()
    needs = policy.needs
    given["needs"] = None if needs is None else list(needs)
    given["needs_states"] = None if needs is None else dict(needs)
    # JSON has no infinity.
    return {keyword: None if value == math.inf else value for keyword, value in given.items()}


def action_text(action: object) -> str:
    """Return in short what an `on_failure` says about an exception."""
    if type(action) is str:
        return action
    if is_a(action, Backoff):
        return f"Backoff({action.initial:g}, maximum={action.maximum:g})"
    return f"ExitApp({action.code})" if is_a(action, ExitApp) else ""


def _failure(failure: Failure | None) -> str:
    if failure is None:
        return "null"
    return (
        f'{{"type": {_quoted(failure.type)}, "message": {_quoted(failure.message)},'
        f' "at": {_time(failure.at)}}}'
    )


def finite(number: float) -> float | None:
    """Return *number*; None for no limit: JSON has no infinity."""
    return None if number == math.inf else number


def rounded(seconds: float | None) -> float | None:
    """Return seconds to the millisecond, None for None."""
    return None if seconds is None else round(seconds, 3)


def iso(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC, None for None.

    The last moment that has a name for all that is later, as the end of a hold may be.
    """
    if seconds is None:
        return None
    second, rest = divmod(round(min(seconds, _LAST) * 1000), 1000)
    return f"{_second(second)}.{rest:03}+00:00"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """Return the ISO 8601 text of a second: many things happen in one."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[: len("2026-01-01T00:00:00")]


_LAST: Final = datetime.max.replace(tzinfo=UTC).timestamp() - 1
