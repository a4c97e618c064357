"""What a node has seen of the others, and since when: whom it may bury, and when it may take. Pure.

A node that is dead says nothing, and no clock but our own may say for how long: so a life is over
when its record was seen standing still for a whole ttl, from the answer that showed it first. The
swap that buries it compares the whole record once more.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sprag.cluster.records import Record, record_of
from sprag.cluster.rows import SCHEMA, Row, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping

GRACE: Final = 1.0
"""Seconds beyond a ttl for which nothing is taken from an engine that has forgotten (rule 4)."""


@dataclass(slots=True)
class Picture:
    """What an engine held at one moment.

    Attributes:
        values: The records of nodes, and tombstones, by life, as they are.
        records: The same, read.
        rows: By name.
        row_values: The same, as they are.
        engine: What is written there of the engine that all have waited for.
    """

    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    row_values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    engine: bytes | None = None

    def owners(self) -> set[str]:
        """Return the lives that rows name."""
        return {row.owner for row in self.rows.values() if row.owner is not None}

    def buried(self) -> set[str]:
        """Return the lives that have a tombstone."""
        return {life for life, record in self.records.items() if record.is_tombstone}


def picture_of(found: Mapping[str, bytes], prefix: str) -> Picture:
    """Return what a scan of all below *prefix* has found."""
    picture = Picture()
    for key, value in found.items():
        kind, _, name = key.removeprefix(prefix).partition("/")
        if kind == "nodes":
            picture.values[name], picture.records[name] = value, record_of(value)
        elif kind == "rows":
            picture.row_values[name], picture.rows[name] = value, row_of(value)
        elif kind == "engine" and not name:
            picture.engine = value
    return picture


def engine_as_bytes(identity: str) -> bytes:
    """Return what is written of the engine that all have waited for."""
    return json.dumps({"identity": identity, "schema": SCHEMA}).encode()


class Still(NamedTuple):
    """A life whose record stands still.

    Attributes:
        life: Which.
        value: Its record; None: there is none, and rows name it.
        where: What it was called.
        seconds: For how long.
    """

    life: str
    value: bytes | None
    where: str
    seconds: float


class _Sight(NamedTuple):
    value: bytes | None
    since: float
    ttl: float
    where: str


class Following:
    """What one node has seen of the others.

    Args:
        ttl: Its own, in seconds.

    Attributes:
        identity: Of the engine it was seen in.
        grants_at: Nothing may be taken before.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl  # Invariant: not above the longest
        self._seen: dict[str, _Sight] = {}
        self._longest = ttl
        self._is_known = True
        self._lives: frozenset[str] = frozenset()
        """Of which there was a record, or a tombstone, in the last picture."""
        self._saw_at = -math.inf
        self.identity: str | None = None
        self.grants_at = -math.inf

    def grants(self, identity: str, now: float) -> bool:
        """Return whether something may be taken from this engine now (rule 4)."""
        return identity == self.identity and now >= self.grants_at

    def see(self, picture: Picture, identity: str, mine: set[str], now: float) -> None:
        """Take note of what an answer has shown.

        Args:
            picture: What the engine held.
            identity: Of the engine.
            mine: Lives of our own, which are not followed.
            now: When the answer came: not when it was asked for (rule 3).
        """
        ttls = [each.ttl for each in picture.records.values()]
        ttls += [each.ttl for each in picture.rows.values()]
        self._longest = max([self._longest, *ttls])
        is_known = picture.engine == engine_as_bytes(identity)
        is_other = self.identity is not None and identity != self.identity
        # No life has a record twice: where one is there that was there before, nothing was emptied.
        is_same = not self._lives.isdisjoint(picture.values)
        self._lives = frozenset(picture.values)
        if is_other or not (is_known or (is_same and not self._is_known)):
            self._seen.clear()
            self.grants_at = now + self._longest + GRACE
        self.identity, self._is_known, self._saw_at = identity, is_known, now
        before, self._seen = self._seen, {}
        for life in (picture.values.keys() | picture.owners()) - picture.buried() - mine:
            self._seen[life] = self._sight(life, picture, before.get(life), now)

    def _sight(self, life: str, picture: Picture, before: _Sight | None, now: float) -> _Sight:
        value = picture.values.get(life)
        record = picture.records.get(life, Record())
        named = [row for row in picture.rows.values() if row.owner == life]
        ttl = max([self._ttl, record.ttl, *(row.ttl for row in named)])
        where = record.where or next((row.where for row in named), "") or life
        if before is not None:
            ttl = max(ttl, before.ttl)
        is_same = before is not None and before.value == value
        return _Sight(value, before.since if before is not None and is_same else now, ttl, where)

    def still(self, now: float) -> list[Still]:
        """Return who may be buried: seen still for a whole ttl, their own or ours (rule 3)."""
        if now < self.grants_at:
            return []
        return [
            Still(life, seen.value, seen.where, now - seen.since)
            for life, seen in self._seen.items()
            if now - seen.since >= seen.ttl
        ]

    def next_at(self) -> float:
        """Return when the next one may have to be buried, or something be taken, if ever."""
        times = [seen.since + seen.ttl for seen in self._seen.values()]
        if self._saw_at < self.grants_at or not self._is_known:
            times.append(self.grants_at)
        return max(min(times, default=math.inf), self.grants_at)

    def waited_for(self, now: float) -> bool:
        """Return whether all have waited for this engine, and nobody has written that yet."""
        return not self._is_known and now >= self.grants_at


def left_over(picture: Picture) -> dict[str, bytes]:
    """Return the tombstones that no row names any more, as they are (rule 5)."""
    return {life: picture.values[life] for life in picture.buried() - picture.owners()}
