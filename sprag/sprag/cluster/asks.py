"""What a node asks of others, and what they answer, as it goes through the engine. Pure.

An answer is packed, and in parts where it is larger than what an engine takes; the first part says
how many there are, and is written last.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.cluster.plain_data import object_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST: Final = 1_000_000
"""Bytes of an answer, packed."""
LARGEST_TEXT: Final = 64_000_000
"""Bytes of it, unpacked: more is nonsense."""
PART: Final = 60_000
_PIECE: Final = 1 << 16
_MOST_PARTS: Final = LARGEST // PART + 2
_LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to other nodes.

    Attributes:
        id: Nobody else's.
        to: The lives that are meant.
        method, path, query: As on the control socket.
        where: The node where it was asked for.
        user: Who has asked for it there, and …
        uid: … their number; None: not known.
        is_claimed: It may be carried out only by who has claimed it: it changes something.
    """

    id: str
    to: tuple[str, ...]
    method: str
    path: str
    query: Mapping[str, str]
    where: str = ""
    user: str = ""
    uid: int | None = None
    is_claimed: bool = False

    @property
    def by(self) -> str:
        """Who asks, for people."""
        return f"{self.user or 'somebody'} on {self.where}"

    def as_bytes(self) -> bytes:
        """Return what is published."""
        said = {name: getattr(self, name) for name in _FIELDS}
        return json.dumps({**said, "query": dict(self.query)}, separators=(",", ":")).encode()


def ask_of(message: bytes) -> Ask | None:
    """Return the request in *message*; None: nobody could have written it."""
    try:
        said = json.loads(message)
        texts: list[Any] = [said[name] for name in ("id", "method", "path", "where", "user")]
        to, uid = cast("list[Any]", said["to"]), said["uid"]
        query = dict(cast("dict[Any, Any]", said["query"]).items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    inside = [*texts, *to, *query, *query.values()]
    if not all(isinstance(each, str) for each in inside) or type(uid) not in (int, type(None)):
        return None
    id_, method, path, where, user = texts
    is_claimed = said.get("is_claimed") is True
    return Ask(id_, tuple(to), method, path, query, where, user, uid, is_claimed)


_FIELDS: Final = ("id", "to", "method", "path", "query", "where", "user", "uid", "is_claimed")


class Packing:
    """Packs an answer, piece by piece."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(_LEVEL)
        self._packed: list[bytes] = []
        self._size = self._text = 0

    def add(self, piece: bytes) -> None:
        """Take what comes next."""
        self._text += len(piece)
        for begin in range(0, len(piece), _PIECE):
            self._take(self._pack.compress(piece[begin : begin + _PIECE]))

    def done(self) -> bytes:
        """Return all of it."""
        self._take(self._pack.flush())
        return b"".join(self._packed)

    @property
    def is_too_large(self) -> bool:
        """Whether it is too large already."""
        return self._size > LARGEST or self._text > LARGEST_TEXT

    def _take(self, packed: bytes) -> None:
        self._packed.append(packed)
        self._size += len(packed)


@dataclass(frozen=True, slots=True)
class Told:
    """The answer of one node.

    Attributes:
        status: As on the control socket.
        is_stream: One JSON object a line.
        packed: The answer itself.
    """

    status: int
    is_stream: bool
    packed: bytes

    def parts(self) -> list[bytes]:
        """Return what is kept of it under one key each."""
        pieces = [self.packed[at : at + PART] for at in range(0, len(self.packed), PART)]
        head = {"parts": len(pieces), "status": self.status, "is_stream": self.is_stream}
        return [json.dumps(head).encode() + b"\n", *pieces]

    def pieces(self) -> Iterator[bytes]:
        """Yield the answer, unpacked; its beginning, if it is broken or too large."""
        unpack = zlib.decompressobj()
        left, size = self.packed, 0
        try:
            while left and size < LARGEST_TEXT:
                piece = unpack.decompress(left, _PIECE)
                left = unpack.unconsumed_tail
                size += len(piece)
                if piece:
                    yield piece
        except zlib.error:
            return


def told_in(found: Mapping[str, bytes], prefix: str) -> dict[str, Told]:
    """Return the answers that are complete, by life, of what is kept below *prefix*."""
    told: dict[str, Told] = {}
    for key, value in found.items():
        life, _, part = key.removeprefix(prefix).partition("/")
        if part != "0":
            continue
        try:
            head = object_in(value)
            count, status = int(head["parts"]), int(head["status"])
        except (ValueError, KeyError, TypeError):
            continue
        if not 0 <= count <= _MOST_PARTS:
            continue
        keys = [f"{prefix}{life}/{number}" for number in range(1, count + 1)]
        if all(each in found for each in keys):
            packed = b"".join(found[each] for each in keys)
            told[life] = Told(status, head.get("is_stream") is True, packed)
    return told
