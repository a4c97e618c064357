"""What a control socket is sent by those who mean no good, or know no better."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import struct
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controlled import aside, ask, raw, served
from processes import app, run
from sprag import App, Service
from sprag.control import http
from sprag.control.place import remove_stale

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HEAD = b"GET /v1/tree HTTP/1.1\r\n"


class Ticks(Service):
    def on_start(self) -> None:
        self.interval(lambda: None, 0.01)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The control socket of an app that runs in this process; it logs nothing of all this."""
    with _silence(), served(_shop(), tmp_path_factory.mktemp("run")) as path:
        yield path


def _shop() -> App:
    return App(name="shop", providers={"ticks": Ticks()})


@contextmanager
def _silence() -> Generator[None]:
    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    records: list[str] = []
    handler = Kept(logging.WARNING)
    logging.getLogger("sprag").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("sprag").removeHandler(handler)
    assert records == []


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"\r\n" * 20_000, 400),
        (HEAD + b"A: b\x1bc\r\n\r\n", 400),
        (HEAD + b"A: b\nc: d\r\n\r\n", 400),
        (b"GET /v1/tree\r\n\r\n", 400),
        (b"GET  /v1/tree HTTP/1.1\r\n\r\n", 400),
        (b"GET v1/tree HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/tr\xffee HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/tree HTTP/2\r\n\r\n", 400),
        (b"GET /v1/tree HTTP/1.1\nA: b\r\nB: c\n\n", 400),
        (b"get /v1/tree HTTP/1.1\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
        (HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (HEAD + b"X: y\r\n" * 200 + b"\r\n", 431),
        (HEAD + b"no header\r\n\r\n", 400),
        (HEAD + b"X : y\r\n\r\n", 400),
        (HEAD + b"X: a\r\n folded: b\r\n\r\n", 400),
        (HEAD + b"X: a\0b\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: 9\r\n\r\nshort", 400),
        (HEAD + b"Content-Length: 999999999999\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET /v1/service/%ff HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/service/%zz HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/service/../../etc HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/top?seconds HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/top?seconds=%ff HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/top?" + b"&".join([b"a=1"] * 50) + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/top?limit=99999999999999999999 HTTP/1.1\r\n\r\n", 400),
        (b"BREW /v1/tree HTTP/1.1\r\n\r\n", 405),
        (b"DELETE /v1/stop/ticks HTTP/1.1\r\n\r\n", 405),
        (b"GET", 400),
        (HEAD, 400),
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_is_no_good_request_is_refused(shop: Path, sent: bytes, status: int) -> None:
    assert status_of(aside(raw, shop, sent)) == status


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/tree HTTP/1.0\r\n\r\n",
        b"GET /v1/tree HTTP/1.1\n\n",
        b"\nGET /v1/tree HTTP/1.1\nHost: app\nAccept: *\n\n",
        b"\r\nGET /v1/tree HTTP/1.1\r\n\r\n",
        b"GET http://app/v1/tree HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        HEAD + b"\r\n" + HEAD + b"\r\n",
        HEAD + b"\r\n" + b"x" * 100_000,
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_other_clients_may_send_is_answered(shop: Path, sent: bytes) -> None:
    answer = aside(raw, shop, sent)
    assert status_of(answer) == 200
    assert answer.count(b"HTTP/1.1 200") == 1  # one request for each connection


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n"])
def test_a_connection_without_a_request_is_closed(shop: Path, sent: bytes) -> None:
    assert aside(raw, shop, sent) == b""


@pytest.mark.parametrize("said", [b"", b"GET /v1/", HEAD, HEAD + b"Content-Length: 9\r\n\r\nbo"])
def test_who_keeps_silent_is_told_so_and_left(
    shop: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.2)

    def wait() -> tuple[int, float]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(shop))
            client.sendall(said)
            began = time.monotonic()
            return status_of(client.recv(1000)), time.monotonic() - began

    status, seconds = aside(wait)
    assert status == 408
    assert 0.1 < seconds < 2


def test_many_silent_connections_do_not_keep_others_out(shop: Path) -> None:
    def ask_among_them() -> None:
        with ExitStack() as stack:
            for _ in range(300):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(shop))
            for _ in range(5):
                began = time.monotonic()
                assert ask(shop, "GET", "/v1/tree")[0] == 200
                assert time.monotonic() - began < 2

    aside(ask_among_them)


def _noise(chance: random.Random) -> bytes:
    """Return something that is nearly, or not at all, a request."""
    good = bytearray(
        chance.choice(
            [
                b"GET /v1/tree HTTP/1.1\r\nHost: app\r\nAccept: */*\r\n\r\n",
                b"GET /v1/service/shop/ticks HTTP/1.1\r\nHost: app\r\n\r\n",
                b"GET /v1/why/ticks?a=b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                b"GET /v1/paths?prefix=sh HTTP/1.1\r\n\r\n",
            ]
        )
    )
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randrange(200))
        case 1:
            return bytes(good[: chance.randrange(len(good))])
        case 2:
            for _ in range(chance.randrange(1, 6)):
                good[chance.randrange(len(good))] = chance.randrange(256)
        case 3:
            place = chance.randrange(len(good))
            good[place:place] = chance.randbytes(chance.randrange(1, 50))
        case 4:
            place = chance.randrange(len(good))
            good[place:place] = bytes([chance.randrange(256)]) * chance.randrange(1, 30_000)
        case _:
            place = chance.randrange(len(good))
            del good[place : place + chance.randrange(1, 20)]
    return bytes(good)


