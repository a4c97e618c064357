"""The server as a process: what clients send by mistake or on purpose, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from controlled import ask
from processes import PATIENCE, run
from serving import Served, read_answer, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

ROUTES = """
    class Echo(Controller):
        route = "/echo"
        def load(self): return {"args": self.request.args}
        def post(self): return {"read": len(self.request.get_data())}

    class Blind(Controller):
        route = "/blind"
        max_body = 10**9
        def post(self): return {"read": 0}

    class Slow(Controller):
        route = "/slow/<float:seconds>"
        def load(self, seconds):
            gevent.sleep(seconds)
            self.log.info("slept")
            return {"slept": seconds}

    class Big(Controller):
        route = "/big"
        def load(self): return {"big": "x" * 30_000_000}

    class Stream(Controller):
        route = "/stream/<how>"
        def load(self, how):
            from werkzeug.wrappers import Response
            def pieces():
                yield b"one"
                if how == "crash":
                    raise ValueError("in the middle")
                current_service().log.info("streaming")
                yield b"two"
            announced = {"short": {"Content-Length": "4"}, "long": {"Content-Length": "8"}}
            return Response(pieces(), mimetype="text/plain", headers=announced.get(how))

    class Crash(Controller):
        route = "/crash/<how>"
        def load(self, how):
            if how == "greenlet":
                spawned = gevent.spawn(lambda: 1 / 0)
                spawned.join()
                return {"ok": spawned.successful()}
            if how == "late":
                gevent.Timeout(0.05).start()
                return {"ok": True}
            if how == "stop":
                self.service("web").stop()
                return {"ok": True}
            raise SystemExit(how)
