"""A TCP relay between a client and a server that behaves like a bad network; in a thread.

Nothing is refused and nothing is closed by it, unless it is told to: what it swallows is gone, as
in a network that is cut.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from typing import Final, Self

_TICK: Final = 0.01
_AT_ONCE: Final = 65_536


class _Pair:
    """A connection of a client, and the one that it goes on in."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.late: list[tuple[float, socket.socket, bytes]] = []


class Relay:
    """Relays connections to a server.

    Args:
        port: The server's, on this machine.

    Attributes:
        port: Where it listens itself.
        to_server, to_client: Whether what goes there arrives.
        delay: Seconds that everything takes longer, each way.
        swallowed: Bytes that did not arrive.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.to_server = self.to_client = True
        self.delay = 0.0
        self.swallowed = 0
        self._pairs: list[_Pair] = []
        self._is_over = False
        self._breaks = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Let nothing arrive any more, either way."""
        self.to_server = self.to_client = False

    def lose_answers(self) -> None:
        """Let what is asked arrive, and no answer."""
        self.to_server, self.to_client = True, False

    def heal(self) -> None:
        """Relay again. What was swallowed stays lost, so connections of then are broken."""
        self._breaks = True
        while self._breaks:
            time.sleep(_TICK)
        self.to_server = self.to_client = True
        self.delay = 0.0

    def close(self) -> None:
        """End it, and all connections."""
        self._is_over = True
        self._thread.join()

    def _run(self) -> None:
        with self._socket:
            while not self._is_over:
                if self._breaks:
                    self._break()
                    self._breaks = False
                self._turn()
            self._break()

    def _turn(self) -> None:
        ends = {end: pair for pair in self._pairs for end in (pair.client, pair.server)}
        readable, _, _ = select.select(
            [self._socket, *ends], [], [], _TICK if not self.delay else 0.002
        )
        for found in readable:
            if found is self._socket:
                self._accept()
            elif ends[found] in self._pairs:
                self._pass_on(ends[found], found)
        now = time.monotonic()
        for pair in tuple(self._pairs):
            while pair.late and pair.late[0][0] <= now:
                _due, to, data = pair.late.pop(0)
                self._send(pair, to, data)

    def _accept(self) -> None:
        client, _ = self._socket.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(_Pair(client, server))

    def _pass_on(self, pair: _Pair, found: socket.socket) -> None:
        try:
            data = found.recv(_AT_ONCE)
        except OSError:
            data = b""
        if not data:
            if found is pair.client or (self.to_client and self.to_server):
                self._drop(pair)
            return
        to = pair.server if found is pair.client else pair.client
        if not (self.to_server if to is pair.server else self.to_client):
            self.swallowed += len(data)
        elif self.delay:
            pair.late.append((time.monotonic() + self.delay, to, data))
        else:
            self._send(pair, to, data)

    def _send(self, pair: _Pair, to: socket.socket, data: bytes) -> None:
        try:
            to.sendall(data)
        except OSError:
            self._drop(pair)

    def _drop(self, pair: _Pair) -> None:
        if pair in self._pairs:
            self._pairs.remove(pair)
        for end in (pair.client, pair.server):
            end.close()

    def _break(self) -> None:
        for pair in tuple(self._pairs):
            with suppress(OSError):
                self._drop(pair)
