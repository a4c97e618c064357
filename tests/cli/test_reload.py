from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from asked import asked
from sprag._exit_codes import ExitCode
from sprag_cli.act.reload import ReloadOptions, reload

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def given(*paths: str, **options: Any) -> ReloadOptions:
    return ReloadOptions(failed=False, **asked("reload", paths=paths, **options))


def entry(path: str, outcome: str, **more: Any) -> dict[str, Any]:
    base = {"path": path, "incarnation": 1, "outcome": outcome, "state": "running"}
    return {**base, "seconds": 0.0, "detail": "", **more}


def told(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    counts = {"reloaded": 0, "failed": 0, "late": 0, "skipped": 0, "more": 0}
    return {"path": "shop", "dry_run": False, **counts, "entries": list(entries), **more}


def test_each_service_gets_a_line_and_what_has_failed_is_code_1(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(
        entry("shop/config", "reloaded", seconds=0.31),
        entry("shop/mail", "failed", detail="ValueError: no\x1b port"),
        entry("shop/old", "skipped", state="stopped", detail="it does not run"),
        failed=1,
        more=3,
    )
    app = answering({"/v1/reload": answer})
    assert reload(given()) == ExitCode.FAILED
    assert capsys.readouterr().out == (
        "● shop/config reloaded in 0.3 s\n"
        "● shop/mail failed: ValueError: no\\x1b port\n"
        "■ shop/old skipped: it does not run\n"
        "  3 more services\n"
    )
    assert app.requests == ["POST /v1/reload?timeout=30.0 HTTP/1.1"]


def test_a_long_reason_is_broken_where_the_line_ends(
    answering: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    reason = "generation 2 does not come up, and the workers serve on"
    answering({"/v1/reload": told(entry("shop/mail", "failed", detail=reason), failed=1)})
    assert reload(given()) == ExitCode.FAILED
    assert capsys.readouterr().out == (
        "● shop/mail failed: generation 2 does\n    not come up, and the workers serve\n    on\n"
    )


def test_who_is_late_is_code_4(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/reload/a": told(entry("shop/a", "late", detail="too late"), late=1)})
    assert reload(given("a", timeout=2.0)) == ExitCode.TIMED_OUT
    assert capsys.readouterr().out == "● shop/a not done: too late\n"


def test_a_dry_run_asks_for_the_plan(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/reload/a": told(entry("shop/a", "planned")), "/v1/reload/b": told()})
    assert reload(given("a", "b", dry_run=True)) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "● shop/a would reload\nnothing to reload: shop and all below it have no on_reload\n"
    )
    assert app.requests[0] == "POST /v1/reload/a?timeout=30.0&dry_run=1 HTTP/1.1"


def test_what_lies_below_another_path_is_not_reloaded_twice(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/reload/fleet": told(), "/v1/reload/fleets": told()})
    assert reload(given("fleet/a/b", "fleet", "fleets")) == ExitCode.WELL
    assert len(app.requests) == 2
    assert capsys.readouterr().out.count("nothing") == 2


def test_json_is_the_answer(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(entry("shop/a", "reloaded"))
    answering({"/v1/reload/a": answer})
    assert reload(given("a", json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == answer
