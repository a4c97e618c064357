"""Text of others made harmless for a terminal, where sprag writes to stderr itself.

The command line has the same in `sprag_cli.term.plain`: it must not load this package to show text.
"""

from __future__ import annotations

from typing import Final
from unicodedata import category

_JOINERS: Final = "\u200c\u200d"
"""Persian and emoji are written with them: they choose a letter's shape."""


def plain(text: str) -> str:
    """Return *text* on one line, with an escape for each character that acts on a terminal."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def plain_lines(text: str) -> str:
    """Return a text that has lines, such as a traceback, each of them made `plain`."""
    return text if text.isprintable() else "\n".join(map(plain, text.split("\n")))


def _escaped(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS:
        return letter
    if category(letter) == "Zs":  # a space of another width
        return " "
    return letter.encode("unicode_escape").decode("ascii")
