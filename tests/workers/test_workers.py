"""`sprag run --workers` as real processes: replaced, killed, held, without their parent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from contextlib import closing, suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from controlled import ask, check, raw
from processes import PATIENCE, Process, app, ran, run
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

APP = """
    class Metrics(Service):
        def on_start(self):
            assert self.service("shop/metrics") is self  # whatever the parent is called
            say("begun by", os.environ.get("COLOUR"))
            for _ in range(50):
                self.log.info("a long one", text="x" * 20_000)

    app = App(name="shop", providers={"metrics": Metrics()}, routes="pages")
"""
PAGES = """
import os

import gevent

from sprag import Controller


class Who(Controller):
    route = "/who"

    def load(self):
        gevent.sleep(0.02)
        return {"pid": os.getpid()}
"""


def said(process: Process, *arguments: str) -> tuple[int, str]:
    """Run a command about the app of *process*; return its exit code and what it says."""
    environ = {**os.environ, "COLUMNS": "200", "SPRAG_RUNTIME_DIR": str(process.runtime)}
    done = ran(*arguments, env=environ)
    return done.returncode, done.stdout + done.stderr


def tree(process: Process) -> dict[str, Any]:
    status, told = ask(process.socket(), "GET", "/v1/tree")
    assert status == 200
    check("tree", told)
    found: dict[str, Any] = told
    return found


def worker(process: Process, number: int) -> dict[str, Any]:
    found: dict[str, Any] = tree(process)["children"][number - 1]
    assert found["name"] == f"worker-{number}"
    return found


def pids(process: Process) -> list[int]:
    return [each["process"]["pid"] for each in tree(process)["children"] if each["process"]]


def until(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_up(process: Process) -> bool:
    return bool(tree(process)["ready"]) and all(each["ready"] for each in tree(process)["children"])


def write(directory: Path) -> None:
    app(directory, APP)
    (directory / "pages.py").write_text(PAGES)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Clients:
    """Threads that ask one question after another, each by a new connection.

    Attributes:
        answers: How many were right.
        troubles: What else came.
    """

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.troubles: list[str] = []
        self._port = port
        self._is_over = False
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._is_over:
            try:
                with closing(HTTPConnection("127.0.0.1", self._port, timeout=20)) as connection:
                    connection.request("GET", "/who", headers={"Accept": "application/json"})
                    response = connection.getresponse()
                    assert response.status == 200
                    assert "pid" in json.loads(response.read())
                self.answers += 1
                time.sleep(0.02)  # some hundred in a second are enough, and leave room for the rest
            except Exception as error:  # noqa: BLE001 - told
                self.troubles.append(repr(error))

    def stop(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.mark.slow
@pytest.mark.long
def test_new_code_comes_slot_by_slot_and_code_that_is_wrong_leaves_the_old(tmp_path: Path) -> None:
    first_release, release = tmp_path / "release-1", tmp_path / "current"
    first_release.mkdir()
    release.symlink_to(first_release)
    write(release)
    port = free_port()
    (release / "vars").write_text("COLOUR=red\n")
    where = {"PWD": str(release), "SPRAG_RUNTIME_DIR": str(tmp_path / "run")}
    options = ["--workers", "2", "--env-file", "vars", "--name", "shop", "--port", str(port)]
    with run(release, *options, environ=where) as process:
        process.runtime = tmp_path / "run"
        process.says('"event": "up"', times=3)
        process.says("begun by red", times=2)
        first = worker(process, 2)
        assert (first["process"]["slot"], first["process"]["generation"]) == (2, 1)
        below = ["shop/worker-2/metrics", "shop/worker-2/web"]
        assert [each["path"] for each in first["children"]] == below
        none = {"sent": 0, "dropped": 0, "missed": 0, "waiting": 0}
        assert first["broadcasts"] == none
        status, told = ask(process.socket(), "GET", "/v1/service/worker-2")
        check("service", told)
        assert (told["broadcasts"], told["log_queue"]["dropped"]) == (none, 0)
        clients = Clients(port)
        status, told = ask(process.socket(), "GET", "/v1/service/worker-2/metrics")
        assert (status, told["path"]) == (200, "shop/worker-2/metrics")
        check("service", told)

        for asked in ("top?seconds=0", "stacks", "ready"):
            status, told = ask(process.socket(), "GET", f"/v1/{asked}")
            assert status == 200
            check(asked.partition("?")[0], told)
        assert process.err.count("a long one") == 100
        lines = raw(process.socket(), b"GET /v1/logs HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[2]
        told = [json.loads(line) for line in lines.splitlines()]
        assert {f"shop/worker-{number}/metrics" for number in (1, 2)} < {
            each.get("path") for each in told
        }
        assert [each["kind"] for each in told].count("end") == 1
        at = [each["at"] for each in told if "at" in each]
        assert at == sorted(at)

        whole = (release / "app.py").read_text()
        (release / "app.py").write_text(f"{whole}\ndef wrong(:\n")
        code, text = said(process, "reload", "--timeout", "60")
        assert code == ExitCode.FAILED
        assert f"app.py:{len(whole.splitlines()) + 2}: SyntaxError" in text
        assert worker(process, 1)["process"]["generation"] == 1
        assert "generation 2 failed; 1 cannot be restarted" in tree(process)["status"]

        release.unlink()
        shutil.copytree(first_release, tmp_path / "release-2")
        release.symlink_to(tmp_path / "release-2")
        (release / "app.py").write_text(whole)
        (release / "vars").write_text("COLOUR=blue\n")
        process.send(signal.SIGHUP)
        process.says("begun by blue", times=2)
        until(lambda: worker(process, 2)["process"]["generation"] == 3)
        second = worker(process, 2)
        assert second["process"]["generation"] == 3
        assert second["process"]["pid"] != first["process"]["pid"]
        assert [each["restarts"] for each in tree(process)["children"]] == [0, 0]
        clients.stop()
        assert clients.troubles == []
        assert clients.answers > 10

        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert list(process.runtime.iterdir()) == []
        records = [json.loads(line) for line in process.err.splitlines() if line.startswith("{")]
        assert {each.get("worker") for each in records if each["event"] == "up"} == {None, 1, 2}


@pytest.mark.slow
@pytest.mark.long
def test_a_worker_killed_or_held_comes_back_and_none_outlives_its_parent(tmp_path: Path) -> None:
    write(tmp_path)
    port = free_port()
    options = ["--workers", "2", "--watchdog", "1.5", "--port", str(port)]
    with run(tmp_path, *options) as process:
        process.says('"event": "up"', times=3)
        killed, held = pids(process)
        os.kill(killed, signal.SIGKILL)
        os.kill(held, signal.SIGSTOP)
        until(lambda: worker(process, 2)["restarts"] == 1 and is_up(process))
        assert worker(process, 1)["restarts"] == 1
        assert worker(process, 1)["last_failure"]["type"] == "ProgramKilled"
        assert worker(process, 2)["last_failure"]["type"] == "WorkerHeld"
        assert not set(pids(process)) & {killed, held}
        process.send(signal.SIGKILL)
        began = time.monotonic()
        until(lambda: not process.survivors())
        assert time.monotonic() - began < 2
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
            again.listen()


@pytest.mark.slow
def test_a_first_generation_that_does_not_come_up_ends_the_run(tmp_path: Path) -> None:
    app(tmp_path, "import nowhere")
    with run(tmp_path, "--workers", "2") as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        assert "No module named 'nowhere'" in process.err
        assert "app.py" in process.err
        with suppress(FileNotFoundError):
            assert list(process.runtime.iterdir()) == []


GIVES_UP = """
    class Pool(Service):
        def on_start(self):
            self.interval(self.ask, 0.05)

        def ask(self):
            if os.path.exists("cut"):
                os.remove("cut")
                raise OSError("the database is gone")

    app = App(name="shop", providers={"pool": Pool()}, max_restarts=0)
