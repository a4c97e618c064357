"""``POST /v1/reload/PATH?timeout=30&dry_run=1``: the hooks `on_reload` at and below a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet

from sprag._defaults import RELOAD_TIMEOUT
from sprag.control.http import Answer
from sprag.services import reloading
from sprag.services.service import Service
from sprag_supervisor import as_text, clock, is_a, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.services.reloading import Reloaded, ReloadReport
    from sprag_supervisor import Node

_NO: Final = ("0", "no", "false")


def reload(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Reload, or with ``?dry_run=1`` tell what would be; without a path, the whole app."""
    node = desk.find(path)
    seconds = request.seconds("timeout", RELOAD_TIMEOUT)
    is_dry = request.query.get("dry_run", "0").lower() not in _NO
    renew = node._renewal_() if is_a(node, Service) else None
    if renew is not None and not is_dry:
        return Answer({**desk.about(), **_renewed(node, renew, seconds)})
    if is_dry:
        report = reloading.plan(node)
    else:
        report = reloading.reload(node, desk.tree, seconds, by=request.by)
    return Answer({**desk.about(), "path": path_of(node), "dry_run": is_dry, **_told(report)})


def _renewed(node: Node, renew: Callable[[str], object], within: float | None) -> dict[str, Any]:
    """Have workers replaced, and tell of it as of a reload; it goes on when the time is over."""
    path, began = path_of(node), clock.now()
    failures: list[Exception] = []

    def carry_out() -> None:
        try:
            renew("reload")
        except Exception as error:  # noqa: BLE001 - told to the client
            failures.append(error)

    action = Greenlet(carry_out)
    action.start()
    action.join(within)
    outcome: Reloaded = "failed" if failures else "reloaded" if action.ready() else "late"
    detail = "it goes on" if outcome == "late" else "".join(map(as_text, failures))
    seconds = round(clock.now() - began, 3)
    entry = {
        "path": path,
        "incarnation": node._incarnation_,
        "outcome": outcome,
        "state": node._state_.value,
        "seconds": seconds,
        "detail": detail,
    }
    counts = {each: int(each == outcome) for each in ("reloaded", "failed", "late", "skipped")}
    told: dict[str, Any] = {"path": path, "dry_run": False, **counts, "seconds": seconds}
    return {**told, "entries": [entry], "more": 0}


def _told(report: ReloadReport) -> dict[str, Any]:
    return {
        "reloaded": report.reloaded,
        "failed": report.failed,
        "late": report.late,
        "skipped": report.skipped,
        "seconds": round(report.seconds, 3),
        "entries": [
            {
                "path": entry.path,
                "incarnation": entry.incarnation,
                "outcome": entry.outcome,
                "state": entry.state.value,
                "seconds": round(entry.seconds, 3),
                "detail": entry.detail,
            }
            for entry in report.entries
        ],
        "more": report.left_out,
    }
