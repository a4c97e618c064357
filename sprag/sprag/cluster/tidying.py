"""What a node sees to in the engine for all: who is over is buried, what nobody runs is free.

Whoever looks does it: a swap that compares what was seen is made by one, and refused to the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sprag.cluster.following import engine_as_bytes, left_over
from sprag.cluster.records import record_of, tombstone

if TYPE_CHECKING:
    from sprag.cluster.engine import Engine
    from sprag.cluster.following import Following, Picture


class Mine(NamedTuple):
    """What is ours, of all that names us.

    Attributes:
        life: Our present life, if its lease is held; else "".
        rows: Those that are at work, or were asked for just now.
    """

    life: str
    rows: set[str]


class Tidying:
    """What a node sees to.

    Args:
        engine: Where.
        prefix: Of all keys.
        where: Who does it, for people.
    """

    def __init__(self, engine: Engine, prefix: str, where: str) -> None:
        self._engine = engine
        self._prefix = prefix
        self._where = where

    def tidy(
        self,
        picture: Picture,
        following: Following,
        lives: dict[str, None],
        mine: Mine,
        now: float,
    ) -> bool:
        """Do all that is due; return whether something is to be had now. May block.

        Args:
            picture: What was seen just now.
            following: Since when.
            lives: Of this node, which are over, and of which nothing runs; those that are buried
                are taken out.
            mine: What is ours.
            now: When the picture was seen.

        Raises:
            EngineAway: The engine cannot be asked; the rest is done another time.
        """
        if following.waited_for(now) and following.identity is not None:
            written = engine_as_bytes(following.identity)
            self._engine.cas(f"{self._prefix}engine", picture.engine, written)
        self._free_unclaimed(picture, mine)
        for life in tuple(lives):
            if self._bury(life, picture.values.get(life), picture, "its lease was lost"):
                del lives[life]
        for still in following.still(now):
            why = f"{still.where} was silent for {still.seconds:.1f} s"
            self._bury(still.life, still.value, picture, why)
        self.remove_left_over(picture)
        return bool(picture.buried() & picture.owners())

    def _bury(self, life: str, value: bytes | None, picture: Picture, why: str) -> bool:
        """Say for ever that a life is over, if its record is as it was seen; return whether it is.

        One that has left nothing, neither a record nor a row, has no need of it.
        """
        named = [row.where for row in picture.rows.values() if row.owner == life]
        if (value is None and not named) or record_of(value).is_tombstone:
            return True
        stone = tombstone(value, next(iter(named), ""), why)
        if self._engine.cas(node_key(self._prefix, life), value, stone).value:
            picture.values[life], picture.records[life] = stone, record_of(stone)
            return True
        return False

    def _free_unclaimed(self, picture: Picture, mine: Mine) -> None:
        """Free the rows that name us, and that nobody here knows of: answers that never came."""
        for name, row in picture.rows.items():
            if mine.life and row.owner == mine.life and name not in mine.rows:
                freed = row.freed(f"nobody runs it in {self._where}").as_bytes()
                self._engine.cas(f"{self._prefix}rows/{name}", picture.row_values[name], freed)

    def remove_left_over(self, picture: Picture) -> None:
        """Remove the tombstones that no row names. May block, and raise `EngineAway`."""
        for life, value in left_over(picture).items():
            self._engine.cas(node_key(self._prefix, life), value, None)


def node_key(prefix: str, life: str) -> str:
    """Return where the record of a life is."""
    return f"{prefix}nodes/{life}"
