"""Text measured in terminal cells: a letter of Chinese takes two, a combining accent none."""

from __future__ import annotations

from rich.cells import cell_len as _cell_len
from rich.cells import set_cell_size


def cell_len(text: str) -> int:
    """Return how many cells *text* takes."""
    return len(text) if text.isascii() else _cell_len(text)


def cut(text: str, room: int, ellipsis: str) -> str:
    """Return *text* if it fits into *room* cells, else its beginning and the ellipsis."""
    if cell_len(text) <= room:
        return text
    if room <= 0:
        return ""
    return set_cell_size(text, room - 1).rstrip() + ellipsis


def pad(text: str, room: int) -> str:
    """Fill *text* up with spaces to *room* cells."""
    return text + " " * (room - cell_len(text))


def printable(text: str) -> str:
    """Return *text* on one line, without anything that could move a terminal's cursor."""
    if text.isprintable():
        return text
    spaced = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "�" for letter in spaced)
