"""A live picture gives the terminal back, whatever stops or ends it, and comes back itself."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from processes import PATIENCE, Process
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = pytest.mark.slow

BORROW, GIVE_BACK, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
ROW = {"path": "shop/till", "state": "running", "cpu": 0.5}
LIVE = (["top", "--interval", "0.1"], ["tree", "--watch", "--interval", "0.1"])
commands = pytest.mark.parametrize("words", LIVE, ids=["top", "tree"])


@pytest.fixture
def living(answering: Callable[..., Any], shop: dict[str, Any]) -> None:
    answering({"/v1/tree": shop, "/v1/top": {"app": "shop", "pid": 1, "services": [ROW]}})


class Terminal:
    """A terminal with one live command on it, and nobody else."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sprag_cli", *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", **environ},
        )

    def says(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.seen.count(text) < times:
            assert time.monotonic() < deadline, self.seen
            self.read()

    def read(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            self.seen += os.read(self.master, 1 << 16).decode(errors="replace")

    def is_as_before(self) -> bool:
        while select.select([self.master], [], [], 0)[0]:
            self.read()
        _, _, after = self.seen.rpartition(GIVE_BACK)
        return (
            self.seen.count(BORROW) == self.seen.count(GIVE_BACK)
            and CURSOR in self.seen
            and "\x1b[?25l" not in after
            and termios.tcgetattr(self.slave) == self.before
        )


@contextmanager
def terminal(words: list[str], **environ: str) -> Generator[Terminal]:
    place = Terminal(words, environ)
    try:
        yield place
    finally:
        place.process.kill()
        place.process.wait()
        os.close(place.master)
        os.close(place.slave)


@pytest.mark.usefixtures("living")
@commands
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_it_ends_it_and_the_terminal_is_as_before(
    words: list[str], number: int
) -> None:
    with terminal(words) as place:
        place.says("shop", times=3)
        place.process.send_signal(number)
        assert place.process.wait(PATIENCE) == -number
        assert place.is_as_before()


@pytest.mark.usefixtures("living")
@commands
def test_ctrl_c_ends_it_well_and_the_terminal_is_as_before(words: list[str]) -> None:
    with terminal(words) as place:
        place.says("shop", times=3)
        place.process.send_signal(signal.SIGINT)
        assert place.process.wait(PATIENCE) == ExitCode.WELL
        assert place.is_as_before()


@commands
def test_an_error_is_shown_on_the_terminal_as_it_was_before(
    answering: Callable[..., Any], shop: dict[str, Any], words: list[str]
) -> None:
    app = answering({"/v1/tree": shop, "/v1/top": {"app": "shop", "services": [ROW]}})
    with terminal(words) as place:
        place.says("shop", times=3)
        app.answer = b"no JSON"
        assert place.process.wait(PATIENCE) == ExitCode.NOT_FOUND
        assert place.is_as_before()
        assert "answered GET /v1/t" in place.seen.rpartition(GIVE_BACK)[2]


@pytest.mark.usefixtures("living")
@commands
def test_sighup_is_ignored_under_nohup(words: list[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        place = Terminal(words, {})
    finally:
        signal.signal(signal.SIGHUP, before)
    place.says("shop", times=3)
    place.process.send_signal(signal.SIGHUP)
    place.says("shop", times=place.seen.count("shop") + 5)
    place.process.kill()
    place.process.wait()
    os.close(place.master)
    os.close(place.slave)


@pytest.mark.usefixtures("living")
@commands
@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_dumb_terminal_gets_no_escapes(words: list[str], term: str) -> None:
    with terminal(words, TERM=term, NO_COLOR="1") as place:
        place.says("shop")
        place.process.send_signal(signal.SIGINT)
        assert place.process.wait(PATIENCE) == ExitCode.WELL
        place.read()
        assert "\x1b" not in place.seen


# -- with a shell and its job control --------------------------------------------------


@contextmanager
def shell(tmp_path: Path, name: str) -> Generator[Process]:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    options = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"]}[name]
    start = f"import os; os.execvp({name!r}, {[name, *options]!r})"
    environ = {"PS1": "ready> ", "TERM": "xterm", "PYTHON": sys.executable, "NO_COLOR": "1"}
    environ["SPRAG_RUNTIME_DIR"] = os.environ["SPRAG_RUNTIME_DIR"]
    with Process("-c", start, directory=tmp_path, terminal=True, environ=environ) as process:
        process.says("ready> ")
        yield process


def pid_of(process: Process, word: str) -> int:
    for pid in process.survivors():
        if f"sprag_cli\0{word}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError(word)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("living")
@commands
@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_brings_the_picture_back(
    tmp_path: Path, words: list[str], name: str
) -> None:
    with shell(tmp_path, name) as process:
        process.type(f'"$PYTHON" -m sprag_cli {" ".join(words)}\n')
        process.says(BORROW)
        process.says("shop", times=3)
        process.type("\x1a")
        process.says(GIVE_BACK)
        until(lambda: state_of(pid_of(process, words[0])) == "T")
        process.type("echo the shell is $((40 + 2))\n")
        process.says("the shell is 42")
        process.type("bg\n")  # it waits for its turn
        time.sleep(0.3)
        assert process.out.count(BORROW) == 1
        process.type("fg\n")
        process.says(BORROW, times=2)
        drawn = process.out.count("shop")
        process.says("shop", times=drawn + 5)
        process.type("q" if words[0] == "top" else "\x03")
        process.says(GIVE_BACK, times=2)
        process.type("echo and now it is $((40 + 3))\n")
        process.says("and now it is 43")


@pytest.mark.usefixtures("living")
def test_after_a_stop_without_warning_keys_are_heard_again(tmp_path: Path) -> None:
    with shell(tmp_path, "bash") as process:
        process.type('"$PYTHON" -m sprag_cli top --interval 0.1\n')
        process.says("shop", times=3)
        pid = pid_of(process, "top")
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) == "T")
        process.says("Stopped")
        process.type("fg\n")
        drawn = process.out.count("shop")
        process.says("shop", times=drawn + 5)
        process.type("q")
        process.says(GIVE_BACK)
