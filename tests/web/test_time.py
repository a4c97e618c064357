"""The server in virtual time: its deadlines are those of the one clock."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import gevent
import pytest
from gevent import socket

from sprag import App, Limits
from sprag.process.sockets import sockets
from sprag.testing import virtual_time
from sprag.web._door import Place
from sprag.web._service import WebServer

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from sprag.testing import VirtualClock
    from sprag.web._server import HTTPServer

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/slow":
        gevent.sleep(600)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d bytes" % len(body)]


@pytest.fixture
def clock() -> Generator[VirtualClock]:
    with virtual_time() as one:
        yield one


def served(tmp_path: Path, clock: VirtualClock, **limits: Any) -> tuple[App, str]:
    app = App(name="shop")
    app.start()
    path = str(tmp_path / "http")
    given = Limits(head_timeout=100, body_timeout=300, keep_alive=200, **limits)
    app.adopt(WebServer(answer, (Place(path),), given), shutdown=given.shutdown)
    clock.settle()
    return app, path


def connected(path: str, text: bytes) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(path)
    made.sendall(text)
    return made


def received(one: socket.socket) -> bytes:
    return one.recv(65536)


@pytest.mark.parametrize(
    ("sent", "seconds", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: ", 100, b"408 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 300, b"408 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1", 300, b"408 "),
        (b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", 600, b"200 "),
    ],
)
def test_how_long_a_client_may_take_is_virtual_too(
    tmp_path: Path, clock: VirtualClock, sent: bytes, seconds: float, status: bytes
) -> None:
    app, path = served(tmp_path, clock)
    connection = connected(path, sent)
    reading = cast("Any", gevent.spawn(received, connection))
    clock.advance(seconds - 1)
    assert not reading.ready()
    clock.advance(2)
    assert reading.ready()
    assert (reading.value or b"")[:13] == b"HTTP/1.1 " + status
    connection.close()
    app.stop()


def test_an_idle_connection_is_kept_for_its_time(tmp_path: Path, clock: VirtualClock) -> None:
    app, path = served(tmp_path, clock)
    connection = connected(path, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    clock.settle()
    assert received(connection).endswith(b"0 bytes")
    reading = cast("Any", gevent.spawn(received, connection))
    clock.advance(199)
    assert not reading.ready()
    clock.advance(2)
    assert (reading.ready(), reading.value) == (True, b"")
    connection.close()
    app.stop()


GET: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def kept(app: App, path: str, clock: VirtualClock) -> tuple[socket.socket, HTTPServer]:
    """Return a client that was answered, and waits, and the server."""
    connection = connected(path, GET)
    clock.settle()
    assert received(connection).endswith(b"0 bytes")
    (server,) = (app._children_ or {}).values()
    return connection, cast("Any", server)._server


def test_a_request_that_has_come_is_answered_though_its_connection_was_idle_for_too_long(
    tmp_path: Path, clock: VirtualClock
) -> None:
    app, path = served(tmp_path, clock)
    connection, server = kept(app, path, clock)
    (ours,) = server.connections
    connection.sendall(GET)  # and the loop, which is busy, has not seen it yet
    ours.deadline = clock.now
    server.sweep()
    assert not ours.is_leaving
    clock.settle()
    assert received(connection).endswith(b"0 bytes")
    # What comes later finds an end, not a reset.
    ours.deadline = clock.now
    server.sweep()
    connection.sendall(GET)
    clock.settle()
    assert received(connection) == b""
    connection.sendall(GET)
    clock.advance(1)
    assert not server.connections
    connection.close()
    app.stop()


def test_to_make_room_nobody_is_closed_who_has_sent_a_request(
    tmp_path: Path, clock: VirtualClock
) -> None:
    app, path = served(tmp_path, clock, max_connections=2)
    first, server = kept(app, path, clock)
    clock.advance(1)
    second = kept(app, path, clock)[0]
    clock.advance(1)
    first.sendall(GET)  # and the loop has not seen it when the third one comes
    oldest, newer = server.connections
    assert server._oldest_idle() is newer
    assert oldest.since == clock.now
    clock.settle()
    assert received(first).endswith(b"0 bytes")
    first.close()
    second.close()
    app.stop()


def test_a_worker_whose_place_is_taken_keeps_idle_clients_for_a_while(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_handed_over", 20.0)
    app, path = served(tmp_path, clock)
    asks, half, waits = (kept(app, path, clock)[0] for _ in range(3))
    half.sendall(GET[:20])
    clock.advance(10)
    stopping = cast("Any", gevent.spawn(app.stop))
    clock.advance(2)
    asks.sendall(GET)
    clock.settle()
    assert b"Connection: close" in received(asks)
    assert received(asks) == b""
    ends = [cast("Any", gevent.spawn(received, each)) for each in (half, waits)]
    clock.settle()
    assert not any(each.ready() for each in ends)
    clock.advance(0.6)
    assert ends[1].value == b""
    clock.advance(0.6)
    assert ends[0].value[:12] == b"HTTP/1.1 408"
    clock.advance(1)
    assert stopping.ready()
    for each in (asks, half, waits):
        each.close()


def test_a_server_whose_place_nobody_takes_keeps_idle_clients_no_longer_than_they_need(
    tmp_path: Path, clock: VirtualClock
) -> None:
    app, path = served(tmp_path, clock)
    connection, _ = kept(app, path, clock)
    clock.advance(10)
    connection.sendall(GET[:10])  # is about to send a request
    clock.settle()
    stopping = cast("Any", gevent.spawn(app.stop))
    clock.advance(0.2)
    connection.sendall(GET[10:])
    clock.settle()
    assert b"Connection: close" in received(connection)
    connection.close()
    clock.advance(0.5)
    assert stopping.ready()


def test_before_a_stop_that_begins_later_no_connection_is_kept_and_all_are_served(
    tmp_path: Path, clock: VirtualClock
) -> None:
    app = App(name="shop")
    app._serve_ = (Place(str(tmp_path / "http")),)
    app.start()
    clock.settle()
    for close in (False, True):
        connection = connected(str(tmp_path / "http"), GET * 2)
        clock.settle()
        answers = received(connection)
        assert answers.count(b"HTTP/1.1 404") == 2
        assert answers.endswith(received(connection) if close else b"")
        assert (b"Connection: close" in answers.rpartition(b"HTTP/1.1")[2]) is close
        assert answers.count(b"Connection: close") == close
        connection.close()
        app._will_stop_()
        assert app.not_ready()
    app.stop()


def test_the_access_log_takes_its_time_from_the_clock_and_its_level_from_its_logger(
    tmp_path: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, path = served(tmp_path, clock)
    logger = logging.getLogger("sprag.service")
    caplog.set_level(logging.INFO, "sprag")

    def lines() -> list[Any]:
        found = [vars(each).get("sprag", {}) for each in caplog.records]
        return [each["seconds"] for each in found if each.get("event") == "request"]

    def ask() -> None:
        connection = connected(path, b"GET /slow HTTP/1.0\r\n\r\n")
        clock.advance(601)
        assert received(connection).startswith(b"HTTP/1.1 200 OK")
        connection.close()

    ask()
    assert lines() == [600]
    before = logger.level
    try:
        logger.setLevel(logging.WARNING)
        ask()
        assert lines() == [600]
        logger.setLevel(logging.NOTSET)
        logging.disable(logging.INFO)
        ask()
        assert lines() == [600]
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(before)
    ask()
    assert lines() == [600, 600]
    app.stop()
