"""A process that has no file descriptor left goes on serving, and says so once."""

from __future__ import annotations

import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from serving import Served, read_answer, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

ROUTES = """
    import os

    class Echo(Controller):
        route = "/echo"
        def load(self): return {}

    class Slow(Controller):
        route = "/slow"
        def load(self):
            gevent.sleep(2)
            return {}

    held = []
    class Hold(Controller):
        route = "/hold"
        def load(self):
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError as error:
                return {"error": error.errno, "held": len(held)}

    class Release(Controller):
        route = "/release/<int:count>"
        def load(self, count):
            for _ in range(count):
                os.close(held.pop())
            return {}
"""
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
FEW = 80
SHORT = "no room for new connections"
WARNED = "fewer open files are allowed than max_connections needs"


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def test_who_is_idle_makes_room_when_descriptors_run_out(served: Callable[..., Served]) -> None:
    one = served(ROUTES, preexec_fn=few_files)
    (warned,) = one.process.events(WARNED)
    assert (warned["open_files_limit"], warned["max_connections"]) == (FEW, 1000)
    assert warned["needed"] > 1000
    assert "ulimit -n" in warned["remedy"]
    busy = one.connect()
    busy.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    idle = [one.connect() for _ in range(FEW * 2)]
    time.sleep(0.5)
    took: list[float] = []
    for _ in range(20):
        began = time.monotonic()
        assert one.get("/echo")[0] == 200
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.1
    assert max(took) < 2.0
    assert read_answer(busy)[0] == 200
    one.process.says(SHORT)
    (short,) = one.process.events(SHORT)
    assert (short["reason"], short["open_files_limit"]) == ("Too many open files", FEW)
    assert short["level"] == "warning"
    assert "Traceback" not in one.process.err
    assert sum(1 for each in idle if is_closed(each)) >= 20


def test_with_nobody_idle_others_wait_until_there_is_a_descriptor(
    served: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "app.css").write_text("body {}")
    one = served(ROUTES, preexec_fn=few_files)
    with one.connect() as holding:
        holding.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(holding)[2].startswith(b'{"error": 24')
        # A file that is there and cannot be opened now is no 404.
        holding.sendall(b"GET /static/app.css HTTP/1.1\r\nHost: a\r\n\r\n")
        status, headers, _ = read_answer(holding)
        assert (status, headers["retry-after"]) == (503, "1")
        waiting = [one.connect() for _ in range(3)]
        for each in waiting:
            each.sendall(GET)
        holding.sendall(b"GET /release/10 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(holding)[0] == 200
        assert [read_answer(each)[0] for each in waiting] == [200] * 3
    assert one.get("/release/10")[0] == 200
    assert len(one.process.events(SHORT)) <= 1
    assert "Traceback" not in one.process.err


def test_a_stop_without_descriptors_answers_who_is_connected(
    served: Callable[..., Served],
) -> None:
    one = served(ROUTES, preexec_fn=few_files)
    idle = [one.connect() for _ in range(FEW * 2)]
    time.sleep(0.5)
    asking = [one.connect() for _ in range(10)]
    for each in asking:
        each.sendall(GET)
    one.process.send(signal.SIGTERM)
    received = [read_to_end(each) for each in asking]
    assert all(each.startswith(b"HTTP/1.1 200 OK") for each in received)
    assert one.process.ends() == 0
    assert all(read_to_end(each) == b"" for each in idle)
    assert "Traceback" not in one.process.err


def test_enough_descriptors_are_no_news(served: Callable[..., Served]) -> None:
    one = served(ROUTES, "max_connections=20", preexec_fn=few_files)
    assert one.get("/echo")[0] == 200
    assert one.process.events(WARNED, SHORT) == []


def test_a_server_that_loses_its_socket_comes_back(served: Callable[..., Served]) -> None:
    one = served(
        """
        class Lose(Controller):
            route = "/lose"
            def load(self):
                server = self.service("web")._server
                server.doors[0]._socket.close()
                return {}
        """
    )
    with socket.create_connection(("127.0.0.1", one.port)) as connection:
        connection.sendall(b"GET /lose HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection)[0] == 200
    one.process.says('"serving"', times=2)
    assert one.get("/healthz")[0] == 200
