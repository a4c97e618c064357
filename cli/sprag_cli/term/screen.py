"""Where the output goes: how wide it is, what it can print, and whether in colour."""

from __future__ import annotations

import os

from sprag_cli.record import Record
from sprag_cli.term.plain import escaped
from sprag_cli.term.style import ASCII, UNICODE, Charset, Line, Tone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, TextIO

_WIDTH_OFF_TERMINAL: Final = 120
_HEIGHT_OFF_TERMINAL: Final = 24
_WIDTH_LEAST: Final = 10
_DUMB: Final = ("dumb", "unknown")

_STYLES: Final[Mapping[Tone, str]] = {
    Tone.NAME: "1",  # bold
    Tone.DIM: "2",
    Tone.GOOD: "32",  # green
    Tone.BUSY: "33",  # yellow
    Tone.BAD: "31;1",  # red, bold
}
"""What an escape says of a tone (ECMA-48, SGR)."""


class Screen(Record):
    """What an output stream can show.

    Attributes:
        width: Cells per line.
        height: Lines; of no meaning off a terminal.
        charset: The characters it can print.
        colour: Whether to colour.
        terminal: Whether somebody looks at it.
        moves: Whether it draws in place when told to: it is a terminal, and no dumb one.
    """

    width: int
    height: int
    charset: Charset
    colour: bool
    terminal: bool
    moves: bool

    def painted(self, line: Line) -> str:
        """Return a line as text for this screen: whatever it says, it stays one line.

        What is drawn is made printable before it is measured; what was forgotten is escaped here.
        """
        line = [(escaped(text), tone) for text, tone in line]
        if not self.colour:
            return "".join(text for text, _ in line)
        return "".join(
            f"\x1b[{_STYLES[tone]}m{text}\x1b[0m" if tone in _STYLES else text
            for text, tone in line
        )


def screen_of(
    stream: TextIO, environ: Mapping[str, str] | None = None, *, ascii_only: bool = False
) -> Screen:
    """Look at an output stream.

    Args:
        stream: The stream.
        environ: Environment variables, for ``NO_COLOR``, ``FORCE_COLOR``, ``TERM`` and
            ``COLUMNS``. ``None`` means those of the process.
        ascii_only: Draw in ASCII even where the stream could print more.
    """
    environ = os.environ if environ is None else environ
    terminal = stream.isatty()
    width, height = size_of(stream, environ)
    unicode = not ascii_only and _prints_unicode(stream)
    return Screen(
        width=max(width, _WIDTH_LEAST),
        height=height,
        charset=UNICODE if unicode else ASCII,
        colour=coloured(stream, environ),
        terminal=terminal,
        moves=terminal and bool(environ.get("TERM")) and _understands(environ),
    )


def coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether to colour what goes to *stream*."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and _understands(environ))


def _understands(environ: Mapping[str, str]) -> bool:
    """Tell whether a terminal takes escapes as such: a dumb one prints them."""
    return environ.get("TERM") not in _DUMB


def size_of(stream: TextIO, environ: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return the columns and lines of a terminal; ``COLUMNS`` and ``LINES`` know better."""
    environ = os.environ if environ is None else environ
    try:
        width, height = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # it is none
        width, height = _WIDTH_OFF_TERMINAL, _HEIGHT_OFF_TERMINAL
    columns, lines = environ.get("COLUMNS", ""), environ.get("LINES", "")
    if columns.isdecimal():
        width = int(columns) or width
    if lines.isdecimal():
        height = int(lines) or height
    return width or _WIDTH_OFF_TERMINAL, height or _HEIGHT_OFF_TERMINAL


def _prints_unicode(stream: TextIO) -> bool:
    drawn = "".join([*UNICODE.symbols.values(), UNICODE.branch, UNICODE.restarts, UNICODE.between])
    try:
        (drawn + UNICODE.ellipsis).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
