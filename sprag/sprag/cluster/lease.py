"""The lease of a node: whether what may run on one node only may run here. Pure.

Nothing here asks a clock or an engine: times and answers are arguments, and what is to be done is
returned. Times are seconds on a clock that goes on while the machine sleeps (`boottime`).

The hard part is an answer that does not come. A swap without an answer may have been made, may
never be, and may be made much later. So each attempt writes a beat that was never written before,
and whoever reads the record knows by its beat which attempt it was: the lease counts from *that*
attempt's start, not from when somebody heard of it. Several attempts may be under way at once.

The other hard part is an engine that has forgotten something: a standby that was promoted, a
backup that was restored. It has another identity, and then what an answer says is nothing until
all that this life has was read back unchanged.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from sprag.cluster.records import record_of

if TYPE_CHECKING:
    from sprag.cluster.records import Record

RENEW: Final = 1 / 6
"""Of the ttl: from the start of an attempt that has succeeded to the next one."""
RETRY: Final = 0.03
"""From the start of an attempt without a good answer to the next one (rule 2)."""
AWAY: Final = 0.35
"""So long without a success, and the engine is away: nothing is taken any more."""
STOP: Final = 0.6
"""So long, and what needs the lease stops (rule 7)."""
END: Final = 0.85
"""So long, and the process is ended if it is not down (rule 7)."""
DEADLINE: Final = 0.9
"""So long, and this life is over, whatever is heard later (rule 2); the kernel ends the process."""
STOP_ROOM: Final = END - STOP
"""What may take no longer than this to stop."""
ANSWER: Final = 0.15
"""So long a verb of the engine may take: five attempts, and the first has failed."""
MOST_UNDER_WAY: Final = 5
"""Attempts at once: an answer that comes slowly is no answer that does not come."""


class Standing(Enum):
    """How a life of the lease stands."""

    JOINING = "joining"
    """Its record is yet to be written."""
    HELD = "held"
    AWAY = "away"
    """No attempt has succeeded lately: what runs goes on, and nothing is taken."""
    STOPPING = "stopping"
    """None has for so long that what needs the lease stops."""
    OVER = "over"
    """For ever: another life comes after it."""


MOVES: Final = {
    Standing.JOINING: (Standing.HELD, Standing.AWAY, Standing.STOPPING, Standing.OVER),
    Standing.HELD: (Standing.AWAY, Standing.STOPPING, Standing.OVER),
    Standing.AWAY: (Standing.HELD, Standing.STOPPING, Standing.OVER),
    Standing.STOPPING: (Standing.HELD, Standing.AWAY, Standing.OVER),
    Standing.OVER: (),
}


class Attempt(NamedTuple):
    """One swap that renews the lease, or begins it.

    Attributes:
        beat: What it writes, and no other attempt of this life does.
        began: When it was begun.
        old, new: What is swapped.
    """

    beat: int
    began: float
    old: bytes | None
    new: bytes


class Question(NamedTuple):
    """What was known when the record was asked for: an answer may be older than the last success.

    Attributes:
        identity: Of the engine, as this life knew it.
        confirmed: The last beat that had succeeded.
    """

    identity: str | None
    confirmed: int


class NodeLease:
    """One life of a node's lease.

    Args:
        life: A random id, which nobody else was or will be (rule 5).
        ttl: Seconds.
        record: What it says of itself.
        identity: Of the engine that it begins with.
        now: The time.

    Attributes:
        standing: How it stands.
        since: When the last attempt that has succeeded began.
        why: Why it is over, for people.
        identity: Of the engine under which it was last known to be whole.
        next_at: When the next attempt is due.
    """

    def __init__(self, life: str, ttl: float, record: Record, identity: str, now: float) -> None:
        self.life = life
        self.ttl = ttl
        self.standing = Standing.JOINING
        self.since = now
        self.why = ""
        self.identity = identity
        self.next_at = now
        self._record = record
        self._value: bytes | None = None
        self._beat = 0
        self._confirmed = 0
        self._began: dict[int, float] = {}  # Invariant: of the beats after the confirmed one
        self._under_way = 0

    # -- time --------------------------------------------------------------------------

    def after(self, fraction: float) -> float:
        """Return the time at which so much of the ttl has passed since the last success."""
        return self.since + fraction * self.ttl

    def pass_time(self, now: float) -> None:
        """Take note of the time: everything else here does so first."""
        if self.standing in (Standing.JOINING, Standing.OVER):
            return
        if now >= self.after(DEADLINE):
            self.lose(f"no answer has come for {now - self.since:.1f} s")
        elif now >= self.after(STOP):
            self._move(Standing.STOPPING)
        elif now >= self.after(AWAY):
            self._move(Standing.AWAY)
        else:
            self._move(Standing.HELD)

    def changes_at(self) -> float:
        """Return when it stands otherwise, if nothing is heard before."""
        marks = {Standing.HELD: AWAY, Standing.AWAY: STOP, Standing.STOPPING: DEADLINE}
        mark = marks.get(self.standing)
        return float("inf") if mark is None else self.after(mark)

    # -- attempts ----------------------------------------------------------------------

    def attempt(self, now: float) -> Attempt | None:
        """Return the attempt to be made now, if one is due."""
        self.pass_time(now)
        if self.standing is Standing.OVER or now < self.next_at:
            return None
        is_joining = self.standing is Standing.JOINING  # nothing waits for it, and it may be long
        self.next_at = now + (RENEW if is_joining else RETRY) * self.ttl
        if self._under_way >= MOST_UNDER_WAY:
            return None
        self._under_way += 1
        self._beat += 1
        self._began[self._beat] = now
        # Only the first record is created: a renewal never brings back one that is gone (rule 1).
        old = None if is_joining else self._value
        return Attempt(self._beat, now, old, self._record.renewed(self._beat).as_bytes())

    def unanswered(self) -> None:
        """Take note that an attempt has had no answer: it may yet be made."""
        self._under_way -= 1

    def swapped(self, attempt: Attempt, *, is_kept: bool, identity: str, now: float) -> bool:
        """Take the answer to an attempt; return whether the record must be read (rule 1)."""
        self._under_way -= 1
        self.pass_time(now)
        if self.standing is Standing.OVER:
            return False
        if not is_kept or identity != self.identity:
            return True
        if attempt.beat > self._confirmed:
            self._succeeded(attempt.beat, attempt.new, now)
        return False

    # -- reading back ------------------------------------------------------------------

    def question(self) -> Question:
        """Return what goes with a look at the record, from before it is sent."""
        return Question(self.identity, self._confirmed)

    def looked(
        self,
        question: Question,
        value: bytes | None,
        identity: str,
        *,
        is_unchanged: bool,
        now: float,
    ) -> None:
        """Take what a look at the engine has found.

        Args:
            question: From before it was sent.
            value: The record.
            identity: Of the engine.
            is_unchanged: All rows that this life has are as it has written them.
            now: When the answer came.
        """
        self.pass_time(now)
        if self.standing is Standing.OVER:
            return
        if value is None:
            if self.standing is Standing.JOINING:
                self.identity = identity
            else:
                self.lose("its record is gone")
            return
        record = record_of(value)
        if record.is_tombstone:
            self.lose(f"it was taken for dead: {record.rest.get('why', '')}")
        elif (record.owner, record.epoch) != (self.life, self._record.epoch):
            self.lose("its record is another's")
        elif not 0 < record.beat <= self._beat:
            self.lose("its record has a beat that it has not written")
        elif identity != self.identity:
            if is_unchanged:  # rule 4
                self.identity = identity
                self._read_back(record, value, now)
            else:
                self.lose("the engine is another, and has forgotten what runs here")
        elif record.beat < question.confirmed and question.identity == identity:
            self.lose("the engine has forgotten its last beats")
        elif record.beat > self._confirmed:
            self._read_back(record, value, now)

    def _read_back(self, record: Record, value: bytes, now: float) -> None:
        """Go on from a record that one of our attempts has written."""
        self._record = record  # with what others may have added
        if record.beat in self._began:
            self._succeeded(record.beat, value, now)
        else:
            self._value = value
            self._confirmed = record.beat

    # -- the end -----------------------------------------------------------------------

    def lose(self, why: str) -> None:
        """Be over."""
        if self.standing is not Standing.OVER:
            self._move(Standing.OVER)
            self.why = why

    def _succeeded(self, beat: int, value: bytes, now: float) -> None:
        began = self._began[beat]
        self.since = began if self.standing is Standing.JOINING else max(self.since, began)
        if self.standing is Standing.JOINING:
            self._move(Standing.HELD)
        self._value, self._confirmed = value, beat
        self._began = {each: at for each, at in self._began.items() if each > beat}
        self.next_at = max(now, began + RENEW * self.ttl)
        self.pass_time(now)

    def _move(self, standing: Standing) -> None:
        if standing is not self.standing:
            assert standing in MOVES[self.standing], (self.standing, standing)
            self.standing = standing
