from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asked import asked
from sprag._exit_codes import ExitCode
from sprag_cli.draw.inspect import InspectOptions, NothingNamed, show

if TYPE_CHECKING:
    from collections.abc import Callable


def given(*paths: str, **options: Any) -> InspectOptions:
    return InspectOptions(**asked("inspect", paths=paths, **options))


def told(path: str, **more: Any) -> dict[str, Any]:
    values = {"port": "25", "url": "'a://b'"}
    base = {"path": path, "state": "running", "source": "attributes", "values": values}
    return {**base, "more": 0, "error": None, **more}


def test_each_value_gets_a_line(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/inspect/mail": told("shop/mail", more=3)})
    assert show(given("mail", timeout=2.0)) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "● shop/mail by its attributes\n  port = 25\n  url = 'a://b'\n  3 more\n"
    )
    assert app.requests == ["GET /v1/inspect/mail?timeout=2.0 HTTP/1.1"]


def test_a_hook_that_fails_is_told_and_is_code_1(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    said = told("shop/mail", source="on_inspect", values={}, error="ValueError: no")
    answering({"/v1/inspect/mail": said, "/v1/inspect/idle": told("shop/idle", values={})})
    assert show(given("mail", "idle")) == ExitCode.FAILED
    assert capsys.readouterr().out == (
        "● shop/mail by its on_inspect\n  on_inspect did not tell: ValueError: no\n"
        "\n● shop/idle by its attributes\n  nothing\n"
    )


def test_json_is_the_answer(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/inspect/mail": told("shop/mail")})
    assert show(given("mail", json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == told("shop/mail")


def test_without_a_path_it_asks_which() -> None:
    with pytest.raises(NothingNamed, match="which service"):
        show(given())
