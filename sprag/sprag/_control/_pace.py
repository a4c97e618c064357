"""Long work in short steps: no answer may hold the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gevent import sleep

from sprag_supervisor import _clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HOLD: Final = 0.005
"""Seconds for which an answer may hold the loop at a time."""
_MOMENT: Final = 1e-6
"""What a pause takes: no time, but a timer's way through the loop.

After ``sleep(0)`` gevent comes back at once, up to fifty times, before it looks at timers and
sockets again: that would be a quarter of a second.
"""
_CHUNK: Final = 1 << 16


class Pace:
    """Called between the steps of long work: lets others run when it has held the loop enough."""

    __slots__ = ("_held_since",)

    def __init__(self) -> None:
        self._held_since = _clock.now()

    def __call__(self) -> None:
        """Let the other greenlets run, if it is time."""
        if _clock.now() - self._held_since > _HOLD:
            sleep(_MOMENT)
            self._held_since = _clock.now()


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
