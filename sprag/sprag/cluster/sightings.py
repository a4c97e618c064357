"""Which nodes were seen, and when each was last seen to go on: for people. Pure.

Nothing is decided by it. A node whose record stood still, and then was gone, is remembered for a
while: who looks for it is told that it is lost, and since when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sprag.cluster.lease import STOP

if TYPE_CHECKING:
    from sprag.cluster.following import Picture
    from sprag.cluster.records import Record

MOST_LOST: Final = 100
"""Nodes that are remembered when they are gone."""
REMEMBERED: Final = 3600.0
"""Seconds for which they are."""


class Sighting(NamedTuple):
    """One life of a node, as it was seen.

    Attributes:
        life: Which.
        record: What it has written of itself.
        since: When that was seen to change last.
        is_lost: Whether it has stood still for so long that nothing that runs once runs there.
    """

    life: str
    record: Record
    since: float
    is_lost: bool


class Sightings:
    """What was seen of all nodes, by the clock of the lease."""

    def __init__(self) -> None:
        self._seen: dict[str, Sighting] = {}
        self._lost: dict[str, Sighting] = {}
        """By name: those that are gone."""
        self.saw_at: float | None = None
        """When something was seen last; None: never."""

    def see(self, picture: Picture, now: float) -> None:
        """Take note of what an answer has shown."""
        before, self._seen = self._seen, {}
        for life, record in picture.records.items():
            if record.is_tombstone:
                continue
            old = before.pop(life, None)
            is_same = old is not None and old.record == record
            since = old.since if old is not None and is_same else now
            is_lost = record.ttl > 0 and now - since >= STOP * record.ttl
            self._seen[life] = Sighting(life, record, since, is_lost)
        here = {each.record.where for each in self._seen.values()}
        for old in before.values():
            if old.is_lost:  # else it has said goodbye
                self._lost[old.record.where] = old
        self._lost = {
            where: each
            for where, each in list(self._lost.items())[-MOST_LOST:]
            if where not in here and now - each.since < REMEMBERED
        }
        self.saw_at = now

    def all(self) -> list[Sighting]:
        """Return all, by name; those that are gone last."""
        gone = sorted(self._lost.values(), key=_name)
        return [*sorted(self._seen.values(), key=_name), *gone]


def _name(each: Sighting) -> tuple[str, str]:
    return each.record.where, each.life
