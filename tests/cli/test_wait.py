from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asked import asked
from processes import app, run
from sprag._exit_codes import ExitCode
from sprag_cli.act.wait import NotReady, WaitOptions, wait_for
from sprag_cli.app.client import Refusal
from sprag_cli.app.find import NoApp
from sprag_cli.app.select import NoMatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


def given(paths: tuple[str, ...] = (), **options: Any) -> WaitOptions:
    return WaitOptions(**asked("wait", paths=paths, **options))


READY: dict[str, Any] = {"app": "shop", "path": "shop", "ready": True, "not_ready": [], "count": 0}


def missing(state: str) -> tuple[int, dict[str, Any]]:
    names = [{"path": f"shop/{number}", "state": state} for number in range(7)]
    return 503, {**READY, "ready": False, "not_ready": names, "count": 9}


def test_a_ready_app_is_said_to_be(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/ready": READY})
    assert wait_for(given(paths=("mail",))) == ExitCode.WELL
    assert capsys.readouterr().out.startswith("shop is ready (0.")
    assert app.requests == ["GET /v1/ready?path=mail&timeout=10.0 HTTP/1.1"]
    wait_for(given(json=True))
    assert json.loads(capsys.readouterr().out) == READY


@pytest.mark.parametrize(
    ("state", "code"), [("starting", ExitCode.TIMED_OUT), ("failed", ExitCode.FAILED)]
)
def test_who_is_not_ready_in_time_is_named(
    answering: Callable[..., Any], state: str, code: int
) -> None:
    answering({"/v1/ready": missing(state)})
    with pytest.raises(NotReady) as caught:
        wait_for(given(timeout=0.01))
    assert caught.value.exit_code == code
    said = str(caught.value)
    assert said.startswith(f"not ready after 0.01 s: shop/0 ({state}), shop/1 ({state}), ")
    assert "4 more — see 'sprag why shop/0'" in said


def test_who_runs_and_is_not_ready_is_named_with_its_reason(answering: Callable[..., Any]) -> None:
    lacks = [
        {"path": "shop/a", "state": "running", "reason": "warming up"},
        {"path": "shop/b", "state": "running", "reason": ""},
    ]
    status, told = missing("starting")
    answering({"/v1/ready": (status, {**told, "not_ready": lacks, "count": 2})})
    with pytest.raises(NotReady) as caught:
        wait_for(given(timeout=0.01))
    said = str(caught.value)
    assert "shop/a (not ready: warming up), shop/b (not ready) — see 'sprag status shop/a'" in said
    assert caught.value.exit_code == ExitCode.TIMED_OUT


def test_who_waits_for_another_or_is_held_is_named_with_that(
    answering: Callable[..., Any],
) -> None:
    lacks = [
        {"path": "shop/a", "state": "restarting", "reason": "waits for db"},
        {"path": "shop/b", "state": "restarting", "reason": "held"},
        {"path": "shop/c", "state": "restarting", "reason": "OSError: no"},
    ]
    status, told = missing("starting")
    answering({"/v1/ready": (status, {**told, "not_ready": lacks, "count": 3})})
    with pytest.raises(NotReady) as caught:
        wait_for(given(timeout=0.01))
    said = str(caught.value)
    assert (
        "shop/a (restarting, waits for db), shop/b (restarting, held), shop/c (restarting)" in said
    )
    assert "see 'sprag status shop/a'" in said


def test_several_and_those_a_glob_stands_for_are_waited_for_one_after_another(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str], shop: dict[str, Any]
) -> None:
    app = answering({"/v1/ready": READY, "/v1/tree": shop})
    assert wait_for(given(paths=("fleet/*", "metrics"), json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == [READY] * 3
    asked = [line.split("=")[1].split("&")[0] for line in app.requests if "ready" in line]
    assert asked == ["shop%2Ffleet%2Fcourier", "shop%2Ffleet%2Fprinter", "shop%2Fmetrics"]


def test_those_that_have_failed_are_waited_for(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str], shop: dict[str, Any]
) -> None:
    app = answering({"/v1/ready": READY, "/v1/tree": shop})
    assert wait_for(given(failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "nothing is failed\n"
    shop["children"][0]["state"] = "failed"
    app.requests.clear()
    assert wait_for(given(failed=True)) == ExitCode.WELL
    assert "path=shop%2Fmetrics" in app.requests[1]


def test_a_glob_that_matches_nothing_in_time_is_an_error(
    answering: Callable[..., Any], shop: dict[str, Any]
) -> None:
    answering({"/v1/tree": shop})
    with pytest.raises(NoMatch):
        wait_for(given(paths=("x*",), timeout=1e-9))


def test_an_app_that_does_not_run_yet_is_waited_for(
    serve: Callable[..., Any], runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            serve(READY)

    assert wait_for(given(), sleep=nap) == ExitCode.WELL
    assert len(naps) == 3
    with pytest.raises(NoApp):
        wait_for(given(app="nope", timeout=0.01), sleep=naps.append)


def test_a_service_that_is_not_there_yet_is_waited_for(serve: Callable[..., Any]) -> None:
    asked: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(1)
        status = 200
        told: dict[str, Any] = READY
        if len(asked) < 3:
            status, told = 404, {"error": "no service 'late'", "name": "UnknownService"}
        body = json.dumps(told).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    serve(answer)
    assert wait_for(given(paths=("late",)), sleep=lambda _: None) == ExitCode.WELL
    asked.clear()
    with pytest.raises(Refusal, match="no service 'late'"):
        wait_for(given(paths=("late",), timeout=1e-9), sleep=lambda _: None)


@pytest.mark.slow
def test_a_script_starts_an_app_and_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app(
        tmp_path,
        """
        class Slow(Service):
            def on_start(self):
                gevent.sleep(0.5)
        app = App(name="shop", providers={"slow": Slow()})
        """,
    )
    with run(tmp_path) as process:
        monkeypatch.setenv("SPRAG_RUNTIME_DIR", str(process.runtime))
        monkeypatch.delenv("SPRAG_APP", raising=False)
        assert wait_for(given()) == ExitCode.WELL
        process.says('"event": "up"')
        assert capsys.readouterr().out.startswith("shop is ready")
