"""The control socket answers when it is needed most: without descriptors, and after a clean-up."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest
from gevent import socket as gsocket

from controlled import aside, ask, served
from processes import PATIENCE, app, run
from sprag import App, DynamicSupervisor, Service
from sprag.control import server
from sprag.control.desk import Desk
from sprag.control.http import Answer, Refused, Request, send
from sprag.control.routes import answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sprag.testing import VirtualClock


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


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        gevent.sleep(0.02)


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_socket_that_was_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    monkeypatch.setattr(server, "LOOK", 0.02)
    with served(App(name="shop"), tmp_path / "run") as path:
        path.unlink()
        until(path.exists)
        assert aside(ask, path, "GET", "/v1/tree")[1]["app"] == "shop"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        shutil.rmtree(path.parent)
        until(path.exists)
        assert aside(ask, path, "GET", "/v1/tree")[1]["app"] == "shop"
    assert not path.exists()
    told = [record.getMessage() for record in log.at_least(logging.WARNING)]
    assert told == [f"the control socket was removed: it is made again (path={str(path)!r})"] * 2


def test_what_cannot_be_made_again_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    monkeypatch.setattr(server, "LOOK", 0.02)
    with served(App(name="shop"), tmp_path / "run") as path:
        shutil.rmtree(path.parent)
        path.parent.touch()
        gevent.sleep(0.3)
        path.parent.unlink()
        until(path.exists)
    told = [record.getMessage() for record in log.at_least(logging.WARNING)]
    assert ["cannot be made again" in each for each in told] == [True, False]


def test_the_socket_of_another_is_neither_taken_nor_removed(tmp_path: Path) -> None:
    """With one directory for two containers, in which both apps are process 1."""
    tmp_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / f"shop.{os.getpid()}.sock"))
        other.listen()
        with (
            pytest.raises(OSError, match="another app listens there") as refused,
            served(App(name="shop"), tmp_path),
        ):
            pass
        assert refused.value.errno == errno.EADDRINUSE
        assert list(tmp_path.glob("*.sock")) != []


def test_the_picture_of_a_large_tree_waits_for_no_reader() -> None:
    # In a storm of crashes each wait for the socket costs a turn of the loop, and that takes long.
    picture = Answer([b"x" * 65_536] * 4)  # more than a socket takes as it comes
    ours, theirs = gsocket.socketpair()
    with ours, theirs, gevent.Timeout(PATIENCE):
        turns: list[object] = []
        gevent.get_hub().loop.run_callback(turns.append, None)
        send(ours, picture)
        assert turns == []


def test_a_restart_that_finds_its_place_taken_makes_no_child_too_many(clock: VirtualClock) -> None:
    class Job(Service, restart="temporary"):
        def on_stop(self) -> None:
            gevent.sleep(1)

    def replace() -> None:
        jobs.terminate_child("one")
        jobs.start_child(Job(), name="two")

    with DynamicSupervisor(name="jobs", max_children=1) as jobs:
        jobs.start_child(Job(), name="one")
        gevent.spawn(replace)
        gevent.sleep(0.5)
        request = Request("POST", "/v1/restart/jobs/one", {})
        found: Any = cast("Any", gevent.spawn)(answer, Desk(jobs), request, bool)
        clock.advance(1)
        assert [each.name for each in jobs.which_children()] == ["two"]
        with pytest.raises(Refused, match="its max_children"):
            found.get(block=False)
