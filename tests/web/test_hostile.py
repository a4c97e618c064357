"""Clients that mean harm, on real sockets, while another one asks for /healthz."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from serving import Served, read_answer, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

pytestmark = pytest.mark.slow

ROUTES = """
    class Whole(Controller):
        route = "/whole"
        def post(self): return {"read": len(self.request.get_data())}

    class Lines(Controller):
        route = "/lines"
        max_body = 4_000_000
        def post(self): return {"lines": sum(1 for _ in self.request.stream)}

    class Bytes(Controller):
        route = "/bytes"
        def post(self):
            read = self.request.stream.read
            return {"bytes": sum(1 for _ in iter(lambda: read(1), b""))}

    class Readlines(Controller):
        route = "/readlines"
        def post(self): return {"lines": len(self.request.stream.readlines())}

    class Form(Controller):
        route = "/form"
        def post(self):
            return {"form": len(self.request.form), "files": len(self.request.files)}

    class Much(Controller):
        route = "/much"
        max_body = 10**9
        def post(self): return {"read": len(self.request.get_data())}

    class Blind(Controller):
        route = "/blind"
        def post(self): return {"read": 0}

    class Deep(Controller):
        route = "/deep/<path:a>/b/<path:b>"
        def load(self, a, b): return {}

    class Drops(Controller):
        route = "/drops"
        def load(self):
            from werkzeug.wrappers import Response
            return Response((b"x" for _ in range(30_000)), mimetype="text/plain")

    class Big(Controller):
        route = "/big"
        def load(self):
            from werkzeug.wrappers import Response
            return Response((b"x" * 65536 for _ in range(2_000)), mimetype="text/plain")
"""
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
POST = "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def watched(one: Served) -> Generator[list[float]]:
    """Ask for /healthz all the time; the list has how long each answer took."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert one.get("/healthz")[0] == 200
            took.append(time.monotonic() - began)
            time.sleep(0.01)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield took
        time.sleep(0.05)
    finally:
        over.set()
        asking.join()


