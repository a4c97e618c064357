"""How a `Sharded` comes to run its partitions: who else is there, what is wanted here, what moves.

Whoever runs partitions says so in the engine, and looks at what is kept there whenever that may
have changed: `cluster.partitions` decides which to take and which to give. Each of them is a
`Partition` here, a singleton that sees to its own row. One that moves is stopped first, and its row
is free when it is down; so there is never one at work in two places.
"""

from __future__ import annotations

import contextvars
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from gevent import sleep

from sprag.cluster import boottime
from sprag.cluster.claim import SeenRow
from sprag.cluster.engine import Answer
from sprag.cluster.exceptions import EngineAway, EngineFull, NewerSchema, OtherPartitions
from sprag.cluster.member import member_of
from sprag.cluster.partitions import (
    SCHEMA,
    Bidder,
    Head,
    Placing,
    bidder_of,
    head_of,
    said_by,
    to_give,
    to_take,
)
from sprag.cluster.rows import Row, row_of
from sprag.owned.timers import TimerHandle
from sprag.services.returning import name_below_root
from sprag.services.stopping import stop
from sprag.services.unfinished import wake_stop_of
from sprag_supervisor import (
    ACTIVE,
    Call,
    Work,
    adopt,
    adopt_all,
    clock,
    get_ident,
    holdings_of,
    is_at_work,
    name_of,
    note_work,
    say,
    set_status,
    spawn_managed,
)
from sprag_supervisor.exceptions import NotRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag.cluster.engine import Hint
    from sprag.services.partition import Partition
    from sprag_supervisor import Node

_UNTIL_ASKED_AGAIN: Final = 1.0
"""Seconds until an engine that is away is asked again."""
_PAUSE: Final = 0.03
"""Seconds between two looks, however much there is to be seen: each costs all of the nodes."""
_AT_LEAST: Final = 10.0
"""Seconds after which it is looked at again, though nothing is known to have changed."""


class _Seen(NamedTuple):
    """What was seen in the engine."""

    head: Head
    raw: bytes | None
    bidders: tuple[Bidder, ...]
    present: set[str]
    rows: Mapping[int, Row]
    found: Answer[Mapping[str, bytes]] | None
    """All of it, as it is; None: nothing was seen yet."""
    at: float
    """When that was, by the clock of the lease."""


