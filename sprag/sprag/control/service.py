"""``GET /v1/service/PATH``: one service in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from sprag.control import forwarding
from sprag.control.http import Answer
from sprag.control.pictures import failure_to_json, iso, node_to_json
from sprag.control.programs import program_of, program_to_json
from sprag.control.usage import uses_of
from sprag.owned.crons import CronHandle
from sprag.owned.probes import ProbeHandle
from sprag.owned.timers import TimerHandle
from sprag_supervisor import (
    arguments_of,
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

HandleT = TypeVar("HandleT", bound=TimerHandle)
_LOG_LINES: Final = 20
_LISTED: Final = 50
"""Crons, and probes, that are told one by one."""


def answer(desk: Desk, path: str) -> Answer:
    """Return the node, and what only matters when one looks at a single service."""
    node = desk.find(path)
    told = node_to_json(picture(node))
    history = node._history_
    ending = None if history is None else history.exit
    counts = count_children(node)
    program = program_of(node)
    # What a program has written is told once.
    log = desk.ring.lines_of(told["path"], _LOG_LINES, output=program is None)
    return Answer(
        {
            **desk.about(),
            **desk.process(),
            **told,
            "process": forwarding.with_place(node, _process(told["process"])),
            "module": module_name(type(node)),
            "arguments": arguments_told(type(node), *arguments_of(node), texts=True),
            "counters": _counters(node),
            "crons": [
                _cron(each) for each in sorted(_timers(node, CronHandle), key=_next)[:_LISTED]
            ],
            "probes": [
                _probe(each) for each in sorted(_timers(node, ProbeHandle), key=_name)[:_LISTED]
            ],
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
            "program": None if program is None else program_to_json(program),
            "log": [line.to_json() for line in log],
            **forwarding.of_process(node),
        }
    )


def _process(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """Add to the pid of a program what it uses, as far as that can be seen."""
    if told is None:
        return None
    from sprag.programs.memory_limit import memory_limit
    from sprag.programs.proc import most_files

    pid = told["pid"]
    use = uses_of([pid]).get(pid)
    limits = {
        "memory_limit": memory_limit(pid),
        "descriptors_limit": None if use is None else most_files(pid),
    }
    more = {name: limit for name, limit in limits.items() if limit is not None}
    return {**told, **more, **({} if use is None else use.to_json())}


def _counters(node: Node) -> dict[str, Any]:
    """Count what has happened: in this life, but for the restarts."""
    handles = _timers(node, TimerHandle)
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


def _timers(node: Node, kind: type[HandleT]) -> list[HandleT]:
    holdings = held_by(node)
    timers: list[object] = [] if holdings is None else list(holdings.timers or ())
    return [each for each in timers if isinstance(each, kind)]


def _next(handle: CronHandle) -> float:
    return handle._next


def _name(handle: ProbeHandle) -> str:
    return handle.function


def _cron(handle: CronHandle) -> dict[str, Any]:
    due = handle.next_run
    return {
        "expression": handle.expression,
        "tz": handle.tz,
        "function": handle.function,
        "next_run": None if due is None else iso(due.timestamp()),
        "running": handle.running,
        "ticks": handle.ticks,
        "missed": handle.missed,
    }


def _probe(handle: ProbeHandle) -> dict[str, Any]:
    return {
        "function": handle.function,
        "every": handle.every,
        "timeout": handle.timeout,
        "failures": handle.failures,
        "failed": handle.failed,
        "last": handle.last,
        "ticks": handle.ticks,
    }