def flood(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send until there is no more, or the server has had enough of it."""
    with suppress(OSError):
        for each in pieces:
            connection.sendall(each)


def chunked(path: str, *pieces: bytes) -> list[bytes]:
    return [POST.format(path).encode(), *pieces]


def endless(path: str, piece: bytes, *, first: bytes = b"") -> Iterator[bytes]:
    yield POST.format(path).encode() + first
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        yield piece


def plain(path: str, body: bytes, kind: str = "text/plain") -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body]


LINES = b"\n" * 1_000_000
FORM = "multipart/form-data; boundary=b"
ATTACKS: dict[str, tuple[Callable[[], Iterator[bytes]], bytes]] = {
    "extension": (lambda: endless("/whole", b"a" * 65536, first=b"1;"), b"431"),
    "extensions": (lambda: endless("/much", b"1;" + b"a" * 2000 + b"\r\nx\r\n"), b"431"),
    "trailer": (lambda: endless("/whole", b"a" * 65536, first=b"0\r\nX: "), b"431"),
    "trailers": (lambda: endless("/whole", b"X:\r\n" * 20_000, first=b"0\r\n"), b"431"),
    "unread trailers": (lambda: endless("/blind", b"X:\r\n" * 20_000, first=b"0\r\n"), b"200"),
    "tiny chunks": (lambda: endless("/whole", b"1\r\nx\r\n" * 10_000), b"(413|408)"),
    "tiny chunks read by the line": (lambda: endless("/lines", b"1\r\n\n\r\n" * 10_000), b"408"),
    "no end of tiny chunks": (lambda: endless("/much", b"1\r\nx\r\n" * 10_000), b"408"),
    "a line of size": (lambda: endless("/whole", b"0" * 65536), b"431"),
    "announced": (lambda: endless("/whole", b"x" * 65536, first=b"7fffffff\r\n"), b"413"),
    "lines": (lambda: iter(plain("/lines", LINES)), b"200"),
    "readlines": (lambda: iter(plain("/readlines", LINES)), b"200"),
    "bytes": (lambda: iter(plain("/bytes", LINES)), b"200"),
    "parts": (
        lambda: iter(plain("/form", b"--b\r\n\r\n\r\n" * 90_000 + b"--b--", FORM)),
        b"200",
    ),
    "a part of line ends": (
        lambda: iter(
            plain(
                "/form",
                b'--b\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
                + b"\r\n" * 490_000
                + b"\r\n--b--\r\n",
                FORM,
            )
        ),
        b"200",
    ),
    "fields": (
        lambda: iter(
            plain("/form", b"a=&" * 150_000, "application/x-www-form-urlencoded"),
        ),
        b"413",
    ),
    "a path of parts": (
        lambda: iter([b"GET /deep" + b"/b" * 7_000 + b"%0a HTTP/1.1\r\nHost: a\r\n\r\n"]),
        b"404",
    ),
    "many small pieces of an answer": (
        lambda: iter([b"GET /drops HTTP/1.1\r\nHost: a\r\n\r\n"]),
        b"200",
    ),
    "a large answer": (lambda: iter([b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"]), b"200"),
    "one after another": (lambda: iter([GET * 3_000]), b"200"),
}


@pytest.fixture(scope="module")
def attacked(served_to_all: Callable[..., Served]) -> Served:
    """An app that outlives one attack after the other."""
    return served_to_all(ROUTES, "body_timeout=0.8")


@pytest.mark.parametrize("attack", ATTACKS)
def test_whatever_one_client_sends_the_others_are_answered(attacked: Served, attack: str) -> None:
    make, status = ATTACKS[attack]
    with watched(attacked) as took:
        connections = [attacked.connect() for _ in range(2)]
        senders = [threading.Thread(target=flood, args=(each, make())) for each in connections]
        answers: list[bytes] = []

        def receive(connection: socket.socket) -> None:
            with suppress(OSError):
                answers.append(connection.recv(65536))
                connection.settimeout(1.0)
                while connection.recv(1 << 20):
                    pass

        readers = [threading.Thread(target=receive, args=(each,)) for each in connections]
        for thread in (*senders, *readers):
            thread.start()
        for thread in (*senders, *readers):
            thread.join()
    for each in connections:
        each.close()
    assert all(re.match(rb"HTTP/1.1 " + status, each) for each in answers), answers
    assert len(answers) == 2
    # Both are at work at once, on a machine that has other things to do.
    assert sorted(took)[int(len(took) * 0.9)] < 0.1, sorted(took)[-5:]
    assert max(took) < 1.0  # who waited for an attacker would wait until its time is up
    assert attacked.process.events("request crashed", "service crashed") == []


def test_a_chunk_that_is_too_large_is_refused_before_any_of_it_comes(
    served: Callable[..., Served],
) -> None:
    one = served(ROUTES)
    for path, size, status in [
        ("/whole", b"100001", 413),
        ("/whole", b"ffffffffffffffff", 413),
        ("/lines", b"3d0901", 413),
    ]:
        with one.connect() as connection:
            connection.sendall(POST.format(path).encode() + size + b"\r\n")
            began = time.monotonic()
            got, headers, _ = read_answer(connection)
            assert (got, headers["connection"]) == (status, "close")
            assert time.monotonic() - began < 2.0


def test_what_is_smuggled_in_a_chunks_line_is_never_a_request(
    served: Callable[..., Served],
) -> None:
    one = served(ROUTES)
    inner = b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\n"
    for line in (
        b"0\n",
        b"0;a\nX: y\r\n",
        b"0;\x00\r\n",
        b"0\x00\r\n",
        b"0;a=\x0b\r\n",
        b"+0\r\n",
        b"0x0\r\n",
        b" 0\r\n",
        b"0 \r\n",
        b"0_0\r\n",
        b"\r\n",
        b"0\r\n folded\r\n",
        b"0\r\nContent-Length : 5\r\n",
    ):
        with one.connect() as connection:
            connection.sendall(POST.format("/whole").encode() + line + b"\r\n" + inner)
            connection.shutdown(socket.SHUT_WR)
            received = read_to_end(connection)
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"400"], (line, received)
        assert b"Connection: close" in received


def test_a_body_that_drips_is_given_its_time_in_all(served: Callable[..., Served]) -> None:
    one = served(ROUTES, "body_timeout=1.0")
    drips = [
        (POST.format("/whole").encode(), b"1\r\nx\r\n"),
        (POST.format("/whole").encode() + b"1;", b"a"),
        (POST.format("/whole").encode() + b"0\r\n", b"X: y\r\n"),
        (b"POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n", b"x"),
        (
            b"POST /whole HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
            b"",
        ),
    ]
    connections = [one.connect() for _ in drips]
    began = time.monotonic()
    for connection, (head, _) in zip(connections, drips, strict=True):
        connection.sendall(head)
    while time.monotonic() - began < 2.0:
        for connection, (_, drip) in zip(connections, drips, strict=True):
            with suppress(OSError):
                connection.sendall(drip)
        time.sleep(0.02)
    for connection, (head, _) in zip(connections, drips, strict=True):
        answer = read_to_end(connection).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 408 "), head
        assert b"Connection: close" in answer
    assert all(0.9 < each["seconds"] < 2.5 for each in one.access_log())


def test_nobody_is_told_to_go_on_in_the_middle_of_an_answer(
    served: Callable[..., Served],
) -> None:
    one = served(
        """
        class Both(Controller):
            route = "/both"
            def post(self):
                from werkzeug.wrappers import Response
                def pieces():
                    yield b"one"
                    yield self.request.stream.read()
                return Response(pieces(), mimetype="text/plain")
        """
    )
    with one.connect() as connection:
        connection.sendall(
            b"POST /both HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert connection.recv(3) == b"HTT"
        connection.sendall(b"two")
        received = read_to_end(connection)
    assert b"100 Continue" not in received
    assert received.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_after_a_body_in_chunks_the_next_request_is_read_from_its_beginning(
    served: Callable[..., Served],
) -> None:
    one = served(ROUTES)
    with one.connect() as connection:
        body = b'5;a="\\\r\n"'.replace(b"\\\r\n", b'\\"') + b"\r\nhello\r\n0;b\r\nX: y\r\n\r\n"
        connection.sendall(
            (POST.format("/whole").encode() + body) * 3
            + (POST.format("/lines").encode() + b"1\r\n\n\r\n0\r\n\r\n")
            + b"GET /healthz HTTP/1.0\r\n\r\n"
        )
        received = read_to_end(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200"] * 5
    assert received.count(b'{"read": 5}') == 3