class Sharding:
    """What a `Sharded` does in one life.

    Args:
        node: That.
        make: Makes the partition of a number.
        partitions: How many there are.

    Attributes:
        is_starting: The node is on its way up, and waits for its partitions.
    """

    def __init__(
        self, node: Node, make: Callable[[Sharding, int], Partition], partitions: int
    ) -> None:
        tree = node._tree_
        assert tree is not None
        self._node = node
        self._incarnation = node._incarnation_
        self._make = make
        self._partitions = partitions
        self._tree = tree
        self._member = member = member_of(tree)
        self._name = name = name_below_root(node)
        self._key = f"{member.prefix}sharded/{name}/"
        self._rows_key = f"{member.prefix}rows/{name}/"
        self._placing = Placing(name, partitions)
        self._hints: list[Hint] = []
        self._timer: TimerHandle | None = None
        self._joined_as: Bidder | None = None
        self._last = _Seen(Head(), None, (), set(), {}, None, 0.0)
        self._rows: dict[str, SeenRow] = {}
        """Those that were seen just now to be had, for who is about to bid for them."""
        self._free_since: dict[int, float] = {}
        """When I have first seen that nobody runs it."""
        self._round: tuple[tuple[int, int], float] = ((-1, -1), 0.0)
        """The round of moves, and since when I have seen it so."""
        self._leaves: set[int] = set()
        """Partitions that are being stopped."""
        self._told = -1
        self._looks = False  # Invariant: a greenlet does so, or is about to
        self._again = False
        self._is_leaving = False
        self.is_starting = True

    # -- when to look -------------------------------------------------------------------

    def begin(self) -> None:
        """Run the partitions that are wanted here. In the start of the node; blocks for that.

        Raises:
            OtherPartitions, NewerSchema: It runs already, in another way.
            StartFailed: A partition has not come up, and nobody else is there to try.
        """
        holdings_of(self._node).add_cleanup(self._end, (), {})
        holdings_of(self._node).add_call(_Leaving(self))
        note_work(self._node)
        self._member.watchers[self] = self.look_soon
        self._looks = True
        try:
            for prefix in (self._key, self._rows_key):
                self._hints.append(self._member.engine.hint(prefix, self.look_soon))
            self._look()
        finally:
            self.is_starting = self._looks = False
        if self._again:
            self.look_soon()

    def look_soon(self) -> None:
        """See in a moment whether there is something to be done. Callable from the hub."""
        node = self._node
        if self._looks:
            self._again = True
        elif (
            self._tree.thread == get_ident()
            and node._incarnation_ == self._incarnation
            and is_at_work(node)
        ):
            self._looks = True
            spawn_managed(node, contextvars.Context(), self._look_again, (), {})

    def _look_again(self) -> None:
        try:
            while True:
                self._again = False
                self._look()
                if not self._again:
                    break
                sleep(_PAUSE)  # while partitions move, news come one by one
        finally:
            self._looks = False

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = TimerHandle(
            self._node, contextvars.Context(), self.look_soon, (), first=seconds, period=None
        )

    # -- what to do ---------------------------------------------------------------------

    def _look(self) -> None:
        if self._is_leaving or self._tree.root._state_ not in ACTIVE:
            return
        try:
            seconds = self._see_to_it()
        except (EngineAway, EngineFull) as error:
            set_status(self._node, f"{self._here()}; {error}")
            seconds = _UNTIL_ASKED_AGAIN
        except NotRunning:
            return  # it is about to end
        if not self._is_leaving and is_at_work(self._node):
            self._look_in(seconds)

    def _see_to_it(self) -> float:
        """Take what is to be had, and give what is wanted elsewhere; return when to look again."""
        keeper = self._member.keeper
        why_not = "" if keeper is None else keeper.why_not()
        if not self._member.life:
            set_status(self._node, f"{self._here()}; {why_not}")
            return _AT_LEAST  # it is woken when that changes
        seen = self._seen()
        me = self._joined_as
        is_forgotten = me not in seen.bidders or not seen.head.partitions
        if me is None or me.life != self._member.life or is_forgotten:
            self._join()
            seen = self._seen()
        if seen.head.partitions != self._partitions:
            raise self._other(seen)
        self._last = seen
        if why_not:
            set_status(self._node, f"{self._here()}; {why_not}")
            return _AT_LEAST
        self._placing.forget_all_but(seen.bidders)
        self._take(seen)
        waits = self._give(seen)
        self._tell()
        ttl = self._member.ttl
        if waits is not None:
            return waits
        return ttl if self._free_since else max(ttl, _AT_LEAST)

    def _seen(self) -> _Seen:
        member, engine = self._member, self._member.engine
        # All at one moment, and in one question: while partitions move, all look again and again.
        found = engine.scan(member.prefix)
        at, kept = boottime.now(), found.value
        present = member.present_in(kept)
        raw = kept.get(f"{self._key}head")
        nodes = f"{self._key}nodes/"
        bidders: list[Bidder] = []
        rows = {each: Row() for each in range(self._partitions)}
        for key, value in kept.items():
            if key.startswith(self._rows_key):
                number = key.removeprefix(self._rows_key)
                if number.isdecimal() and int(number) in rows:
                    rows[int(number)] = row_of(value)
            elif key.startswith(nodes):
                life = key.removeprefix(nodes)
                if life in present:
                    bidders.append(bidder_of(life, value))
                else:
                    engine.cas(key, value, None)  # its life is over
        return _Seen(head_of(raw), raw, tuple(bidders), present, rows, found, at)

    def _join(self) -> None:
        """Say that I run partitions, too, and that nobody has another number of them."""
        member, engine = self._member, self._member.engine
        me = Bidder(member.life, member.where or name_of(self._tree.root), member.address)
        key = f"{self._key}nodes/{me.life}"
        engine.cas(key, engine.get(key).value, said_by(me))
        while True:
            seen = self._seen()
            try:
                self._check(seen, me)
            except BaseException:
                engine.cas(key, said_by(me), None)
                raise
            head = seen.head.with_one_more(self._partitions)
            # Who would give it another number looks for me first, or finds that this has changed.
            if engine.cas(f"{self._key}head", seen.raw, head.as_bytes()).value:
                break
        self._joined_as = me

    def _check(self, seen: _Seen, me: Bidder) -> None:
        if seen.head.schema > SCHEMA:
            raise NewerSchema(self._name, SCHEMA, seen.head.schema)
        if seen.head.partitions not in (0, self._partitions):
            others = any(one.life != me.life for one in seen.bidders)
            if others or any(row.owner in seen.present for row in seen.rows.values()):
                raise self._other(seen)

    def _other(self, seen: _Seen) -> OtherPartitions:
        nodes = sorted({one.node for one in seen.bidders if one.life != self._member.life})
        where = ", ".join(nodes) or "another node"
        return OtherPartitions(self._name, self._partitions, seen.head.partitions, where)

    # -- taking and giving ----------------------------------------------------------------

    def _take(self, seen: _Seen) -> None:
        now, ttl, me = clock.now(), self._member.ttl, self._member.life
        self._free_since = {
            each: self._free_since.get(each, now)
            for each, row in seen.rows.items()
            if row.owner is None or row.owner not in seen.present
        }
        waits = {each: (now - since) / ttl for each, since in self._free_since.items()}
        mine = to_take(self._placing, me, seen.bidders, seen.present, seen.rows, waits)
        self._rows = {}
        if (found := seen.found) is not None and self._member.is_in(found.value):
            for each in mine:
                value = found.value.get(f"{self._rows_key}{each}")
                answer = Answer(value, found.identity, found.now)
                self._rows[str(each)] = SeenRow(answer, me, seen.at)
        here = self._all_here()
        for number, one in here.items():
            bidding = one._bidding_
            if bidding is None or bidding.owns or number in self._leaves or bidding.is_to_wait:
                continue
            if number in mine:
                bidding.look_soon()
            elif not bidding.is_busy:
                self._stop(number, one)
        new = [(self._make(self, each), str(each)) for each in mine if each not in here]
        if self.is_starting:
            side_by_side: list[tuple[Node, str | None, Mapping[str, object]]] = [
                (one, name, {"needs": ()}) for one, name in new
            ]
            adopt_all(self._node, side_by_side, by_needs=True)
        else:
            for one, name in new:
                adopt(self._node, one, name)

    def _give(self, seen: _Seen) -> float | None:
        """Stop what is wanted elsewhere, if it may move now.

        Return in how many seconds more may; None: all that is here is wanted here.
        """
        now, ttl, head = clock.now(), self._member.ttl, seen.head
        if self._round[0] != (head.round, head.left):
            self._round = ((head.round, head.left), now)
        here = self._all_here()
        give = {
            number: where
            for number, where in to_give(
                self._placing, self._member.life, seen.bidders, seen.rows
            ).items()
            if number in here and number not in self._leaves
        }
        if not give:
            return None
        quiet_in = self._round[1] + ttl - now
        moved, granted = head.moved(len(give), is_quiet=quiet_in <= 0)
        if not granted:
            return quiet_in
        if not self._member.engine.cas(f"{self._key}head", seen.raw, moved.as_bytes()).value:
            self._again = True
            return 0.0
        self._round = ((moved.round, moved.left), now)
        for number in list(give)[:granted]:
            say(logging.DEBUG, here[number], "partition moves", to=give[number].node)
            if (bidding := here[number]._bidding_) is not None:
                bidding.why_ends = f"it is wanted in {give[number].node}"
            self._stop(number, here[number])
        return ttl

    def _stop(self, number: int, one: Partition) -> None:
        self._leaves.add(number)
        stops = partial(self._stop_and_look, number, one)
        spawn_managed(self._node, contextvars.Context(), stops, (), {})

    def _stop_and_look(self, number: int, one: Partition) -> None:
        try:
            stop(one, None)
        finally:
            self._leaves.discard(number)
        self.look_soon()

    def _all_here(self) -> dict[int, Partition]:
        children = self._node._children_ or {}
        return {int(name): cast("Partition", one) for name, one in children.items()}

    # -- the end --------------------------------------------------------------------------

    def leave_soon(self, then: Callable[[], object]) -> None:
        """Run no more partitions than now, and say so, that others take them; call *then*."""
        self._is_leaving = True

        def leaves() -> None:
            try:
                self._withdraw()
            finally:
                then()

        self._tree.pool.run_soon(Call(leaves))

    def _withdraw(self) -> None:
        me, self._joined_as = self._joined_as, None
        if me is not None:
            try:
                self._member.engine.cas(f"{self._key}nodes/{me.life}", said_by(me), None)
            except (EngineAway, EngineFull) as error:
                why = str(error)
                say(logging.WARNING, self._node, "partitions are not handed over", reason=why)

    def _end(self) -> None:
        self._is_leaving = True
        self._member.watchers.pop(self, None)
        for hint in self._hints:
            hint.cancel()
        self._withdraw()

    # -- what is told -----------------------------------------------------------------------

    def lives(self) -> set[str]:
        """Return the lives of all that run partitions, or would. May block.

        Raises:
            EngineAway: The engine cannot be asked.
        """
        return {one.life for one in self._seen().bidders} | {self._member.life}

    def row_of(self, name: str) -> SeenRow | None:
        """Return the row of the partition of that name as it was seen just now, once; or None."""
        return self._rows.pop(name, None)

    def found(self, partition: int) -> tuple[str | None, str | None, Node | None]:
        """Return the node that has *partition*, its address, and what runs there, if that is here.

        As it was seen last.
        """
        last = self._last
        row = last.rows.get(partition, Row())
        one = self._all_here().get(partition)
        if one is not None and one._bidding_ is not None and one._bidding_.owns:
            me = self._joined_as or Bidder(self._member.life, self._member.where)
            return me.node, me.address or None, one._meant_()
        if row.owner not in last.present or row.owner == self._member.life:
            return None, None, None
        address = next((each.address for each in last.bidders if each.life == row.owner), "")
        return row.where or None, address or None, None

    def _here(self) -> str:
        owned = sum(
            one._bidding_ is not None and one._bidding_.owns for one in self._all_here().values()
        )
        return f"{owned} of {self._partitions} partitions here"

    def _tell(self) -> None:
        said = self._here()
        nobody = len(self._free_since.keys() - self._all_here().keys())
        set_status(self._node, f"{said}; {nobody} have nobody" if nobody else said)


class _Leaving(Work):
    """What the stop of a `Sharded` does first: say to the others that it goes."""

    tasks = 0
    done = True

    def __init__(self, sharding: Sharding) -> None:
        super().__init__(_nothing)
        self._sharding = sharding

    def drain(self) -> None:
        """Say so, in a greenlet of the engine's."""
        self.done = False
        self._sharding.leave_soon(self.kill)

    def undone(self) -> int:
        """Return 0: no work of the service's."""
        return 0

    def kill(self) -> None:
        """Wait no more."""
        self.done = True
        wake_stop_of(self._sharding._node)


def _nothing() -> None:
    pass
