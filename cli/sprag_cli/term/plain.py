r"""Text from outside made harmless for a terminal: names, messages, URLs, arguments, source lines.

Whatever the command line prints for people goes through here. What could move the cursor, set
the window's title or turn the order of letters round is written as Python writes it in a
literal, ``\x1b``. A newline in what should be one line becomes a space, so that nobody can
fake a line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


_JOINERS: Final = "\u200c\u200d"
"""Persian and emoji are written with them: they choose a letter's shape."""


def escaped(text: str) -> str:
    """Return *text* with an escape for each character that acts instead of being seen.

    These are what Python's `repr` escapes, too: controls (C0, C1, DEL), format characters (bidi
    among them), lone surrogates, and what this Python's Unicode does not know.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS:
        return letter
    from unicodedata import category  # most text has nothing to ask of its tables

    if category(letter) == "Zs":  # a space of another width
        return " "
    return letter.encode("unicode_escape").decode("ascii")


def printable(text: str) -> str:
    """Return *text* as one line: newlines and tabs are spaces, and the rest is `escaped`."""
    return text if text.isprintable() else escaped(" ".join(text.split()))


def printable_lines(text: str) -> list[str]:
    """Return a text that has lines, such as a traceback, line by line, each `escaped`."""
    return [escaped(line.expandtabs(4)) for line in text.replace("\r\n", "\n").split("\n")]


def shown(value: object) -> str:
    """Return the repr of a value of the user's, whatever that raises."""
    try:
        return repr(value)
    except Exception as broken:  # noqa: BLE001 - a record that is shown in part is better than none
        return f"<its __repr__ raised {type(broken).__name__}>"


def shortened(text: str, most: int, ellipsis: str = "…") -> str:
    """Return *text*, or of a longer one the beginning and how much is left out."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]}{ellipsis} ({left_out} more letters)"
