"""Clients that keep their connections, as a process: `python tests/soak/kept.py PORT SECONDS`.

Each asks, thinks for a while, and asks again on the same connection, unless it has been told of
the end, or sees it: as the pools of clients do. Most think for a moment, some for seconds. What it
prints is how many were answered, how many times a connection was left, and what was lost.
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
from typing import Any

import gevent
from gevent import monkey, socket

monkey.patch_all()

GET = b"GET /who HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"
THINK = ((30, 0.02), (60, 0.2), (60, 1.0), (60, 4.0))
"""So many clients, and for how many seconds they think on average."""


class Clients:
    def __init__(self, port: int, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.port = port
        self.answered = self.left = 0
        self.lost: list[str] = []

    def run(self) -> None:
        everybody = [mean for count, mean in THINK for _ in range(count)]
        asking: list[Any] = [gevent.spawn(self.ask, mean) for mean in everybody]
        gevent.joinall(asking, raise_error=True)

    def ask(self, mean: float) -> None:
        connection: socket.socket | None = None
        asked = 0
        while time.monotonic() < self.until:
            if connection is not None and select.select([connection], [], [], 0)[0]:
                connection.close()  # the server has closed it
                connection = None
                self.left += 1
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                    asked = 0
                connection.sendall(GET)
                head = answer(connection)
                self.answered += 1
                asked += 1
            except OSError as error:
                self.lost.append(f"{error!r} after {asked} answers, of {mean} s")
                head = b"connection: close"
            if b"connection: close" in head.lower() and connection is not None:
                connection.close()
                connection = None
                self.left += 1
            gevent.sleep(random.expovariate(1 / mean))


def answer(connection: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read:
        if not (piece := connection.recv(65536)):
            raise ConnectionError("the end instead of an answer")
        read += piece
    head, _, body = read.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(head.partition(b"\r\n")[0].decode())
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        if not (piece := connection.recv(65536)):
            raise ConnectionError("the end within an answer")
        body += piece
    return head


if __name__ == "__main__":
    clients = Clients(int(sys.argv[1]), float(sys.argv[2]))
    clients.run()
    told = {"answered": clients.answered, "left": clients.left, "lost": clients.lost}
    print(json.dumps(told))
