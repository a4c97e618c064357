"""The control socket of a running app, asked as any client would: HTTP over a Unix socket."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from controlled import Connection, aside, served
from processes import app, run, script
from sprag import App, Service
from sprag.control.place import runtime_directory
from sprag_cli.term.deep_json import loads

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from pathlib import Path

    from processes import Process

SHOP = """
class Mail(Service):
    pass
app = App(name="shop", providers={"mail": Mail()})
"""


def ask(path: Path, method: str, target: str) -> tuple[HTTPResponse, bytes]:
    with closing(Connection(path)) as connection:
        connection.request(method, target)
        response = connection.getresponse()
        return response, response.read()


def in_json(path: Path, method: str, target: str) -> tuple[int, Any]:
    response, body = ask(path, method, target)
    return response.status, json.loads(body)


def tree(path: Path) -> Any:
    response, body = ask(path, "GET", "/v1/tree")
    assert response.status == 200
    return loads(body.decode())


def stop(process: Process) -> int:
    process.send(signal.SIGTERM)
    return process.ends()


@pytest.mark.slow
def test_the_tree_is_served_to_this_user_only(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        path = process.socket()
        assert path.name == f"shop.{process.popen.pid}.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

        response, body = ask(path, "GET", "/v1/tree")
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        node = json.loads(body)
        assert (node["app"], node["pid"], node["schema"]) == ("shop", process.popen.pid, 1)
        assert (node["name"], node["class"], node["state"]) == ("shop", "App", "running")
        assert [child["path"] for child in node["children"]] == ["shop/mail"]

        head, nothing = ask(path, "HEAD", "/v1/tree")
        assert (head.status, nothing) == (200, b"")
        assert int(head.headers["Content-Length"]) == pytest.approx(len(body), abs=8)

        missing, body = ask(path, "GET", "/v2/tree")
        assert missing.status == 404
        assert "'/v2/tree'" in json.loads(body)["error"]

        refused, body = ask(path, "POST", "/v1/tree")
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
        assert json.loads(body)["error"].startswith("POST is not for /v1/tree")

        if (curl := shutil.which("curl")) is not None:
            command = [curl, "-s", "--unix-socket", str(path), "http://app/v1/tree"]
            seen = subprocess.run(command, capture_output=True, check=True, timeout=20)
            assert json.loads(seen.stdout)["app"] == "shop"

        assert stop(process) == 0
        assert list(process.runtime.iterdir()) == []
        assert [each for each in process.records() if each["level"] != "info"] == []


@pytest.mark.slow
def test_what_is_no_http_is_refused_quietly(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(process.socket()))
            client.sendall(b"hello\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(process.socket()))  # and says nothing, as long as the app lives
            assert tree(process.socket())["state"] == "running"
            process.send(signal.SIGTERM)
            assert process.ends(within=1) == 0
        assert "Traceback" not in process.err


class Deep(Service):
    def __init__(self, below: int) -> None:
        self.below = below

    def on_start(self) -> None:
        if self.below:
            self.adopt(Deep(self.below - 1), name="d")


def test_a_tree_a_thousand_deep_is_served(tmp_path: Path) -> None:
    with served(Deep(999), tmp_path) as path:
        node = aside(tree, path)
    depth = 1
    while node["children"]:
        (node,) = node["children"]
        assert node["state"] == "running"
        depth += 1
    assert depth == 1000


def test_a_path_that_means_the_app_and_a_service_is_refused(tmp_path: Path) -> None:
    class Group(Service):
        def on_start(self) -> None:
            self.adopt(Service(), name="feed")
            if self.snapshot().incarnation == 1:
                self.spawn(self.crash)

        def crash(self) -> None:
            raise ValueError("bad order 17")

    web = App(name="web", providers={"web": Group(), "feed": Service()})
    with served(web, tmp_path) as path:

        def asked(method: str, target: str) -> Any:
            return aside(in_json, path, method, target)[1]

        status, told = aside(in_json, path, "POST", "/v1/stop/web")
        assert (status, told["name"]) == (400, "AmbiguousPath")
        assert "'/' for the app web or '/web' for web/web" in told["error"]
        assert asked("GET", "/v1/service/web/feed")["name"] == "AmbiguousPath"
        while not asked("GET", "/v1/why//web")["rulings"]:
            pass
        assert asked("GET", "/v1/why/web")["name"] == "AmbiguousPath"
        assert asked("GET", "/v1/service//web/feed")["path"] == "web/web/feed"
        assert asked("GET", "/v1/service//feed")["path"] == "web/feed"
        assert asked("GET", "/v1/service//")["path"] == "web"
        assert asked("POST", "/v1/stop//web")["path"] == "web/web"
        assert asked("GET", "/v1/tree")["state"] == "running"


@pytest.mark.slow
def test_it_answers_while_the_tree_starts_and_while_it_stops(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Slow(Service):
            def on_start(self):
                say("starting")
                while not sys.modules.get("go"):
                    gevent.sleep(0.01)
            def on_stop(self):
                say("stopping")
                gevent.sleep(0.4)
        class Go(Service):
            def run(self):
                gevent.sleep(0.4)
                sys.modules["go"] = sys
        app = App(name="shop", providers={"go": Go(), "slow": Slow()})
        """,
    )
    with run(tmp_path) as process:
        process.says("starting")
        node = tree(process.socket())
        assert node["state"] == "starting"
        assert [child["state"] for child in node["children"]] == ["running", "starting"]
        process.says('"event": "up"')
        assert tree(process.socket())["state"] == "running"
        process.send(signal.SIGTERM)
        process.says("stopping\n")
        node = tree(process.socket())
        assert node["state"] == "stopping"
        assert [child["state"] for child in node["children"]] == ["running", "stopping"]
        assert process.ends() == 0


