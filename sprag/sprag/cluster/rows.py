"""Rows: who may run what. Pure: bytes in, bytes out.

A row is a JSON object under the name of what must run once. It outlives its owners, as its epoch
has to rise with each; keys that somebody newer has put there are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, cast

from sprag.cluster.plain_data import kept_in

SCHEMA: Final = 1
LONGEST_TTL: Final = 1e6
"""Seconds; what says more is nonsense."""
HIGHEST: Final = 2**63 - 1
"""Of an epoch, in milliseconds; what is higher nobody has written."""
_REMEMBERED: Final = 2000
"""Bytes of a row that is not read again: others may have written anything."""
_LONGEST: Final = 500
_LONGEST_TRIED: Final = 200
"""Characters of what one that has given up has said: there may be a hundred of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """Who owns something that must run once.

    Attributes:
        owner: The life that may run it; None: nobody may, it is to be had.
        where: What that life is called, for people.
        epoch: Of the last owner: rises with each.
        why: Why that owner has it, or why there is none, for people.
        tried: Lives that have given up on it since it was last well, with what they said.
        ttl: Seconds for which that life has to stand still until others may bury it; 0.0: its
            parent knows when it has ended.
        schema: Of who has written it last.
        rest: What else was written there.
    """

    owner: str | None = None
    where: str = ""
    epoch: int = 0
    why: str = ""
    tried: dict[str, str] = field(default_factory=dict[str, str])
    ttl: float = 0.0
    schema: int = SCHEMA
    rest: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_newer(self) -> bool:
        """Whether newer code has written it than this: it is not to be touched (rule 8)."""
        return self.schema > SCHEMA

    def taken(self, owner: str, where: str, now: int, ttl: float = 0.0) -> Row:
        """Return it as it is when *owner* has it.

        Args:
            owner: The life that takes it.
            where: What that is called.
            now: Milliseconds of the engine's clock from before the swap, or of the wall clock:
                where an engine has forgotten, the epoch rises all the same (rule 6).
            ttl: Of that life, in seconds.
        """
        return replace(self, owner=owner, where=where, epoch=max(self.epoch + 1, now), ttl=ttl)

    def freed(self, why: str) -> Row:
        """Return it as it is when nobody has it any more."""
        return replace(self, owner=None, why=why[:_LONGEST])

    def given_up(self, life: str, said: str, *, was_well: bool) -> Row:
        """Return it as it is when *life* has given up on it; others did so before, unless well."""
        before = {} if was_well else self.tried
        return replace(self, tried={**before, life: said[:_LONGEST_TRIED]})

    def known_to(self, present: set[str]) -> Row:
        """Return it without those that have tried and are gone."""
        return replace(self, tried={k: v for k, v in self.tried.items() if k in present})

    def as_bytes(self) -> bytes:
        """Return what is kept of it."""
        said = {
            **self.rest,
            "owner": self.owner,
            "where": self.where,
            "epoch": self.epoch,
            "why": self.why,
            "tried": self.tried,
            "schema": self.schema,
        }
        if self.ttl:
            said["ttl"] = self.ttl
        return json.dumps(said, separators=(",", ":")).encode()


def row_of(value: bytes | None) -> Row:
    """Return what *value* says; nothing, or what nobody could have written, is a free row."""
    # Whoever looks at hundreds of them finds nearly all as they were.
    return _known(value) if value is None or len(value) <= _REMEMBERED else _read(value)


def _read(value: bytes | None) -> Row:
    rest = kept_in(value)
    owner, where, epoch, why, tried, ttl, schema = [rest.pop(key, None) for key in _KEYS]
    return Row(
        owner if isinstance(owner, str) else None,
        where if isinstance(where, str) else "",
        epoch if type(epoch) is int and abs(epoch) <= HIGHEST else 0,
        why if isinstance(why, str) else "",
        {str(life): str(why) for life, why in _items(tried)},
        float(ttl) if type(ttl) in (int, float) and 0 < ttl < LONGEST_TTL else 0.0,
        schema if type(schema) is int else SCHEMA,
        rest,
    )


_known = lru_cache(maxsize=1024)(_read)


def _items(given: object) -> list[tuple[object, object]]:
    return list(cast("dict[object, object]", given).items()) if isinstance(given, dict) else []


_KEYS: Final = ("owner", "where", "epoch", "why", "tried", "ttl", "schema")
