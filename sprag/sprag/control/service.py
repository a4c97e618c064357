"""``GET /v1/service/PATH``: one service in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sprag.control.http import Answer
from sprag.control.pictures import failure_to_json, node_to_json
from sprag.owned.timers import TimerHandle
from sprag_supervisor import (
    arguments_told,
    clock,
    count_children,
    held_by,
    module_name,
    picture,
)

if TYPE_CHECKING:
    from sprag.control.desk import Desk
    from sprag_supervisor import Node

_LOG_LINES: Final = 20


def answer(desk: Desk, path: str) -> Answer:
    """Return the node, and what only matters when one looks at a single service."""
    node = desk.find(path)
    told = node_to_json(picture(node))
    history = node._history_
    ending = None if history is None else history.exit
    counts = count_children(node)
    return Answer(
        {
            **desk.about(),
            **told,
            "module": module_name(type(node)),
            "arguments": arguments_told(type(node), node._args_, node._kwargs_ or {}, texts=True),
            "counters": _counters(node),
            "children_counts": {
                "specs": counts.specs,
                "active": counts.active,
                "supervisors": counts.supervisors,
                "workers": counts.workers,
            },
            "last_exit": None
            if ending is None
            else {"reason": ending.reason.value, "incarnation": ending.incarnation},
            "failures": [
                {**failure_to_json(failure), "traceback": failure.format()}
                for failure in (() if history is None else history.failures)
            ],
            "log": [line.to_json() for line in desk.ring.lines_of(told["path"], _LOG_LINES)],
        }
    )


def _counters(node: Node) -> dict[str, Any]:
    """Count what has happened: in this life, but for the restarts."""
    holdings = held_by(node)
    timers = [] if holdings is None else list(holdings.timers or ())
    handles = [each for each in timers if isinstance(each, TimerHandle)]
    supervision = node._supervision_
    window = None if supervision is None else supervision.window
    within = 0
    if window is not None:
        oldest = clock.now() - node._policy_.max_seconds
        within = sum(time >= oldest for time in window._times)
    return {
        "restarts": node._restarts_,
        "starts": node._incarnation_,
        "ticks": sum(handle.ticks for handle in handles),
        "missed_ticks": sum(handle.missed for handle in handles),
        "child_restarts_within_window": within,
    }
