"""The items of a pool in their line: who is next, and what becomes of each. Pure.

Items that have a key in common run one after another, in the order in which they came; one that
has crashed its worker goes back to the head of its key. Among all that may run the oldest is next.
Each ends as exactly one of done, poison and dropped.
"""

from __future__ import annotations

import heapq
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

End = Literal["done", "poison", "dropped"]


class Item:
    """Something to be handled, and how far it has come."""

    __slots__ = ("chain", "crashes", "end", "key", "number", "value", "waits_for_key")

    def __init__(self, value: Any, key: Hashable = None) -> None:
        self.value = value
        self.key = key
        self.number = 0
        """Its place among all that were ever in the line, from 1."""
        self.crashes = 0
        """How often it has crashed its worker."""
        self.end: End | None = None
        self.chain: _Chain | None = None
        """Those of its key; None: it has no key."""
        self.waits_for_key = False
        """One of the same key has to be over before it may run."""


class _Chain:
    """The items of one key: one that may run, or runs, and those behind it."""

    __slots__ = ("behind", "gone", "is_over")

    def __init__(self) -> None:
        self.behind: deque[Item] = deque()
        self.gone = 0
        """How many of these were dropped."""
        self.is_over = False


class Counts(NamedTuple):
    """How many items there are, and what has become of the others in this life."""

    queued: int
    running: int
    done: int
    poison: int
    dropped: int


class Line:
    """Who is next.

    Args:
        places: How many may wait, besides those that a free worker takes at once, and those that
            are to be tried again.
        retries: How often one that has crashed its worker is tried again.
    """

    def __init__(self, places: int, retries: int) -> None:
        self.places = places
        self.retries = retries
        self._ready: list[tuple[int, Item]] = []
        """A heap of those that may run now, and some that were dropped."""
        self._gone = 0
        """How many of these were."""
        self._chains: dict[Hashable, _Chain] = {}
        """By key, as long as one has it: looked into where one comes in, or a chain is over."""
        self._running: dict[int, Item] = {}
        """By number."""
        self._queued = 0
        self._last = 0
        self._ends: dict[End, int] = {"done": 0, "poison": 0, "dropped": 0}

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, and nothing runs."""
        return not self._queued and not self._running

    @property
    def ready(self) -> int:
        """How many may run now, and wait for a worker."""
        return len(self._ready) - self._gone

    def counts(self) -> Counts:
        """Return how many there are."""
        return Counts(self._queued, len(self._running), **self._ends)

    def has_place(self, key: Hashable, free: int) -> bool:
        """Whether one more of *key* may come in.

        Args:
            key: Its key.
            free: How many workers have nothing to do, or are about to take one that is ready.
        """
        if self._queued < self.places:
            return True
        return free > self.ready and (key is None or self._chain_of(key) is None)

    def add(self, item: Item) -> None:
        """Let *item* come in as the last one."""
        chain = None if item.key is None else self._chain_of(item.key)
        if item.key is not None and chain is None:
            item.chain = self._chains[item.key] = _Chain()
        self._last += 1
        item.number = self._last
        if chain is None:
            self._may_run(item)
        else:
            item.chain, item.waits_for_key = chain, True
            chain.behind.append(item)
        self._queued += 1

    def take(self) -> Item | None:
        """Let the next one run; None if none may."""
        while self._ready:
            _, item = heapq.heappop(self._ready)
            if item.end is None:
                self._queued -= 1
                self._running[item.number] = item
                return item
            self._gone -= 1
        return None

    def done(self, item: Item) -> None:
        """Take note that *item* was handled."""
        self._over(item, "done")

    def crashed(self, item: Item) -> bool:
        """Take note that *item* has crashed its worker; return whether it is tried again."""
        item.crashes += 1
        if item.crashes > self.retries:
            self._over(item, "poison")
            return False
        self.give_back(item)
        return True

    def give_back(self, item: Item) -> None:
        """Let *item*, of which nobody knows what has become, run again before its key goes on."""
        if self._running.pop(item.number, None) is not None:
            self._queued += 1
            self._may_run(item)

    def drop(self, item: Item) -> bool:
        """Drop *item* if it waits; return whether it does."""
        if item.end is not None or item.number in self._running:
            return False
        self._queued -= 1
        self._has_ended(item, "dropped")
        # It stays where it is, and is left out later: to take out each of many takes their square.
        chain = item.chain
        if item.waits_for_key and chain is not None:
            chain.gone += 1
            if chain.gone > len(chain.behind) // 2:
                chain.behind = deque([each for each in chain.behind if each.end is None])
                chain.gone = 0
        else:
            self._gone += 1
            self._go_on(chain, item.key)
            if self._gone > len(self._ready) // 2:
                self._ready = [each for each in self._ready if each[1].end is None]
                heapq.heapify(self._ready)
                self._gone = 0
        return True

    def refuse(self, item: Item) -> None:
        """Drop *item*, which never came in."""
        self._has_ended(item, "dropped")

    def drop_all(self) -> Iterator[Item]:
        """Drop whatever is left, and yield it: what waits, and what runs."""
        left = [item for _, item in self._ready]
        for chain in self._chains.values():
            left.extend(chain.behind)
            chain.behind.clear()
        left = [item for item in left if item.end is None]
        left.extend(self._running.values())
        self._ready.clear()
        self._chains.clear()
        self._running.clear()
        self._queued = self._gone = 0
        for item in sorted(left, key=lambda each: each.number):
            self._has_ended(item, "dropped")
            yield item

    def _chain_of(self, key: Hashable) -> _Chain | None:
        """Return the chain of *key* if there is one: looks at the key by its own code."""
        chain = self._chains.get(key)
        return None if chain is None or chain.is_over else chain

    def _may_run(self, item: Item) -> None:
        heapq.heappush(self._ready, (item.number, item))

    def _over(self, item: Item, end: End) -> None:
        if self._running.pop(item.number, None) is not None:  # else it was dropped meanwhile
            self._has_ended(item, end)
            self._go_on(item.chain, item.key)

    def _go_on(self, chain: _Chain | None, key: Hashable) -> None:
        """Let the next one of *chain* run, since the one before is over."""
        if chain is None:
            return
        while chain.behind:
            item = chain.behind.popleft()
            if item.end is None:
                item.waits_for_key = False
                self._may_run(item)
                return
            chain.gone -= 1
        chain.is_over = True
        # What the key's own __hash__ and __eq__ raise is nobody's business here: the chain is over.
        with suppress(Exception):
            if self._chains[key] is chain:
                del self._chains[key]

    def _has_ended(self, item: Item, end: End) -> None:
        assert item.end is None
        item.end = end
        self._ends[end] += 1
