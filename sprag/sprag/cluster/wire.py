"""How trees ask an engine that lies in another process: frames of JSON over a Unix socket.

A frame is its length, in four bytes, and a JSON list. Bytes are texts of as many characters. A
request begins with its number, and so does its answer; number 0 is a hint that comes by itself.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from sprag_supervisor import is_a

_LENGTH: Final = struct.Struct("!I")
LARGEST: Final = 8_000_000
"""Bytes of a frame: all rows of some thousand singletons."""
HINTED: Final = 0


class BadFrame(ValueError):
    """What has come is no frame."""


def frame(parts: list[Any]) -> bytes:
    """Return *parts* as they are sent."""
    data = json.dumps(parts, separators=(",", ":")).encode()
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Takes apart what comes in.

    Args:
        largest: Bytes that a frame may have.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._came = bytearray()

    def feed(self, data: bytes) -> list[list[Any]]:
        """Return the frames that are complete with *data*.

        Raises:
            BadFrame: Something else has come, or one that is too large.
        """
        came = self._came
        came += data
        found: list[list[Any]] = []
        while len(came) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(came)
            if length > self._largest:
                raise BadFrame(f"{length} bytes")
            end = _LENGTH.size + length
            if len(came) < end:
                break
            try:
                parts: Any = json.loads(bytes(came[_LENGTH.size : end]))
            except ValueError as error:
                raise BadFrame(str(error)) from None
            if not is_a(parts, list) or not parts:
                raise BadFrame("no list")
            found.append([*parts])
            del came[:end]
        return found


def text(data: bytes | None) -> str | None:
    """Return bytes as JSON takes them."""
    return None if data is None else data.decode("latin-1")


def raw(data: str | None) -> bytes | None:
    """Return them as they were."""
    return None if data is None else data.encode("latin-1")
