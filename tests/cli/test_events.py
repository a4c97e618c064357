from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asked import asked
from sprag._exit_codes import ExitCode
from sprag_cli.app.told import NoSuchService
from sprag_cli.draw.events import CutOff, EventOptions, follow

if TYPE_CHECKING:
    from collections.abc import Callable


def given(paths: tuple[str, ...] = (), **options: Any) -> EventOptions:
    return EventOptions(**asked("events", paths=paths, **options))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def change(event: str, path: str, **more: Any) -> dict[str, Any]:
    return {
        "event": event,
        "path": path,
        "incarnation": 2,
        "context": "child_terminated",
        "exception": None,
        "message": None,
        "restarts": 1,
        "at": "2026-01-01T11:59:58Z",
        **more,
    }


EVENTS: list[dict[str, Any]] = [
    {"event": "snapshot", "path": "shop", "state": "running"},
    {
        "event": "snapshot",
        "path": "shop/mail",
        "state": "failed",
        "last_failure": {"type": "KeyError", "message": "'host'"},
    },
    {"event": "snapshot", "path": "shop/fleet", "state": "running"},
    {"event": "snapshot", "path": "shop/fleet/courier", "state": "running"},
    {"event": "live", "services": 4},
    change("crashed", "shop/fleet/courier", exception="ValueError", message="bad order 17"),
    change("restarted", "shop/fleet/courier", seconds=0.004),
    change("restarted", "shop/fleet", seconds=2.345),
    change("started", "shop/mail", seconds=1.0),
    change("crashed", "shop/mail", context="start_error", exception="OSError", message="no route"),
    change("gave_up", "shop/fleet"),
    change("stopped", "shop/web", context="shutdown", reason="recycled"),
    change("moved", "shop/billing", reason="n1 has stopped it", origin="n1", node="n2", token=7),
    {"event": "end", "reason": "the app has ended"},
]


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_people_read_what_is_wrong_and_then_what_changes(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/events": stream(*EVENTS)})
    assert follow(given()) == ExitCode.WELL
    assert capsys.readouterr().out.replace("2026-01-01 ", "") == (
        "is now   ✗ failed    shop/mail  KeyError: 'host'\n"
        "4 services; now come the changes\n"
        "11:59:58 ✗ crashed   shop/fleet/courier  ValueError: bad order 17\n"
        "11:59:58 ● restarted shop/fleet/courier  restart 1\n"
        "11:59:58 ● restarted shop/fleet  restart 1, took 2.3 s\n"
        "11:59:58 ● started   shop/mail  took 1.0 s\n"
        "11:59:58 ✗ crashed   shop/mail  failed to start: OSError: no route\n"
        "11:59:58 ✗ gave up   shop/fleet\n"
        "11:59:58 ■ stopped   shop/web  recycled\n"
        "11:59:58 ● moved     shop/billing  n1 to n2: n1 has stopped it\n"
        "the app has ended\n"
    )


def test_machines_get_all_of_it_one_object_a_line(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/events": stream(*EVENTS)})
    assert follow(given(json=True)) == ExitCode.WELL
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == EVENTS


def test_a_path_a_glob_or_failures_narrow_it_down(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/events": stream(*EVENTS)})

    def paths(**options: Any) -> list[tuple[str, str]]:
        follow(given(json=True, **options))
        told = map(json.loads, capsys.readouterr().out.splitlines())
        return [(each["event"], each["path"]) for each in told if "path" in each]

    assert paths(paths=("fleet",)) == [
        ("snapshot", "shop/fleet"),
        ("snapshot", "shop/fleet/courier"),
        ("crashed", "shop/fleet/courier"),
        ("restarted", "shop/fleet/courier"),
        ("restarted", "shop/fleet"),
        ("gave_up", "shop/fleet"),
    ]
    assert paths(paths=("m*",), failed=True) == [
        ("snapshot", "shop/mail"),
        ("crashed", "shop/mail"),
    ]


def test_a_path_that_is_not_there_is_an_error_and_a_glob_may_match_later(
    answering: Callable[..., Any], shop: dict[str, Any]
) -> None:
    answering({"/v1/events": stream(*EVENTS), "/v1/tree": shop})
    with pytest.raises(NoSuchService, match="did you mean shop/fleet/courier"):
        follow(given(paths=("fleet/courrier",)))
    assert follow(given(paths=("fleet/van-*",))) == ExitCode.WELL


def test_it_ends_after_so_many_changes(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/events": stream(*EVENTS)})
    assert follow(given(json=True, limit=2)) == ExitCode.WELL
    assert capsys.readouterr().out.count("\n") == 7


def test_a_stream_that_is_cut_off_is_an_error(answering: Callable[..., Any]) -> None:
    answering({"/v1/events": stream(*EVENTS[:-1])})
    with pytest.raises(CutOff, match="more happened than was read in time"):
        follow(given())


def test_a_narrow_terminal_cuts_the_end_of_a_line(
    answering: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    answering({"/v1/events": stream(*EVENTS)})
    follow(given(paths=("fleet/courier",)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert lines[1].endswith("…")


def test_what_is_decided_is_told_and_counts_as_no_change(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def ruling(action: str, **more: Any) -> dict[str, Any]:
        given = {"supervisor": "shop/fleet", "action": action, "delay": 4.14, **more}
        return change("ruling", "shop/fleet/courier", **given)

    app = answering(
        {
            "/v1/events": stream(
                {"event": "live", "services": 4},
                ruling("restart", limit={"used": 2, "of": 3, "window": 5.0}),
                ruling("back_off", **{"with": [f"shop/fleet/{n}" for n in "abcde"]}, with_count=7),
                ruling("give_up", limit={"used": 4, "of": 3, "window": 5.0}),
                ruling("gave_up_tries"),
                ruling("escalate"),
                ruling("exit"),
                ruling("shut_down"),
                ruling("keep", limit={"used": 1, "of": None, "window": 5.0}),
                ruling("think_twice"),
                change("starting", "shop/mail"),
                change("left", "shop/web"),
                change("stopped", "shop/api", down_because={"by": "group", "with": "shop/db"}),
                change("crashed", "shop/mail", exception="KeyError", message="'host'"),
                {"event": "end"},
            )
        }
    )
    assert follow(given(limit=2)) == ExitCode.WELL
    shuts_down = "shop/fleet shuts down: its significant children have ended"
    assert capsys.readouterr().out.replace("2026-01-01 ", "").splitlines() == [
        "0 services; now come the changes",
        "11:59:58 ↻ decided   shop/fleet/courier  restart at once; 2 of at most 3 within 5 s",
        "11:59:58 ↻ decided   shop/fleet/courier  restart after 4.1 s, with a, b, c, d and 3 more",
        "11:59:58 ✗ decided   shop/fleet/courier  shop/fleet gives up; 4 of at most 3 within 5 s",
        "11:59:58 ✗ decided   shop/fleet/courier  stays down: it was restarted too often",
        "11:59:58 ✗ decided   shop/fleet/courier  shop/fleet gives up at once: on_failure says so",
        "11:59:58 ✗ decided   shop/fleet/courier  the app exits: on_failure says so",
        f"11:59:58 ○ decided   shop/fleet/courier  {shuts_down}",
        "11:59:58 ○ decided   shop/fleet/courier  stays down: its policy says so",
        "11:59:58 ↻ decided   shop/fleet/courier  think twice",
        "11:59:58 ◐ starting  shop/mail",
        "11:59:58 ■ left      shop/web",
        "11:59:58 ■ stopped   shop/api  with db",
        "11:59:58 ✗ crashed   shop/mail  KeyError: 'host'",
    ]
    assert app.requests == ["GET /v1/events?all=1 HTTP/1.1"]
    assert follow(given(failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out.count("decided") == 4
