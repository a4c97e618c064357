"""What a run ends with: its exit code, and the words for it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag_supervisor import Reason

if TYPE_CHECKING:
    from sprag_supervisor import StopReport


def outcome(
    report: StopReport,
    *,
    came_up: bool,
    was_ready: bool,
    asked: int | None,
    reason: Reason | None,
    used_budget: bool,
    over_budget: bool,
) -> tuple[int, str]:
    """Return the exit code and a summary; the first that applies.

    Args:
        report: Of the stop.
        came_up: The tree did, or somebody has called the start off.
        was_ready: All of it was ready once, at the same time.
        asked: The code of a SystemExit in a service; None for no such thing.
        reason: Why the root has ended; None if it has not.
        used_budget: The stop has taken all of its time: what was killed, was killed for that.
        over_budget: It has taken more.
    """
    if not came_up and asked is None:
        return ExitCode.NEVER_CAME_UP, "never came up"
    if asked:
        return asked, "ended as a service asked"
    if reason in (Reason.CRASHED, Reason.GAVE_UP) and not was_ready:
        return ExitCode.NEVER_CAME_UP, "gave up before it was ready"
    if reason in (Reason.CRASHED, Reason.GAVE_UP):
        return ExitCode.GAVE_UP, "gave up"
    if report.stragglers or over_budget or (report.killed and used_budget):
        return ExitCode.NOT_CLEAN, "stopped, but not clean"
    return ExitCode.STOPPED, "stopped"
