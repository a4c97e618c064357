from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from asked import asked
from sprag._exit_codes import ExitCode
from sprag_cli.act.manage import ActOptions, NothingChosen, Verb, act
from sprag_cli.commands.group import commands

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler


def given(
    verb: Verb, paths: tuple[str, ...] = (), *, whole: bool = False, **options: Any
) -> ActOptions:
    return ActOptions(verb=verb, whole=whole, **asked(verb, paths=paths, **options))


def done(path: str, before: str, state: str, **more: Any) -> dict[str, Any]:
    report: dict[str, Any] = {
        "clean": 1,
        "errors": 0,
        "killed": 0,
        "stragglers": 0,
        "seconds": 0.0,
        "entries": [],
    }
    return {"path": path, "done": True, "before": before, "state": state, "report": report, **more}


def refused(status: int, name: str, error: str) -> tuple[int, Any]:
    return status, {"error": error, "name": name}


def test_each_service_gets_a_line(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering(
        {
            "POST /v1/stop/mail": done("shop/mail", "running", "stopped"),
            "POST /v1/stop/feed": done("shop/feed", "stopped", "stopped"),
        }
    )
    assert act(given("stop", ("mail", "feed"), timeout=7)) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "■ shop/mail stopped\n■ shop/feed was not running (stopped)\n"
    )
    assert app.requests[0] == "POST /v1/stop/mail?timeout=7 HTTP/1.1"


def test_what_runs_already_is_well(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/start/mail": refused(409, "ChildRunning", "shop/mail is running")})
    assert act(given("start", ("mail",))) == ExitCode.WELL
    assert capsys.readouterr().out == "● mail runs already\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused(409, "ChildRestarting", "it is being restarted"), ExitCode.FAILED),
        (refused(422, "StartFailed", "on_start raised"), ExitCode.FAILED),
        (refused(404, "UnknownService", "no service 'a'"), ExitCode.NOT_FOUND),
        (refused(503, "", "32 services are being started"), ExitCode.FAILED),
    ],
)
def test_a_refusal_is_told_and_the_others_are_done_all_the_same(
    answering: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    answer: tuple[int, Any],
    code: int,
) -> None:
    answering({"/v1/start/a": answer, "/v1/start/b": done("shop/b", "stopped", "running")})
    assert act(given("start", ("a", "b"))) == code
    said = capsys.readouterr()
    assert said.out == "● shop/b started\n"
    named = "" if answer[0] == 404 else "a: "  # it is in the app's words already
    assert said.err.startswith(f"sprag: {named}{answer[1]['error']}")


