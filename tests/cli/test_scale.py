from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from sprag._exit_codes import ExitCode
from sprag_cli.act.scale import ScaleOptions, scale
from sprag_cli.commands.group import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def options(**given: Any) -> ScaleOptions:
    default: dict[str, Any] = {"path": "packing", "size": 7, "json": False, "wait": True}
    default |= {"ascii": False, "app": None, "timeout": 3.0, **given}
    return ScaleOptions(**default)


def done(before: int, now: int, *, is_done: bool = True) -> dict[str, Any]:
    return {
        "path": "shop/packing",
        "done": is_done,
        "before": "running",
        "state": "running",
        "report": None,
        "workers": {"before": before, "now": now},
    }


def test_the_number_of_workers_before_and_now_is_told(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"POST /v1/scale/packing": done(4, 7)})
    assert scale(options()) == ExitCode.WELL
    assert capsys.readouterr().out == "● shop/packing has 7 workers, 4 before\n"
    assert app.requests == ["POST /v1/scale/packing?size=7&timeout=3.0 HTTP/1.1"]


def test_nothing_is_said_of_before_where_nothing_has_changed(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"POST /v1/scale/packing": done(1, 1)})
    assert scale(options(size=1, ascii=True)) == ExitCode.WELL
    assert capsys.readouterr().out.endswith(" shop/packing has 1 worker\n")


def test_what_takes_too_long_goes_on(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/scale/packing": (504, done(4, 5, is_done=False))})
    assert scale(options()) == ExitCode.TIMED_OUT
    said = capsys.readouterr().err
    assert said.startswith("sprag: shop/packing has 5 workers, 4 before after 3 s — it goes on")


def test_nobody_has_to_wait(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/scale/packing": (202, done(4, 4, is_done=False))})
    assert scale(options(wait=False)) == ExitCode.WELL
    assert capsys.readouterr().out == "● shop/packing has 4 workers\n"


def test_json_is_the_app_s_answer(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/scale/packing": done(4, 7)})
    assert scale(options(json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == done(4, 7)


def test_the_app_s_refusal_is_the_command_s(answering: Callable[..., Any]) -> None:
    error = "shop/feed is no pool of workers"
    answering({"/v1/scale/feed": (409, {"error": error, "name": "NoPool"})})
    result = CliRunner().invoke(commands, ["scale", "feed", "3"])
    assert result.exit_code == ExitCode.FAILED
    assert error in result.output


def test_a_number_out_of_range_is_wrong_usage() -> None:
    for size in ("0", "-3", "many", "10001"):
        result = CliRunner().invoke(commands, ["scale", "packing", "--", size])
        assert result.exit_code == ExitCode.USAGE
