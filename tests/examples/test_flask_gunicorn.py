"""The Flask example under real gunicorn: one tree per worker, started and stopped there."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
import urllib.request
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import pytest

from controlled import ask
from processes import PATIENCE, Process

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "flask_gunicorn"

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Site:
    """The example, served."""

    def __init__(self, directory: Path, *arguments: str, append: str = "") -> None:
        shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True)
        with (directory / "background.py").open("a") as file:
            file.write(append)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process(
            "-m", "gunicorn", "web:app", "--bind", f"127.0.0.1:{port}", *arguments,
            directory=directory,
        )  # fmt: skip

    def get(self, path: str = "/", method: str = "GET") -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def both(self) -> dict[int, Any]:
        """Ask until both workers have answered."""
        found: dict[int, Any] = {}
        deadline = time.monotonic() + PATIENCE
        while len(found) < 2 and time.monotonic() < deadline:
            answer = self.get()
            found.setdefault(answer["process"], answer)
        return found


@pytest.mark.parametrize("arguments", [(), ("--preload",)], ids=["plain", "preload"])
def test_each_worker_has_a_tree_of_its_own(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    site = Site(tmp_path, *arguments)
    with site.process as process:
        process.says("tree is up", times=2)
        assert site.get("/readyz") == {}
        first = site.both()
        assert len(first) == 2
        owner = site.get("/orders/lamp", method="POST")["process"]
        time.sleep(0.3)
        second: dict[int, Any] = {}
        while second.keys() != first.keys():
            answer = site.get()
            second[answer["process"]] = answer
        assert all(second[each]["polls"] > first[each]["polls"] for each in first)
        assert {each: second[each]["orders"] for each in first} == {
            each: int(each == owner) for each in first
        }
        sockets = sorted(process.runtime.glob("background.*.sock"))
        trees = [ask(socket, "GET", "/v1/tree")[1] for socket in sockets]
        assert sorted(tree["pid"] for tree in trees) == sorted(first)
        assert {tree["children"][0]["name"] for tree in trees} == {"poller"}
        process.send(SIGTERM)
        assert process.ends(within=10) == 0
        assert not list(process.runtime.glob("*.sock"))
        goodbyes = re.findall(r"poller of process (\d+): goodbye", process.out)
        assert sorted(map(int, goodbyes)) == sorted(first)
        assert process.err.count("tree is down: <StopReport clean=3 errors=0 killed=0") == 2


def test_a_tree_started_in_the_master_is_refused_in_the_workers(tmp_path: Path) -> None:
    # One worker: gunicorn itself stumbles, with code 1, when two fail to boot at once.
    site = Site(tmp_path, "--preload", "--workers=1", append="\ntree.start()\n")
    with site.process as process:
        process.says("AfterFork")
        process.says("no service runs here")
        assert process.ends() == 3  # gunicorn's code for workers that do not boot


def test_the_reloader_runs_the_tree_once_and_says_goodbye_to_the_old_one(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    port = free_port()
    environ = {"PORT": str(port)}
    with Process("dev.py", directory=tmp_path, environ=environ) as process:

        def process_that_answers() -> int:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                        found: int = json.loads(answer.read())["process"]
                        return found
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)

        first = process_that_answers()
        assert first != process.popen.pid
        with (tmp_path / "background.py").open("a") as file:
            file.write("\n# a change\n")
        process.says(f"poller of process {first}: goodbye")
        assert process_that_answers() != first
        process.send(SIGINT)


def test_a_stubborn_service_cannot_hold_up_the_worker(tmp_path: Path) -> None:
    stubborn = """
import gevent
class Stubborn(Service):
    def run(self):
        while True:
            try:
                gevent.sleep(60)
            except BaseException:
                pass
tree = App(name="background", providers={"poller": Poller(), "stubborn": Stubborn()})
"""
    site = Site(tmp_path, "--workers", "1", append=stubborn)
    with site.process as process:
        process.says("tree is up")
        process.send(SIGTERM)
        assert process.ends(within=10) == 0
        assert "stragglers=1" in process.err
