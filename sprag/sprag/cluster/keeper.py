"""Keeps the lease of a node: renews it, looks at the others, and tells what has become of it.

The shell around `lease` and `following`, which decide. One timer of the loop wakes it when the next
thing is due; whatever asks the engine does so in a pooled greenlet of its own, as any answer may
come late or never.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from gevent import sleep

from sprag.cluster import boottime
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.following import Following, picture_of
from sprag.cluster.lease import DEADLINE, END, RENEW, RETRY, NodeLease, Standing
from sprag.cluster.records import Record, record_of, tombstone
from sprag.cluster.sightings import Sightings
from sprag.cluster.tidying import Mine, Tidying, node_key
from sprag_supervisor import Call, clock, get_ident, is_a, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag.cluster.engine import Engine
    from sprag.cluster.following import Picture
    from sprag.cluster.lease import Attempt
    from sprag_supervisor import Tree

_WELL: Final = (Standing.HELD, Standing.AWAY)
_SAID: Final = {
    Standing.JOINING: (logging.DEBUG, "joins the cluster"),
    Standing.HELD: (logging.INFO, "has a lease"),
    Standing.AWAY: (logging.WARNING, "the engine is away: what runs once goes on for now"),
    Standing.STOPPING: (logging.ERROR, "the engine is away: what runs once stops"),
    Standing.OVER: (logging.ERROR, "the lease is lost"),
}
_A_MOMENT: Final = 0.001
"""Seconds by which a timer may come too early for the other clock."""


class Deadline(Protocol):
    """What ends the process if this does not; times are those of `boottime`."""

    def set(self, end: float, kill: float) -> object:
        """End it at *end*; if that does not help, kill it at *kill*."""
        ...

    def clear(self) -> object:
        """Let it live."""
        ...

    def close(self) -> object:
        """Let it live for ever."""
        ...


class Held:
    """Something that this life has, and that is at work here.

    Attributes:
        life: Which life has it.
        epoch: Of the row that says so.
        since: When it was known to be ours.
    """

    def __init__(self, life: str, epoch: int, since: float) -> None:
        self.life = life
        self.epoch = epoch
        self.since = since


class Keeper:
    """Keeps the lease of a node.

    Args:
        tree: Whose it is.
        engine: Where.
        prefix: Of all keys.
        ttl: Seconds.
        about: What the record says: ``where``, ``address``, ``host``, ``generation``.
        news: Called when what may be run may have changed. Must not block.

    Attributes:
        lease: The present life; None: there is none yet.
        held: What is at work, by the name of its row.
        deadline: What ends the process if this does not; None: nothing.
        picture: What was seen last; None: nothing yet.
        sightings: Who was seen, and since when, for people.
    """

    def __init__(
        self,
        tree: Tree,
        engine: Engine,
        prefix: str,
        *,
        ttl: float,
        about: Mapping[str, Any],
        news: Callable[[], object],
    ) -> None:
        self.tree = tree
        self.ttl = ttl
        self.lease: NodeLease | None = None
        self.held: dict[str, Held] = {}
        self.deadline: Deadline | None = None
        self.picture: Picture | None = None
        self.sightings = Sightings()
        self.why_away = ""
        self._place = prefix
        """Where the engine is, once it was said."""
        self._engine = engine
        self._prefix = prefix
        self._about = about
        self._where: str = about["where"]
        self._news = news
        self._following = Following(ttl)
        self._tidying = Tidying(engine, prefix, self._where)
        self._lives: dict[str, None] = {}
        """Ours that are over, and not buried yet."""
        self._timer: clock.Timer | None = None
        self._is_kept = False
        self._looks = False
        self._look_at = self._not_before = -math.inf
        self._asking: dict[str, None] = {}
        self._told: tuple[Standing, bool] | None = None
        self._seen_by = ""
        """The life that has seen the engine, with its own record in it."""
        _all.add(self)

    # -- what others ask ---------------------------------------------------------------

    @property
    def life(self) -> str:
        """The life that may run something; "": none may."""
        lease = self.lease
        return "" if lease is None or lease.standing is Standing.JOINING else lease.life

    @property
    def standing(self) -> Standing:
        """How the lease stands, now."""
        if self.lease is None:
            return Standing.JOINING
        self.lease.pass_time(boottime.now())
        return self.lease.standing

    def may_go_on(self, life: str) -> bool:
        """Whether what *life* runs may go on."""
        return self.life == life and self.standing in _WELL

    def why_not(self) -> str:
        """Return why nothing may be taken now; "": something may."""
        standing, lease = self.standing, self.lease
        if lease is None or standing is Standing.JOINING:
            return f"no lease yet{self._away()}"
        if standing is Standing.OVER:
            return f"the lease is lost: {lease.why}"
        if standing is not Standing.HELD:
            return f"the engine is away{self._away()}"
        if self._seen_by != lease.life:
            return "it has joined, and has not seen the others yet"
        left = self._following.grants_at - boottime.now()
        if left > 0:
            return f"the engine is new, or has forgotten something: nothing moves for {left:.0f} s"
        return ""

    def grants(self, identities: set[str]) -> bool:
        """Whether what these engines have granted may begin now."""
        lease = self.lease
        if lease is None or self.standing is not Standing.HELD or len(identities) != 1:
            return False
        (identity,) = identities
        # What was seen before it had joined is no sign that nothing was forgotten meanwhile.
        if self._seen_by != lease.life or identity != lease.identity:
            return False
        return self._following.grants(identity, boottime.now())

    @property
    def is_away(self) -> bool:
        """Whether the engine is away."""
        return self.standing is not Standing.HELD

    def _away(self) -> str:
        return f": {self.why_away}" if self.why_away else ""

    # -- what is at work ---------------------------------------------------------------

    def begin(self, name: str, epoch: int) -> None:
        """Take note that the row is ours, before what it is of begins."""
        assert self.lease is not None
        if not self.held and self.deadline is not None:
            self.deadline.set(self.lease.after(END), self.lease.after(DEADLINE))
        self.held[name] = Held(self.lease.life, epoch, boottime.now())

    def end(self, name: str) -> None:
        """Take note that nothing of it is at work any more. Harmless a second time."""
        if self.held.pop(name, None) is None:
            return
        if not self.held and self.deadline is not None:
            self.deadline.clear()
        self.look_soon()

    def ask(self, name: str) -> None:
        """Take note that the row is about to be asked for, or given back."""
        self._asking[name] = None

    def answered(self, name: str) -> None:
        """Take note that it was, and that what is in the row is no claim under way."""
        self._asking.pop(name, None)

    # -- coming and going --------------------------------------------------------------

    def keep(self) -> None:
        """Begin: join, and see to all else later. Blocks for that, but no longer than a ttl.

        Raises:
            EngineAway: The engine could not be asked. It is tried on all the same.
            BadEngine: It cannot be used as it stands.
        """
        self._is_kept = True
        until = boottime.now() + self.ttl
        while not self._joins():
            if boottime.now() >= until:
                self._arm()
                raise EngineAway(self._place, self.why_away or "it does not take our record")
            sleep(RENEW * self.ttl)
        self._arm()

    def _joins(self) -> bool:
        """Try to join, and wait for the answers; return whether we have."""
        try:
            self._look()
            lease = self.lease or self._begin_life(boottime.now())
            attempt = None if lease is None else lease.attempt(boottime.now())
            if lease is not None and attempt is not None:
                self._renew(lease, attempt)
            if self.standing is not Standing.JOINING:
                self._look()  # with our record there: from now on we see if all is lost
                self._tell()
        except (EngineAway, EngineFull) as error:
            self._note_away(error)
        self._disarm()  # it is we who try
        return self.standing is not Standing.JOINING

    def give_back(self) -> None:
        """Be over, at the end of the tree: others need not wait. May block.

        What is still at work keeps its rows until the process ends.

        Raises:
            EngineAway: The engine cannot be asked.
        """
        lease = self.lease
        self._is_kept = False
        self._disarm()
        if lease is None:
            return
        lease.lose("it was given back")
        if self.held:
            return
        for life in (*self._lives, lease.life):
            key = node_key(self._prefix, life)
            value = self._engine.get(key).value
            if value is not None and record_of(value).owner == life:
                self._engine.cas(key, value, tombstone(value, self._where, "has stopped"))
        found = self._engine.scan(self._prefix).value
        self._tidying.remove_left_over(picture_of(found, self._prefix))

    def forget(self) -> None:
        """Have no lease any more: this is a forked child."""
        self._is_kept = False
        if self.lease is not None:
            self.lease.lose("the process was forked")
        self.lease = self.deadline = None
        self.held.clear()

    # -- what is due -------------------------------------------------------------------

    def look_soon(self) -> None:
        """See what is to be done in the next turn of the loop. Callable from the hub."""
        if self._is_kept and self.tree.thread == get_ident():
            self.tree.pool.run_soon(Call(self._turn))

    def _turn(self) -> None:
        """Begin all that is due. Does not block."""
        if not self._is_kept:
            return
        now = boottime.now()
        lease = self.lease
        if lease is not None:
            lease.pass_time(now)
            self._tell()
        if (lease is None or lease.standing is Standing.OVER) and not self.held:
            lease = self._begin_life(now)
        if lease is not None and (attempt := lease.attempt(now)) is not None:
            self._run(lambda: self._renew(lease, attempt))
        if now >= self._next_look() and not self._looks:
            self._looks = True
            self._run(self._look_on)
        self._arm()

    def _run(self, fn: Callable[[], object]) -> None:
        self.tree.pool.run_soon(Call(fn))

    def _arm(self) -> None:
        """Be woken when the next thing is due."""
        self._disarm()
        if not self._is_kept:
            return
        times = [] if self._looks else [self._next_look()]
        lease = self.lease
        if lease is not None and lease.standing is not Standing.OVER:
            times += [lease.next_at, lease.changes_at()]
        if times:
            seconds = max(min(times) - boottime.now(), 0.0) + _A_MOMENT
            self._timer = clock.call_later(seconds, self.look_soon, ref=False)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _tell(self) -> None:
        """Tell of it, if something else may be run than before."""
        lease = self.lease
        assert lease is not None
        before, self._told = self._told, (lease.standing, self.why_not() == "")
        if before != self._told:
            self._news()
        if before is None or before[0] is not lease.standing:
            # Whoever writes the log may block.
            self._run(partial(self._log, lease.standing, lease.why or self.why_away))

    def _log(self, standing: Standing, why: str) -> None:
        level, event = _SAID[standing]
        say(level, self.tree.root, event, because=why or None)

    # -- the lease ---------------------------------------------------------------------

    def _begin_life(self, now: float) -> NodeLease | None:
        """Begin another life, once an engine was seen to begin it with."""
        following = self._following
        if following.identity is None:
            return None
        if self.lease is not None:
            self._lives[self.lease.life] = None
        life = secrets.token_hex(8)
        epoch = int(clock.wall() * 1000)
        rest = {key: value for key, value in self._about.items() if key != "where"}
        record = Record(life, self._where, epoch, 0, self.ttl, rest=rest)
        self.lease = NodeLease(life, self.ttl, record, following.identity, now)
        self._tell()
        return self.lease

    def _renew(self, lease: NodeLease, attempt: Attempt) -> None:
        try:
            answer = self._engine.cas(node_key(self._prefix, lease.life), attempt.old, attempt.new)
        except Exception as error:  # noqa: BLE001 - a client's bug must not keep the next attempt
            self._note_away(error)
            lease.unanswered()
        else:
            must_look = lease.swapped(
                attempt, is_kept=answer.value, identity=answer.identity, now=boottime.now()
            )
            has_joined = lease.standing is Standing.HELD and self._seen_by != lease.life
            if has_joined:
                self._not_before = -math.inf
            if must_look or has_joined:
                self._look_at = -math.inf
        if lease is self.lease:
            self._after_news()

    def _after_news(self) -> None:
        lease = self.lease
        if lease is not None:
            if self.held and self.deadline is not None and lease.standing is not Standing.OVER:
                self.deadline.set(lease.after(END), lease.after(DEADLINE))
            self._tell()
        self._turn()

    def _note_away(self, error: Exception) -> None:
        why = str(error)
        if is_a(error, EngineAway):
            self._place, why = error.engine, error.why
        is_new = why != self.why_away
        self.why_away = why
        if is_new and not (is_a(error, EngineAway) or is_a(error, EngineFull)):
            say(logging.ERROR, self.tree.root, "the engine cannot be asked", because=why)

    # -- the others --------------------------------------------------------------------

    def _next_look(self) -> float:
        # What is due, and could not be done, is not tried again at once.
        return max(min(self._look_at, self._following.next_at()), self._not_before)

    def _look_on(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - likewise
            self._note_away(error)
        finally:
            self._looks = False
        self._after_news()

    def _look(self) -> None:
        """Look at all there is, and do what follows from it."""
        lease = self.lease
        question = None if lease is None else lease.question()
        asked_at = boottime.now()
        self._not_before = asked_at + RETRY * self.ttl
        self._look_at = asked_at + RENEW * self.ttl
        answer = self._engine.scan(self._prefix)
        now = boottime.now()
        picture = self.picture = picture_of(answer.value, self._prefix)
        mine = set(self._lives)
        if lease is not None:
            mine.add(lease.life)
        self._following.see(picture, answer.identity, mine, now)
        if lease is not None and lease.life in picture.values:
            self._seen_by = lease.life
        self.sightings.see(picture, now)
        if lease is not None and question is not None:
            lost = self._lost_rows(picture, asked_at)
            lease.looked(
                question,
                picture.values.get(lease.life),
                answer.identity,
                is_unchanged=not lost,
                now=now,
            )
            if lost and lease.standing is not Standing.OVER:
                lease.lose(f"{', '.join(lost)} is not ours any more")
        if self._tidying.tidy(picture, self._following, self._lives, self._mine(), now):
            self._news()

    def _mine(self) -> Mine:
        """Return what is ours now, of all that names us."""
        is_held = self.standing is Standing.HELD
        return Mine(self.life if is_held else "", {*self.held, *self._asking})

    def _lost_rows(self, picture: Picture, asked_at: float) -> list[str]:
        """Return the rows of what is at work, and was so when it was asked, that name others."""
        lost: list[str] = []
        for name, held in self.held.items():
            row = picture.rows.get(name)
            if held.since < asked_at and (
                row is None or (row.owner, row.epoch) != (held.life, held.epoch)
            ):
                lost.append(name)
        return lost


def _after_fork() -> None:
    for each in tuple(_all):
        each.forget()
    _all.clear()


_all: Final[WeakSet[Keeper]] = WeakSet()
os.register_at_fork(after_in_child=_after_fork)