"""
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"


def test_it_serves_and_every_line_of_its_log_says_for_whom(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    status, headers, body = one.get("/slow/0.0", **{"X-Request-ID": "r-1"})
    assert (status, json.loads(body)) == (200, {"slept": 0.0})
    assert headers["x-request-id"] == "r-1"
    assert one.get("/healthz")[0] == 200
    one.process.send(signal.SIGTERM)
    assert one.process.ends() == 0
    (access,) = one.access_log()
    assert {**access, "timestamp": "", "seconds": 0, "bytes": 0} == {
        "timestamp": "",
        "level": "info",
        "event": "request",
        "service": "shop/web",
        "incarnation": 1,
        "method": "GET",
        "path": "/slow/0.0",
        "status": 200,
        "seconds": 0,
        "bytes": 0,
        "client": "127.0.0.1",
        "request_id": "r-1",
        "controller": "Slow",
    }
    one.process.says("slept")
    (slept,) = one.process.events("slept")
    assert (slept["request_id"], slept["controller"]) == ("r-1", "Slow")


def test_the_log_of_a_streamed_answer_says_for_whom(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    assert one.get("/stream/well", **{"X-Request-ID": "r-2"})[2] == b"onetwo"
    one.process.says("streaming")
    (record,) = one.process.events("streaming")
    assert (record["request_id"], record["controller"]) == ("r-2", "Stream")


def test_requests_follow_each_other_on_one_connection(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    with one.connect() as connection:
        connection.sendall(
            GET * 2 + b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
            b"HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n"
            b"POST /blind HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            b"GET /echo HTTP/1.0\r\n\r\n"
        )
        received = read_to_end(connection)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", received)
    assert statuses == [b"200"] * 7
    assert received.count(b'{"read": 5}') == 2
    assert received.count(b"Connection: close") == 1
    with one.connect() as connection:
        connection.sendall(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"ab")
        assert read_answer(connection)[2] == b'{"read": 2}'
        connection.sendall(GET)
        assert read_answer(connection)[0] == 200


def test_a_connection_that_has_ended_is_owned_no_more(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    for _ in range(20):
        with one.connect() as connection:
            connection.sendall(GET)
            assert read_answer(connection)[0] == 200
    deadline = time.monotonic() + PATIENCE
    owned = 20
    while owned and time.monotonic() < deadline:
        _, tree = ask(one.process.socket(), "GET", "/v1/tree")
        owned = tree["children"][0]["owned"]["greenlets"]
    assert owned == 0


def test_where_an_answer_ends_is_never_in_doubt(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    cases = [
        # A stream to HTTP/1.0 has neither a length nor chunks: it ends with the connection.
        (b"GET /stream/well HTTP/1.0\r\nConnection: keep-alive", b"onetwo"),
        # More than was announced is not sent, and less ends the connection.
        (b"GET /stream/short HTTP/1.1\r\nHost: a", b"one"),
        (b"GET /stream/long HTTP/1.1\r\nHost: a", b"onetwo"),
    ]
    for text, body in cases:
        with one.connect() as connection:
            connection.sendall(text + b"\r\n\r\n" + GET)
            head, _, rest = read_to_end(connection).partition(b"\r\n\r\n")
        assert rest == body
        assert b"keep-alive" not in head
    with one.connect() as connection:
        connection.sendall(b"HEAD /stream/well HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        connection.shutdown(socket.SHUT_WR)
        assert re.findall(rb"\r\n\r\n(?:HTTP/1.1 200)?", read_to_end(connection)) == [
            b"\r\n\r\nHTTP/1.1 200",
            b"\r\n\r\n",
        ]
    one.process.says('"request crashed"', times=2)
    crashes = [each["exception"].splitlines()[-1] for each in one.process.events("request crashed")]
    assert [each.partition(": ")[2] for each in crashes] == [
        "the answer has more than the 4 bytes it has announced",
        "the answer has 2 bytes less than it has announced",
    ]


def test_malformed_requests_are_refused_and_close(served: Callable[..., Served]) -> None:
    one = served(ROUTES, "max_head=2000, max_body=5000")
    post = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
    cases = [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01" * 50 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000 + b"\r\n", 431),
        (post + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET, 400),
        (post + b"Content-Length: 5001\r\n\r\n" + b"x" * 5001, 413),
        (post + b"Content-Length: 900000000\r\n\r\n" + b"x" * 300_000, 413),
        (post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (post + b"Transfer-Encoding: chunked\r\n\r\n" + b"fff\r\n" + b"x" * 4095 + b"\r\n", None),
        (post + b"Content-Length: 10\r\n\r\nabc", 400),
    ]
    for text, status in cases:
        with one.connect() as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            received = read_to_end(connection)
        found = re.findall(rb"HTTP/1.1 (\d+)", received)
        assert len(found) == 1, (text[:80], received)
        assert status is None or found == [b"%d" % status], (text[:80], received)
        # A small body is read and thrown away; the connection may go on.
        closes = b"Connection: close" in received
        assert closes or text.endswith(b"x" * 5001), (text[:80], received)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    for count, end, status in [(4, b"0\r\n\r\n", 200), (5, b"0\r\n\r\n", 413), (20, b"", 413)]:
        with one.connect() as connection:
            chunks = chunk * count + end
            connection.sendall(post + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            assert read_answer(connection)[0] == status
    assert one.get("/echo")[0] == 200
    assert one.process.events("request crashed", "service crashed") == []
    assert {record["level"] for record in one.process.records()} == {"info"}


def test_a_large_body_that_nobody_reads_is_not_read(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    with one.connect() as connection:
        connection.sendall(b"POST /blind HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n")
        connection.sendall(b"x" * 10_000)
        status, headers, _ = read_answer(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert read_to_end(connection) == b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /blind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", 200),
        (b"POST /blind HTTP/1.0\r\n", 200),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", 413),
        (b"POST /crash/now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", 405),
    ],
)
def test_who_still_sends_a_body_when_the_connection_ends_can_read_the_answer(
    served: Callable[..., Served], head: bytes, status: int
) -> None:
    one = served(ROUTES)
    with one.connect() as connection:
        connection.sendall(head + b"Content-Length: 9000000\r\n\r\n")
        assert read_answer(connection)[0] == status
        assert read_to_end(connection) == b""
        for _ in range(10):  # a socket that is closed resets the connection, and the answer
            connection.sendall(b"x" * 1000)


def test_slow_clients_are_cut_off_and_stall_nobody(served: Callable[..., Served]) -> None:
    one = served(
        ROUTES,
        "head_timeout=0.8, body_timeout=0.8, send_timeout=0.8, keep_alive=0.8, max_connections=40",
    )
    began = time.monotonic()
    silent = [one.connect() for _ in range(10)]
    dripping = [one.connect() for _ in range(10)]
    for each in dripping:
        each.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Drip: ")
    body = one.connect()
    body.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
    deaf = one.connect()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    kept = one.connect()
    kept.sendall(GET)
    assert read_answer(kept)[0] == 200
    working = one.connect()
    working.sendall(b"GET /slow/2.5 HTTP/1.1\r\nHost: a\r\n\r\n")
    latencies: list[float] = []
    while time.monotonic() - began < 2.0:
        for each in dripping:
            try:
                each.sendall(b"x")
            except OSError:
                continue
        asked = time.monotonic()
        assert one.get("/echo")[0] == 200
        latencies.append(time.monotonic() - asked)
        time.sleep(0.05)
    assert sorted(latencies)[len(latencies) // 2] < 0.4  # the machine may be busy now and then
    assert all(read_to_end(each) == b"" for each in (*silent, kept))
    assert all(read_to_end(each).startswith(b"HTTP/1.1 408 ") for each in dripping)
    assert read_to_end(body).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 10
    # Who only waits for us may wait as long as we take.
    assert read_answer(working)[0] == 200
    one.process.says('"path": "/big"')
    (given_up,) = [each for each in one.access_log() if each["path"] == "/big"]
    assert given_up["bytes"] < 30_000_000
    assert 0.8 < given_up["seconds"] < 3.0
    assert one.process.events("request crashed") == []


def test_one_client_in_a_hurry_leaves_room_for_others(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    with one.connect() as greedy:
        greedy.sendall(GET * 3000)
        assert one.get("/slow/0.0")[0] == 200
        greedy.shutdown(socket.SHUT_WR)
        assert read_to_end(greedy).count(b"HTTP/1.1 200 OK") == 3000
    one.process.says('"path": "/echo"', times=3000)
    asked = [each["path"] for each in one.access_log()]
    assert asked.index("/slow/0.0") < 1500


def test_when_all_places_are_taken_idle_clients_make_room(served: Callable[..., Served]) -> None:
    one = served(ROUTES, "max_connections=5")
    busy = one.connect()
    busy.sendall(b"GET /slow/4.0 HTTP/1.1\r\nHost: a\r\n\r\n")
    idle = [one.connect() for _ in range(20)]
    for each in idle:
        each.sendall(b"GET /echo HTTP/1.1\r\nHost: ")
    began = time.monotonic()
    assert one.get("/echo")[0] == 200
    assert time.monotonic() - began < 3.0
    # With every place at work, the others wait for their turn.
    workers = [one.connect() for _ in range(12)]
    for each in workers:
        each.sendall(b"GET /slow/0.2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [read_answer(each)[0] for each in workers] == [200] * 12
    assert read_answer(busy)[0] == 200


def test_no_crash_of_a_request_touches_the_server(served: Callable[..., Served]) -> None:
    one = served(
        ROUTES,
        app="""
            from sprag import own_greenlets
            owning = own_greenlets()
            owning.__enter__()  # what a controller's code spawns belongs to the server
            app = App(routes="routes", name="shop")
        """,
    )
    assert one.get("/crash/exit")[0] == 500
    assert one.get("/crash/greenlet")[0] == 200
    with one.connect() as connection:
        connection.sendall(b"GET /crash/late HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection)[0] == 200
        assert read_to_end(connection) == b""
    with one.connect() as connection:
        connection.sendall(b"GET /stream/crash HTTP/1.1\r\nHost: a\r\n\r\n")
        received = read_to_end(connection)
        assert b"one" in received
        assert not received.endswith(b"0\r\n\r\n")
    assert one.get("/stream/well")[2] == b"onetwo"
    assert one.get("/readyz")[0] == 200
    one.process.says(' crashed"', times=4)
    crashes = one.process.events("request crashed", "greenlet of a request crashed")
    errors = [each["exception"].splitlines()[-1].split(":")[0] for each in crashes]
    assert errors == ["SystemExit", "ZeroDivisionError", "gevent.timeout.Timeout", "ValueError"]
    assert [each for each in one.process.records() if each["level"] == "error"] == crashes
    assert one.process.events("service crashed", "service restarted") == []


def test_a_request_may_stop_its_own_server(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    status, headers, _ = one.get("/crash/stop")
    assert status == 200
    one.process.says('"service stopped", "service": "shop/web"')
    with pytest.raises(ConnectionRefusedError):
        one.connect()
    assert headers


# -- the end -----------------------------------------------------------------------------------


def test_a_stop_answers_what_is_in_progress_and_closes_the_rest(
    served: Callable[..., Served],
) -> None:
    one = served(ROUTES)
    idle, fresh, busy = one.connect(), one.connect(), one.connect()
    idle.sendall(GET)
    assert read_answer(idle)[0] == 200
    busy.sendall(b"GET /slow/2.0 HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.5)
    began = time.monotonic()
    one.process.send(signal.SIGTERM)
    assert read_to_end(idle) == b""
    assert read_to_end(fresh) == b""
    assert time.monotonic() - began < 1.2  # before the request in progress is done
    with pytest.raises(ConnectionRefusedError):
        one.connect()
    status, headers, _ = read_answer(busy)
    assert (status, headers["connection"]) == (200, "close")
    assert read_to_end(busy) == b""
    assert one.process.ends() == 0
    assert time.monotonic() - began < 8.0  # not as long as a stop may take


def test_a_stop_does_not_wait_longer_than_it_may(served: Callable[..., Served]) -> None:
    one = served(ROUTES, "shutdown=0.5")
    with one.connect() as endless:
        endless.sendall(b"GET /slow/60.0 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)
        began = time.monotonic()
        one.process.send(signal.SIGTERM)
        assert one.process.ends() == 0
        assert time.monotonic() - began < 8.0
        assert read_to_end(endless).startswith(b"HTTP/1.1 503 ")
    (cut,) = one.process.events("requests cut off")
    assert cut["requests"] == ["GET /slow/60.0"]


class Load(threading.Thread):
    """A client that asks again and again, on one connection as long as it is kept."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__()
        self.port = port
        self.until = time.monotonic() + seconds
        self.answered = 0
        self.lost: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            except OSError:
                return  # it takes nothing new: the end
            with connection:
                if not self.ask_on(connection):
                    return

    def ask_on(self, connection: socket.socket) -> bool:
        while time.monotonic() < self.until:
            try:
                connection.sendall(b"GET /slow/0.01 HTTP/1.1\r\nHost: a\r\n\r\n")
                status, headers, body = read_answer(connection)
            except Exception as error:  # noqa: BLE001
                self.lost.append(repr(error))
                return False
            if (status, body) != (200, b'{"slept": 0.01}'):
                self.lost.append(f"{status} {body!r}")
            self.answered += 1
            if headers.get("connection") == "close":
                return True
        return False


