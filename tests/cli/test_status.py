from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asked import asked
from drawn import plain
from sprag import App, DynamicSupervisor, Service, Supervisor
from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Refusal
from sprag_cli.draw.status import StatusOptions, render, show
from sprag_cli.term.style import ASCII, UNICODE

if TYPE_CHECKING:
    from collections.abc import Callable


def given(paths: tuple[str, ...] = (), **options: Any) -> StatusOptions:
    return StatusOptions(**asked("status", paths=paths, **options))


COURIER: dict[str, Any] = {
    "name": "courier",
    "path": "shop/fleet/courier",
    "class": "Courier",
    "module": "shop.fleet",
    "kind": "worker",
    "state": "restarting",
    "incarnation": 4,
    "restarts": 3,
    "uptime": None,
    "started_at": None,
    "ended_at": "2026-01-01T11:59:58Z",
    "next_try": 1.6,
    "owned": {"greenlets": 1, "timers": 2, "listeners": 0, "cleanups": 0},
    "policy": {
        "restart": "permanent",
        "shutdown": 5.0,
        "start_timeout": 2.0,
        "backoff": {"initial": 0.5, "maximum": 30.0},
        "significant": False,
        "strategy": "one_for_one",
        "max_restarts": 3,
        "max_seconds": 5.0,
        "auto_shutdown": "never",
        "on_failure": {"ConfigError": "escalate"},
        "needs": None,
        "needs_states": None,
        "retry_start": False,
        "autostart": True,
    },
    "counters": {"restarts": 3, "starts": 4, "ticks": 120, "missed_ticks": 2},
    "children_counts": {"specs": 0, "active": 0},
    "last_exit": {"reason": "crashed", "incarnation": 4},
    "failures": [
        {"type": "OSError", "message": "no route", "at": "2026-01-01T11:00:00Z", "incarnation": 3},
        {
            "type": "shop.BadOrder",
            "message": "17",
            "at": "2026-01-01T11:59:58Z",
            "incarnation": 4,
            "traceback": 'Traceback (most recent call last):\n  File "x.py", line 3, in run\n'
            "shop.BadOrder: 17\n",
        },
    ],
    "log": [
        {"at": "2026-01-01T11:59:57Z", "level": "info", "event": "connected", "fields": {"p": "2"}},
        {"at": "2026-01-01T11:59:58Z", "level": "error", "event": "service crashed", "fields": {}},
    ],
}

WIDE = """\
↻ shop/fleet/courier
     State: restarting since 11:59:58 (2 s ago): crashed, next try in 1.6 s
     Class: shop.fleet.Courier, a worker
     Lives: 4, with 3 restarts by its supervisor
      Owns: 1 greenlet · 2 timers
    Timers: 120 calls, 2 missed
    Policy: restart permanent · shutdown 5 s · start within 2 s · backoff 0.5 s
            to 30 s · on ConfigError: escalate

Failures, the latest last:
  OSError: no route  (1h00m ago, life 3)
  BadOrder: 17  (2 s ago, life 4)
    Traceback (most recent call last):
      File "x.py", line 3, in run
    shop.BadOrder: 17

Log, the latest last:
  11:59:57 info     connected  p=2
  11:59:58 error    service crashed
"""

NARROW = """\
@ shop/fleet/courier
     State: restarting since 11:59:58 (2 s ago):
            crashed, next try in 1.6 s
     Class: shop.fleet.Courier, a worker
     Lives: 4, with 3 restarts by its supervisor
      Owns: 1 greenlet, 2 timers
    Timers: 120 calls, 2 missed
    Policy: restart permanent, shutdown 5 s, start
            within 2 s, backoff 0.5 s to 30 s, on
            ConfigError: escalate
"""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def drawn(node: dict[str, Any], now: float, **options: Any) -> str:
    return "".join(f"{plain(line)}\n" for line in render(node, now=now, **options))


def test_a_service_in_full_at_80_columns(now: float) -> None:
    assert drawn(COURIER, now, width=80, charset=UNICODE) == WIDE


def test_a_service_in_full_at_50_columns_in_ascii(now: float) -> None:
    text = drawn(COURIER, now, width=50, charset=ASCII)
    assert text.startswith(NARROW)
    assert max(map(len, text.splitlines())) <= 50
    assert text.isascii()


