"""Servers of engines that are none: they speak a server's language, in this process, in a greenlet.

Real ones are tested against in processes of their own. These say what a real one says seldom, or
never by itself; and what asks them is measured.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from gevent import sleep, socket
from gevent.event import Event
from gevent.server import StreamServer

from sprag.cluster.engines import limits


class Gone(Exception):
    """The client has closed its connection, or is to be left alone."""


@dataclass
class Topic:
    """What was published under one name: how many there were, and those that are kept."""

    number: int = 0
    kept: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])

    def add(self, data: bytes, most: int) -> None:
        self.number += 1
        self.kept = [*self.kept, (self.number, data)][-most:]

    def after(self, number: int) -> list[tuple[int, bytes]]:
        """Return a page of what comes after so many."""
        found: list[tuple[int, bytes]] = []
        size = 0
        for each in self.kept:
            if each[0] > number and len(found) < limits.AT_ONCE and size < limits.LARGEST_PAGE:
                found.append(each)
                size += len(each[1])
        return found


@dataclass
class Store:
    """What one app keeps."""

    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    topics: dict[str, Topic] = field(default_factory=dict[str, Topic])

    def topic(self, name: str) -> Topic:
        return self.topics.setdefault(name, Topic())

    def below(self, prefix: str) -> dict[str, bytes]:
        return {key: each for key, each in self.values.items() if key.startswith(prefix)}

    def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        if self.values.get(key) != old:
            return False
        if new is None:
            self.values.pop(key, None)
        else:
            self.values[key] = new
        return True


class Client:
    """A connection, as the server sees it."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def read(self, count: int) -> bytes:
        data: bytes = self._file.read(count)
        if len(data) < count:
            raise Gone
        return data

    def line(self) -> bytes:
        data: bytes = self._file.readline()
        if not data.endswith(b"\n"):
            raise Gone
        return data.rstrip(b"\r\n")

    def send(self, data: bytes) -> None:
        with suppress(OSError):
            self.sock.sendall(data)

    def cut(self) -> None:
        """Let nothing more be read, nor sent; who serves it then closes it."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._file.close()
        self.sock.close()


class FakeServer:
    """Serves each connection in a greenlet.

    Attributes:
        stores: What apps keep, by name.
        asked: Everything that it was asked, in words.
        refuses: What it answers instead, if it is asked for this; "" is for anything.
        answers: Said in the place of the next answer, as it is; b"": the connection is closed.
        goes_on: Cleared, it answers nobody.
    """

    scheme = ""

    def __init__(self) -> None:
        self.stores: dict[str, Store] = {}
        self.asked: list[str] = []
        self.refuses: dict[str, str] = {}
        self.answers: list[bytes] = []
        self.goes_on = Event()
        self.goes_on.set()
        self.clients: list[Client] = []
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port: int = self._server.server_port or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def store(self, app: str) -> Store:
        return self.stores.setdefault(app, Store())

    def start(self) -> None:
        """Be there again, on the same port."""
        self._server = StreamServer(("127.0.0.1", self.port), self._serve)
        self._server.start()

    def stop(self) -> None:
        """Be gone, with all connections."""
        self.goes_on.set()
        self._server.stop()
        self.cut()

    def cut(self) -> None:
        """Close all connections."""
        while self.clients:
            self.clients.pop().cut()
        sleep(0)

    def refusal(self, asked: str) -> str | None:
        """Take note of what is asked; return why it is refused."""
        self.asked.append(asked)
        self.goes_on.wait()
        return next((why for what, why in self.refuses.items() if what in asked), None)

    def say(self, client: Client, answer: bytes) -> None:
        """Answer, with what is to be said instead if there is something."""
        if not self.answers:
            client.send(answer)
            return
        instead = self.answers.pop(0)
        client.send(instead)
        if not instead:
            raise Gone

    def _serve(self, sock: Any, _address: object) -> None:
        client = Client(sock)
        self.clients.append(client)
        with suppress(Gone, OSError, ValueError):
            self.serve(client)
        client.close()

    def serve(self, client: Client) -> None:
        raise NotImplementedError
