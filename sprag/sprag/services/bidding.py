"""How a `Singleton` comes to run its child, or stands by; a `Partition` is one, too.

It bids for a row when it starts, and whenever that may have changed. Who has the row runs the
child; the row is given back when the child has ended, and not before. Bids are made in greenlets of
the service; the one that is under way looks again if it was woken meanwhile.
"""

from __future__ import annotations

import contextvars
import logging
import os
import random
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast
from weakref import WeakSet

from sprag.cluster.claim import Claim, Lease
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.member import member_of
from sprag.owned.timers import TimerHandle
from sprag.services.returning import leaves_something, name_below_root, stop_for_good
from sprag_supervisor import (
    ACTIVE,
    DOWN,
    RUNNING,
    Backoff,
    MoveNote,
    adopt,
    announce_move,
    clock,
    delete_child,
    get_ident,
    holdings_of,
    is_at_work,
    name_of,
    path_of,
    restart_child,
    say,
    set_status,
    spawn_managed,
)
from sprag_supervisor.exceptions import NotRunning, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.cluster.engine import Hint
    from sprag.cluster.rows import Row
    from sprag_supervisor import Failure, Lifecycle, Moved, Node

_UNTIL_ASKED_AGAIN: Final = 1.0
"""Seconds until an engine that is away is asked again."""
AWAY: Final = (EngineAway, EngineFull)
"""What an engine raises that cannot do now what it is asked for."""
_COURTESY: Final = 0.3
"""Seconds that who has newer code gets to be the first."""
_all: Final[WeakSet[Bidding]] = WeakSet()
_random = random.Random()  # noqa: S311 - jitter, not secrets