CRON: dict[str, Any] = {
    "expression": "5 3 * * *",
    "tz": "Europe/Rome",
    "function": "Shop.report",
    "next_run": "2026-01-02T02:05:00Z",
    "running": False,
    "ticks": 3,
    "missed": 0,
}
PROBE: dict[str, Any] = {
    "function": "Shop.ping",
    "every": 5.0,
    "timeout": 2.0,
    "failures": 3,
    "failed": 0,
    "last": "",
    "ticks": 7,
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "next 2026-01-02 02:05:00 (in 14h05m)"),
        ({"missed": 2}, "next 2026-01-02 02:05:00 (in 14h05m), 2 missed"),
        ({"running": True}, "runs now"),
        ({"next_run": None}, "never again"),
        ({"next_run": "soon"}, "next ?"),
    ],
)
def test_a_cron_says_when_it_is_due_next(now: float, given: dict[str, Any], said: str) -> None:
    text = drawn({**COURIER, "crons": [{**CRON, **given}]}, now, width=120, charset=UNICODE)
    assert f"      Cron: 5 3 * * * Europe/Rome: Shop.report, {said}\n" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "well"),
        ({"ticks": 0}, "not asked yet"),
        ({"failed": 2, "last": "OSError: gone"}, "2 of 3 failures: OSError: gone"),
    ],
)
def test_a_probe_says_how_it_is_answered(now: float, given: dict[str, Any], said: str) -> None:
    text = drawn({**COURIER, "probes": [{**PROBE, **given}]}, now, width=120, charset=UNICODE)
    assert f"     Probe: Shop.ping every 5 s, {said}\n" in text


def test_lines_and_tracebacks_are_as_many_as_asked_for(now: float) -> None:
    text = drawn(COURIER, now, width=80, charset=UNICODE, lines=1, tracebacks=0)
    assert "Traceback" not in text
    assert "connected" not in text
    assert "service crashed" in text


def test_a_supervisor_says_how_near_its_limit_is(now: float) -> None:
    fleet: dict[str, Any] = {
        **COURIER,
        "children_counts": {"specs": 3, "active": 2},
        "failures": [],
        "log": [],
    }
    fleet["counters"] = {"starts": 1, "child_restarts_within_window": 2}
    text = drawn(fleet, now, width=100, charset=UNICODE)
    assert (
        "  Children: 3, 2 of them up · one_for_one · gives up after 3 restarts within 5 s; "
        "2 of them used\n" in text
    )
    fleet["policy"] = {**fleet["policy"], "max_restarts": None}
    assert "never gives up\n" in drawn(fleet, now, width=100, charset=UNICODE)


@pytest.mark.parametrize("cls", [App, Service, Supervisor, DynamicSupervisor])
def test_sprags_own_classes_are_named_as_users_import_them(now: float, cls: type) -> None:
    node = {**COURIER, "module": cls.__module__, "class": cls.__name__}
    text = drawn(node, now, width=80, charset=UNICODE)
    assert f"     Class: sprag.{cls.__name__}, a worker\n" in text


def test_what_an_earlier_life_has_left_behind_is_named(now: float) -> None:
    left = [{"path": "shop/fleet/courier", "incarnation": 2, "step": "greenlet"}]
    text = drawn({**COURIER, "stragglers": left}, now, width=100, charset=UNICODE)
    assert "  Left: greenlet of life 2 has swallowed its kill and still runs" in text


def test_many_alike_are_named_once_and_those_of_a_child_that_has_left_by_its_path(
    now: float,
) -> None:
    own = {"path": "shop/fleet/courier", "incarnation": 2, "step": "greenlet"}
    gone = {"path": "shop/fleet/courier/van", "incarnation": 1, "step": "on_stop"}
    node = {**COURIER, "stragglers": [own, own, gone, own]}
    text = drawn(node, now, width=120, charset=UNICODE)
    assert "  Left: 3 greenlets of life 2 have swallowed their kill and still run: see" in text
    assert "  Left: on_stop of life 1 of shop/fleet/courier/van has swallowed its kill" in text


