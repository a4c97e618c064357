"""Long answers in pieces, made in short steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

from sprag_supervisor import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_CHUNK: Final = 1 << 16
_HOLD: Final = 0.002
"""Seconds for which an answer that is alone holds the loop at a time, to look and to encode."""
_LEAST: Final = 0.001
"""Seconds that one of them has, however many there are: several are made at once for one page."""


class _Looking(Pace):
    """The pace of one answer beside others.

    Where services crash in a storm, each turn of the loop lasts as long as a supervisor may hold
    it: one that is alone gets by with half as many.
    """

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__()
        _under_way.add(self)

    def __call__(self) -> None:
        self._hold = max(_HOLD / len(_under_way), _LEAST)
        super().__call__()


_under_way: Final[WeakSet[_Looking]] = WeakSet()


def looking() -> Pace:
    """Return the pace of who only looks: a tree that is looked at ticks as one that is not."""
    return _Looking()


def encoded(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the JSON text of *body*, in as many pieces as it has items, and items of those."""
    return _encoded(dict(body), 2)


def _encoded(value: object, levels: int) -> Iterator[str]:
    if levels and value and isinstance(value, dict):
        before = "{"
        for key, each in cast("dict[str, object]", value).items():
            yield f"{before}{json.dumps({key: 0})[1:-2]}"
            yield from _encoded(each, levels - 1)
            before = ", "
        yield "}"
    elif levels and value and isinstance(value, list):
        before = "["
        for each in cast("list[object]", value):
            yield before
            yield from _encoded(each, levels - 1)
            before = ", "
        yield "]"
    else:
        yield json.dumps(value)


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
