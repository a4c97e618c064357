from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import sprag
from sprag._exit_codes import ExitCode
from sprag_cli.commands.group import commands

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


def invoke(*arguments: str) -> Result:
    for each in commands.commands.values():
        each._help_option = None  # click keeps that of who asked first, maybe a test without -h
    return CliRunner().invoke(commands, arguments, prog_name="sprag")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(flag: str) -> None:
    result = invoke(flag)
    assert result.exit_code == 0
    assert "run         Run an app until it is asked to stop." in result.output
    assert "tree        Show the living tree of a running app." in result.output


@pytest.mark.parametrize("command", ["run", "tree"])
def test_help_of_a_command_shows_units_defaults_and_exit_codes(command: str) -> None:
    result = invoke(command, "-h")
    assert result.exit_code == 0
    assert "SECONDS" in result.output
    assert "[default: " in result.output
    assert "Exit codes:\n" in result.output


def test_every_exit_code_is_in_the_help() -> None:
    asking = (
        "tree",
        "status",
        "why",
        "events",
        "stacks",
        "top",
        "wait",
        "start",
        "stop",
        "restart",
    )
    told = {0, 1, 2, 3, 4, 130}
    for command, codes in (
        ("run", {each.value for each in ExitCode}),
        ("check", {0, 1, 2, 3}),
        *((each, told - {1} if each in {"stacks", "top"} else told) for each in asking),
    ):
        shown = invoke(command, "-h").output.partition("Exit codes:")[2]
        for code in ExitCode:
            said = f"  {code.value}  " in shown or f"({code.value}:" in shown
            assert said is (code in codes), (command, code)


def test_the_version_is_that_of_the_library() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"sprag {sprag.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: sprag"),
        (["tre"], "No such command 'tre'"),
        (["run"], "Missing argument 'MODULE:ATTRIBUTE'"),
        (["tree", "--depth", "-1"], "-1 is not in the range x>=0"),
        (["tree", "--interval", "0"], "0.0 is not in the range x>=0.1"),
        (["tree", "--timeout", "0"], "0.0 is not in the range x>=0.001"),
        (["run", "a:b", "--log-format", "xml"], "'auto', 'console', 'json'"),
        (["tree", "--colour"], "No such option"),
        (["stop"], "which service? — give paths or globs, or --failed"),
        (["check"], "Missing argument 'MODULE:ATTRIBUTE'"),
        (["top", "--sort", "size"], "'size' is not one of"),
        (["status", "--lines", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    if arguments:  # else it is the help
        assert result.output.startswith("sprag: ")
        assert result.output.count("\n") == 1


def test_an_error_is_one_line_on_stderr_and_an_exit_code(runtime: Path) -> None:
    result = invoke("tree")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stdout == ""
    assert result.stderr == (
        f"sprag: no app is running (looked in {runtime}) — start one with 'sprag run module:app'\n"
    )


def test_the_options_of_tree_arrive(serve: Callable[..., Any], shop: dict[str, Any]) -> None:
    serve(shop)
    serve(shop, pid=4343)
    result = invoke("tree", "fleet", "--app", "4343", "--ascii", "--depth", "0")
    assert (result.exit_code, result.stdout) == (
        0,
        "* fleet +2  one_for_all  running  up 12m  r:1\n",
    )
    assert invoke("tree", "--app", "4343", "--failed").exit_code == ExitCode.WELL
    assert invoke("tree", "fleet").exit_code == ExitCode.USAGE


def test_the_app_may_come_from_the_environment(
    serve: Callable[..., Any], shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(shop)
    monkeypatch.setenv("SPRAG_APP", "mail")
    result = invoke("tree")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "no app 'mail' — running: shop (pid 4242)" in result.stderr


def test_a_subtree_that_failed_ends_with_1(
    serve: Callable[..., Any], make: Callable[..., dict[str, Any]]
) -> None:
    serve(make("shop", "App", "running", make("mail", "Mail", "failed")))
    assert invoke("tree").exit_code == ExitCode.FAILED


def test_the_selectors_are_explained_where_they_apply() -> None:
    for command in ("status", "why", "events", "stacks", "start", "stop", "restart"):
        said = " ".join(invoke(command, "-h").output.split())
        assert "a glob: 'fleet/*' for one level, 'fleet/**' for all below" in said
        assert "--failed" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scale", "pool", "x"], "'x' is not a valid whole number"),
        (["tree", "--depth", "1.5"], "'1.5' is not a valid whole number"),
        (["reload", "--timeout", "soon"], "'soon' is not a number of seconds"),
    ],
)
def test_what_is_no_number_is_said_to_be_none(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert said in result.output
