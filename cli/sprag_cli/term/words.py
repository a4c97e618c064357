"""How numbers and times are said to people, and how a text is broken into lines."""

from __future__ import annotations

from sprag_cli.term.cells import cell_len, chopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_WIDTH_LEAST: Final = 20


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
    from datetime import UTC, datetime

    today = datetime.fromtimestamp(now, UTC).astimezone(then.tzinfo).date() == then.date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def ago(moment: str, now: float) -> str:
    """Say how long ago: ``12m ago``."""
    then = _moment(moment)
    return "" if then is None else f"{duration(now - then.timestamp())} ago"


def seconds_to(moment: str, now: float) -> float | None:
    """Return the seconds until a moment; None for what is none."""
    then = _moment(moment)
    return None if then is None else then.timestamp() - now


def _moment(text: str) -> datetime | None:
    """Return a moment in the time of here; None for what is none, or no year that has a number."""
    from datetime import UTC, datetime  # most pictures show no moment

    try:
        then = datetime.fromisoformat(text)
        return (then if then.tzinfo is not None else then.replace(tzinfo=UTC)).astimezone()
    except (ValueError, OverflowError):
        return None


def seconds(value: float | None, none: str = "no limit") -> str:
    """Say a number of seconds: ``0.1 s``."""
    return none if value is None else f"{value:g} s"


def size(number: float) -> str:
    """Say a number of bytes in at most seven cells: ``980 kB``, ``1.2 GB``."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def counted(number: float, noun: str, nouns: str | None = None) -> str:
    """Say a number with its noun: ``1 timer``, ``2 timers``."""
    return f"{number:g} {noun if number == 1 else nouns or noun + 's'}"


def wrapped(text: str, width: int, taken: int = 0) -> list[str]:
    """Break *text* between words into lines of at most *width* cells; long words anywhere.

    Args:
        text: The text.
        width: The cells of a line.
        taken: So many of the first line's are something else's.
    """
    width = max(width, _WIDTH_LEAST)
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= (width - taken if len(lines) == 1 else width):
            lines[-1] = joined
        else:
            lines += chopped(word, width)
    return lines[1:] if len(lines) > 1 and not lines[0] else lines
