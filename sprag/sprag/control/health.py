"""``/healthz``: the process lives. ``/readyz``: everything that should run does, and is ready."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sprag.control.pieces import looking
from sprag_supervisor import not_ready, status_of

if TYPE_CHECKING:
    from sprag.services.service import Service

ALIVE: Final = "/healthz"
READY: Final = "/readyz"
METRICS: Final = "/metrics"

_LISTED: Final = 100


def health(path: str, root: Service) -> tuple[int, dict[str, Any]]:
    """Return status and answer for one of the two paths."""
    if path == ALIVE:
        return 200, {"alive": True}
    missing = list(not_ready(root, pause=looking()))  # of a large tree: nobody else waits for it
    is_ready = root._serves_({path for path, _ in missing})
    tree = root._tree_
    member = None if tree is None else tree.cluster
    found: dict[str, Any] = {"ready": is_ready}
    if member is not None and member.is_away:
        found["cluster"] = "away"
        if member.needs_engine:
            found["ready"] = is_ready = False
    if (status := status_of(root)) is not None:
        found["status"] = status
    if missing:
        found["not_ready"] = [
            {"path": path, "state": lack.state.value, "reason": lack.reason}
            for path, lack in missing[:_LISTED]
        ]
        found["count"] = len(missing)
    return 200 if is_ready else 503, found


def encoded(found: dict[str, Any]) -> bytes:
    """Return an answer as the bytes that are sent."""
    return json.dumps(found).encode()
