from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from asked import asked
from sprag._exit_codes import ExitCode
from sprag_cli.draw.blame import BlameOptions, show

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def start(path: str, seconds: float, own: float, **more: Any) -> dict[str, Any]:
    told = {"path": path, "incarnation": 1, "began": 0.0, "seconds": seconds, "own": own}
    return {**told, "critical": False, **more}


def answer(*starts: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"app": "shop", "up": True, "seconds": 2.5, "starts": list(starts), "more": 0}
    return {**told, **more}


def given(**options: Any) -> BlameOptions:
    return BlameOptions(**asked("blame", **options))


def test_who_took_longest_comes_first_and_the_critical_path_is_marked(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    starts = [
        start("shop", 2.5, 0.1, critical=True),
        start("shop/cache", 0.5, 0.5),
        start("shop/d\x1b", 2.4, 2.4, critical=True, incarnation=2),
    ]
    answering({"/v1/blame": answer(*starts, more=7)})
    assert show(given()) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "shop was up after 2.500 s; * is on the critical path\n"
        "      own    total  service\n"
        "*   2.400    2.400  shop/d\\x1b #2\n"
        "    0.500    0.500  shop/cache\n"
        "*   0.100    2.500  shop\n"
        "  7 starts more, none of them as long\n"
    )


def test_an_app_that_is_not_up_says_so_and_many_are_cut(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    starts = [start(f"shop/n{number}", 1.0, 1.0) for number in range(40)]
    answering({"/v1/blame": answer(*starts, up=False, seconds=None)})
    assert show(given()) == ExitCode.WELL
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "shop is not up yet; what has started so far:"
    assert len(said) == 33
    assert said[-1] == "  10 more: --json"


def test_json_is_the_answer(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/blame": answer()})
    assert show(given(json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == answer()
