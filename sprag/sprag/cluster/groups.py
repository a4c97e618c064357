"""How far a group has read what was published, and what an event is as it is kept. Pure.

A group's place is a cursor of the engine's and how many events behind it are done: a page of
several has one cursor only. It lies in the row that says who reads for the group, so whoever has
lost that row cannot move it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sprag.cluster.plain_data import object_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.cluster.engine import Page
    from sprag.cluster.rows import Row

LONGEST: Final = 200
"""Characters of the name of an event or a group, and of an id."""


class Event(NamedTuple):
    """What was published, as who hears it is told if he asks.

    Attributes:
        id: Of this event, wherever and however often it is heard.
        name: Of what has happened: ``"order:paid"``.
        at: When it was published: seconds since the epoch, by the clock of who did so.
        tries: Which try this is: 1, or more if the ones before were not well. One that ended with
            its process is not counted.
    """

    id: str
    name: str
    at: float
    tries: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a group has read.

    Attributes:
        cursor: Of the engine; None: it has not begun.
        done: How many events behind that are done.
        tries: How often the next one was tried.
    """

    cursor: str | None = None
    done: int = 0
    tries: int = 0

    def passed(self, offset: int) -> Place:
        """Return it as it is when the event so far behind the cursor is done."""
        return replace(self, done=offset + 1, tries=0)

    def tried(self) -> Place:
        """Return it as it is when the next event was tried, in vain."""
        return replace(self, tries=self.tries + 1)

    def over(self, page: Page) -> Place:
        """Return it as it is when all of *page* is done."""
        return Place(page.cursor)

    def lost(self, page: Page) -> int:
        """Return how many events were dropped that were not done."""
        return max(page.missed - self.done, 0)

    def left(self, page: Page) -> Iterator[tuple[int, bytes]]:
        """Yield what is not done of *page*, each with how far it is behind the cursor."""
        for offset, message in enumerate(page.messages, page.missed):
            if offset >= self.done:
                yield offset, message

    def kept_in(self, row: Row) -> Row:
        """Return *row* with it."""
        said = {"cursor": self.cursor, "done": self.done, "tries": self.tries}
        return replace(row, rest={**row.rest, "place": said})


def place_of(row: Row) -> Place:
    """Return the place that lies in *row*; what nobody could have written is none."""
    said: object = row.rest.get("place")
    place = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    cursor, done, tries = place.get("cursor"), place.get("done"), place.get("tries")
    if not isinstance(cursor, str):
        return Place()
    return Place(cursor, done if type(done) is int else 0, tries if type(tries) is int else 0)


def message_of(event_id: str, name: str, at: float, data: str) -> bytes:
    """Return what is kept of an event; *data* is JSON."""
    head = json.dumps({"id": event_id, "event": name, "at": at}, separators=(",", ":"))
    return f'{head[:-1]},"data":{data}}}'.encode()


def event_of(message: bytes, tries: int) -> tuple[Event, Any]:
    """Return the event, with its data.

    Raises:
        ValueError: Nobody could have published that.
    """
    told = object_in(message)
    event_id, name, at = told.get("id"), told.get("event"), told.get("at")
    if not (isinstance(event_id, str) and isinstance(name, str) and isinstance(at, int | float)):
        raise ValueError("no event")  # noqa: TRY004 - as whatever else is none
    return Event(event_id, name, float(at), tries), told.get("data")
