"""``sprag logs``: records of services and the output of programs, one after another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import pytest

from asked import asked
from processes import PATIENCE, Process, app, run
from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Refusal
from sprag_cli.app.select import NoMatch
from sprag_cli.commands.logs import Since
from sprag_cli.draw.events import CutOff
from sprag_cli.draw.logs import LogsOptions, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def given(*paths: str, **options: Any) -> LogsOptions:
    return LogsOptions(failed=False, **asked("logs", paths=paths, **options))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def record(path: str | None, event: str, **fields: str) -> dict[str, Any]:
    return {
        "kind": "record",
        "path": path,
        "at": "2026-01-01T11:59:58Z",
        "level": "info",
        "logger": "sprag.service",
        "event": event,
        "incarnation": 1,
        "fields": fields,
    }


def written(path: str, line: str) -> dict[str, Any]:
    return record(path, "output", stream="stdout", line=line)


END = {"kind": "end", "reason": "that is all", "path": "shop"}
LIVE = {"kind": "live", "path": "shop"}
OVER = {"kind": "end", "reason": "the app has ended"}


def stream(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_records_and_output_of_programs_are_lines_with_their_path(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = (
        record("shop/mail", "order dropped", order="901", why="too late"),
        written("shop/db", "  ready\x1b[2J to accept"),
        record(None, "Starting new connection"),
        END,
    )
    asked_for = answering({"/v1/logs": stream(*told)})
    assert show(given()) == ExitCode.WELL
    assert capsys.readouterr().out.replace("2026-01-01 ", "") == (
        "11:59:58 info     shop/mail | order dropped  order=901  why=too late\n"
        "11:59:58 info     shop/db |   ready\\x1b[2J to accept\n"
        "11:59:58 info     (sprag.service) | Starting new connection\n"
    )
    assert asked_for.requests == ["GET /v1/logs?lines=100 HTTP/1.1"]


def test_of_one_path_the_app_chooses(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for = answering({"/v1/logs/db": stream(END)})
    assert show(given("db", lines=7, since=300.0)) == ExitCode.WELL
    assert show(given("db", since=300.0, follow=True)) == ExitCode.WELL
    assert [each.split()[1] for each in asked_for.requests] == [
        "/v1/logs/db?age=300.0&lines=7",
        "/v1/logs/db?follow=1&age=300.0",
    ]
    assert capsys.readouterr().out == ""


def test_of_several_paths_each_has_its_last_ones_by_time(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = [written(f"shop/{name}", f"{name}{n}") for n in range(4) for name in ("db", "web", "x")]
    answering(
        {
            "/v1/logs": stream(
                *told, LIVE, written("shop/x", "x4"), written("shop/web/1", "w"), OVER
            ),
            "/v1/logs/web": stream({**END, "path": "shop/web"}),
        }
    )
    assert show(given("web", "d*", lines=2, follow=True)) == ExitCode.WELL
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("| ")[2] for line in lines] == [
        "db2",
        "web2",
        "db3",
        "web3",
        "w",
        "the app has ended",
    ]


def test_machines_get_an_object_a_line(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = [written("shop/db", "one"), LIVE, {"kind": "lost", "count": 3}, OVER]
    answering({"/v1/logs": stream(*told)})
    assert show(given(json=True, follow=True)) == ExitCode.WELL
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == told


def test_what_was_left_out_is_told(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/logs": stream(LIVE, {"kind": "lost", "count": 3}, OVER)})
    assert show(given(follow=True)) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "… 3 records left out: more came than was read in time\nthe app has ended\n"
    )


def test_a_path_or_a_glob_that_stands_for_nobody_is_an_error(
    answering: Callable[..., Any], shop: dict[str, Any]
) -> None:
    answering({"/v1/logs": stream(written("shop/gone", "x"), END), "/v1/tree": shop})
    with pytest.raises(Refusal):
        show(given("nope"))
    with pytest.raises(Refusal):
        show(given("nope", "*"))
    with pytest.raises(NoMatch):
        show(given("x*"))
    assert show(given("go*")) == ExitCode.WELL  # it has left the tree


def test_an_answer_that_breaks_off_is_an_error(answering: Callable[..., Any]) -> None:
    answering({"/v1/logs": stream(LIVE)})
    with pytest.raises(CutOff):
        show(given(follow=True))


def test_a_time_is_so_long_ago_or_a_moment() -> None:
    since = Since()
    assert since.convert("5m", None, None) == 300
    assert since.convert("90", None, None) == 90
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    assert 59 < since.convert(before, None, None) < 63
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 60))
    assert 59 < since.convert(local, None, None) < 63
    assert since.convert("1970-01-01", None, None) == 1e9
    for bad in ("soon", "", "-5", "2026-13-01", "5 m"):
        with pytest.raises(click.BadParameter, match="neither a length of time"):
            since.convert(bad, None, None)
    with pytest.raises(click.BadParameter, match="in the future"):
        since.convert("2999-01-01", None, None)


# -- with real processes ------------------------------------------------------------------

APP = """
    SOURCE = "import itertools, sys, time\\n" \\
        "for n in itertools.count(): print('line', n, flush=True); time.sleep(0.02)"
    class Speaker(Service):
        def on_start(self):
            self.interval(lambda: self.log.info("spoken", to="all"), 0.02)
    app = App(name="shop", providers={
        "db": Program([sys.executable, "-S", "-c", SOURCE], name="db"),
        "speaker": Speaker(),
    })
"""


def logs(process: Process, directory: Path, *arguments: str) -> Process:
    process.socket()
    environ = {"SPRAG_RUNTIME_DIR": str(process.runtime)}
    return Process("-m", "sprag_cli", "logs", *arguments, directory=directory, environ=environ)


@pytest.mark.slow
def test_the_log_of_a_running_app_is_followed_to_its_end(tmp_path: Path) -> None:
    app(tmp_path, APP)
    with run(tmp_path, "--log-format", "console") as process:
        process.says(" shop/db | line 1\n")
        with logs(process, tmp_path, "-f", "db", "speaker") as follower:
            follower.says(" shop/db | line ", times=20)
            follower.says(" shop/speaker | spoken  to=all\n", times=5)
            process.send(signal.SIGTERM)
            assert follower.ends() == 0
            assert follower.out.endswith("the app has ended\n")
        assert process.ends() == 0


@pytest.mark.slow
def test_to_follow_ends_well_with_ctrl_c_and_with_who_reads(tmp_path: Path) -> None:
    app(tmp_path, APP)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        with logs(process, tmp_path, "--follow") as follower:
            follower.says("shop/db | line ")
            follower.send(signal.SIGINT)
            assert follower.ends() == 0
            assert follower.err == ""
        command = f"{sys.executable} -m sprag_cli logs -f db | head -n 2"
        environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(process.runtime)}
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 2)
        process.send(signal.SIGTERM)
        assert process.ends() == 0


@pytest.mark.slow
def test_an_app_that_is_killed_ends_it_with_3(tmp_path: Path) -> None:
    app(tmp_path, APP)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        with logs(process, tmp_path, "-f") as follower:
            follower.says("shop/db | line ")
            process.send(signal.SIGKILL)
            assert follower.ends() == 3, follower.err
            assert "it ended without a word" in follower.err
