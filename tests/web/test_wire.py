"""What goes over the wire, whatever the application behind it says."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from sprag import App
from sprag.testing import virtual_time
from sprag.web._door import Place
from sprag.web._service import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from serving import Served

    Application = Callable[[dict[str, Any], Any], Iterable[Any]]

PLAIN = [("Content-Type", "text/plain")]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def exchange(application: Application, tmp_path: Path, sent: bytes) -> bytes:
    """Return all that a client gets that sends so much and then waits for the end."""
    path = str(tmp_path / "http")
    with virtual_time() as clock:
        app = App(name="shop")
        app.start()
        app.adopt(WebServer(application, (Place(path),)), name="web")
        clock.settle()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)
            client.sendall(sent)
            received = b""
            while piece := client.recv(65536):
                received += piece
        app.stop()
    return received


def answering(
    status: Any = "200 OK", headers: Any = PLAIN, pieces: Any = (b"body",)
) -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[Any]:
        start_response(status, headers)
        yield from pieces

    return application


def silent(environ: dict[str, Any], start_response: Any) -> Iterable[Any]:
    return [b"body"]


BAD: dict[str, tuple[Application, str]] = {
    "no status": (answering(None), "the status None is not accepted"),
    "a number": (answering(200), "the status 200 is not accepted"),
    "1xx": (answering("101 Switching Protocols"), "the status '101 Switching Protocols'"),
    "6xx": (answering("600 More"), "the status '600 More'"),
    "negative": (answering("-1 Less"), "the status '-1 Less'"),
    "a line break": (answering("200 OK\r\nA: b"), "use 200 to 599"),
    "NUL": (answering(headers=[("A", "b\0c")]), "the header A='b\\x00c' cannot be sent"),
    "escape": (answering(headers=[("A", "\x1b]2;x\x07")]), "the header A="),
    "LF": (answering(headers=[("A", "b\nC: d")]), "the header A="),
    "CR": (answering(headers=[("A", "b\rC: d")]), "the header A="),
    "DEL": (answering(headers=[("A", "\x7f")]), "the header A="),
    "a name with a colon": (answering(headers=[("A:", "b")]), "the name of the header 'A:'"),
    "a name with a blank": (answering(headers=[("A ", "b")]), "the name of the header 'A '"),
    "an empty name": (answering(headers=[("", "b")]), "the name of the header ''"),
    "bytes": (answering(headers=[("A", b"b")]), "the header A=b'b' is not accepted: use a text"),
    "beyond Latin-1": (answering(headers=[("A", "\u0142")]), "others beyond Latin-1"),
    "chunked": (answering(headers=[("Transfer-Encoding", "chunked")]), "the server's own"),
    "identity": (answering(headers=[("transfer-encoding", "identity")]), "the server's own"),
    "keep-alive": (answering(headers=[("Connection", "keep-alive")]), "the server's own"),
    "two lengths": (answering(headers=[("Content-Length", "4")] * 2), "is there twice"),
    "no length": (answering(headers=[("Content-Length", "0x4")]), "is no length"),
    "204 with a length": (answering("204 No", [("Content-Length", "4")]), "a 204 has no body"),
    "204 with a body": (answering("204 No Content", []), "a 204 has no body"),
    "304 with a body": (answering("304 Not Modified", []), "a 304 has no body"),
    "text": (answering(pieces=["body"]), "a body is made of bytes, not of str"),
    "numbers": (answering(pieces=[1]), "a body is made of bytes, not of int"),
    "no start": (silent, "has not called start_response"),
}


@pytest.mark.parametrize("case", BAD)
def test_nothing_bad_is_sent_whoever_made_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    application, said = BAD[case]
    received = exchange(application, tmp_path, GET + GET)
    assert received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert re.findall(rb"HTTP/1.1 (...)", received) == [b"500"]
    assert received.endswith(b'{"error": "the request could not be answered"}')
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert said in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("application", "sent", "head", "rest"),
    [
        (answering(), GET, b"Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n\r\n"),
        (answering("200"), GET, b"HTTP/1.1 200 OK", b"4\r\nbody\r\n0\r\n\r\n"),
        (answering(), b"HEAD" + GET[3:], b"HTTP/1.1 200 OK", b""),
        (answering("204 None", [], ()), GET, b"HTTP/1.1 204 None", b""),
        (answering("304 None", [("Content-Length", "9")], ()), GET, b"Content-Length: 9", b""),
        (answering(headers=[("Connection", "Close")]), GET, b"Connection: close", None),
        (answering(headers=[("Content-Length", "4")]), GET, b"Content-Length: 4", b"body"),
        (answering(headers=[("A", "caf\u00e9\t")]), GET, b"A: caf\xe9\t", None),
    ],
)
def test_answers_are_framed_for_their_client(
    tmp_path: Path, application: Application, sent: bytes, head: bytes, rest: bytes | None
) -> None:
    received = exchange(application, tmp_path, sent)
    found, _, body = received.partition(b"\r\n\r\n")
    assert head in found.split(b"\r\n")
    assert rest is None or body == rest


def test_an_error_after_the_head_replaces_it_until_it_is_sent(tmp_path: Path) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        try:
            raise ValueError("late")
        except ValueError as error:
            start_response("503 Later", PLAIN, (ValueError, error, error.__traceback__))
        return [b"later"]

    received = exchange(application, tmp_path, GET)
    assert received.startswith(b"HTTP/1.1 503 Later\r\n")
    assert received.endswith(b"later")


def test_a_default_timeout_of_sockets_is_not_the_clients(tmp_path: Path) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", PLAIN)
        return [body]

    socket.setdefaulttimeout(0.5)
    try:
        path = str(tmp_path / "http")
        with virtual_time() as clock:
            app = App(name="shop")
            app.start()
            app.adopt(WebServer(application, (Place(path),)), name="web")
            clock.settle()
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.settimeout(None)
            client.connect(path)
            client.sendall(b"POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\n")
            gevent.sleep(5)
            client.sendall(b"body")
            assert client.recv(65536).endswith(b"body")
            client.close()
            app.stop()
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.slow
def test_paths_and_methods_are_taken_as_they_are_meant(served: Callable[..., Served]) -> None:
    one = served("""
        class Any(Controller):
            route = "/größe/<name>"
            def load(self, name): return {"name": name}
    """)
    folder = one.process.runtime.parent / "static"
    folder.mkdir()
    (folder / "naïve.txt").write_text("ünï", encoding="utf-8")
    for path, status in [
        ("/gr%C3%B6%C3%9Fe/caf%C3%A9", 200),
        ("/static/na%C3%AFve.txt", 404),  # made after the start
        ("/caf%E9%1b%5b2J", 404),
    ]:
        assert one.get(path)[0] == status
    one.process.says('"method": "GET"', times=3)
    assert [each["path"] for each in one.access_log()] == [
        "/größe/café",
        "/static/naïve.txt",
        "/caf\\xe9\x1b[2J",
    ]
    for method, path, status in [
        ("get", "/healthz", 405),
        ("get", "/größe/x", 405),
        ("OPTIONS", "*", 204),
        ("OPTIONS", "/healthz", 204),
        ("Options", "*", 400),
        ("GET", "*", 400),
        ("TRACE", "/größe/x", 405),
        ("PROPFIND", "/größe/x", 405),
    ]:
        with one.connect() as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 %d " % status), (method, path)
