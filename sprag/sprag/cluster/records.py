"""What a node writes of itself, and what is written of it when it is over. Pure.

A record is a JSON object under the life it is of. Keys that somebody newer has put there are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sprag.cluster.plain_data import kept_in
from sprag.cluster.rows import HIGHEST, LONGEST_TTL, SCHEMA

_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Record:
    """One life of a node's lease, or its tombstone.

    Attributes:
        owner: The life; "" on a tombstone, and where nobody could have written this.
        where: The node's name.
        epoch: When it began, in milliseconds of the engine's clock or ours; for people.
        beat: Which attempt of that life has written it.
        ttl: Seconds for which it has to stand still until others may bury it; 0.0: unknown.
        is_tombstone: That life is over, for ever.
        rest: What else is written there: address, host, generation, and what newer code knows.
    """

    owner: str = ""
    where: str = ""
    epoch: int = 0
    beat: int = 0
    ttl: float = 0.0
    is_tombstone: bool = False
    rest: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def host(self) -> str:
        """What its machine is called; "": it does not say."""
        return str(self.rest.get("host", ""))

    @property
    def generation(self) -> int:
        """Of the code it runs, as its host counts them."""
        said = self.rest.get("generation")
        return said if type(said) is int else 1

    def renewed(self, beat: int) -> Record:
        """Return it as the next attempt writes it."""
        return replace(self, beat=beat)

    def as_bytes(self) -> bytes:
        """Return what is kept of it."""
        said = {
            **self.rest,
            "owner": self.owner,
            "where": self.where,
            "epoch": self.epoch,
            "beat": self.beat,
            "ttl": self.ttl,
            "schema": self.rest.get("schema", SCHEMA),
        }
        return json.dumps(said, separators=(",", ":")).encode()


def record_of(value: bytes | None) -> Record:
    """Return what *value* says; nothing, or what nobody could have written, names no owner."""
    rest = kept_in(value)
    owner, where, epoch, beat, ttl, tomb = [rest.pop(key, None) for key in _KEYS]
    return Record(
        owner if isinstance(owner, str) else "",
        where if isinstance(where, str) else "",
        epoch if type(epoch) is int and abs(epoch) <= HIGHEST else 0,
        beat if type(beat) is int and abs(beat) <= HIGHEST else 0,
        float(ttl) if type(ttl) in (int, float) and 0 < ttl < LONGEST_TTL else 0.0,
        tomb is True,
        rest,
    )


def tombstone(value: bytes | None, where: str, why: str) -> bytes:
    """Return what is written in place of *value*, once its life is over.

    Args:
        value: The record; None: there is none, and a row names it all the same.
        where: What it was called, where the record does not say.
        why: Who says so, and why, for people.
    """
    record = record_of(value)
    said = {"tomb": True, "where": record.where or where, "why": why[:_LONGEST], "schema": SCHEMA}
    return json.dumps(said, separators=(",", ":")).encode()


_KEYS: Final = ("owner", "where", "epoch", "beat", "ttl", "tomb")
