"""What a supervisor has decided, in words: of ``/v1/decisions`` and of the stream of events."""

from __future__ import annotations

from typing import Final

from sprag_cli.app.told import Node, count_of, mapping_of, number_of, text_of, texts_of
from sprag_cli.term.words import seconds

_NAMED: Final = 4
_ENDS_MORE: Final = frozenset({"give_up", "gave_up_tries", "escalate", "exit"})


def is_last(decision: Node) -> bool:
    """Whether the service stays down because of a failure, or more ends with it."""
    return text_of(decision, "action") in _ENDS_MORE


def decision_text(decision: Node) -> str:
    """Say in a line what was decided, who goes along, and how near the limit is."""
    action, judge = text_of(decision, "action"), text_of(decision, "supervisor")
    if action == "restart":
        return f"restart at once{_along(decision)}{_limit(decision)}"
    if action == "back_off":
        delay = number_of(decision, "delay") or 0.0
        return f"restart after {delay:.1f} s{_along(decision)}{_limit(decision)}"
    said = {
        "give_up": f"{judge} gives up",
        "gave_up_tries": "stays down: it was restarted too often",
        "escalate": f"{judge} gives up at once: on_failure says so",
        "exit": "the app exits: on_failure says so",
        "shut_down": f"{judge} shuts down: its significant children have ended",
        "keep": "stays down: its policy says so",
    }.get(action, action.replace("_", " "))
    return f"{said}{_limit(decision)}"


def as_ruling(decision: Node) -> Node:
    """Return a decision as ``/v1/why`` tells it."""
    limit, path = mapping_of(decision, "limit"), text_of(decision, "path")
    return {
        "at": decision.get("at"),
        "supervisor": decision.get("supervisor"),
        "child": path,
        "incarnation": decision.get("incarnation"),
        "reason": decision.get("kind"),
        "failure": decision.get("error"),
        "decision": decision.get("action"),
        "strategy": text_of(mapping_of(decision, "rule"), "strategy"),
        "covered": [path, *texts_of(decision, "with")],
        "covered_count": count_of(decision, "with_count") + 1,
        "restarts": count_of(limit, "used"),
        "max_restarts": limit.get("of"),
        "max_seconds": limit.get("window"),
        "delay": decision.get("delay"),
    }


def _along(decision: Node) -> str:
    names = [each.rpartition("/")[2] for each in texts_of(decision, "with")]
    left = max(count_of(decision, "with_count"), len(names)) - _NAMED
    more = f" and {left} more" if left > 0 else ""
    return f", with {', '.join(names[:_NAMED])}{more}" if names else ""


def _limit(decision: Node) -> str:
    limit = mapping_of(decision, "limit")
    most = number_of(limit, "of")
    if most is None:
        return ""
    within = seconds(number_of(limit, "window"))
    return f"; {count_of(limit, 'used')} of at most {most:g} within {within}"
