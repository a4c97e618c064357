"""Text measured in terminal cells: a letter of Chinese takes two, a combining accent none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_ONE_CELL_EACH: Final = frozenset([*map(chr, range(ord(" "), ord("~") + 1)), *"●◌◐◑↻■○✗↺↓·…├└│─"])
"""Text of ASCII and of what is drawn here: no tables are loaded to measure it."""


def cell_len(text: str) -> int:
    """Return how many cells *text* takes."""
    if text.isascii() or _ONE_CELL_EACH.issuperset(text):
        return len(text)
    from wcwidth import wcswidth

    width = wcswidth(text)
    return width if width >= 0 else sum(map(_letter, text))  # there is a control character


def cut(text: str, room: int, ellipsis: str) -> str:
    """Return *text* if it fits into *room* cells, else its beginning and the ellipsis."""
    if cell_len(text) <= room:
        return text
    if room <= 0:
        return ""
    if text.isascii():
        return text[: room - 1].rstrip() + ellipsis
    return text[: _fitting(text, room - 1)].rstrip() + ellipsis


def joined(parts: Sequence[str], between: str, room: int, ellipsis: str) -> str:
    """Return as many of *parts* as fit into *room* cells; of the first, its beginning at least."""
    said, *rest = parts
    for part in rest:
        longer = said + between + part
        if cell_len(longer) > room:
            break
        said = longer
    return cut(said, room, ellipsis)


def chopped(text: str, room: int) -> list[str]:
    """Break *text* anywhere into pieces of at most *room* cells."""
    if cell_len(text) <= room:
        return [text]
    if text.isascii():
        return [text[place : place + room] for place in range(0, len(text), room)]
    pieces: list[str] = []
    while text:
        size = max(_fitting(text, room), 1)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def pad(text: str, room: int) -> str:
    """Fill *text* up with spaces to *room* cells."""
    return text + " " * (room - cell_len(text))


def _letter(letter: str) -> int:
    from wcwidth import wcwidth

    return max(wcwidth(letter), 0)


def _fitting(text: str, room: int) -> int:
    """Return how many letters of *text* fit into *room* cells, with their marks."""
    size = used = 0
    for letter in text:
        used += _letter(letter)
        if used > room:
            break
        size += 1
    while size and cell_len(text[:size]) > room:  # a mark has made one before it wider
        size -= 1
    return size
