"""Where somebody stands who reads what is published. Pure.

A message has an id, which rises with the clock, and a number, which counts those of its topic. A
server that has forgotten its last messages goes on behind them: its clock has gone on meanwhile,
so nothing new is skipped by a cursor of before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sprag.cluster.engine import Page

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cursor(NamedTuple):
    """After a message.

    Attributes:
        id: Its id; 0: before all.
        number: How many there were up to it.
    """

    id: int = 0
    number: int = 0

    def as_text(self) -> str:
        """Return it as readers keep it."""
        return f"{self.id}:{self.number}"


class Message(NamedTuple):
    """What was published."""

    id: int
    number: int
    data: bytes


def cursor_of(text: str | None) -> Cursor | None:
    """Return what *text* says; None: nothing that was ever said here."""
    parts = (text or "").split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        return None
    return Cursor(int(parts[0]), int(parts[1]))


def page_of(cursor: Cursor | None, last: Cursor, found: Sequence[Message]) -> Page:
    """Return what is read at *cursor*.

    Args:
        cursor: Where the reader stands; None: at the end.
        last: The last message of the topic.
        found: The messages behind *cursor*, or the first of them.
    """
    if cursor is None or cursor.id >= last.id:
        return Page((), last.as_text(), 0)  # ahead of all: the server has forgotten what he read
    first = found[0].number - 1 if found else last.number
    then = Cursor(*found[-1][:2]) if found else last
    messages = tuple([message.data for message in found])
    return Page(messages, then.as_text(), max(first - cursor.number, 0))
