from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asked import asked
from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client, RunningApp, TimedOut
from sprag_cli.app.find import NoApp, SeveralApps
from sprag_cli.app.select import NoMatch
from sprag_cli.app.told import NoSuchService
from sprag_cli.draw.tree import TreeOptions, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def given(paths: tuple[str, ...] = (), **options: Any) -> TreeOptions:
    return TreeOptions(**asked("tree", paths=paths, **options))


@pytest.fixture
def failing(shop: dict[str, Any]) -> dict[str, Any]:
    """The shop, with its printer failed."""
    shop["children"][2]["children"][1] |= {"state": "failed", "ended_at": None}
    return shop


def test_the_tree_of_the_only_app_is_shown(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(shop)
    assert show(given()) == ExitCode.WELL
    out = capsys.readouterr().out
    assert out.startswith("● shop           App             running     up 2h03m\n├─ ● metrics")
    assert out.endswith("ago\n")
    assert out.count("\n") == 6


def test_a_path_selects_a_subtree(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(shop)
    assert show(given(paths=("fleet",), depth=0, ascii=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "* fleet +2  one_for_all  running  up 12m  r:1\n"


def test_an_unknown_path_is_not_found(serve: Callable[..., Any], shop: dict[str, Any]) -> None:
    serve(shop)
    with pytest.raises(NoSuchService, match="did you mean shop/metrics"):
        show(given(paths=("metric",)))


def test_the_exit_code_tells_of_failures_even_hidden_ones(
    serve: Callable[..., Any], failing: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(failing)
    assert show(given(depth=0)) == ExitCode.FAILED
    assert "+5 (1 failed)" in capsys.readouterr().out
    assert show(given(paths=("fleet/printer",))) == ExitCode.FAILED
    assert show(given(paths=("metrics",))) == ExitCode.WELL


def test_failed_shows_only_what_failed(
    serve: Callable[..., Any], failing: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(failing)
    assert show(given(failed=True)) == ExitCode.FAILED
    assert capsys.readouterr().out == (
        "● shop           App          running  up 2h03m\n"
        "└─ ● fleet       one_for_all  running  up 12m    ↺ 1\n"
        "   └─ ✗ printer  Printer      failed             ↺ 0\n"
    )
    assert show(given(paths=("metrics",), failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "nothing is failed: metrics\n"


def test_several_paths_and_globs_are_shown_with_the_way_to_them(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(shop)
    assert show(given(paths=("fleet/pr*", "metrics"), json=True)) == ExitCode.WELL
    told = json.loads(capsys.readouterr().out)
    assert told["pid"] == 4242
    assert [child["name"] for child in told["children"]] == ["metrics", "fleet"]
    assert [child["name"] for child in told["children"][1]["children"]] == ["printer"]


def test_what_is_chosen_is_shown_with_all_below_it_and_decides_the_exit_code(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = shop["children"][2]
    fleet["children"][1]["state"] = "failed"
    serve(shop)
    assert show(given(paths=("f*",), ascii=True)) == ExitCode.FAILED
    assert capsys.readouterr().out.count("\n") == 4
    assert show(given(paths=("m*", "intake"), failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "nothing is failed\n"
    with pytest.raises(NoMatch, match="no service matches 'x\\*'"):
        show(given(paths=("x*",)))


def test_failed_says_so_when_nothing_is(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(shop)
    assert show(given(failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "nothing is failed: shop and the 5 services below it\n"


def test_json_prints_the_root_with_all_it_holds(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve({**shop, "of_the_future": [1]})
    assert show(given(json=True)) == ExitCode.WELL
    out = capsys.readouterr().out
    assert out.startswith('{\n  "app": "shop",\n  "pid": 4242,\n  "schema": 1,\n')
    assert json.loads(out) == {**shop, "of_the_future": [1]}


def test_json_of_a_subtree_says_whose_it_is(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(shop)
    show(given(paths=("fleet",), json=True, depth=0))
    node = json.loads(capsys.readouterr().out)
    assert (node["name"], node["app"], node["pid"]) == ("fleet", "shop", 4242)
    assert (node["children"], node["hidden"]) == ([], 2)
    show(given(json=True, failed=True))
    assert json.loads(capsys.readouterr().out)["children"] == []


def test_without_an_app_the_next_command_is_named(runtime: Path) -> None:
    with pytest.raises(NoApp, match="start one with 'sprag run module:app'"):
        show(given())


def test_several_apps_are_listed_with_their_age(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(shop, pid=1)
    serve({"name": "mail", "state": "starting"}, name="mail", pid=2)
    with pytest.raises(SeveralApps, match="  mail  pid 2\n  shop  pid 1  up 2h03m"):
        show(given(paths=("fleet",)))
    assert show(given(app="mail")) == ExitCode.WELL
    assert capsys.readouterr().out == "◐ mail  starting\n"


def test_the_trees_of_all_apps_are_shown_where_no_path_says_which(
    serve: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve({"name": "web", "state": "running"}, name="web", pid=1)
    serve({"name": "web", "state": "starting"}, name="web", pid=2)
    serve({"name": "mail", "state": "failed"}, name="mail", pid=3)
    assert show(given(app="web")) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "web (pid 1)\n● web  running\n\nweb (pid 2)\n◐ web  starting\n"
    )
    assert show(given()) == ExitCode.FAILED
    assert capsys.readouterr().out.startswith("mail (pid 3)\n✗ mail  failed")
    assert show(given(json=True)) == ExitCode.FAILED
    told = json.loads(capsys.readouterr().out)["apps"]
    assert [each["name"] for each in told] == ["mail", "web", "web"]


def test_an_app_that_does_not_answer_keeps_no_other_from_being_shown(
    serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve({"name": "web", "state": "running"}, name="web", pid=1)
    serve({}, name="mail", pid=3)
    assert show(given()) == ExitCode.FAILED
    said = capsys.readouterr()
    assert said.out == "web (pid 1)\n● web  running\n"
    assert "mail (pid 3) answered" in said.err


def test_an_app_is_reached_by_its_socket_from_anywhere(
    serve: Callable[..., Any],
    shop: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path: Path = serve(shop).path
    monkeypatch.setenv("SPRAG_RUNTIME_DIR", os.fspath(tmp_path / "elsewhere"))
    assert show(given(app=os.fspath(path))) == ExitCode.WELL


def test_an_app_that_was_killed_is_mentioned_once(
    serve: Callable[..., Any],
    shop: dict[str, Any],
    runtime: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(runtime / f"old.{killed.pid}.sock"))
    serve(shop)
    assert show(given()) == ExitCode.WELL
    assert capsys.readouterr().err == (
        "sprag: an app has gone without a word, killed perhaps: its socket is removed\n"
    )
    assert show(given()) == ExitCode.WELL
    assert capsys.readouterr().err == ""


class Script:
    """Answers of an app, one after another; the last step ends the watching."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.sleeps: list[float] = []

    def tree(self) -> Any:  # stands for Client.tree; bound to the script, not to a client
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if not self.steps:
            raise KeyboardInterrupt


def test_watching_on_a_pipe_writes_changes_only_and_ends_well_on_ctrl_c(
    serve: Callable[..., Any],
    make: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve({})
    first, older = make("a", "A", uptime=1), make("a", "A", uptime=2)
    script = Script(
        first, older, make("a", "A", "failed"), make("a", "A", "running", make("b", "B"))
    )
    monkeypatch.setattr(Client, "tree", script.tree)
    code = show(given(watch=True, interval=2.5), sleep=script.sleep)
    assert code == ExitCode.WELL
    assert script.sleeps == [2.5] * 4
    assert capsys.readouterr().out == (
        "● a  A  running  up 1 s\n"
        "✗ a  A  failed\n"
        "\n"
        "● a     A  running  up 2h03m\n"
        "└─ ● b  B  running  up 2h03m  ↺ 0\n"
    )


def test_watching_json_writes_one_object_per_change(
    serve: Callable[..., Any],
    make: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve({})
    script = Script(make("a", "A"), make("a", "A", uptime=9), make("a", "A", restarts=1))
    monkeypatch.setattr(Client, "tree", script.tree)
    show(given(watch=True, json=True), sleep=script.sleep)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["restarts"] for line in lines] == [0, 1]


def test_watching_an_app_that_never_answered_times_out(
    serve: Callable[..., Any], runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    script = Script(TimedOut(RunningApp("shop", 1, str(runtime)), 5.0))
    monkeypatch.setattr(Client, "tree", script.tree)
    with pytest.raises(TimedOut):
        show(given(watch=True), sleep=script.sleep)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_watching_on_a_terminal_draws_in_place(
    serve: Callable[..., Any], shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    script = Script(shop, shop)
    monkeypatch.setattr(Client, "tree", script.tree)
    assert show(given(watch=True), sleep=script.sleep) == ExitCode.WELL
    in_place, _, after = terminal.getvalue().rpartition("\x1b[?1049l")
    assert in_place.count("●") == 8
    assert after.count("●") == 4
    assert "\x1b[32m●" in after


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(
    serve: Callable[..., Any], make: Callable[..., dict[str, Any]]
) -> None:
    serve(make("r", "R", "running", *(make(f"w{each}", "W") for each in range(5000))))
    with subprocess.Popen(
        [sys.executable, "-m", "sprag_cli", "tree"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("● r")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == ExitCode.WELL
