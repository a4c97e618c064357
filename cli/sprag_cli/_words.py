"""How numbers, times and failures are said to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sprag_cli._cells import printable
from sprag_cli._node import number_of, text_of
from sprag_cli._render import duration

if TYPE_CHECKING:
    from sprag_cli._node import Node


def clock(moment: str, now: float) -> str:
    """Say when, as the clock here shows it; with the date unless it is today's."""
    then = _local(moment)
    if then is None:
        return "?"
    today = datetime.fromtimestamp(now, UTC).astimezone(then.tzinfo).date() == then.date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def ago(moment: str, now: float) -> str:
    """Say how long ago: ``12m ago``."""
    then = _local(moment)
    return "" if then is None else f"{duration(now - then.timestamp())} ago"


def _local(moment: str) -> datetime | None:
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (then if then.tzinfo is not None else then.replace(tzinfo=UTC)).astimezone()


def seconds(value: float | None, none: str = "no limit") -> str:
    """Say a number of seconds: ``0.1 s``."""
    return none if value is None else f"{value:g} s"


def counted(number: float, noun: str, nouns: str | None = None) -> str:
    """Say a number with its noun: ``1 timer``, ``2 timers``."""
    return f"{number:g} {noun if number == 1 else nouns or noun + 's'}"


def failure_text(failure: Node) -> str:
    """Say what went wrong, on one line: ``ValueError: bad order 17``."""
    kind, message = text_of(failure, "type").rpartition(".")[2], text_of(failure, "message")
    return printable(": ".join(filter(None, [kind, message])))


def limit_text(node: Node) -> str:
    """Say a restart limit: ``3 restarts within 5 s``."""
    most, within = number_of(node, "max_restarts"), number_of(node, "max_seconds")
    return f"{counted(most or 0, 'restart')} within {seconds(within, 'any time')}"


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """Break *text* into lines of at most *width* cells, *indent* before each but the first."""
    import textwrap

    return textwrap.wrap(
        text, max(width, 20), subsequent_indent=indent, break_on_hyphens=False
    ) or [""]
