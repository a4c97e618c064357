"""Text measured in terminal cells: a letter of Chinese takes two, a combining accent none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_ONE_CELL_EACH: Final = re.compile("[ -~●◌◐◑↻■○✗↺↓·…├└│─]*")
"""Text of ASCII and of what is drawn here: rich is not loaded to measure it."""


def cell_len(text: str) -> int:
    """Return how many cells *text* takes."""
    if text.isascii() or _ONE_CELL_EACH.fullmatch(text):
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)


def cut(text: str, room: int, ellipsis: str) -> str:
    """Return *text* if it fits into *room* cells, else its beginning and the ellipsis."""
    if cell_len(text) <= room:
        return text
    if room <= 0:
        return ""
    if text.isascii():
        return text[: room - 1].rstrip() + ellipsis
    from rich.cells import set_cell_size

    return set_cell_size(text, room - 1).rstrip() + ellipsis


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
    from rich.cells import chop_cells

    return chop_cells(text, room)


def pad(text: str, room: int) -> str:
    """Fill *text* up with spaces to *room* cells."""
    return text + " " * (room - cell_len(text))
