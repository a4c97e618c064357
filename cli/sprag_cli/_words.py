"""How numbers, times and failures are said to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sprag_cli._cells import cell_len, chopped
from sprag_cli._node import number_of, text_of
from sprag_cli._plain import printable

if TYPE_CHECKING:
    from sprag_cli._node import Node

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_WIDTH_LEAST: Final = 20
_MESSAGE_MOST: Final = 2000


def duration(seconds: float) -> str:
    """Say a length of time in at most six cells or so: ``42 s``, ``12m``, ``2h03m``, ``3d04h``."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def clock(moment: str, now: float) -> str:
    """Say when, as the clock here shows it; with the date unless it is today's."""
    then = _moment(moment)
    if then is None:
        return "?"
    then = then.astimezone()
    today = datetime.fromtimestamp(now, UTC).astimezone(then.tzinfo).date() == then.date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def ago(moment: str, now: float) -> str:
    """Say how long ago: ``12m ago``."""
    then = _moment(moment)
    return "" if then is None else f"{duration(now - then.timestamp())} ago"


def _moment(text: str) -> datetime | None:
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    return then if then.tzinfo is not None else then.replace(tzinfo=UTC)


def seconds(value: float | None, none: str = "no limit") -> str:
    """Say a number of seconds: ``0.1 s``."""
    return none if value is None else f"{value:g} s"


def counted(number: float, noun: str, nouns: str | None = None) -> str:
    """Say a number with its noun: ``1 timer``, ``2 timers``."""
    return f"{number:g} {noun if number == 1 else nouns or noun + 's'}"


def failure_text(failure: Node) -> str:
    """Say what went wrong, on one line: ``ValueError: bad order 17``."""
    kind, message = text_of(failure, "type").rpartition(".")[2], text_of(failure, "message")
    message = message[:_MESSAGE_MOST]  # an exception may hold a whole document
    return printable(": ".join(filter(None, [kind, message])))


def limit_text(node: Node) -> str:
    """Say a restart limit: ``3 restarts within 5 s``."""
    most, within = number_of(node, "max_restarts"), number_of(node, "max_seconds")
    return f"{counted(most or 0, 'restart')} within {seconds(within, 'any time')}"


def wrapped(text: str, width: int) -> list[str]:
    """Break *text* between words into lines of at most *width* cells; long words anywhere."""
    width = max(width, _WIDTH_LEAST)
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += chopped(word, width)
    return lines[1:] if len(lines) > 1 and not lines[0] else lines
