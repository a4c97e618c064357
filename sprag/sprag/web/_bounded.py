"""A request's body that must not become too large."""

from __future__ import annotations

import io
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge


class BoundedBody(io.RawIOBase):
    """Reads a body of unknown length, and raises as soon as there is more than *most* bytes.

    Werkzeug's own stream ends at its limit as if the body did: a controller would take
    half an order for a whole one.
    """

    def __init__(self, stream: Any, most: int) -> None:
        self._stream = stream
        self._most = most
        self._left = most

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to as many bytes as *buffer* holds.

        Raises:
            RequestEntityTooLarge: There are more than the limit.
        """
        data: bytes = self._stream.read(min(len(buffer), self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise RequestEntityTooLarge(f"a body may have {self._most} bytes")
        buffer[: len(data)] = data
        return len(data)