def test_crashes_elsewhere_in_the_tree_lose_no_request(served: Callable[..., Served]) -> None:
    one = served(
        ROUTES,
        app="""
            class Counter(Service):
                def on_start(self):
                    self.timeout(lambda: 1 / 0, 0.2)
            providers = {"counter": Counter()}
            app = App(routes="routes", name="shop", providers=providers, max_restarts=100)
        """,
    )
    clients = [Load(one.port, seconds=2.0) for _ in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(20)
    assert [lost for each in clients for lost in each.lost] == []
    assert sum(each.answered for each in clients) > 100
    assert len(one.process.events("service restarted")) >= 5


def test_under_load_a_stop_loses_no_request(served: Callable[..., Served]) -> None:
    one = served(ROUTES)
    clients = [Load(one.port, seconds=20.0) for _ in range(24)]
    for each in clients:
        each.start()
    time.sleep(1.0)
    one.process.send(signal.SIGTERM)
    assert one.process.ends() == 0
    for each in clients:
        each.join(20)
    assert [lost for each in clients for lost in each.lost] == []
    assert sum(each.answered for each in clients) > 200


def test_a_server_that_crashes_comes_back_on_the_same_port(served: Callable[..., Served]) -> None:
    one = served(
        ROUTES,
        app="""
            from sprag import *
            class Saboteur(Service):
                def run(self):
                    gevent.sleep(0.5)
                    self.service("web").spawn(lambda: 1 / 0)
                    gevent.sleep(3600)
            app = App(routes="routes", name="shop", providers={"saboteur": Saboteur()})
        """,
    )
    one.process.says('"service restarted", "service": "shop/web"')
    assert one.get("/echo")[0] == 200


# -- where it listens --------------------------------------------------------------------------


def test_a_unix_socket_works_and_is_removed(tmp_path: Path) -> None:
    (tmp_path / "routes.py").write_text("from sprag import Controller\n" + dedent(ROUTES))
    (tmp_path / "app.py").write_text("from sprag import App\napp = App(routes='routes')\n")
    path = tmp_path / "web.sock"
    with run(tmp_path, "--unix-socket", "web.sock") as process:
        one = Served(process)
        assert one.url == "unix:web.sock"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(path))
            connection.sendall(GET)
            assert read_answer(connection)[0] == 200
        process.send(signal.SIGTERM)
        assert process.ends() == 0
    assert not path.exists()
    assert one.access_log()[0]["client"] is None
