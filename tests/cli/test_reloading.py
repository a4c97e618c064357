"""`sprag run --reload`: a real app, saved while it runs, on a terminal and without one."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from controlled import ask
from processes import PATIENCE, app, run
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from processes import Process

pytestmark = pytest.mark.slow

PLAIN = {"NO_COLOR": "1"}
SHOP = """
    class Clock(Service):
        def on_start(self):
            say("begun by {colour} in", os.getpid(), "of", os.getpgrp())

    app = App(name="shop", providers={{"clock": Clock()}}, routes="pages")
"""
PAGES = """
from sprag import Controller

class Who(Controller):
    route = "/who"

    def load(self):
        return {"who": 1}
"""
ASKS = """
    class Asks(Service):
        def on_start(self):
            self.timeout(self.look, 0.1)

        def look(self):
            answer = 6 * 7
            breakpoint()
            say("went on with", answer)

    app = App(name="shop", providers={"asks": Asks()}, routes="pages")
"""
HANGS = """
    class Hangs(Service):
        def on_stop(self):
            gevent.sleep(60)

    app = App(name="shop", providers={"hangs": Hangs(), "nap": Program(["sleep", "600"])})
"""


def write(directory: Path, colour: str) -> None:
    app(directory, SHOP.format(colour=colour))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Client:
    """Asks one question after another, each by a new connection, and keeps what is not right."""

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.troubles: list[str] = []
        self._port = port
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            try:
                connection.request("GET", "/who")
                assert connection.getresponse().status == 200
                self.answers += 1
            except Exception as error:  # noqa: BLE001 - told
                self.troubles.append(repr(error))
            finally:
                connection.close()

    def stop(self) -> None:
        self._is_over = True
        self._thread.join(2 * PATIENCE)


def pids(process: Process, colour: str) -> list[int]:
    lines = process.out.splitlines()
    return [int(each.split()[4]) for each in lines if each.startswith(f"begun by {colour}")]


@pytest.mark.long
def test_a_save_restarts_the_app_nobody_is_refused_and_wrong_code_waits_for_the_next(
    tmp_path: Path,
) -> None:
    write(tmp_path, "red")
    (tmp_path / "pages.py").write_text(PAGES)
    (tmp_path / "vars").write_text("A=1\n")
    port = free_port()
    options = ["--reload", "--reload-include", "*.css", "--env-file", "vars", "--port", str(port)]
    with run(tmp_path, *options, environ=PLAIN | {"SPRAG_WORKERS": "4"}, terminal=True) as process:
        process.says("● shop")
        client = Client(port)
        write(tmp_path, "blue")
        process.says("saved: the app restarts")
        process.says("begun by blue")
        process.says("info     up  ", times=2)
        (tmp_path / "notes.txt").write_text("nobody's business")
        (tmp_path / "main.css").write_text("")
        process.says("files=main.css")
        process.says("info     up  ", times=3)
        (tmp_path / "vars").write_text("A=2\n")
        process.says("files=vars")
        process.says("info     up  ", times=4)
        client.stop()
        assert client.troubles == []
        assert client.answers > 10
        assert process.out.count("● shop") == 1
        (group,) = {int(each.split()[6]) for each in process.out.splitlines() if " of " in each}
        assert group == process.popen.pid  # Ctrl-C and Ctrl-Z are for both
        assert len({*pids(process, "red"), *pids(process, "blue")}) == 4

        (tmp_path / "pages.py").write_text(f"{PAGES}\ndef wrong(:\n")
        process.says(f'pages.py", line {len(PAGES.splitlines()) + 2}')
        process.says("the app has ended, and starts again when a file is saved")
        (tmp_path / "pages.py").write_text(PAGES)
        process.says("info     up  ", times=5)
        process.type("\x03")
        assert process.ends() == ExitCode.STOPPED
        assert "notes.txt" not in process.out
        assert process.out.count("signal=SIGINT") == 1


@pytest.mark.long
def test_a_breakpoint_has_the_terminal_and_a_save_does_not_wait_for_its_end(tmp_path: Path) -> None:
    app(tmp_path, ASKS)
    (tmp_path / "pages.py").write_text(PAGES)
    options = ["--reload", "--shutdown-timeout", "1", "--port", str(free_port())]
    with run(tmp_path, *options, environ=PLAIN, terminal=True) as process:
        process.says("(Pdb) ")
        process.type("answer += 1\n")
        process.says("(Pdb) ", times=2)
        process.type("continue\n")
        process.says("went on with 43")
        os.utime(tmp_path / "app.py")
        process.says("(Pdb) ", times=3)
        write(tmp_path, "green")
        process.says("begun by green")
        process.says("info     up  ", times=3)
        process.type("\x03")
        assert process.ends() == ExitCode.STOPPED


@pytest.mark.long
def test_an_app_that_does_not_stop_is_bounded_and_nothing_outlives_the_parent(
    tmp_path: Path,
) -> None:
    app(tmp_path, HANGS)
    with run(tmp_path, "--reload", "--shutdown-timeout", "1") as process:
        process.says('"event": "up"')
        os.utime(tmp_path / "app.py")
        process.says('"event": "up"', times=2)
        process.send(signal.SIGHUP)  # without a terminal, as everywhere
        process.says('"event": "up"', times=3)
        status, told = ask(process.socket(), "GET", "/v1/tree")
        assert (status, told["name"]) == (200, "shop")
        process.send(signal.SIGKILL)
        process.popen.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while process.survivors():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_ends_by_itself_or_was_never_right_is_not_waited_for(tmp_path: Path) -> None:
    app(tmp_path, HANGS)
    with run(tmp_path, "--reload", target="app:ap") as process:
        assert process.ends() == ExitCode.USAGE
        assert "did you mean app:app?" in process.err
    with run(tmp_path, "--reload") as process:
        process.says('"event": "up"')
        process.send(signal.SIGTERM)
        process.says('"event": "stopping"')
        time.sleep(0.1)  # two signals at once count as one
        process.send(signal.SIGTERM)
        assert process.ends() in (ExitCode.FORCED_INT, 128 + signal.SIGTERM)


def test_two_saves_within_a_second_are_two(tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(PAGES)
    write(tmp_path, "blue")
    saved = (tmp_path / "app.py").stat()
    options = ["--reload", "--port", str(free_port())]
    with run(tmp_path, *options, environ={"PYTHONDONTWRITEBYTECODE": None}) as process:
        process.says('"event": "up"')
        assert list(tmp_path.glob("__pycache__/app.*"))
        write(tmp_path, "gray")
        os.utime(tmp_path / "app.py", ns=(saved.st_atime_ns, saved.st_mtime_ns))
        process.says("begun by gray")
        process.says('"event": "up"', times=2)
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


def test_sigterm_stops_it_where_a_shell_has_ctrl_c_ignored(tmp_path: Path) -> None:
    app(tmp_path, "app = App(name='shop')")
    with run(tmp_path, "--reload", shell='trap \'\' INT; exec "$0" "$@"') as process:
        process.says('"event": "up"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--reload", "--workers", "4"], "runs one process: leave out --workers"),
        (["--reload", "--max-memory", "1G"], "runs one process: leave out --max-memory"),
        (["--reload-include", "*.css"], "--reload-include is for --reload: add that"),
        (["--reload", "--reload-dir", "gone"], "--reload-dir: there is no folder 'gone'"),
        (["--name", "--reload"], "--reload is the value of another option"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, options: list[str], said: str
) -> None:
    with run(tmp_path, *options) as process:
        assert process.ends() == ExitCode.USAGE
        assert said in process.err
