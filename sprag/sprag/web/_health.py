"""``/healthz``: the process lives. ``/readyz``: everything that should run does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from gevent import sleep

from sprag_supervisor import State, _clock
from sprag_supervisor._node import name_of, path_of

if TYPE_CHECKING:
    from sprag_supervisor import Node

ALIVE: Final = "/healthz"
READY: Final = "/readyz"

_LISTED: Final = 100
_HOLD: Final = 0.005
"""Seconds for which the walk over a big tree may hold the loop at a time."""
_WELL: Final = frozenset({State.RUNNING, State.STOPPED, State.FINISHED})
"""A service that was stopped on purpose, or is done, should not run."""


def answer(path: str, root: Node) -> tuple[int, bytes]:
    """Return status and JSON for one of the two paths."""
    if path == ALIVE:
        return 200, b'{"alive": true}'
    missing = not_running(root)
    if not missing:
        return 200, b'{"ready": true}'
    listed = [{"path": path, "state": state.value} for path, state in missing[:_LISTED]]
    found = {"ready": False, "not_running": listed, "count": len(missing)}
    return 503, json.dumps(found).encode()


def not_running(root: Node) -> list[tuple[str, State]]:
    """Return path and state of every service that should run and does not."""
    if root._state_ is not State.RUNNING:
        return [(path_of(root), root._state_)]
    found: list[tuple[str, State]] = []
    stack: list[tuple[Node, str]] = [(root, path_of(root))]
    held_since = _clock.now()
    while stack:
        node, path = stack.pop()
        if node._state_ not in _WELL:
            found.append((path, node._state_))
        children = tuple((node._children_ or {}).values())
        stack.extend((child, f"{path}/{name_of(child)}") for child in reversed(children))
        if _clock.now() - held_since > _HOLD:
            sleep(0)
            held_since = _clock.now()
    return found
