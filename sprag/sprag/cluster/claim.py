"""A member's claim to one row: the right to run what must run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sprag.cluster.rows import Row, row_of
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.cluster.engine import Hint
    from sprag.cluster.member import Member


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run what runs once, in one life of it or several.

    Attributes:
        token: Higher than that of whoever had it before. What must not be changed by two, a table
            or a file, is given it with each change, and refuses a lower one.
    """

    token: int


class Claim:
    """A member's claim to one row. All of it may block, and raises `EngineAway`.

    Args:
        member: Who claims it.
        name: What is claimed: the same for all that claim it.
    """

    def __init__(self, member: Member, name: str) -> None:
        self.member = member
        self._key = f"{member.prefix}rows/{name}"

    def hint(self, wake: Callable[[], object]) -> Hint:
        """Call *wake* when the row may have changed."""
        return self.member.engine.hint(self._key, wake)

    def take(self) -> tuple[Row | None, Row]:
        """Take the row, if it is to be had; return what it is then, and what it was before.

        None: it is not ours. One that names us is: an answer has been lost.
        """
        engine, life = self.member.engine, self.member.life
        value = engine.get(self._key).value
        row = row_of(value)
        if row.owner is not None:
            return row if row.owner == life else None, row
        taken = row.taken(life, self.member.where, clock.wall())
        return taken if engine.cas(self._key, value, taken.as_bytes()).value else None, row

    def look(self) -> Row:
        """Return the row as it is."""
        return row_of(self.member.engine.get(self._key).value)

    def change(self, how: Callable[[Row], Row]) -> Row | None:
        """Write the row anew, if it is ours; return what it is then. None: it is not."""
        engine = self.member.engine
        value = engine.get(self._key).value
        row = row_of(value)
        if row.owner != self.member.life:
            return None
        changed = how(row)
        return changed if engine.cas(self._key, value, changed.as_bytes()).value else None

    def free(self, why: str) -> None:
        """Let others have the row, if it is ours."""
        self.change(lambda row: row.freed(why))
