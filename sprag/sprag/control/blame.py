"""``GET /v1/blame``: where the time of the app's start went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sprag.control.http import Answer
from sprag.control.start_times import Start, critical, own_seconds

if TYPE_CHECKING:
    from sprag.control.desk import Desk


def answer(desk: Desk) -> Answer:
    """Tell how long each start took, and which are on the critical path."""
    times = desk.starts
    starts, whole = times.starts, times.whole
    own = own_seconds(starts)
    marked = set[Start]() if whole is None else critical(starts, whole)
    first = min((each.began for each in starts), default=0.0)
    told: list[dict[str, Any]] = [
        {
            "path": start.path,
            "incarnation": start.incarnation,
            "began": round(start.began - first, 6),
            "seconds": round(start.seconds, 6),
            "own": round(own[start], 6),
            "critical": start in marked,
        }
        for start in starts
    ]
    return Answer(
        {
            **desk.about(),
            "up": whole is not None,
            "seconds": None if whole is None else round(whole.seconds, 6),
            "starts": told,
            "more": times.left_out,
        }
    )
