"""A member's claim to one row: the right to run what must run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sprag.cluster import boottime
from sprag.cluster.engine import Answer
from sprag.cluster.records import record_of
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


class SeenRow(NamedTuple):
    """A row as it was seen in passing, together with the record of our life.

    Attributes:
        answer: The row, as the engine has told it.
        life: Ours at that time. Another one has seen nothing: what the engine has told before our
            lease was lost it may have forgotten, and others may have had the row since.
        at: When that was, by the clock of the lease.
    """

    answer: Answer[bytes | None]
    life: str | None
    at: float

    def by_now(self) -> Answer[bytes | None]:
        """Return it with what the engine's clock says now: the next token goes by that (rule 6)."""
        value, identity, then = self.answer
        since = int((boottime.now() - self.at) * 1000)
        return Answer(value, identity, None if then is None else then + since)


class Claim:
    """A member's claim to one row. All of it but `is_good` may block, and raise `EngineAway`.

    Args:
        member: Who claims it.
        name: What is claimed: the same for all that claim it.
    """

    def __init__(self, member: Member, name: str) -> None:
        self.member = member
        self.name = name
        self._key = f"{member.prefix}rows/{name}"
        self._life = ""
        """Under which it was taken."""
        self._written: bytes | None = None
        """What we wrote last, and nobody is known to have changed."""

    def hint(self, wake: Callable[[], object]) -> Hint:
        """Call *wake* when the row may have changed, or who may take it."""
        return _Wakes(self.member, self.member.engine.hint(self._key, wake), wake)

    def watch(self, wake: Callable[[], object]) -> Hint:
        """Call *wake* when who may take it may have changed; of the row others look."""
        return _Wakes(self.member, None, wake)

    def why_not(self) -> str:
        """Return why it cannot be taken now, for people; "": it may be, if the row is free."""
        keeper = self.member.keeper
        return "" if keeper is None else keeper.why_not()

    @property
    def is_good(self) -> bool:
        """Whether what was begun under it may go on. Does not block."""
        keeper = self.member.keeper
        return keeper is None or keeper.may_go_on(self._life)

    @property
    def why_lost(self) -> str:
        """Why it may not, for people."""
        keeper = self.member.keeper
        return "" if keeper is None else keeper.why_not()

    def take(self, seen: SeenRow | None = None) -> tuple[Row | None, Row]:
        """Take the row, if it is to be had; return what it is then, and what it was before.

        None: it is not ours. One that names us is: an answer has been lost. It is taken anew all
        the same, so that nothing that is still under way for it can be made (rule 5).

        Args:
            seen: The row as it was a moment ago, for who has it: that spares two questions. None:
                they are asked; and so they are if the row has changed meanwhile, or our life.
        """
        with self.member.room:
            if seen is not None and seen.life == self.member.life:
                row, before = self._take(seen.by_now(), has_seen_us=True)
                if row is not None:
                    return row, before
            return self._take(self.member.engine.get(self._key), has_seen_us=False)

    def _take(self, answer: Answer[bytes | None], *, has_seen_us: bool) -> tuple[Row | None, Row]:
        member, engine, keeper = self.member, self.member.engine, self.member.keeper
        life = member.life
        before = row_of(answer.value)
        identities = {answer.identity}
        if before.is_newer or not life:
            return None, before
        if before.owner is not None and before.owner != life:
            if keeper is None:
                return None, before
            grave = engine.get(f"{member.prefix}nodes/{before.owner}")  # after the row: for ever
            identities.add(grave.identity)
            if not (stone := record_of(grave.value)).is_tombstone:
                return None, before
            before = before.freed(str(stone.rest.get("why", "")))
        self._life = life
        ms = clock.wall() * 1000 if answer.now is None else answer.now
        taken = before.taken(life, member.where, int(ms), 0.0 if keeper is None else keeper.ttl)
        if keeper is None:
            if not engine.cas(self._key, answer.value, taken.as_bytes()).value:
                return None, before
            self._written = taken.as_bytes()
            return taken, before
        if life != member.life or not keeper.grants(identities):
            return None, before
        if not has_seen_us and not self._has_forgotten_nothing(life, identities):
            return None, before  # asked once more by each swap, it would never come to an end
        keeper.ask(self.name)
        try:
            swapped = engine.cas(self._key, answer.value, taken.as_bytes())
            identities.add(swapped.identity)
            is_ours = swapped.value and self._has_forgotten_nothing(life, identities)
            # Nothing may block between this look at the clock and the start (rule 2).
            if is_ours and life == member.life and keeper.grants(identities):
                self._written = taken.as_bytes()
                keeper.begin(self.name, taken.epoch)
                return taken, before
        finally:
            keeper.answered(self.name)
        if swapped.value:
            keeper.look_soon()  # it is ours by name, and nobody runs it
        return None, before

    def _has_forgotten_nothing(self, life: str, identities: set[str]) -> bool:
        """Whether our record is there, which nobody makes anew: where all is lost, rows are free.

        That may be before anybody has seen it, and who has had them works.
        """
        mine = self.member.engine.get(f"{self.member.prefix}nodes/{life}")
        identities.add(mine.identity)
        return record_of(mine.value).owner == life

    def look(self) -> Row:
        """Return the row as it is."""
        with self.member.room:
            return row_of(self.member.engine.get(self._key).value)

    def prepare(self, how: Callable[[Row], Row]) -> None:
        """Write the row anew if nobody has it, for whoever takes it."""
        engine = self.member.engine
        with self.member.room:
            value = engine.get(self._key).value
            row = row_of(value)
            if row.owner is None and not row.is_newer and (changed := how(row)) != row:
                engine.cas(self._key, value, changed.as_bytes())

    def change(self, how: Callable[[Row], Row]) -> Row | None:
        """Write the row anew, if it is ours; return what it is then. None: it is not.

        If it is as we have written it last, that is one question and not two: who hands over many
        hands them over sooner.
        """
        engine = self.member.engine
        with self.member.room:
            value, self._written = self._written, None
            if value is None or (changed := self._changed(value, how)) is None:
                value = engine.get(self._key).value
                changed = self._changed(value, how)
            return changed

    def _changed(self, value: bytes | None, how: Callable[[Row], Row]) -> Row | None:
        """Swap *value* for what it becomes, if it is of ours, and kept; return what that is."""
        row = row_of(value)
        if row.owner != (self._life or self.member.life):
            return None
        changed = how(row)
        told = changed.as_bytes()
        if not self.member.engine.cas(self._key, value, told).value:
            return None
        self._written = told
        return changed

    def done(self) -> None:
        """Take note that nothing of it is at work here any more. Does not block, nor raise."""
        keeper = self.member.keeper
        if keeper is not None:
            keeper.end(self.name)

    def done_with(self) -> None:
        """Do the same before `free`, which comes soon: until then no look here frees the row."""
        if self.member.keeper is not None:
            self.member.keeper.ask(self.name)
        self.done()

    def free(self, why: str) -> None:
        """Let others have the row, if it is ours; nothing of it is at work here any more."""
        self.done_with()
        try:
            self.change(lambda row: row.freed(why))
        finally:
            if self.member.keeper is not None:
                self.member.keeper.answered(self.name)


class _Wakes:
    """A wish to be woken by the lease, and by the engine if there is a *hint* of its."""

    def __init__(self, member: Member, hint: Hint | None, wake: Callable[[], object]) -> None:
        self._member = member
        self._hint = hint
        self._wake = wake
        member.watchers[self] = wake

    def cancel(self) -> None:
        """Be woken no more. Harmless a second time."""
        self._member.watchers.pop(self, None)
        if self._hint is not None:
            self._hint.cancel()
