"""What a tab that opens later is told."""

from __future__ import annotations

import json
from typing import Any

from canned import snapshot
from sprag.observer.memory import Memory, slim


def told(memory: Memory) -> list[dict[str, Any]]:
    return [json.loads(line) for line in memory.lines()]


def change(event: str, path: str, life: int = 1) -> dict[str, Any]:
    return {"event": event, "path": path, "incarnation": life}


def test_a_picture_is_told_without_what_is_nothing() -> None:
    picture = snapshot("shop/fleet", 1e9, kind="supervisor", status="")
    picture["last_failure"] = {"type": "ValueError", "message": "x" * 5000, "at": ""}
    kept = slim(picture)
    assert "policy" not in kept
    assert "next_try" not in kept
    assert "status" not in kept
    assert kept["owned"] == {}
    assert (kept["strategy"], kept["max_restarts"], kept["ready"]) == ("one_for_one", 3, True)
    assert len(kept["last_failure"]["message"]) == 400
    assert len(picture["last_failure"]["message"]) == 5000
    assert "strategy" not in slim(snapshot("shop/mail", 1e9))


def test_of_each_kind_of_change_the_last_is_kept_in_their_order() -> None:
    memory = Memory()
    memory.take({"event": "begin", "pid": 1})
    memory.take(snapshot("shop", 1e9))
    memory.take(snapshot("shop/mail", 1e9))
    memory.take({"event": "live"})
    for life in range(1, 100):
        memory.take(change("crashed", "shop/mail", life))
        memory.take(change("restarted", "shop/mail", life + 1))
    memory.take({"event": "ruling", "seq": 1, "path": "shop/mail"})
    memory.take({"event": "pulse"})
    assert [each["event"] for each in told(memory)] == [
        "begin", "snapshot", "snapshot", "live", "crashed", "restarted",
    ]  # fmt: skip
    assert told(memory)[-1]["incarnation"] == 100
    memory.take(change("crashed", "shop/mail", 100))
    assert [each["event"] for each in told(memory)[-2:]] == ["restarted", "crashed"]


def test_who_leaves_is_forgotten_with_all_below() -> None:
    memory = Memory()
    for path in ("shop", "shop/a", "shop/a/b", "shop/a/b/c", "shop/ab"):
        memory.take(snapshot(path, 1e9))
    memory.take(change("started", "shop/a/b/d"))
    memory.take({"event": "left", "path": "shop/a"})
    memory.take({"event": "left", "path": "shop/never"})
    assert [each["path"] for each in told(memory)] == ["shop", "shop/ab"]


def test_a_new_life_of_the_app_makes_all_void_and_an_end_is_remembered() -> None:
    memory = Memory()
    memory.take({"event": "begin", "pid": 1})
    memory.take(snapshot("shop", 1e9))
    memory.take({"event": "gone", "reason": "it has hung up"})
    assert [each["event"] for each in told(memory)] == ["begin", "snapshot", "gone"]
    memory.take({"event": "begin", "pid": 2})
    assert told(memory) == [{"event": "begin", "pid": 2}]
    memory.take({"event": "end", "reason": "the app has ended"})
    assert [each["event"] for each in told(memory)] == ["begin", "end"]


def test_a_message_of_a_megabyte_is_cut() -> None:
    line = Memory().take({**change("crashed", "shop"), "message": "y" * 1_000_000})
    assert len(line) < 600
