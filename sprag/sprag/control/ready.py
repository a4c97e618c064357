"""``GET /v1/ready``: does everything run that should, and is ready?"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gevent.event import Event

from sprag.control.http import Answer, Gone
from sprag.control.pieces import looking
from sprag_supervisor import clock, not_ready, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Lifecycle, Node

_LISTED: Final = 100
_LOOK: Final = 1.0
"""Seconds between two looks when nothing is heard: states change that no event tells of."""
_REST: Final = 0.05
"""Seconds between two looks, however much happens."""


def answer(desk: Desk, request: Request, has_hung_up: Callable[[], bool]) -> Answer:
    """Return 200 or 503; with ``?timeout=`` wait so many seconds for the 200."""
    path = request.query.get("path", "")
    deadline = clock.now() + (request.seconds("timeout", 0.0) or 0.0)
    changed = Event()

    def look_again(_record: Lifecycle) -> None:
        changed.set()

    desk.tree.observers.append(look_again)
    desk.farewells.add(changed.set)
    try:
        while True:
            changed.clear()
            reply = _look(desk, desk.find(path))
            left = deadline - clock.now()
            if reply.status is HTTPStatus.OK or left <= 0:
                return reply
            if has_hung_up():
                raise Gone
            changed.wait(min(left, _LOOK))
            Event().wait(min(_REST, max(deadline - clock.now(), 0.0)))
    finally:
        desk.farewells.discard(changed.set)
        if look_again in desk.tree.observers:
            desk.tree.observers.remove(look_again)


def _look(desk: Desk, node: Node) -> Answer:
    pace = looking()
    missing: list[dict[str, str]] = []
    count = 0
    for path, lack in not_ready(node, pause=pace):
        count += 1
        if len(missing) < _LISTED:
            missing.append({"path": path, "state": lack.state.value, "reason": lack.reason})
    told = {**desk.about(), "path": path_of(node), "ready": not count}
    told |= {"not_ready": missing, "count": count}
    return Answer(told, HTTPStatus.OK if not count else HTTPStatus.SERVICE_UNAVAILABLE)
