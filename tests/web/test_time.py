"""The server in virtual time: its deadlines are those of the one clock."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest
from gevent import socket

from sprag import App, Limits
from sprag.testing import virtual_time
from sprag.web._door import Place
from sprag.web._service import WebServer

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from sprag.testing import VirtualClock

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


def served(tmp_path: Path, clock: VirtualClock) -> tuple[App, str]:
    app = App(name="shop")
    app.start()
    path = str(tmp_path / "http")
    limits = Limits(head_timeout=100, body_timeout=300, keep_alive=200)
    app.adopt(WebServer(answer, (Place(path),), limits))
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