"""


@pytest.mark.slow
def test_a_worker_that_gives_up_tells_its_parent_for_whom_and_at_which_line(tmp_path: Path) -> None:
    app(tmp_path, GIVES_UP)
    with run(tmp_path, "--workers", "1") as process:
        process.says('"event": "up"', times=2)
        (tmp_path / "cut").touch()
        until(lambda: worker(process, 1)["restarts"] == 1)
        told = worker(process, 1)["last_failure"]["message"]
        assert told.endswith(
            "has exited with code 1: app.py:21: MaxRestartsExceeded: app/worker-1 gave up: "
            "more than 0 restarts within 5 s, the last for pool (OSError: the database is gone)"
        )


HANG_UP = """
import os, pty, signal, sys
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "sprag_cli", "run", *sys.argv[1:]])
seen = b""

def until(text):
    while text not in seen:
        globals()["seen"] += os.read(master, 4096)

until(b"shop/worker-2/metrics")
until(b"control=")
os.kill(pid, signal.SIGHUP)
until(b"workers are replaced")
"""
"""A terminal that sends a SIGHUP while it is there, and then is closed."""


@pytest.mark.slow
def test_a_hangup_replaces_workers_and_that_of_a_terminal_that_is_closed_ends_them(
    tmp_path: Path,
) -> None:
    app(
        tmp_path,
        """
        class Metrics(Service):
            def on_start(self):
                self.log.info("begins")
            def on_stop(self):
                told = os.open("ended", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(told, b"ended\\n")
        app = App(name="shop", providers={"metrics": Metrics()})
        """,
    )
    ended, options = tmp_path / "ended", ["app:app", "--workers", "2", "--name", "shop"]
    environ = {"NO_COLOR": "1"}
    with Process("-c", HANG_UP, *options, directory=tmp_path, environ=environ) as process:
        assert process.popen.wait(PATIENCE) == 0
        until(lambda: not process.survivors())
        assert ended.read_text() == "ended\n" * 4


@pytest.mark.slow
def test_on_a_terminal_that_shows_no_log_the_stop_is_told_once_for_all(tmp_path: Path) -> None:
    write(tmp_path)
    options = ["--workers", "2", "--log-level", "warning", "--port", str(free_port())]
    with run(tmp_path, *options, environ={"NO_COLOR": "1"}, terminal=True) as process:
        process.says("● worker-2")
        process.type("\x03")
        assert process.ends() == ExitCode.STOPPED
        assert process.out.count("sprag: stopping") == 1
        assert process.out.count("sprag: stopped") == 1
