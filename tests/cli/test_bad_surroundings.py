"""Numbers that are none, a full disk, a closed pipe, a directory that is gone: one line each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from processes import app, ran, run
from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client, RunningApp
from sprag_cli.commands.group import commands

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = [
    "tree",
    "status",
    "why",
    "events",
    "stacks",
    "top",
    "wait",
    "stop x",
    "start x",
    "restart x",
]


# -- numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", CLIENTS)
@pytest.mark.parametrize("number", ["nan", "-inf", "-1", "0", "soon", "True", "-" + "9" * 400])
def test_a_timeout_that_is_no_time_is_wrong_usage(command: str, number: str) -> None:
    result = CliRunner().invoke(commands, [*command.split(), "--timeout", number])
    assert result.exit_code == ExitCode.USAGE
    assert "Invalid value for '--timeout'" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["tree", "--watch", "--interval", "nan"],
        ["tree", "--watch", "--interval", "inf"],
        ["tree", "--watch", "--interval", "9" * 400],
        ["top", "--interval", "nan"],
        ["top", "--limit", "9" * 400],
        ["tree", "--depth", "9" * 5000],
        ["run", "x:y", "--watchdog", "nan"],
        ["run", "x:y", "--watchdog", "inf"],
        ["run", "x:y", "--watchdog", "9" * 400],
        ["run", "x:y", "--port", "9" * 400],
        ["run", "x:y", "--shutdown-timeout", "nan"],
        ["check", "x:y", "--shutdown-timeout", "nan"],
    ],
)
def test_other_times_that_are_none_are_wrong_usage_too(arguments: list[str]) -> None:
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == ExitCode.USAGE
    assert f"Invalid value for '{arguments[-2]}'" in result.output


@pytest.mark.parametrize("number", ["inf", "1e8", "1e300", "9" * 400])
def test_no_limit_at_all_is_a_timeout(
    answering: Callable[..., Any], shop: dict[str, Any], number: str
) -> None:
    report = {"path": "shop/x", "done": True, "before": "running", "state": "stopped"}
    answering(
        {"/v1/tree": shop, "/v1/ready": {"path": "shop", "ready": True}, "/v1/stop/x": report}
    )
    for command in ("tree", "wait", "stop x"):
        result = CliRunner().invoke(commands, [*command.split(), "--timeout", number])
        assert result.exit_code == ExitCode.WELL, result.output


def test_a_client_without_a_limit_waits_for_the_answer(serve: Callable[..., Any]) -> None:
    fake = serve({"name": "shop", "state": "running"})
    told = Client(RunningApp("shop", 1, str(fake.path)), timeout=float("inf")).tree()
    assert told["name"] == "shop"


# -- where the output goes -----------------------------------------------------------------


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("app")
    source = """
        class Busy(Service):
            def on_start(self):
                self.interval(int, 0.01)
                self.interval(self.crash, 0.2)
            def crash(self):
                self.spawn(int, "two")
        app = App(name="shop", providers={"busy": Busy(), "x": Service()}, max_restarts=10**6)
        """
    app(directory, source)
    with run(directory, "--log-level", "critical") as process:
        process.socket()
        assert ran("wait", env=environ(process.runtime)).returncode == 0
        yield process.runtime


def environ(runtime: Path) -> dict[str, str]:
    return {**os.environ, "SPRAG_RUNTIME_DIR": str(runtime)}


EVERY = [
    "tree",
    "tree --json",
    "tree --watch --interval 0.1",
    "tree --watch --json",
    "status",
    "status --json",
    "why",
    "events",
    "events --json",
    "stacks",
    "stacks --json",
    "top",
    "top --json",
    "top --once",
    "wait",
    "wait --json",
    "restart x",
    "stop x --json",
    "start x",
    "completion bash",
    "--help",
    "--version",
    "tree --help",
]


@pytest.mark.slow
@pytest.mark.parametrize("command", EVERY)
def test_a_full_disk_is_one_line_and_exit_code_1(living: Path, command: str) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = ran(*command.split(), env=environ(living), stdout=full)
    assert done.stderr == "sprag: cannot write the output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", EVERY)
def test_a_reader_that_has_gone_is_no_error(living: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = ran(*command.split(), env=environ(living), stdout=writing)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("tree", ExitCode.NOT_FOUND),
        ("stop x", ExitCode.NOT_FOUND),
        ("tree --nosuch", ExitCode.USAGE),
        ("run nosuch:app", ExitCode.USAGE),
        ("check nosuch:app", ExitCode.USAGE),
    ],
)
def test_a_full_disk_under_stderr_changes_no_exit_code(
    tmp_path: Path, command: str, code: ExitCode, *, buffered: bool
) -> None:
    env = environ(tmp_path / "none")
    env["PYTHONUNBUFFERED"] = "" if buffered else "1"
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = ran(*command.split(), stderr=full, stdout=full, env=env)
    assert done.returncode == code


# -- a working directory that is gone --------------------------------------------------------


def gone(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    place = tmp_path / "gone"
    place.mkdir()
    sprag_script = Path(sys.executable).with_name("sprag")
    return subprocess.run(
        ["/bin/sh", "-c", 'rmdir "$PWD"; exec "$0" "$@"', str(sprag_script), *arguments],
        cwd=place,
        text=True,
        capture_output=True,
        check=False,
        env=environ(tmp_path / "run"),
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run shop:app", "check shop:app", "run nowhere"])
def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path, command: str) -> None:
    done = gone(tmp_path, *command.split())
    assert done.stderr.count("\n") == 1, done.stderr
    assert "the working directory is gone" in done.stderr
    assert done.returncode == ExitCode.USAGE


@pytest.mark.slow
def test_a_client_needs_no_working_directory(living: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(living)
    for command in ("tree", "stacks", "status"):
        done = gone(tmp_path, *command.split(), "--app", str(next(living.glob("*.sock"))))
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        (tmp_path / "gone").rmdir() if (tmp_path / "gone").exists() else None


# -- empty options ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--unix-socket", "--host"])
def test_an_empty_address_is_refused(tmp_path: Path, option: str) -> None:
    app(tmp_path, 'app = App(name="shop")\n')
    with run(tmp_path, option, "") as process:
        assert process.ends() == ExitCode.USAGE
        told = f"sprag: {option} is empty: give an address, or leave it out"
        assert process.err == f"{told} — 'sprag run --help' shows what is accepted\n"
