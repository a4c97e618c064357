"""``/healthz``: the process lives. ``/readyz``: everything that should run does, and is ready."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sprag_supervisor import Pace, not_ready

if TYPE_CHECKING:
    from sprag_supervisor import Node

ALIVE: Final = "/healthz"
READY: Final = "/readyz"

_LISTED: Final = 100


def answer(path: str, root: Node) -> tuple[int, bytes]:
    """Return status and JSON for one of the two paths."""
    if path == ALIVE:
        return 200, b'{"alive": true}'
    missing = list(not_ready(root, pause=Pace()))  # of a large tree: nobody else waits for it
    if not missing:
        return 200, b'{"ready": true}'
    listed = [
        {"path": path, "state": lack.state.value, "reason": lack.reason}
        for path, lack in missing[:_LISTED]
    ]
    found = {"ready": False, "not_ready": listed, "count": len(missing)}
    return 503, json.dumps(found).encode()
