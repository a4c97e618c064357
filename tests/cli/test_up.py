"""`sprag up` as a real process: a Procfile, groups, the first exit, wrong files, Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from processes import Process, ran
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

WORKS = "while true; do sleep 1000 & wait; done"


def up(directory: Path, *arguments: str, **options: Any) -> Process:
    return Process("-m", "sprag_cli", "up", *arguments, directory=directory, **options)


def said(directory: Path, *arguments: str) -> tuple[int, str, str]:
    done = ran(*arguments, cwd=directory, env={**os.environ, "COLUMNS": "100"})
    return done.returncode, done.stdout, done.stderr


def write(directory: Path, text: str, name: str = "Procfile") -> None:
    (directory / name).write_text(text, encoding="utf-8")
    (directory / name).chmod(0o600)


def lines_of(process: Process) -> set[tuple[str, str]]:
    return {(each["service"], each["line"]) for each in process.events("output")}


@pytest.mark.slow
def test_a_procfile_of_three_programs_runs_until_ctrl_c(tmp_path: Path) -> None:
    write(tmp_path, "GREETING='hello there'\n", ".env")
    write(
        tmp_path,
        f"web: echo $GREETING $PORT; {WORKS}\nworker: {WORKS}\nclock: echo tick; {WORKS}\n",
    )
    with up(tmp_path, environ={"PORT": None}) as process:
        process.says("hello there 5000")
        process.says("tick")
        process.says('"event": "up"')
        process.send(signal.SIGINT)
        assert process.ends() == ExitCode.STOPPED
        assert (f"{tmp_path.name}/web", "hello there 5000") in lines_of(process)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("no-such-program", 127)],
)
def test_the_first_exit_stops_all_and_its_code_is_ours(
    tmp_path: Path, command: str, code: int
) -> None:
    write(tmp_path, f"web: {WORKS}\nworker: {WORKS}\nonce: {command}\n")
    with up(tmp_path, "--abort-on-exit") as process:
        assert process.ends() == code
        (told,) = process.events("a program has exited, and that stops all (--abort-on-exit)")
        assert (told["program"], told["code"]) == ("once", code)


@pytest.mark.slow
def test_the_first_exit_may_be_that_of_one_of_several_in_a_group(tmp_path: Path) -> None:
    given = f"""\
[program.db]
command = "echo up; {WORKS}"
shell = true
ready = {{ line = "up" }}
[group.late]
needs = ["db"]
[group.late.program.job]
command = ["sh", "-c", "exit 2{{replica}}"]
replicas = 1
"""
    write(tmp_path, given, "sprag.toml")
    with up(tmp_path, "--abort-on-exit") as process:
        assert process.ends() == 21
        (told,) = process.events("a program has exited, and that stops all (--abort-on-exit)")
        assert told["program"] == "late/job/1"


@pytest.mark.slow
def test_without_it_a_program_that_exits_is_restarted_and_that_is_told_once(
    tmp_path: Path,
) -> None:
    write(tmp_path, f"web: {WORKS}\nflappy: echo again; exit 3\n")
    with up(tmp_path) as process:
        process.says('"line": "again"', times=3)
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert process.err.count("--abort-on-exit would stop all") == 1


@pytest.mark.slow
def test_a_formation_says_how_many(tmp_path: Path) -> None:
    write(tmp_path, f"web: echo port $PORT; {WORKS}\nworker: echo working; {WORKS}\n")
    with up(tmp_path, "--formation", "web=2,worker=0", environ={"PORT": None}) as process:
        process.says("port 5001")
        process.says("port 5000")
        process.says('"event": "up"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        name = tmp_path.name
        assert lines_of(process) == {(f"{name}/web/1", "port 5000"), (f"{name}/web/2", "port 5001")}


SITE = """\
[app]
name = "shop"
[program.db]
command = "echo ready to accept; while true; do sleep 1000 & wait; done"
shell = true
ready = { line = "ready to accept" }
[group.backend]
strategy = "rest_for_one"
needs = ["db"]
[group.backend.program.queue]
command = "read line < go; exit 1"
shell = true
[group.backend.service.worker]
use = "worker_of_up:Worker"
args = { text = "work begins" }
[program.crasher]
command = ["sh", "-c", "exit 5"]
backoff = { initial = 0.01, tries = 2 }
"""
WORKER = """\
from sprag import Service

class Worker(Service):
    def __init__(self, text):
        self.text = text

    def on_start(self):
        self.log.info(self.text)
