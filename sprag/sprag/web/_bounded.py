"""A request's body as another server gives it, which must not become too large."""

from __future__ import annotations

import io
from typing import Any

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge


class BoundedBody(io.RawIOBase):
    """Reads a body to its end, and raises as soon as there is more than *most* bytes.

    Werkzeug's own stream ends at its limit as if the body did: a controller would take
    half an order for a whole one. And it reads lines a byte at a time.

    Args:
        stream: The server's.
        most: Bytes that it may have.
        length: What was announced; None: the stream ends by itself.
    """

    def __init__(self, stream: Any, most: int, length: int | None) -> None:
        self._stream = stream
        self._most = most
        self._length = length
        self._read = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to as many bytes as *buffer* holds.

        Raises:
            RequestEntityTooLarge: There are more than the limit.
            ClientDisconnected: There are less than were announced.
        """
        end = self._most + 1 if self._length is None else self._length
        data: bytes = self._stream.read(min(len(buffer), end - self._read))
        self._read += len(data)
        if self._read > self._most:
            raise RequestEntityTooLarge(f"a body may have {self._most} bytes")
        if not data and self._read < (self._length or 0):
            raise ClientDisconnected("the body is shorter than announced")
        buffer[: len(data)] = data
        return len(data)