@pytest.mark.slow
def test_a_directory_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    (tmp_path / "run").mkdir(mode=0o755)
    (tmp_path / "run").chmod(0o755)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        (warning,) = [each for each in process.records() if each["level"] == "warning"]
        assert warning["event"].startswith("no control socket")
        assert f"chmod 700 {tmp_path / 'run'}" in warning["reason"]
        assert list(process.runtime.iterdir()) == []
        assert stop(process) == 0


@pytest.mark.slow
def test_a_path_too_long_for_a_socket_is_a_warning(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path, environ={"SPRAG_RUNTIME_DIR": str(tmp_path / ("x" * 120))}) as process:
        process.says('"event": "up"')
        process.says("AF_UNIX path too long")
        assert stop(process) == 0


@pytest.mark.slow
def test_no_control_means_no_socket(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path, "--no-control") as process:
        process.says('"event": "up"')
        assert not process.runtime.exists()
        assert stop(process) == 0


@pytest.mark.slow
def test_the_name_given_is_the_apps_name(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path, "--name", "my shop") as process:
        process.says('"event": "up"')
        assert process.socket().name == f"my-shop.{process.popen.pid}.sock"
        assert tree(process.socket())["app"] == "my shop"
        assert stop(process) == 0


@pytest.mark.slow
def test_app_run_without_patching_serves_it_too(tmp_path: Path) -> None:
    with script(tmp_path, SHOP + "\nsys.exit(app.run())\n") as process:
        path = process.socket()
        while (node := tree(path))["state"] != "running":
            pass
        assert node["app"] == "shop"
        assert stop(process) == 0
        assert list(process.runtime.iterdir()) == []
        assert process.err == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SPRAG_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}, "/a"),
        ({"XDG_RUNTIME_DIR": "/b"}, "/b/sprag"),
        ({"SPRAG_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": ""}, None),
    ],
)
def test_where_the_sockets_are(environ: dict[str, str], expected: str | None) -> None:
    found = str(runtime_directory(environ))
    assert found == expected or (expected is None and found.startswith("/tmp/sprag-"))


def test_who_asks_is_served_before_all_that_is_to_run(tmp_path: Path) -> None:
    order: list[str] = []

    def spin(number: int) -> None:
        order.append("work")
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            pass
        if number:
            gevent.get_hub().loop.run_callback(spin, number - 1)

    def ask_and_say(path: Path) -> None:
        tree(path)
        order.append("answer")

    with served(Service(), tmp_path) as path:
        for _ in range(400):  # as many are ready at any time
            gevent.get_hub().loop.run_callback(spin, 1)
        aside(ask_and_say, path)
        gevent.sleep(0.01)
    assert order.index("answer") < 400, "it came behind all that was ready"
