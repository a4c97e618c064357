"""The control socket answers when it is needed most: without descriptors, and after a clean-up."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from controlled import ask
from processes import PATIENCE, app, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

LEAKS = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
class Leaks(Service):
    def run(self):
        held = []
        while True:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                say("no descriptor left")
                break
        self.held = held
        gevent.sleep(60)
app = App(name="shop", providers={"leaks": Leaks()})
"""

SOON = "from sprag.control import server as _server\n_server.LOOK = 0.1\n"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_a_descriptor_left_it_still_answers_one_after_another(tmp_path: Path) -> None:
    app(tmp_path, LEAKS)
    with run(tmp_path) as process:
        process.says("no descriptor left")
        path = process.socket()
        for _ in range(5):
            began = time.monotonic()
            assert ask(path, "GET", "/v1/tree")[1]["state"] == "running"
            assert time.monotonic() - began < 3
        assert any("leaks" in str(each) for each in ask(path, "GET", "/v1/stacks")[1]["stacks"])
        process.send(signal.SIGTERM)
        assert process.ends() == 0
        assert "Traceback" not in process.err


def test_who_only_sits_there_gives_way_to_who_asks(tmp_path: Path) -> None:
    app(tmp_path, LEAKS)
    with run(tmp_path) as process, socket.socket(socket.AF_UNIX) as silent:
        process.says("no descriptor left")
        path = process.socket()
        silent.connect(str(path))
        began = time.monotonic()
        assert ask(path, "GET", "/v1/tree")[1]["state"] == "running"
        assert time.monotonic() - began < 3  # 5 s is what a silent one has
        process.send(signal.SIGTERM)
        assert process.ends() == 0
        assert "Traceback" not in process.err


def test_a_socket_that_was_removed_is_made_again(tmp_path: Path) -> None:
    app(tmp_path, SOON + 'app = App(name="shop")\n')
    with run(tmp_path) as process:
        path = process.socket()
        path.unlink()
        until(path.exists)
        assert ask(path, "GET", "/v1/tree")[1]["app"] == "shop"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        shutil.rmtree(path.parent)
        until(path.exists)
        assert ask(path, "GET", "/v1/tree")[1]["app"] == "shop"
        process.send(signal.SIGTERM)
        assert process.ends() == 0
        assert not path.exists()
        told = process.events("the control socket was removed: it is made again")
        assert [each["level"] for each in told] == ["warning"] * 2


def test_what_cannot_be_made_again_is_told_once(tmp_path: Path) -> None:
    app(tmp_path, SOON + 'app = App(name="shop")\n')
    with run(tmp_path) as process:
        path = process.socket()
        shutil.rmtree(path.parent)
        path.parent.touch()
        process.says("cannot be made again")
        time.sleep(0.5)
        path.parent.unlink()
        until(path.exists)
        process.send(signal.SIGTERM)
        assert process.ends() == 0
        assert process.err.count("cannot be made again") == 1


def test_the_socket_of_another_is_neither_taken_nor_removed(tmp_path: Path) -> None:
    """With one directory for two containers, in which both apps are process 1."""
    source = """
        import os, socket
        directory = os.environ["SPRAG_RUNTIME_DIR"]
        os.mkdir(directory, 0o700)
        other = socket.socket(socket.AF_UNIX)
        path = f"{directory}/shop.{os.getpid()}.sock"
        other.bind(path)
        other.listen()
        app = App(name="shop")
        """
    app(tmp_path, source)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        (told,) = [each for each in process.records() if "no control socket" in each["event"]]
        assert "another app listens there" in told["reason"]
        process.send(signal.SIGTERM)
        assert process.ends() == 0
        assert list(process.runtime.glob("*.sock")) != []