"""


@pytest.mark.slow
def test_a_program_and_the_service_behind_it_restart_as_one_group(tmp_path: Path) -> None:
    write(tmp_path, SITE, "sprag.toml")
    write(tmp_path, WORKER, "worker_of_up.py")
    os.mkfifo(tmp_path / "go")
    with up(tmp_path) as process:
        process.says("work begins")
        process.says("service is not restarted any more")  # and the others run on
        (tmp_path / "go").write_text("\n")
        process.says("work begins", times=2)
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        starts = [each["service"] for each in process.events("service started")]
        assert starts.index("shop/db") < starts.index("shop/backend/queue")


@pytest.mark.slow
def test_a_file_elsewhere_is_run_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder, f"[program.a]\ncommand = 'pwd; {WORKS}'\nshell = true\n", "my.toml")
    with up(tmp_path, "shop/my.toml") as process:
        process.says(f'"line": "{folder}"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


@pytest.mark.slow
def test_a_port_that_is_taken_keeps_one_from_its_start_and_no_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = f"[program.a]\ncommand = ['sleep', '1000']\nport = {port}\nready = 'port'\n"
        write(tmp_path, f"{given}[program.b]\ncommand = ['sleep', '1000']\n", "sprag.toml")
        with up(tmp_path) as process:
            process.says('"event": "up"')
            process.says(f"port {port} is taken")
            process.send(signal.SIGTERM)
            assert process.ends() == ExitCode.STOPPED


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("sprag.toml", "[program.a]\ncomand = 'x'\n", "sprag.toml:1: program.a: it has no command"),
        ("sprag.toml", "[program.a\n", "sprag.toml: no TOML: "),
        ("Procfile", "web gunicorn\n", "Procfile:1: 'web gunicorn' is no process"),
        ("sprag.toml", "[service.s]\nuse = 'no_such_module:X'\n", "no module 'no_such_module'"),
    ],
)
@pytest.mark.slow
def test_a_file_that_is_wrong_starts_nothing_and_says_where(
    tmp_path: Path, name: str, text: str, line: str
) -> None:
    write(tmp_path, text, name)

    code, out, err = said(tmp_path, "up")
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith("sprag: ")
    assert line in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_without_a_file_it_says_which_it_looks_for(tmp_path: Path) -> None:
    code, _, err = said(tmp_path, "up")

    assert code == ExitCode.USAGE
    assert err == "sprag: there is no sprag.toml and no Procfile here: name a file, or write one\n"


@pytest.mark.slow
def test_the_check_starts_nothing_and_tells_who_else_may_read_the_variables(
    tmp_path: Path,
) -> None:
    write(tmp_path, "web: touch started\n")
    write(tmp_path, "A=1\n", ".env")
    assert said(tmp_path, "up", "--check") == (
        0,
        f"{tmp_path.name}: 2 services, nothing found\n",
        "",
    )
    (tmp_path / ".env").chmod(0o644)

    code, out, _ = said(tmp_path, "up", "--check")
    assert code == ExitCode.FAILED
    assert "env-file-exposed" in out
    assert "chmod o-rwx .env" in out
    assert not (tmp_path / "started").exists()


@pytest.mark.slow
def test_a_module_that_exits_has_not_passed_the_check(tmp_path: Path) -> None:
    write(tmp_path, "raise SystemExit(0)\n", "exits_of_up.py")
    write(tmp_path, "[service.s]\nuse = 'exits_of_up:Feed'\n", "sprag.toml")

    code, _, err = said(tmp_path, "up", "--check")
    assert code == ExitCode.NEVER_CAME_UP
    assert "raised SystemExit; nothing was started" in err


@pytest.mark.slow
def test_the_check_of_another_machines_file_is_well(tmp_path: Path) -> None:
    write(tmp_path, "[program.a]\ncommand = ['no-such-program']\n", "sprag.toml")

    code, out, _ = said(tmp_path, "up", "--check")
    assert code == ExitCode.WELL
    assert "not on this machine:\n" in out
    assert f"sprag.toml:2: {tmp_path.name}/a: there is no program 'no-such-program'" in out


@pytest.mark.slow
def test_the_time_for_the_stop_is_the_files_unless_it_is_given(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; echo deaf; while true; do sleep 0.05; done"
    given = f'[app]\nshutdown_timeout = 0.3\n[program.a]\nshell = true\ncommand = "{stubborn}"\n'
    write(tmp_path, given, "sprag.toml")
    with up(tmp_path) as process:
        process.says("deaf")
        process.send(signal.SIGTERM)
        process.ends(within=5)
        (stopping,) = process.events("stopping")
        assert stopping["seconds_left"] <= 0.3
    with up(tmp_path, "--shutdown-timeout", "0.9") as process:
        process.says("deaf")
        process.send(signal.SIGTERM)
        process.ends(within=5)
        (stopping,) = process.events("stopping")
        assert 0.3 < stopping["seconds_left"] <= 0.9


@pytest.mark.slow
def test_a_converted_file_passes_the_check(tmp_path: Path) -> None:
    jobs = "command=sh -c 'exit 0'\nnumprocs=2\nprocess_name=%(process_num)s\n"
    text = f"[program:web]\ncommand=sleep 5\n[program:job]\n{jobs}"
    write(tmp_path, text, "supervisord.conf")

    assert said(tmp_path, "convert", "supervisord.conf", "-o", "sprag.toml") == (0, "", "")
    code, out, err = said(tmp_path, "up", "--check")
    assert (code, err) == (0, ""), out