def _harass(path: Path, times: int) -> None:
    chance = random.Random(17)  # the same noise each time
    for number in range(times):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.settimeout(20)
            try:
                client.sendall(_noise(chance))
                match number % 3:
                    case 0:
                        client.shutdown(socket.SHUT_WR)
                        client.recv(1000)
                    case 1:
                        # A reset instead of a farewell.
                        client.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                    case _:
                        client.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # refused before all of it was sent


def test_three_hundred_malformed_requests_and_the_next_good_one(shop: Path) -> None:
    aside(_harass, shop, 300)
    assert aside(ask, shop, "GET", "/v1/service/ticks")[1]["state"] == "running"


@pytest.mark.slow
def test_two_thousand_malformed_requests_and_the_next_good_one(tmp_path: Path) -> None:
    app(tmp_path, 'app = App(name="shop", providers={"ticks": Service()})')
    with run(tmp_path) as shop:
        shop.says('"event": "up"')
        _harass(shop.socket(), 2_000)
        times: list[float] = []
        for _ in range(5):
            began = time.monotonic()
            assert ask(shop.socket(), "GET", "/v1/tree")[0] == 200
            times.append(time.monotonic() - began)
        assert min(times) < 0.05
        descriptors = len(list(Path(f"/proc/{shop.popen.pid}/fd").iterdir()))
        assert descriptors < 100
        assert ask(shop.socket(), "GET", "/v1/service/ticks")[1]["state"] == "running"
        shop.send(signal.SIGTERM)
        assert shop.ends() == 0
        assert [each for each in shop.records() if each["level"] != "info"] == []


@pytest.mark.slow
def test_a_client_that_does_not_read_its_answer_holds_nobody(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Many(Service):
            def on_start(self):
                for number in range(5000):
                    self.adopt(Service(), name=str(number))
        app = App(name="shop", providers={"many": Many()})
        """,
    )
    with run(tmp_path, "--log-level", "error") as process:
        while ask(process.socket(), "GET", "/v1/ready")[0] != 200:
            pass
        with ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(process.socket()))
                client.sendall(HEAD + b"\r\n")
            assert ask(process.socket(), "GET", "/v1/ready")[0] == 200
            process.send(signal.SIGTERM)
            assert process.ends(within=5) == 0


# -- sockets of the dead -----------------------------------------------------------------


def _dead_pid() -> int:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _left_behind(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


def test_the_socket_of_a_dead_app_is_removed_and_no_other(tmp_path: Path) -> None:
    dead = _dead_pid()
    stale = _left_behind(tmp_path / f"old.{dead}.sock")
    of_a_living = _left_behind(tmp_path / f"new.{os.getpid()}.sock")
    no_socket = tmp_path / f"file.{dead}.sock"
    no_socket.touch()
    unrelated = _left_behind(tmp_path / "other.sock")
    listening = tmp_path / f"elsewhere.{dead}.sock"  # the pid of another container
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(listening))
        listener.listen()
        assert remove_stale(tmp_path) == [str(stale)]
    assert all(path.exists() for path in (of_a_living, no_socket, unrelated, listening))


@pytest.mark.slow
def test_an_app_that_starts_cleans_up_after_the_dead(tmp_path: Path) -> None:
    app(tmp_path, 'app = App(name="shop")')
    with run(tmp_path) as killed:
        killed.says('"event": "up"')
        left = killed.socket()
        killed.send(signal.SIGKILL)
        killed.ends()
        assert left.exists()
    with run(tmp_path) as process, run(tmp_path, "--name", "other") as second:
        process.says('"event": "up"')
        second.says('"event": "up"')
        assert not left.exists()
        names = sorted(path.name for path in process.runtime.iterdir())
        assert names == [f"other.{second.popen.pid}.sock", f"shop.{process.popen.pid}.sock"]
        for each in (process, second):
            each.send(signal.SIGTERM)
            assert each.ends() == 0
