"""A tree as one of those that share an engine: what it broadcasts, and what it hears.

Whoever broadcasts does not wait: what there is to be sent lies in a queue, which a pooled greenlet
empties; another reads what there is to be heard. Both exist only while there is something to do.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import deque
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from gevent.event import Event
from gevent.lock import BoundedSemaphore, Semaphore

from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.keeper import Keeper
from sprag.cluster.mail import Mail
from sprag.cluster.memory import MemoryEngine
from sprag.cluster.plain_data import object_in
from sprag.cluster.records import record_of
from sprag_supervisor import Call, Pace, get_ident, name_of, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag.cluster.asking import Asking
    from sprag.cluster.cluster import Cluster
    from sprag.cluster.engine import Engine, Hint
    from sprag.cluster.records import Record
    from sprag_supervisor import Tree

MOST: Final = 10_000
"""Broadcasts that wait to be sent; of more the latest are dropped."""
MOST_BYTES: Final = 8_000_000
"""Their bytes."""
_AT_ONCE: Final = 60_000
"""Bytes of what is sent in one message, if it is more than one broadcast."""
_CLAIMS_AT_ONCE: Final = 6
"""An engine is asked over eight connections."""
_HANDS: Final = _CLAIMS_AT_ONCE - 1
"""So many rows are given back at once when the node goes: a singleton's finds room beside them."""
_TTL: Final = 1.0
"""Of those without a lease: to move something costs them little."""


