"""A log record as people read it in a terminal: one line, then its traceback, indented.

``12:34:56 warning  order dropped  service=shop/ledger order=901``. Nothing that a record says
can act on the terminal or look like another record's line. What a program has written reads as it
was written: ``12:34:56 info     shop/db | ready to accept connections``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sprag_cli.term.cells import cell_len
from sprag_cli.term.plain import escaped, printable, printable_lines, shown
from sprag_cli.term.words import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from structlog.typing import EventDict

AFTER_TIME: Final = " "
"""What comes after the time of a record, and never in it."""
_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_KEY: Final = "\x1b[36m"
_LEVELS: Final[Mapping[str, str]] = {
    "debug": _DIM,
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[1;31m",
    "critical": "\x1b[1;31m",
}
_LEVEL_CELLS: Final = 8
_BEFORE_EVENT: Final = 18
"""Cells of the time and the level."""
_MARGIN: Final = "    "
_QUOTED: Final = frozenset(" \t\"'=")
_NOT_FIELDS: Final = frozenset({"timestamp", "level", "event", "stack", "exception"})


_OF_OUTPUT: Final = frozenset(
    {"timestamp", "level", "event", "service", "incarnation", "stream", "line"}
)


class ConsoleLines:
    """Renders a record for people; the last of structlog's processors."""

    def __init__(self, *, colours: bool, width: Callable[[], int] | None = None) -> None:
        """Write with or without *colours*.

        Args:
            colours: Whether to colour.
            width: Says how many cells a line has, of a terminal: a longer record is broken between
                its fields. ``None`` means that a record is one line.
        """
        self._colours = colours
        self._width = width

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        """Return the lines of a record, without the last newline."""
        level = str(event.get("level", ""))
        parts = [
            self._in(_DIM, _line(event.get("timestamp", ""))),
            " ",
            self._in(_LEVELS.get(level, ""), f"{_line(level):<{_LEVEL_CELLS}}"),
            " ",
        ]
        if is_output(event):
            parts += [self._in(_KEY, _line(event.get("service", "-"))), self._in(_DIM, " | ")]
            return "".join([*parts, escaped(str(event["line"]).expandtabs())])
        said, *more = printable_lines(_text(event.get("event", "")))
        parts.append(self._in(_BOLD, said))
        parts += self._laid_out(_fields(event), _BEFORE_EVENT + cell_len(said))
        lines = ["".join(parts), *more]
        for name in ("stack", "exception"):
            if text := event.get(name):
                lines += printable_lines(_text(text))
        return f"\n{_MARGIN}".join(lines)

    def _laid_out(self, fields: Iterator[tuple[str, str]], used: int) -> Iterator[str]:
        """Yield the pieces of the fields; a terminal gets no line to break by itself."""
        width = math.inf if self._width is None else self._width()
        gap = "  "
        for key, value in fields:
            cells = cell_len(key) + cell_len(value)
            if used + len(gap) + cells > width:
                gap = f"\n{_MARGIN}"
                used = len(_MARGIN) - len(gap)
            pieces = [value]
            if cells > width - len(_MARGIN):
                pieces = wrapped(value, int(width) - len(_MARGIN) - cell_len(key))
                cells = cell_len(pieces[-1])
            yield from (gap, self._in(_KEY, key), f"\n{_MARGIN}".join(pieces))
            used += len(gap) + cells
            gap = " "

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours and colour and text else text


def is_output(event: EventDict) -> bool:
    """Whether a record is a line that a program has written."""
    if event.get("event") != "output" or not isinstance(event.get("line"), str):
        return False
    return _OF_OUTPUT.issuperset(event) and "stream" in event


def repeated(text: str, times: int) -> str:
    """Return what says of a record that it came so many more times."""
    first = text.partition("\n")[0]
    return f"{first}  (repeated {times} time{'s' if times > 1 else ''})"


def _fields(event: EventDict) -> Iterator[tuple[str, str]]:
    for name, value in event.items():
        # A first life goes without saying, as it does in `sprag tree`.
        if name not in _NOT_FIELDS and not (name == "incarnation" and value == 1):
            yield f"{_line(name)}=", _value(value)


def _value(value: object) -> str:
    """Return a value as one word, or quoted as Python does it."""
    if isinstance(value, str):
        if value and value.isprintable() and _QUOTED.isdisjoint(value):
            return value
        return escaped(repr(value))
    return printable(shown(value))


def _line(value: object) -> str:
    return printable(_text(value))


def _text(value: object) -> str:
    return value if isinstance(value, str) else shown(value)
