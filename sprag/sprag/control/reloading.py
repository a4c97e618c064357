"""``POST /v1/reload/PATH?timeout=30&dry_run=1``: the hooks `on_reload` at and below a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sprag._defaults import RELOAD_TIMEOUT
from sprag.control.http import Answer
from sprag.services import reloading
from sprag_supervisor import path_of

if TYPE_CHECKING:
    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.services.reloading import ReloadReport

_NO: Final = ("0", "no", "false")


def reload(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Reload, or with ``?dry_run=1`` tell what would be; without a path, the whole app."""
    node = desk.find(path)
    seconds = request.seconds("timeout", RELOAD_TIMEOUT)
    is_dry = request.query.get("dry_run", "0").lower() not in _NO
    if is_dry:
        report = reloading.plan(node)
    else:
        report = reloading.reload(node, desk.tree, seconds, by=request.by)
    return Answer({**desk.about(), "path": path_of(node), "dry_run": is_dry, **_told(report)})


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