def test_what_takes_too_long_goes_on(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    late = {**done("shop/mail", "stopped", "starting"), "done": False}
    answering({"/v1/start/mail": (504, late)})
    assert act(given("start", ("mail",), timeout=3)) == ExitCode.TIMED_OUT
    assert "shop/mail is still starting after 3 s — it goes on" in capsys.readouterr().err


def test_nobody_has_to_wait(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = {**done("shop/mail", "running", "stopping"), "done": False}
    app = answering({"/v1/restart/mail": (202, begun)})
    assert act(given("restart", ("mail",), wait=False)) == ExitCode.WELL
    assert capsys.readouterr().out == "◑ shop/mail is asked to restart\n"
    assert app.requests == ["POST /v1/restart/mail?timeout=30.0&wait=0 HTTP/1.1"]


def test_a_stop_that_was_not_clean_says_what_was_left(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stack = (
        '  File "/srv/shop.py", line 7, in run\n    gevent.sleep(9)\n'
        '  File "/lib/gevent/hub.py", line 166, in sleep\n    hub.wait(t)\n'
    )
    crash = 'Traceback:\n  File "/srv/shop.py", line 9, in on_stop\n    x\nOSError: gone'
    entries = [
        {"path": "shop/mail", "outcome": "straggler", "step": "greenlet", "detail": stack},
        {"path": "shop/mail", "outcome": "error", "step": "on_stop", "detail": crash},
    ]
    report = {"errors": 1, "killed": 1, "stragglers": 1, "seconds": 5.1, "entries": entries}
    answering({"/v1/stop/mail": done("shop/mail", "running", "stopped", report=report)})
    assert act(given("stop", ("mail",), ascii=True)) == ExitCode.FAILED
    assert capsys.readouterr().out == (
        "- shop/mail stopped in 5.1 s\n"
        "  not clean: 1 error, 1 killed, 1 straggler\n"
        "  shop/mail: straggler in greenlet: gevent.sleep(9)\n"
        "  shop/mail: error in on_stop: OSError: gone\n"
    )


@pytest.mark.parametrize(
    ("told", "more", "last"),
    [
        (20, 480, "  490 more, 10 of them with --json\n"),
        (20, 0, "  10 more: --json\n"),
        (3, 7, "  7 more\n"),
        (3, 0, "on_stop: OSError: gone\n"),
    ],
)
def test_a_stop_says_how_much_more_was_not_clean_than_the_app_tells(
    answering: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    told: int,
    more: int,
    last: str,
) -> None:
    entry = {"path": "shop/a", "outcome": "error", "step": "on_stop", "detail": "OSError: gone"}
    report = {"errors": told + more, "seconds": 0.1, "entries": [entry] * told, "more": more}
    answering({"/v1/stop/mail": done("shop/mail", "running", "stopped", report=report)})
    assert act(given("stop", ("mail",), ascii=True)) == ExitCode.WELL
    assert capsys.readouterr().out.endswith(last)


def test_globs_and_failed_choose_from_the_tree(
    answering: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shop["children"][2]["children"][1]["state"] = "failed"
    app = answering(
        {
            "/v1/tree": shop,
            "/v1/start/shop/fleet/printer": done("shop/fleet/printer", "failed", "running"),
        }
    )
    assert act(given("start", ("fleet/*",), failed=True)) == ExitCode.WELL
    assert [each.split()[1].partition("?")[0] for each in app.requests] == [
        "/v1/tree",
        "/v1/start/shop/fleet/printer",
    ]
    shop["children"][2]["children"][1]["state"] = "running"
    assert act(given("start", failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out.endswith("nothing is failed\n")


def test_json_holds_all_that_was_answered(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering(
        {"/v1/stop/a": done("shop/a", "running", "stopped"), "/v1/stop/b": refused(409, "X", "no")}
    )
    assert act(given("stop", ("a", "b"), json=True)) == ExitCode.FAILED
    first, second = json.loads(capsys.readouterr().out)
    assert (first["path"], first["state"]) == ("shop/a", "stopped")
    assert second == {"path": "b", "done": False, "error": "no", "name": "X"}


def test_without_a_path_nothing_is_done() -> None:
    with pytest.raises(NothingChosen, match="as in 'sprag stop fleet/courier'") as caught:
        act(given("stop"))
    assert caught.value.exit_code == ExitCode.USAGE


def test_ctrl_c_ends_the_waiting_and_not_the_work(
    answering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    answering({})
    monkeypatch.setattr("sprag_cli.app.client.Client.ask", interrupted)
    said = CliRunner().invoke(commands, ["restart", "shop/mail"])
    assert said.exit_code == ExitCode.INTERRUPTED
    assert said.output == (
        "sprag: not waiting any longer — shop/mail is told to restart all the same\n"
    )


# -- the whole app ---------------------------------------------------------------------------


def test_the_app_itself_is_ended_by_its_name_behind_app_and_no_path(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"POST /v1/stop": done("shop", "running", "stopped")})
    with pytest.raises(SystemExit) as ended:
        commands(["stop", "--app", "shop"])
    assert ended.value.code == ExitCode.WELL
    assert capsys.readouterr().out == "■ shop stopped\n"
    assert app.requests == ["POST /v1/stop?timeout=30.0&whole=1 HTTP/1.1"]


@pytest.mark.parametrize("arguments", [["stop"], ["stop", "--failed"], ["stop", "*"]])
def test_nothing_else_ends_it(
    answering: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., dict[str, Any]],
    arguments: list[str],
) -> None:
    monkeypatch.setenv("SPRAG_APP", "shop")
    app = answering({"/v1/tree": make("shop", "App")})
    with pytest.raises(SystemExit):
        commands(arguments)
    assert not any("POST" in request for request in app.requests)


def test_an_app_that_hangs_up_while_it_ends_has_ended(
    serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    serve(hang_up)
    assert act(given("stop", whole=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "■ shop stopped\n"


def test_chosen_paths_that_could_mean_two_are_sent_unmistakably(
    answering: Callable[..., Any], make: Callable[..., dict[str, Any]]
) -> None:
    root = make("web", "App", "running", make("web", "W"), make("mail", "M"))
    app = answering(
        {
            "/v1/tree": root,
            "POST /v1/stop//web": done("web/web", "running", "stopped"),
            "POST /v1/stop//mail": done("web/mail", "running", "stopped"),
        }
    )
    assert act(given("stop", ("*",))) == ExitCode.WELL
    assert [each.split("?")[0] for each in app.requests] == [
        "GET /v1/tree HTTP/1.1",
        "POST /v1/stop//web",
        "POST /v1/stop//mail",
    ]
