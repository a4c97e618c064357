"""The clients of the benchmark; what they found goes to stdout, as JSON.

`client.py open URL RATE SECONDS` asks at fixed times, whether the answers come or not, and
measures from when it should have asked: who answers late is not asked less for it.

`client.py anew URL CLIENTS` asks on a new connection each time, every third keeping it for three
requests, until stdin ends: what a replacement does to clients.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
import gevent.event  # noqa: E402
from gevent import socket  # noqa: E402

CONNECTIONS = 64


class Site:
    """A page to ask for.

    Attributes:
        answered: How many answers came, and were right.
        wrong: What went wrong, how often.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname, parts.port
        self.question = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self.answered = 0
        self.wrong: dict[str, int] = {}

    def connect(self) -> Any:
        made: Any = socket.create_connection(self.address, timeout=30)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def ask(self, connection: Any, answers: Any) -> bool:
        """Ask once; return whether the connection goes on."""
        connection.sendall(self.question)
        status, length, goes_on = answers.readline(), 0, True
        while (line := answers.readline().lower()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
            goes_on &= not line.startswith(b"connection: close")
        body = answers.read(length)
        if not status:
            raise ConnectionError("closed without an answer")
        if not status.startswith(b"HTTP/1.1 200 ") or len(body) < length or not length:
            raise ValueError(f"wrong: {status!r}")
        self.answered += 1
        return goes_on

    def note(self, error: Exception) -> None:
        what = f"{type(error).__name__}: {error}"
        self.wrong[what] = self.wrong.get(what, 0) + 1


def ask_at_fixed_times(url: str, rate: float, seconds: float) -> dict[str, Any]:
    site = Site(url)
    late: list[float] = []
    began = time.monotonic() + 0.5
    count = int(rate * seconds)

    def client(first: int) -> None:
        connection = answers = None
        for number in range(first, count, CONNECTIONS):
            due = began + number / rate
            if (wait := due - time.monotonic()) > 0:
                gevent.sleep(wait)
            try:
                if connection is None:
                    connection = site.connect()
                    answers = connection.makefile("rb")
                if not site.ask(connection, answers):
                    connection = None
            except Exception as error:  # noqa: BLE001 - counted
                site.note(error)
                connection = None
            late.append(time.monotonic() - due)

    clients: list[Any] = [gevent.spawn(client, each) for each in range(CONNECTIONS)]
    gevent.joinall(clients, raise_error=True)
    late.sort()
    found = {f"p{part}_ms": late[int(len(late) * part / 100)] * 1e3 for part in (50, 99)}
    return {**found, "answered": site.answered, "wrong": site.wrong}


def ask_anew(url: str, clients: int) -> dict[str, Any]:
    site = Site(url)
    over = gevent.event.Event()

    def client(number: int) -> None:
        times = 3 if number % 3 == 0 else 1
        while not over.is_set():
            try:
                with site.connect() as connection, connection.makefile("rb") as answers:
                    for _ in range(times):
                        if not site.ask(connection, answers):
                            break
            except Exception as error:  # noqa: BLE001 - counted
                site.note(error)

    running: list[Any] = [gevent.spawn(client, each) for each in range(clients)]
    gevent.get_hub().threadpool.apply(sys.stdin.read)
    over.set()
    gevent.joinall(running, raise_error=True)
    return {"answered": site.answered, "wrong": site.wrong}


if __name__ == "__main__":
    how, url, *rest = sys.argv[1:]
    if how == "open":
        found = ask_at_fixed_times(url, float(rest[0]), float(rest[1]))
    else:
        found = ask_anew(url, int(rest[0]))
    print(json.dumps(found))