def test_the_app_is_asked_by_path_and_the_exit_code_tells_of_a_failure(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/service/fleet/courier": {**COURIER, "state": "failed"}})
    assert show(given(("fleet/courier",), ascii=True)) == ExitCode.FAILED
    assert capsys.readouterr().out.startswith("x shop/fleet/courier\n")
    assert app.requests == ["GET /v1/service/fleet/courier HTTP/1.1"]


def test_without_a_path_it_is_the_root(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/service": COURIER})
    assert show(given(json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == COURIER


def test_globs_are_looked_up_in_the_tree(
    answering: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering(
        {
            "/v1/tree": shop,
            "/v1/service/shop/fleet/courier": COURIER,
            "/v1/service/shop/fleet/printer": {**COURIER, "name": "printer"},
        }
    )
    assert show(given(("fleet/*",), json=True)) == ExitCode.WELL
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["courier", "printer"]
    assert show(given(failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "nothing is failed\n"


def test_an_unknown_path_is_the_apps_to_refuse(answering: Callable[..., Any]) -> None:
    answering({})
    with pytest.raises(Refusal, match=r"no service .* — 'sprag tree' shows all") as caught:
        show(given(("nope",)))
    assert caught.value.exit_code == ExitCode.NOT_FOUND


def failing(times: int) -> dict[str, Any]:
    frames = "".join(f'  File "x.py", line {number}, in f{number}\n' for number in range(40))
    failures = [
        {
            "type": "ValueError",
            "message": "17",
            "at": f"2026-01-01T11:59:{number:02}Z",
            "incarnation": number,
            "traceback": f"Traceback (most recent call last):\n{frames}ValueError: 17\n",
        }
        for number in range(times)
    ]
    log: list[dict[str, Any]] = [
        {"at": "2026-01-01T11:59:57Z", "level": "info", "event": f"event {number}", "fields": {}}
        for number in range(20)
    ]
    return {**COURIER, "failures": failures, "log": log}


def test_equal_failures_in_a_row_are_counted(now: float) -> None:
    node = failing(3)
    node["failures"].append({**node["failures"][0], "message": "18"})
    text = drawn(node, now, width=80, charset=UNICODE, tracebacks=0)
    assert "  ValueError: 17  (3 times, the last 58 s ago, life 2)\n" in text
    assert "  ValueError: 18  (1m ago, life 0)\n" in text


@pytest.mark.parametrize("height", [24, 30, 50])
@pytest.mark.parametrize("width", [50, 80])
def test_it_fits_the_window_with_the_end_of_the_traceback_and_of_the_log(
    now: float, height: int, width: int
) -> None:
    text = drawn(failing(10), now, width=width, charset=UNICODE, height=height)
    assert text.count("\n") == height - 1
    assert max(map(len, text.splitlines())) <= width
    assert "more lines: --tracebacks 1\n" in text
    assert "in f39\n    ValueError: 17\n" in text
    assert text.endswith("event 19\n")


def test_what_is_asked_for_is_shown_whole_whatever_the_window(now: float) -> None:
    asked = drawn(failing(1), now, width=80, charset=UNICODE, height=24, tracebacks=1, lines=20)
    assert asked.count("event") == 20
    assert asked.count("File") == 40


def test_off_a_terminal_it_is_as_long_as_it_is(now: float) -> None:
    text = drawn(failing(1), now, width=80, charset=UNICODE)
    assert (text.count("event"), text.count("File")) == (10, 40)


def test_what_a_service_was_made_with_is_told_by_name(now: float) -> None:
    def shown(made: dict[str, str]) -> list[str]:
        node = {**COURIER, "arguments": made}
        return list(map(plain, render(node, width=80, now=now, charset=UNICODE)))

    made = {"city": "'Rome'", "token": "***", "port": "8080"}
    assert " Made with: city='Rome' · token=*** · port=8080" in shown(made)
    assert "Made with" not in "".join(shown({}))


PROGRAM: dict[str, Any] = {
    "command": "gunicorn --password *** shop:wsgi",
    "port": 8000,
    "lines": 1204,
    "left_out": 12,
    "output": [
        {"stream": "stdout", "line": "Listening"},
        {"stream": "stderr", "line": "  bye\x1b[2J"},
    ],
    "ended": {
        "code": 3,
        "signal": None,
        "at": "2026-01-01T11:59:58Z",
        "incarnation": 3,
        "asked": False,
    },
}


def test_a_program_says_what_it_runs_and_has_written_and_how_it_has_ended(now: float) -> None:
    node: dict[str, Any] = {**COURIER, "process": {"pid": 4711}, "program": PROGRAM, "log": []}
    lines = drawn(node, now, width=80, charset=UNICODE).splitlines()
    begin = next(place for place, line in enumerate(lines) if "Command" in line)
    assert lines[begin : begin + 4] == [
        "   Command: gunicorn --password *** shop:wsgi",
        "   Process: pid 4711 · port 8000",
        "     Wrote: 1,204 lines, 12 of them left out of the log",
        "     Ended: exit code 3 (2 s ago, life 3)",
    ]
    assert lines[-3:] == ["Output, the latest last:", "  | Listening", "  |   bye\\x1b[2J"]
    only = drawn(node, now, width=80, charset=UNICODE, lines=1).splitlines()
    assert only[-2:] == ["Output, the latest last:", "  |   bye\\x1b[2J"]
    assert "Output" not in drawn(node, now, width=80, charset=UNICODE, lines=0)


@pytest.mark.parametrize(
    ("to", "lines", "said"),
    [
        ("log", 1, "1 line"),
        ("inherit", 0, 'straight to where sprag writes (output="inherit"): it is not seen here'),
        ("/var/log/web.log", 0, "to /var/log/web.log"),
        ("/var/log/web.log", 7, "7 lines, to /var/log/web.log"),
    ],
)
def test_where_its_output_goes_is_told_if_that_is_not_the_log(
    now: float, to: str, lines: int, said: str
) -> None:
    told: dict[str, Any] = {**PROGRAM, "output_to": to, "lines": lines, "left_out": 0, "output": []}
    node: dict[str, Any] = {**COURIER, "program": told}
    assert f"     Wrote: {said}\n" in drawn(node, now, width=100, charset=UNICODE)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"times": 0, "next": "2026-01-01T12:25:00Z"}, "never yet, next 12:25:00 (in 25m)"),
        ({"times": 3, "next": None}, "3 times"),
        ({"times": 1, "waits_for": "shop/web/2"}, "1 time, and due: it waits for shop/web/2"),
        ({"times": 1, "waits_for": "shop/fleet/courier"}, "1 time, and due: it is held"),
    ],
)
def test_how_often_a_program_was_recycled_and_when_it_will_be(
    now: float, more: dict[str, Any], said: str
) -> None:
    recycling = {"max_lifetime": 3600.0, "times": 0, "next": None, "waits_for": None, **more}
    node: dict[str, Any] = {**COURIER, "program": {**PROGRAM, "recycling": recycling}}
    assert f"  Recycled: {said}\n" in drawn(node, now, width=80, charset=UNICODE)


def test_a_signal_that_was_asked_for_is_told_as_such(now: float) -> None:
    ended: dict[str, Any] = {**PROGRAM["ended"], "code": None, "signal": "SIGTERM", "asked": True}
    node: dict[str, Any] = {**COURIER, "program": {**PROGRAM, "ended": ended, "lines": 0}}
    text = drawn(node, now, width=80, charset=UNICODE)
    assert "   Process: port 8000\n" in text
    assert "     Ended: SIGTERM, as it was asked to end (2 s ago, life 3)\n" in text


def test_output_that_is_told_with_the_failure_is_not_told_twice(now: float) -> None:
    told = "ProgramExited: it\nIts last output:\n  Listening\n    bye\\x1b[2J\n"
    failure = {
        "type": "sprag.programs.exceptions.ProgramExited",
        "message": "it (pid 7) has exited with code 3",
        "at": "2026-01-01T11:59:58Z",
        "incarnation": 3,
        "traceback": told,
    }
    output: list[Any] = [PROGRAM["output"][0], {"stream": "stderr", "line": "  bye\\x1b[2J"}]
    node = {**COURIER, "failures": [failure], "program": {**PROGRAM, "output": output}}
    text = drawn(node, now, width=80, charset=UNICODE)
    assert text.count("Listening") == 1
    assert "Output, the latest last" not in text


@pytest.mark.parametrize("height", [34, 44])
def test_a_program_fits_the_window_too(now: float, height: int) -> None:
    output = [{"stream": "stdout", "line": f"line {number}"} for number in range(20)]
    node = {**failing(10), "program": {**PROGRAM, "output": output}}
    text = drawn(node, now, width=80, charset=UNICODE, height=height)
    assert text.count("\n") == height - 1
    assert "  | line 19\n" in text
    assert text.endswith("event 19\n")


def test_what_was_lost_of_a_process_is_said() -> None:
    broadcasts = {"sent": 9, "dropped": 2, "missed": 1, "waiting": 0}
    node = {**COURIER, "broadcasts": broadcasts}
    text = drawn(node, 0.0, width=100, charset=UNICODE)
    assert "Broadcasts" in text
    assert "3 broadcasts lost: 2 could not be sent, 1 were not heard here" in text
    node["broadcasts"] = {**broadcasts, "dropped": 0, "missed": 0}
    assert "broadcast" not in drawn(node, 0.0, width=100, charset=UNICODE).lower()


def test_crashes_that_nobody_was_told_of_are_said() -> None:
    reports = {"told": 9, "failed": 1, "dropped": 7, "waiting": 0}
    node: dict[str, Any] = {**COURIER, "crash_reports": reports}
    text = drawn(node, 0.0, width=100, charset=UNICODE)
    assert "7 crashes not told to on_crash, as too many were waiting; 1 call failed" in text
    node["crash_reports"] = {**reports, "dropped": 0}
    assert "not told" not in drawn(node, 0.0, width=100, charset=UNICODE)