class Bidding:
    """What a `Singleton` does in one life.

    Args:
        node: The singleton.
        child: What runs once.
        name: What it is called below it; None: as it likes.
        policy: What it was given there.

    Attributes:
        owns: Whether the row is ours.
        why_ends: Why it is stopped here, for people; "": they have asked for it.
    """

    events: ClassVar[dict[Moved | Literal["kept"], str]] = {
        "begins": "singleton begins here",
        "ends": "singleton ends here",
        "stays failed": "singleton stays failed here",
        "kept": "singleton is not handed over",
    }
    """What is logged of it."""
    level = logging.INFO
    """At which is logged that it comes and goes."""

    def __init__(self, node: Node, child: Node, name: str | None, policy: dict[str, Any]) -> None:
        tree = node._tree_
        assert tree is not None
        self._node = node
        self._incarnation = node._incarnation_
        self._child = child
        self._name = name
        self._policy = {**policy, "autostart": False}  # it is started in a step of its own
        self._tree = tree
        self._member = member_of(tree)
        self._claim = Claim(self._member, name_below_root(node))
        self._hint: Hint | None = None
        self._timer: TimerHandle | None = None
        self.owns = False
        self.why_ends = ""
        self._is_in_doubt = False
        """The row was asked for, and the answer has not come: it may be ours."""
        self._seen: tuple[str | None, int | None] = (None, None)
        """Who has the row where it is not ours, and the epoch."""
        self._has_come_up = False
        self._since = 0.0
        self._gave_up: str | None = None
        """What has ended it for good here, and has not been acted on."""
        self._in_short = ""
        """The same for nodes that may not know what failures say."""
        self._in_a_row = 0
        self._not_before = 0.0
        self._passed: int | None = None
        """The epoch of a row that was free, and was left to newer code."""
        self._bids = False  # Invariant: a greenlet does so, or is about to
        self._again = False
        self._runs = False
        """The child is being started."""
        self._gives_back = False  # Invariant: a greenlet does so, or is about to
        _all.add(self)

    # -- when to look -------------------------------------------------------------------

    def begin(self) -> None:
        """Run the child, if nobody else does. In the start of the singleton; blocks for that.

        Raises:
            StartFailed: The child has not come up, and nobody else is there to try.
        """
        self._promise()
        self._bids = True
        try:
            self._look()
        finally:
            self._bids = False
        if self._again or self._gave_up is not None:
            self.look_soon()

    def _promise(self) -> None:
        """See to it that it is woken in this life, and that others have the row after it."""
        holdings_of(self._node).add_cleanup(self._end, (), {})
        self._hint = self._watch()

    def _watch(self) -> Hint:
        """Return what wakes it when the row may have changed, or who may take it."""
        return self._claim.hint(self.look_soon)

    @property
    def is_to_wait(self) -> bool:
        """Whether it has given up here, and does not bid yet."""
        return clock.now() < self._not_before

    @property
    def is_busy(self) -> bool:
        """Whether it sees to something now."""
        return self._bids or self._gives_back

    def look_soon(self) -> None:
        """See in a moment whether there is something to be done. Callable from the hub."""
        if self.owns and not self._gives_back and not self._claim.is_good:
            # Beside a bid that is under way: it may wait for an answer, or for the child's start.
            self._gives_back = self._spawn(self._give_back)
        elif self._bids:
            self._again = True
        else:
            self._bids = self._spawn(self._bid)

    def _spawn(self, fn: Callable[[], object]) -> bool:
        """Run *fn* for the singleton, if that is at work here; return whether it is."""
        node = self._node
        is_here = self._tree.thread == get_ident() and node._incarnation_ == self._incarnation
        if is_here and is_at_work(node):
            spawn_managed(node, contextvars.Context(), fn, (), {})
            return True
        return False

    @property
    def ownership(self) -> tuple[str | None, bool, int | None]:
        """Who has the row, whether that is here, and the token; as it was seen last."""
        if self._lease is not None:
            return self._member.where or None, True, self._lease.token
        node, token = self._seen
        return node, False, token

    def has_lost(self, child: Node, failure: Failure | None) -> None:
        """Take note that the child was restarted too often."""
        if child is self._child and self.owns:
            self._gave_up = self._in_short = "it has ended too often"
            if failure is not None:
                self._gave_up, self._in_short = str(failure), failure.type
            self.look_soon()

    def _bid(self) -> None:
        try:
            while True:
                self._again = False
                self._look()
                if not self._again:
                    break
        except StartFailed as error:
            self._has_not_come_up(error)
        finally:
            self._bids = False
        if self._gave_up is not None:
            self.look_soon()

    def _has_not_come_up(self, error: StartFailed) -> None:
        self._gave_up = str(error)
        self._in_short = getattr(error.failure, "type", "it has not come up")

    def _look_at(self, when: float) -> None:
        """Look again at the monotonic time *when*."""
        if self._timer is not None:
            self._timer.cancel()
        seconds = max(when - clock.now(), 0.0)
        context = contextvars.Context()
        self._timer = TimerHandle(
            self._node, context, self.look_soon, (), first=seconds, period=None
        )

    # -- what to do ---------------------------------------------------------------------

    def _look(self) -> None:
        try:
            if self.owns:
                if self._gave_up is not None and not self._gives_back:
                    self._give_way(self._gave_up)
            elif self._tree.root._state_ in ACTIVE:  # else it would run for a moment, at the end
                self._stand_by_or_run()
        except AWAY as error:
            set_status(self._node, f"{'runs here' if self.owns else 'standby'}; {error}")
            self._look_at(clock.now() + _UNTIL_ASKED_AGAIN)

    def _stand_by_or_run(self) -> None:
        if self.is_to_wait:
            self._look_at(self._not_before)
            self._tell_standby(self._claim.look())
            return
        if why_not := self._claim.why_not():
            set_status(self._node, f"standby: {why_not}")
            return  # it is woken when that changes
        if self._lets_pass():
            return
        self._is_in_doubt = True
        row, before = self._take()
        self._is_in_doubt = False
        if row is None:
            self._tell_standby(before)
            return
        self.owns, self._since = True, clock.now()
        self._lease = Lease(row.epoch)
        why = before.why or "nobody had it yet"
        self._tell("runs here", before.why)
        self._note("begins", why, before.where)
        self._run()

    def _take(self) -> tuple[Row | None, Row]:
        """Take the row, if it is to be had; see `Claim.take`."""
        return self._claim.take()

    def _lets_pass(self) -> bool:
        """Whether to wait a moment, as newer code is there: else it would move with each of us."""
        row = self._claim.look()
        if row.owner is not None or row.epoch == self._passed or not self._member.is_to_go():
            return False
        self._passed = row.epoch
        self._look_at(clock.now() + _COURTESY)
        self._tell_standby(row)
        return True

    def _run(self) -> None:
        """Start the child."""
        child = self._child
        self._runs = True
        try:
            if self._gives_back or not self._claim.is_good:
                return  # between the claim and here others may have run
            if child._parent_ is not self._node:
                adopt(self._node, child, self._name, self._policy)
            restart_child(child)
        except StartFailed as error:
            if not self._member.where and self._tree.root._state_ is not RUNNING:
                raise  # as of anybody else: nobody is there who could try it
            if not self._gives_back:  # else it was stopped before it had come up
                self._has_not_come_up(error)
                self._again = True
        except NotRunning:
            pass  # the singleton is about to end
        else:
            self._has_come_up = True
        finally:
            self._runs = False

    def _give_back(self) -> None:
        """Stop the child, as the lease is lost or about to be; let others have the row."""
        why = self._claim.why_lost
        set_status(self._node, f"stops here: {why}")
        try:
            if not stop_for_good(self._node, self._child, lambda: self._runs):
                return  # the process ends for that, at the deadline
            self._gave_up = None
            if not self.owns:
                return  # it was given up meanwhile
            if self._child._parent_ is self._node:
                delete_child(self._node, self._child)
            self._let_go(why)
        except AWAY:
            pass  # it is free once our lease is buried, or the engine is back
        finally:
            self._gives_back = False
        self.look_soon()

    def _give_way(self, why: str) -> None:
        """Let others try, or, if all have, keep the child as it is: failed."""
        member, node = self._member, self._node
        if self._child._state_ not in DOWN:
            self._gave_up = None
            return  # somebody has started it meanwhile
        was_well = self._has_come_up and clock.now() - self._since > node._policy_.healthy_after
        present = self._present()
        told = why if member.tells_failures else self._in_short
        row = self._claim.change(
            lambda row: row.given_up(member.life, told, was_well=was_well).known_to(present)
        )
        if self._gives_back or not self.owns:
            return  # the lease was lost meanwhile
        self._gave_up = None
        self._since = clock.now()
        if row is None or self._must_keep(present, row):
            tried = "it was tried here" if len(present) == 1 else f"all {len(present)} have tried"
            self._tell("failed", f"{tried}; 'sprag start' tries again")
            self._tree.observers.append(self._note_start)
            self._note("stays failed", why)
            return
        if self._child._parent_ is node:  # else it was temporary, and has left by itself
            delete_child(node, self._child)
        self._in_a_row = 1 if was_well else self._in_a_row + 1
        seconds = (node._policy_.backoff or Backoff()).delay(self._in_a_row, _random)
        self._not_before = clock.now() + seconds
        self._let_go(f"{member.where} gave up: {told}")
        self._look_at(self._not_before)
        self._again = True

    def _present(self) -> set[str]:
        """Return the lives of all that may try. May block."""
        return self._member.present()

    def _note_start(self, record: Lifecycle) -> None:
        """Take note that somebody has started the child, by hand. Must not block."""
        if record.path == path_of(self._child) and self._child._state_ not in DOWN:
            self._observe_no_more()
            self._tell("runs here", "it was started by hand")

    def _observe_no_more(self) -> None:
        if self._note_start in self._tree.observers:
            self._tree.observers.remove(self._note_start)

    def _must_keep(self, present: set[str], row: Row) -> bool:
        """Whether the row stays here, though the child is failed."""
        if leaves_something(self._node, self._child):
            return True
        # Who is on its way up stands by then: it would not become ready.
        return present <= row.tried.keys() and self._tree.root._state_ is RUNNING

    def _let_go(self, why: str) -> None:
        try:
            self._claim.free(why)
        finally:
            # Who has a lease has given it up, whether the engine hears of that or not.
            if self._member.keeper is not None and self.owns:
                self._has_let_go(why)
        if self.owns:
            self._has_let_go(why)

    def _has_let_go(self, why: str) -> None:
        self.owns = False
        self._note("ends", why)
        self._lease = None

    # -- the end ------------------------------------------------------------------------

    def _end(self) -> None:
        """Let others have the row: the clean-up of the singleton, after its child has ended."""
        self._observe_no_more()
        if self._hint is not None:
            self._hint.cancel()
        if not self.owns and not self._is_in_doubt:
            return
        where = self._member.where or name_of(self._tree.root)
        if leaves_something(self._node, self._child):
            why = "something of it still runs here: nobody else has it before this process ends"
            say(logging.ERROR, self._node, self.events["kept"], reason=why)
            return
        try:
            if self.owns:
                self._give_up(self.why_ends or f"{where} has stopped it")
            else:
                self._claim.free(f"{where} was stopped before it could begin")
        except AWAY as error:
            say(logging.WARNING, self._node, self.events["kept"], reason=str(error))

    def _give_up(self, why: str) -> None:
        """Let others have the row, at the end."""
        self._let_go(why)

    # -- what is told ---------------------------------------------------------------------

    @property
    def _lease(self) -> Lease | None:
        found: Lease | None = cast("Any", self._node)._lease_
        return found

    @_lease.setter
    def _lease(self, lease: Lease | None) -> None:
        cast("Any", self._node)._lease_ = lease

    def _tell_standby(self, row: Row) -> None:
        if row.is_newer:
            set_status(self._node, "standby: newer code has written its row; this one must not")
            return
        here = row.tried.get(self._member.life)
        gave_up = "" if here is None else f"; gave up here: {here}"
        self._seen = None if row.owner is None else row.where, row.epoch or None
        where = f"runs in {row.where}" if row.owner is not None else "nobody has it"
        set_status(self._node, f"standby: {where}{gave_up}")

    def _tell(self, what: str, why: str) -> None:
        set_status(self._node, f"{what}: {why}" if why and self._member.where else what)

    def _note(self, what: Moved, why: str, origin: str = "") -> None:
        failed, here = what == "stays failed", self._member.where
        if not (here or failed):
            return  # alone it comes and goes with the tree
        token = None if self._lease is None else self._lease.token
        origin = "" if origin == here else origin
        note = MoveNote(clock.wall(), path_of(self._node), what, why, token, origin or None)
        self._tree.ledger.moves.append(note)
        level = logging.ERROR if failed else self.level
        more: dict[str, Any] = {"origin": origin} if origin else {}
        say(level, self._node, self.events[what], because=why, token=token, **more)
        if origin and token is not None:
            announce_move(self._node, why, origin=origin, here=here, token=token)


def _after_fork() -> None:
    for each in tuple(_all):
        each._lease = None  # the right to run it is the parent's
    _all.clear()


os.register_at_fork(after_in_child=_after_fork)
