"""One question to an app and its answer: as much of HTTP/1.1 as the control socket speaks.

`http.client` could do it, and loads ssl and a parser of mail with it: as much as click and half of
a start. An answer of ours has a length or ends with the connection.
"""

from __future__ import annotations

import math
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from sprag_cli.app.remote import Remote

_SHORTEST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 1e6
"""What a socket takes: longer is for ever."""
_MAX_HEAD: Final = 64 * 1024
_PIECE: Final = 256 * 1024


class HungUp(ConnectionError):
    """Raised when the connection ends before the answer does."""


class Exchange:
    """A connection for one question.

    Args:
        path: Where the app listens.
        timeout: Seconds until the whole answer has to be there, from the time when there is a way
            to the app; `math.inf` for no limit.
        remote: On which machine that is; None: on this one.

    Attributes:
        status: The HTTP status of the answer.
        reason: What the app calls that.

    Raises:
        OSError: Nobody listens there; `TimeoutError` or `BlockingIOError`: nobody accepts in time.
        CommandError: The other machine cannot be reached.
    """

    status = 0
    reason = ""

    def __init__(self, path: str, timeout: float, remote: Remote | None = None) -> None:
        self._left: int | None = None
        self._rest = b""
        self._line = line = None if remote is None else remote.connect(path)
        self._deadline = time.monotonic() + timeout
        if line is not None:
            self._socket = line.end
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Where the queue of connections is full, Linux waits for this long, and no time at all
        # with settimeout(); a busy app would look like one that is gone.
        microseconds = 0 if timeout == math.inf else int(timeout * 1_000_000)  # 0: no limit
        limit = struct.pack("ll", *divmod(microseconds, 1_000_000))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            if line is None:
                self._socket.connect(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        if self._line is not None:
            self._line.close()

    def lift_deadline(self) -> None:
        """Wait for as long as it takes from now on: the answer is a stream."""
        self._deadline = math.inf

    def ask(self, method: str, target: str) -> None:
        """Send the question, and read what comes before the body of the answer.

        Raises:
            OSError: The app hangs up, or does not answer in time.
            ValueError: What it says is no HTTP.
        """
        head = "Host: localhost\r\nAccept: application/json\r\nConnection: close\r\n"
        length = "" if method == "GET" else "Content-Length: 0\r\n"
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\n{head}{length}\r\n".encode("ascii"))
        said = b""
        while b"\r\n\r\n" not in said:
            if len(said) > _MAX_HEAD:
                raise ValueError("no end of the head")
            if not (more := self._piece()):
                raise HungUp
            said += more
        lines, _, self._rest = said.partition(b"\r\n\r\n")
        first, *fields = lines.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        code, _, self.reason = status.partition(" ")
        if not version.startswith("HTTP/1.") or not code.isdecimal():
            raise ValueError("no HTTP")
        self.status = int(code)
        for field in fields:
            name, _, value = field.partition(":")
            if name.lower() == "content-length":
                self._left = int(value)

    def read(self) -> bytes:
        """Return the body.

        Raises:
            OSError: As for `ask`.
        """
        return b"".join(self._pieces())

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body as they come; the last one may have no end.

        Raises:
            OSError: As for `ask`.
        """
        begun: list[bytes] = []
        for piece in self._pieces():
            first, *more = piece.split(b"\n")
            begun.append(first)
            for line in more:
                yield b"".join(begun)
                begun = [line]
        if last := b"".join(begun):
            yield last

    def _pieces(self) -> Iterator[bytes]:
        piece, left = self._rest, self._left
        while left is None or left > 0:
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                yield piece
            if left == 0:
                return
            piece = self._piece()
            if not piece:
                if left is not None:
                    raise HungUp
                return

    def _piece(self) -> bytes:
        """Read what there is; a timeout counts from when the connection was made."""
        left = min(max(self._deadline - time.monotonic(), _SHORTEST_WAIT), _LONGEST_WAIT)
        self._socket.settimeout(None if left == _LONGEST_WAIT else left)
        piece = self._socket.recv(_PIECE)
        if not piece and self._line is not None:
            self._line.check()
        return piece
