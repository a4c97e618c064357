"""At the parent of workers: what one asks of the whole is asked of each of them, too.

All at the same time, and what does not answer in time is left out: its place in the tree tells why.
"""

from __future__ import annotations

import heapq
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import Greenlet

from sprag._defaults import MOST_ROWS
from sprag.control import decisions, history, top
from sprag.control.forwarding import Beyond, answer, listens, slot_of
from sprag.control.http import Answer, Refused
from sprag_supervisor import clock, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sprag.control.desk import Desk
    from sprag.control.http import Request

_GATHERED: Final = ("/v1/decisions", "/v1/history", "/v1/stacks", "/v1/top", "/v1/ready")
_PLACES: Final = ("path", "supervisor")
_LISTED: Final = 100
_PATIENCE: Final = 2.0
"""Seconds that a worker has beyond what the parent itself has taken."""


def concerns(beginning: str, desk: Desk, request: Request, given: str) -> bool:
    """Whether *beginning* is something that is asked of the whole, here with workers in it.

    Numbers of decisions are those of one process: what came ``since`` one is asked of each.
    """
    if beginning not in _GATHERED or given not in ("", "/", name_of(desk.root)):
        return False
    if beginning == "/v1/decisions" and "since" in request.query:
        return False
    return any(slot_of(child) is not None for child in (desk.root._children_ or {}).values())


def gathered(beginning: str, desk: Desk, request: Request, own: Callable[[], Answer]) -> Answer:
    """Return the parent's answer with those of its workers in it."""
    if beginning == "/v1/ready":
        until = clock.now() + (request.seconds("timeout", 0.0) or 0.0)
        mine = own()
        if mine.status is not HTTPStatus.OK:
            return mine
        left = f"{max(until - clock.now(), 0.0):.3f}"
        return _ready(mine, _asked(beginning, desk, request, {"timeout": left})())
    others = _asked(beginning, desk, request, {})
    mine = own()
    if mine.status is not HTTPStatus.OK:
        return mine
    if beginning == "/v1/decisions":
        limit = request.number("limit", decisions.TOLD, most=decisions.MOST)
        told = cast("dict[str, Any]", mine.body)
        return Answer(decisions.merged(told, others(), limit))
    if beginning == "/v1/history":
        return Answer(history.merged(cast("dict[str, Any]", mine.body), others()))
    if beginning == "/v1/stacks":
        return _stacks(mine, others())
    return _top(mine, others(), request)


def _asked(
    beginning: str, desk: Desk, request: Request, more: dict[str, str]
) -> Callable[[], list[dict[str, Any]]]:
    """Ask all workers; return what waits for their answers."""
    query = {key: value for key, value in request.query.items() if key not in _PLACES} | more
    asked = type(request)("GET", beginning, query, request.by)
    answers: list[dict[str, Any]] = []

    def ask(found: Beyond) -> None:
        try:
            body = cast("Iterable[bytes]", answer(beginning, asked, found).body)
            told: dict[str, Any] = json.loads(b"".join(body))
        except (OSError, Refused, ValueError):
            return
        if "error" not in told:
            answers.append(told)

    slots = [slot_of(child) for child in (desk.root._children_ or {}).values()]
    asking: list[Any] = [
        Greenlet(ask, Beyond(slot, "")) for slot in slots if slot is not None and listens(slot)
    ]
    for each in asking:
        each.start()

    def wait() -> list[dict[str, Any]]:
        until = clock.now() + float(more.get("timeout", 0)) + _PATIENCE
        for each in asking:
            each.join(max(until - clock.now(), 0.0))
            each.kill(block=False)
        return answers

    return wait


def _ready(mine: Answer, others: list[dict[str, Any]]) -> Answer:
    told = dict(cast("dict[str, Any]", mine.body))
    missing = [each for other in others for each in other["not_ready"]]
    count = sum(other["count"] for other in others)
    told |= {"ready": not count, "not_ready": missing[:_LISTED], "count": count}
    return Answer(told, HTTPStatus.SERVICE_UNAVAILABLE if count else HTTPStatus.OK)


def _stacks(mine: Answer, others: list[dict[str, Any]]) -> Answer:
    told = dict(cast("dict[str, Any]", mine.body))
    for other in others:
        told["stacks"] = [*told["stacks"], *other["stacks"]]
        for count in ("greenlets", "count"):
            told[count] += other[count]
    return Answer(told)


def _top(mine: Answer, others: list[dict[str, Any]], request: Request) -> Answer:
    """Put the rows of all together; a worker's root is there already, as the parent sees it."""
    told = dict(cast("dict[str, Any]", mine.body))
    rows = list(told["services"])
    for other in others:
        rows += [row for row in other["services"] if row["path"] != other["path"]]
        told["count"] += other["count"] - 1
        told["samples"] += other["samples"]
        told["greenlets"] += other.get("greenlets", 0)
    if others:
        told["cpu"] = {
            key: round(sum(other["cpu"][key] for other in others) / len(others), 4)
            for key in told["cpu"]
        }
    limit = request.number("limit", top.ROWS, most=MOST_ROWS)
    told["services"] = heapq.nsmallest(limit, rows, key=top.order(told["sort"]))
    return Answer(told)
