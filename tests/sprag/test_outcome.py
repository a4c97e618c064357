"""The exit code of a run, from what is known of its end."""

from __future__ import annotations

from typing import Any

import pytest

from sprag import Reason, StopReport
from sprag.process.outcome import outcome

USUAL: dict[str, Any] = {
    "report": StopReport(clean=3),
    "came_up": True,
    "was_ready": True,
    "asked": None,
    "reason": Reason.STOPPED,
    "used_budget": False,
    "over_budget": False,
}
KILLED, LEFT = StopReport(killed=1), StopReport(stragglers=1)


@pytest.mark.parametrize(
    ("facts", "code", "summary"),
    [
        ({}, 0, "stopped"),
        ({"reason": Reason.FINISHED}, 0, "stopped"),
        ({"reason": None}, 0, "stopped"),
        ({"reason": Reason.GAVE_UP}, 1, "gave up"),
        ({"reason": Reason.CRASHED, "report": LEFT}, 1, "gave up"),
        ({"reason": Reason.GAVE_UP, "was_ready": False}, 3, "gave up before it was ready"),
        ({"was_ready": False}, 0, "stopped"),
        ({"came_up": False, "reason": Reason.START_FAILED}, 3, "never came up"),
        ({"came_up": False, "report": LEFT}, 3, "never came up"),
        ({"came_up": False, "asked": 7}, 7, "ended as a service asked"),
        ({"asked": 7, "reason": Reason.CRASHED}, 7, "ended as a service asked"),
        ({"asked": 7, "report": LEFT}, 7, "ended as a service asked"),
        ({"asked": 0}, 0, "stopped"),
        ({"asked": 0, "report": LEFT}, 4, "stopped, but not clean"),
        ({"came_up": False, "asked": 0}, 0, "stopped"),
        ({"report": LEFT}, 4, "stopped, but not clean"),
        ({"report": KILLED}, 0, "stopped"),
        ({"report": KILLED, "used_budget": True}, 4, "stopped, but not clean"),
        ({"used_budget": True}, 0, "stopped"),
        ({"over_budget": True}, 4, "stopped, but not clean"),
    ],
)
def test_a_run_ends_with(facts: dict[str, Any], code: int, summary: str) -> None:
    assert outcome(**{**USUAL, **facts}) == (code, summary)
