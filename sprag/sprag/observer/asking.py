"""Ask an app over its control socket, in a greenlet; nothing needs to be patched."""

from __future__ import annotations

import json
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from gevent import sleep, socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse
    from pathlib import Path


_PIECE: Final = 1 << 16
CONNECTING: Final = 5.0
"""Seconds in which somebody has to listen who is there."""
_AGAIN: Final = 0.05
_BEGINNING: Final = 70.0
"""Seconds for an answer to begin: `top` measures for up to 60."""


class Gone(Exception):
    """Nobody answers; the message says how that is known."""


class Upstream(NamedTuple):
    """One life of an app that can be asked.

    Attributes:
        name: The app's name.
        pid: Its process.
        connect: Returns a socket at whose other end it listens.
    """

    name: str
    pid: int | None
    connect: Callable[[], socket.socket]


class Told(NamedTuple):
    """An answer that has begun; whoever has it closes its pieces, or reads all of them."""

    status: int
    reason: str
    kind: str
    pieces: Pieces

    def read(self) -> bytes:
        """Return the whole body.

        Raises:
            Gone: It was cut off.
        """
        with closing(self.pieces):
            return b"".join(self.pieces)


def at(path: Path) -> Callable[[], socket.socket]:
    """Return what connects to the socket at *path*, or raises `OSError` within some seconds."""

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            _connect(sock, str(path))
        except BaseException:
            sock.close()
            raise
        return sock

    return connect


def _connect(sock: socket.socket, address: str) -> None:
    """Connect; where so many wait already that no more may, try again for a while.

    Nobody tells when there is room: gevent, left to itself, would ask in each turn of the loop.
    """
    end = time.monotonic() + CONNECTING
    while True:
        try:
            sock.connect(address)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError from None
            sleep(_AGAIN)
        else:
            return


class _Connection(HTTPConnection):
    own: Any = None

    def __init__(self, connect: Callable[[], socket.socket], seconds: float) -> None:
        super().__init__("app")
        self._connect = connect
        self._seconds = seconds

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        sock: Any = self._connect()
        sock.settimeout(self._seconds)
        # Kept: http.client lets go of a socket whose answer ends with the connection.
        self.sock = self.own = sock

    def hang_up(self) -> None:
        """Close it, whoever reads from it yet."""
        self.close()
        if self.own is not None:
            self.own.close()


class Pieces:
    """The body of an answer, bit by bit; closed at its end."""

    def __init__(self, connection: _Connection, response: HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            piece = self._response.read1(_PIECE)
        except (HTTPException, OSError) as error:
            self.close()
            raise Gone(_reason(error)) from None
        if not piece:
            is_cut = bool(self._response.length)
            self.close()
            if is_cut:
                raise Gone("it has hung up in the midst of its answer")
            raise StopIteration
        return piece

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.hang_up()


def ask(
    upstream: Upstream,
    method: str,
    target: str,
    *,
    seconds: float = _BEGINNING,
    lasts: bool = False,
) -> Told:
    """Ask for *target*; the answer's body comes in pieces.

    Args:
        upstream: Whom.
        method: The HTTP method.
        target: Path and query, as in ``/v1/why/shop/mail``.
        seconds: In which it has to begin, and each part of it to come.
        lasts: After the beginning there is no limit: it is a stream.

    Raises:
        Gone: Nobody listens, or hangs up, or says nothing in time. So does what makes the pieces.
    """
    connection = _Connection(upstream.connect, seconds)
    try:
        connection.request(method, target, headers={"Connection": "close"})
        response = connection.getresponse()
    except BaseException as error:
        connection.hang_up()
        if isinstance(error, HTTPException | OSError):
            raise Gone(_reason(error)) from None
        raise
    if lasts:
        connection.own.settimeout(None)
    kind = response.headers.get("Content-Type") or "application/octet-stream"
    return Told(response.status, response.reason, kind, Pieces(connection, response))


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nobody listens on its socket"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return "it has hung up"


def lines(told: Told) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a stream that has one a line; what is none is left out.

    Raises:
        Gone: It was cut off.
    """
    rest = b""
    with closing(told.pieces):
        for piece in told.pieces:
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(found, dict):
                    yield found
