"""`host.serve_control`: the control socket of a tree that a program of one's own starts."""

from __future__ import annotations

import gc
import os
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import pytest

from controlled import aside, ask
from processes import Process
from sprag import App, Service, Supervisor, host
from sprag.exceptions import BadValue
from sprag.process import embedded as _embedded
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SPRAG_RUNTIME_DIR", str(tmp_path / "run"))
    yield tmp_path / "run"
    gc.unfreeze()


def test_an_embedded_tree_answers_before_its_start_and_after_its_stop(runtime: Path) -> None:
    app = App(name="background", providers={"feed": Service()})
    with host.serve_control(app) as control:
        assert control.path == runtime / f"background.{os.getpid()}.sock"
        states: list[Any] = []
        for step in (lambda: None, app.start, app.stop):
            step()
            states.append(aside(ask, control.path, "GET", "/v1/tree")[1]["state"])
        assert states == ["new", "running", "stopped"]
    assert not control.path.exists()
    control.close()


def test_several_trees_of_a_process_have_one_each_by_their_names(runtime: Path) -> None:
    one, two = Supervisor(name="one"), Supervisor(name="two")
    with host.serve_control(one, name="first"), host.serve_control(two):
        assert sorted(path.name.split(".")[0] for path in runtime.iterdir()) == ["first", "two"]


def test_what_has_a_socket_or_can_have_none_is_refused(runtime: Path) -> None:
    app = App(name="shop", providers={"feed": Service()})
    bad: Any
    for bad in (App, None, app):
        with host.serve_control(app), pytest.raises(BadValue):
            host.serve_control(bad)
    with app:
        with pytest.raises(BadValue, match="no parent"):
            host.serve_control(app.service("feed"))
        with pytest.raises(BadValue, match="before the tree starts"):
            host.serve_control(app, name="other")
        with host.serve_control(app, name="shop") as control:
            assert control.path.exists()
    with pytest.raises(BadValue):
        host.serve_control(app, name="a/b")


def test_a_forked_child_lets_go_and_the_end_of_the_program_leaves_nothing(runtime: Path) -> None:
    app = App(name="shop")
    control = host.serve_control(app)
    _embedded._remove_all()
    assert not control.path.exists()
    control.close()
    again = host.serve_control(app)
    left: list[int] = []
    again._socket.leave_to_parent = lambda: left.append(1)
    _embedded._after_fork()
    assert left == [1]
    assert id(tree_of(app)) not in _embedded._served
    again._socket.close()


@pytest.mark.slow
def test_a_plain_script_is_found_by_the_command_line(tmp_path: Path) -> None:
    script = """
import gevent
from sprag import App, Service, host
app = App(name="script", providers={"feed": Service()})
app.start()
host.serve_control(app)
print("up", flush=True)
gevent.sleep(60)
"""
    with Process("-c", script, directory=tmp_path) as process:
        process.says("up\n")
        status, told = ask(process.socket(), "GET", "/v1/tree")
        assert status == 200
        assert [each["name"] for each in told["children"]] == ["feed"]
        process.send(SIGINT)
        process.ends()
        assert not list(process.runtime.glob("*.sock"))