class Member:
    """A tree, as one of those that share an engine.

    Args:
        tree: The tree.
        engine: What they share.
        app: The name that all of them have.
        where: What it is called among them; empty: it is alone.
        life: What it is known by, which nobody else was or will be.
        generation: Of the code it runs.

    Attributes:
        cluster: What the app has said of it; None: nothing.
        keeper: Of its lease; None: the engine knows when it has ended.
        address: Where others reach it, as it says; empty: it does not say.
        asking: What it asks of others, and they of it; None: nothing.
        room: For so many of its claims at a time as leave a connection to the lease: who waits
            for it does not wait for the engine, whose answer would come too late.
        sent, dropped, missed: Broadcasts of it that were sent, and that were not; and those of
            others that it has not heard, at least so many: of what was sent together with others,
            and lost, all are one.
    """

    def __init__(
        self,
        tree: Tree,
        engine: Engine,
        *,
        app: str,
        where: str = "",
        life: str = "",
        generation: int = 1,
    ) -> None:
        self.tree = tree
        self.engine = engine
        self.where = where
        self.generation = generation
        self.keeper: Keeper | None = None
        self.asking: Asking | None = None
        self.cluster: Cluster | None = None
        self.address = ""
        self.room = BoundedSemaphore(_CLAIMS_AT_ONCE)
        self.watchers: dict[object, Callable[[], object]] = {}
        """Called when what may be run may have changed."""
        self._turns: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._life = life or secrets.token_hex(8)
        self.prefix = f"sprag/{app}/"
        self.sent = self.dropped = self.missed = 0
        self._topic = f"{self.prefix}topics/broadcast"
        self._cursor: str | None = None
        self._hint: Hint | None = None
        self._outbox: deque[bytes] = deque()
        self._size = 0  # Invariant: bytes in it
        self._told = (0, 0)
        """How many dropped and missed ones have been told of."""
        self._sends = self._reads = False  # Invariant: a greenlet does so, or is about to
        self._has_news = False
        self._host = ""
        self._to_free: deque[Callable[[], object]] = deque()
        self._hands = 0  # Invariant: greenlets that do so, or are about to
        self._has_freed = Event()
        self._has_freed.set()
        self._mail: dict[int, Mail] = {}
        """By the identity of the service."""

    # -- coming and going --------------------------------------------------------------

    @property
    def life(self) -> str:
        """What it is known by; "": by nothing yet."""
        return self._life if self.keeper is None else self.keeper.life

    @property
    def ttl(self) -> float:
        """Seconds: of its lease, and within which only so much moves without need."""
        return _TTL if self.keeper is None else self.keeper.ttl

    @property
    def is_away(self) -> bool:
        """Whether the engine is away, which only who has a lease knows."""
        return self.keeper is not None and self.keeper.is_away

    @property
    def needs_engine(self) -> bool:
        """Whether the app counts as ready only with its engine."""
        return self.cluster is not None and self.cluster.ready == "engine"

    @property
    def tells_failures(self) -> bool:
        """Whether others may know what failures here say, and not only of which class they are."""
        return self.cluster is None or self.cluster.control != "off"

    def turn_of(self, name: str) -> Semaphore:
        """Return the right to bid for the row of that *name* in this tree: one does at a time."""
        found = self._turns.get(name)
        if found is None:
            found = self._turns[name] = Semaphore()
        return found

    def keep(self, ttl: float, host: str, address: str) -> Keeper:
        """Have a lease, which each `life` of it has anew; to be called before it joins.

        Args:
            ttl: Of the lease, in seconds.
            host: What this machine is called.
            address: Where others reach this node; empty: it does not say.
        """
        about = {
            "where": self.where,
            "host": host,
            "address": address,
            "generation": self.generation,
        }
        self._host = host
        self.address = address
        self.keeper = Keeper(
            self.tree, self.engine, self.prefix, ttl=ttl, about=about, news=self._news
        )
        return self.keeper

    def join(self) -> None:
        """Be one of them: from now on it hears what is broadcast. May block.

        Raises:
            EngineAway: The engine cannot be asked. Who has a lease goes on trying.
        """
        if self.keeper is None:
            said = {"where": self.where, "generation": self.generation, "schema": 1}
            self.engine.cas(f"{self.prefix}nodes/{self.life}", None, json.dumps(said).encode())
        else:
            self.keeper.keep()
        self._listen()

    def _listen(self) -> None:
        cursor = self.engine.read(self._topic, None).value.cursor
        if self._cursor is None:
            self._cursor = cursor
            self._hint = self.engine.hint(self._topic, self.read_soon)

    def _news(self) -> None:
        """Wake all that may run something else than before. Must not block."""
        if self._cursor is None:
            self._run(self._listen_at_last)
        for wake in tuple(self.watchers.values()):
            wake()

    def _listen_at_last(self) -> None:
        with suppress(EngineAway):
            self._listen()

    def free_soon(self, free: Callable[[], object]) -> None:
        """Call *free*, which gives a row back, in a moment: nobody waits for it before I leave.

        It may block, but must not raise.
        """
        self._to_free.append(free)
        if self._hands < _HANDS and self._run(self._free):
            self._hands += 1
            self._has_freed.clear()

    def _free(self) -> None:
        try:
            while self._to_free:
                self._to_free.popleft()()
        finally:
            self._hands -= 1
            if not self._hands:
                self._has_freed.set()

    def leave(self) -> None:
        """Hear nothing any more, and have no lease. May block."""
        if self.asking is not None:
            self.asking.end()
        if self.keeper is not None:
            with suppress(EngineAway, EngineFull):
                self.keeper.give_back()  # from now on all of its rows are to be had
            self._has_freed.wait()  # which wakes who may take them
        if self._hint is not None:
            self._hint.cancel()
            self._hint = None

    def present(self) -> set[str]:
        """Return the lives of all that are there now. May block.

        Raises:
            EngineAway: The engine cannot be asked.
        """
        return self.present_in(self.engine.scan(self._nodes_key).value)

    def present_in(self, found: Mapping[str, bytes]) -> set[str]:
        """Return the same of what a scan has found."""
        return {life for life, _ in self._nodes(found)} | {self.life}

    def is_in(self, found: Mapping[str, bytes]) -> bool:
        """Whether the record of our life is in what a scan has found: nothing was emptied."""
        life = self.life
        return bool(life) and record_of(found.get(f"{self._nodes_key}{life}")).owner == life

    def is_to_go(self) -> bool:
        """Whether somebody is there with newer code, which takes the place of all. May block.

        Raises:
            EngineAway: The engine cannot be asked.
        """
        return any(
            record.generation > self.generation and record.host == self._host
            for _, record in self._nodes(self.engine.scan(self._nodes_key).value)
        )

    @property
    def _nodes_key(self) -> str:
        return f"{self.prefix}nodes/"

    def _nodes(self, found: Mapping[str, bytes]) -> list[tuple[str, Record]]:
        prefix = self._nodes_key
        records = [
            (key.removeprefix(prefix), record_of(value))
            for key, value in found.items()
            if key.startswith(prefix)
        ]
        return [(life, record) for life, record in records if not record.is_tombstone]

    # -- broadcasts --------------------------------------------------------------------

    def broadcast(self, event: str, data: str) -> None:
        """Have all of them hear *event*, this one too, with *data*, which is JSON."""
        message = f'{{"event":{json.dumps(event)},"data":{data}}}'.encode()
        if len(self._outbox) >= MOST or self._size + len(message) > MOST_BYTES:
            self.dropped += 1
        else:
            self._outbox.append(message)
            self._size += len(message)
        if not self._sends:
            self._sends = self._run(self._send)

    def counts(self) -> dict[str, int]:
        """Return how many were sent, dropped and missed, and how many are still to be sent."""
        return {
            "sent": self.sent,
            "dropped": self.dropped,
            "missed": self.missed,
            "waiting": len(self._outbox),
        }

    def read_soon(self) -> None:
        """Read what there is to be heard. Callable from the hub."""
        self._has_news = True
        if not self._reads:
            self._reads = self._run(self._read)

    def _run(self, fn: Callable[[], object]) -> bool:
        """Run *fn* in the next turn of the loop; return whether it will: the tree lives here."""
        if self.tree.thread != get_ident():
            return False
        self.tree.pool.run_soon(Call(fn))
        return True

    def _send(self) -> None:
        pace = Pace()
        try:
            while self._outbox:
                pace()
                batch = self._next()
                try:
                    self.engine.publish(self._topic, b"\n".join(batch))
                    self.sent += len(batch)
                except (EngineAway, EngineFull):
                    self.dropped += len(batch)
        finally:
            self._sends = False
        self._tell()

    def _next(self) -> list[bytes]:
        """Take what is sent in one message: all that waits, as each answer takes its time."""
        batch = [self._outbox.popleft()]
        size = len(batch[0])
        while self._outbox and size + 1 + len(self._outbox[0]) <= _AT_ONCE:
            batch.append(self._outbox.popleft())
            size += 1 + len(batch[-1])
        self._size -= size + 1 - len(batch)
        return batch

    def _read(self) -> None:
        pace = Pace()
        try:
            while self._has_news:
                self._has_news = False  # it may be told of more while it asks
                page = self.engine.read(self._topic, self._cursor).value
                self._cursor = page.cursor
                self.missed += page.missed
                # As JSON is written here, there is no line break in one.
                for said in chain.from_iterable(each.split(b"\n") for each in page.messages):
                    pace()
                    try:
                        self._hear(said)
                    except (KeyError, TypeError):  # nobody of us has sent that
                        self.missed += 1
                self._has_news = self._has_news or bool(page.messages)
        except EngineAway:
            pass  # who comes back reads on from its cursor
        finally:
            self._reads = False
        self._tell()

    def _hear(self, broadcast: bytes) -> None:
        said = object_in(broadcast)
        listeners = self.tree.bus.listeners(said["event"])
        if not listeners:
            return
        data = json.dumps(said["data"]).encode()
        for listener in listeners:
            node = listener._node
            if node is not None:
                mail = self._mail.get(id(node))
                if mail is None or mail.is_of_the_past:
                    mail = self._mail[id(node)] = Mail(node, self._has_no_mail)
                self.missed += mail.put(listener, data)

    def _has_no_mail(self, mail: Mail) -> None:
        if self._mail.get(id(mail.node)) is mail:
            del self._mail[id(mail.node)]

    def _tell(self) -> None:
        """Say how many were lost since it was said last."""
        dropped, missed = self._told
        if (self.dropped, self.missed) != self._told:
            self._told = (self.dropped, self.missed)
            say(
                logging.WARNING,
                self.tree.root,
                "broadcasts are lost",
                dropped=self.dropped - dropped,
                missed=self.missed - missed,
            )


def member_of(tree: Tree) -> Member:
    """Return *tree* as a member; where nobody has said with whom, it is alone."""
    found: Member | None = tree.cluster
    if found is None:
        found = tree.cluster = Member(tree, MemoryEngine(), app=name_of(tree.root))
        found.join()
    return found
