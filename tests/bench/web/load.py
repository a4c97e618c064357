"""A load client for where there is no wrk: `python load.py URL SECONDS CONNECTIONS WANTED`.

It costs more than the servers it drives: requests per second say little then, CPU time per request
says as much as ever. One line of JSON like wrk's goes to stderr.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import socket


class Load:
    """Asks for one page over and over, and looks at each answer.

    Attributes:
        answered, wrong, lost: Counts of requests.
        latencies: Seconds from question to answer.
    """

    def __init__(self, url: str, seconds: float, wanted: bytes) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname, parts.port)
        self.question = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self.wanted = re.compile(re.escape(wanted) + rb', "seen": \d+}')
        self.until = time.monotonic() + seconds
        self.answered = self.wrong = self.lost = 0
        self.latencies: list[float] = []

    def client(self) -> None:
        while time.monotonic() < self.until:
            try:
                with socket.create_connection(self.address) as connection:
                    self.ask_on(connection)
            except OSError:
                self.lost += 1

    def ask_on(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as answers:
            while (asked := time.monotonic()) < self.until:
                connection.sendall(self.question)
                status = answers.readline()
                length = 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line[15:])
                body = answers.read(length)
                if not status or len(body) < length:
                    raise ConnectionError
                is_right = status.startswith(b"HTTP/1.1 200 ") and self.wanted.fullmatch(body)
                self.answered += 1
                self.wrong += not is_right
                self.latencies.append(time.monotonic() - asked)


def main() -> None:
    url, seconds, connections, wanted = sys.argv[1:]
    load = Load(url, float(seconds), wanted.encode())
    began = time.monotonic()
    clients: list[Any] = [gevent.spawn(load.client) for _ in range(int(connections))]
    gevent.joinall(clients, raise_error=True)
    slowest = sorted(load.latencies)[int(len(load.latencies) * 0.99)] if load.latencies else 0.0
    found = {
        "answered": load.answered,
        "seconds": time.monotonic() - began,
        "wrong": load.wrong,
        "lost": load.lost,
        "p99_ms": slowest * 1e3,
    }
    print(json.dumps(found), file=sys.stderr)


if __name__ == "__main__":
    main()
