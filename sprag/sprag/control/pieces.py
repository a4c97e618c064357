"""Long answers in pieces, made in short steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag_supervisor import Pace

_CHUNK: Final = 1 << 16


def chunks(pieces: Iterable[str], pace: Pace) -> Iterator[bytes]:
    """Yield the text of *pieces* in UTF-8, in chunks of a size that suits a socket."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield "".join(held).encode()
            held.clear()
            size = 0
        pace()
    if held:
        yield "".join(held).encode()
