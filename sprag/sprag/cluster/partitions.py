"""Who runs which partition of what is sharded. Pure: no clock, no engine.

Rendezvous hashing: each node has a score for each partition, made of both names, and the one with
the highest is *wanted* there. A node that comes or goes so changes the place of no partition but
those that it gains or leaves. What a node runs that is wanted elsewhere moves, a few at a time;
what nobody runs is taken at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sprag.cluster.plain_data import kept_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sprag.cluster.rows import Row

SCHEMA: Final = 1
MOST: Final = 1024
"""Partitions that something may have."""
_SHARE: Final = 16
"""Of all partitions one in so many moves in a ttl, and one at least."""


class Bidder(NamedTuple):
    """Who runs partitions, or would.

    Attributes:
        life: What it is known by, which nobody else was or will be.
        node: What it is called, in each of its lives; places depend on this alone.
        address: Where others reach it, as it says; empty: it does not say.
    """

    life: str
    node: str
    address: str = ""


def partition_of(key: bytes, partitions: int) -> int:
    """Return where *key* belongs: the same everywhere, in each version of everything.

    The first 8 bytes of its SHA-256 as a big-endian number, modulo *partitions*.
    """
    return _number(key) % partitions


def moves_at_once(partitions: int) -> int:
    """Return how many of so many partitions may move in a ttl without need."""
    return max(partitions // _SHARE, 1)


class Placing:
    """Which node is wanted where.

    Args:
        name: Of what is sharded.
        partitions: How many it has.
    """

    def __init__(self, name: str, partitions: int) -> None:
        self._name = name
        self._partitions = partitions
        self._scores: dict[str, tuple[int, ...]] = {}
        """Of each node by its name, for each partition."""

    def ranked(self, partition: int, bidders: Iterable[Bidder], row: Row) -> list[Bidder]:
        """Return *bidders* as they are wanted for *partition*, the first one most.

        Who has given up on it comes after all others. Of two with one name the one with the higher
        id comes first.
        """
        tried = row.tried

        def rank(one: Bidder) -> tuple[bool, int, str]:
            return one.life not in tried, self._scores_of(one.node)[partition], one.life

        return sorted(bidders, key=rank, reverse=True)

    def wanted(self, partition: int, bidders: Iterable[Bidder], row: Row) -> Bidder | None:
        """Return who is to run *partition*; None: there is nobody."""
        return next(iter(self.ranked(partition, bidders, row)), None)

    def forget_all_but(self, bidders: Iterable[Bidder]) -> None:
        """Keep no scores of others."""
        names = {one.node for one in bidders}
        self._scores = {node: each for node, each in self._scores.items() if node in names}

    def _scores_of(self, node: str) -> tuple[int, ...]:
        found = self._scores.get(node)
        if found is None:
            found = self._scores[node] = tuple(
                _number(f"{node}\0{self._name}/{each}".encode(errors="surrogatepass"))
                for each in range(self._partitions)
            )
        return found


def to_take(  # noqa: PLR0917 - what is known, as it is
    placing: Placing,
    me: str,
    bidders: Sequence[Bidder],
    present: set[str],
    rows: Mapping[int, Row],
    waits: Mapping[int, float],
) -> list[int]:
    """Return which partitions *me* may take now.

    Args:
        placing: Who is wanted where.
        me: My life.
        bidders: Who runs partitions, or would.
        present: The lives of all that are there.
        rows: Of each partition.
        waits: Of each that nobody runs: for how many ttl I have seen it so. After a whole one the
            second that is wanted may take it, and so on: the first may be unable to.
    """
    found: list[int] = []
    for partition, row in rows.items():
        if row.owner == me:
            found.append(partition)  # a claim of mine may not have been answered
        elif row.owner is None or row.owner not in present:
            may = placing.ranked(partition, bidders, row)[: 1 + int(waits.get(partition, 0.0))]
            if any(one.life == me for one in may):
                found.append(partition)
    return found


def to_give(
    placing: Placing, me: str, bidders: Sequence[Bidder], rows: Mapping[int, Row]
) -> dict[int, Bidder]:
    """Return which partitions of *me* are wanted elsewhere, and where.

    Not by who has given up on it: it would come back.
    """
    found: dict[int, Bidder] = {}
    for partition, row in rows.items():
        if row.owner == me:
            wanted = placing.wanted(partition, bidders, row)
            if wanted is not None and wanted.life != me and wanted.life not in row.tried:
                found[partition] = wanted
    return found


@dataclass(frozen=True, slots=True)
class Head:
    """What all agree on that run partitions of one thing.

    Attributes:
        partitions: How many there are; 0: nobody has said so yet.
        round: Of moves without need; each allows so many.
        left: How many it allows still.
        joined: How many have come: none comes without a change of this.
        schema: Of all records of it.
        rest: What else was written there.
    """

    partitions: int = 0
    round: int = 0
    left: int = 0
    joined: int = 0
    schema: int = SCHEMA
    rest: dict[str, Any] = field(default_factory=dict[str, Any])

    def with_one_more(self, partitions: int) -> Head:
        """Return it as it is when somebody has joined who knows of so many *partitions*."""
        return replace(self, partitions=partitions, joined=self.joined + 1)

    def moved(self, wanted: int, *, is_quiet: bool) -> tuple[Head, int]:
        """Return it as it is when some of *wanted* partitions move, and how many may.

        Args:
            wanted: How many are to move, 1 or more.
            is_quiet: `round` and `left` have been the same for a whole ttl: so no move of an
                earlier round is younger, and the next round may begin.
        """
        head = self
        if is_quiet:
            head = replace(self, round=self.round + 1, left=moves_at_once(self.partitions))
        granted = min(wanted, head.left)
        return replace(head, left=head.left - granted), granted

    def as_bytes(self) -> bytes:
        """Return what is kept of it."""
        said = {**self.rest, **{key: getattr(self, key) for key in _KEYS}}
        return json.dumps(said, separators=(",", ":")).encode()


def head_of(value: bytes | None) -> Head:
    """Return what *value* says; nothing, or what nobody could have written, says nothing."""
    rest = kept_in(value)
    numbers = {key: rest.pop(key, None) for key in _KEYS}
    return Head(
        **{key: each for key, each in numbers.items() if type(each) is int},
        rest=rest,
    )


def bidder_of(life: str, value: bytes) -> Bidder:
    """Return who has said *value* of itself."""
    said = kept_in(value)
    node, address = said.get("where"), said.get("address")
    return Bidder(
        life,
        node if isinstance(node, str) else "",
        address if isinstance(address, str) else "",
    )


def said_by(bidder: Bidder) -> bytes:
    """Return what *bidder* says of itself."""
    said = {"where": bidder.node, "address": bidder.address, "schema": SCHEMA}
    return json.dumps(said, separators=(",", ":")).encode()


def _number(data: bytes) -> int:
    return int.from_bytes(sha256(data).digest()[:8], "big")


_KEYS: Final = ("partitions", "round", "left", "joined", "schema")
