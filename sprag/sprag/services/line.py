"""The items of a pool in their line: who is next, and what becomes of each. Pure.

Items that have a key in common run one after another, in the order in which they came; one that
has crashed its worker goes back to the head of its key. Among all that may run the oldest is next.
Each ends as exactly one of done, poison and dropped.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

End = Literal["done", "poison", "dropped"]


class Item:
    """Something to be handled, and how far it has come."""

    __slots__ = ("crashes", "end", "key", "number", "value")

    def __init__(self, value: Any, key: Hashable = None) -> None:
        self.value = value
        self.key = key
        self.number = 0
        """Its place among all that were ever in the line, from 1."""
        self.crashes = 0
        """How often it has crashed its worker."""
        self.end: End | None = None


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
        """A heap of those that may run now."""
        self._behind: dict[Hashable, deque[Item]] = {}
        """Who waits until one of the same key is over; a key is there as long as one has it."""
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
        return len(self._ready)

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
        return free > len(self._ready) and (key is None or key not in self._behind)

    def add(self, item: Item) -> None:
        """Let *item* come in as the last one."""
        self._last += 1
        item.number = self._last
        if item.key is None:
            self._may_run(item)
        elif item.key in self._behind:
            self._behind[item.key].append(item)
        else:
            self._behind[item.key] = deque()
            self._may_run(item)
        self._queued += 1

    def take(self) -> Item | None:
        """Let the next one run; None if none may."""
        if not self._ready:
            return None
        _, item = heapq.heappop(self._ready)
        self._queued -= 1
        self._running[item.number] = item
        return item

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
        waits = (item.number, item)
        if waits in self._ready:
            self._ready.remove(waits)
            heapq.heapify(self._ready)
            self._go_on(item.key)
        else:
            self._behind[item.key].remove(item)
        self._queued -= 1
        self._has_ended(item, "dropped")
        return True

    def refuse(self, item: Item) -> None:
        """Drop *item*, which never came in."""
        self._has_ended(item, "dropped")

    def drop_all(self) -> Iterator[Item]:
        """Drop whatever is left, and yield it: what waits, and what runs."""
        left = [item for _, item in self._ready]
        for behind in self._behind.values():
            left.extend(behind)
        left.extend(self._running.values())
        self._ready.clear()
        self._behind.clear()
        self._running.clear()
        self._queued = 0
        for item in sorted(left, key=lambda each: each.number):
            self._has_ended(item, "dropped")
            yield item

    def _may_run(self, item: Item) -> None:
        heapq.heappush(self._ready, (item.number, item))

    def _over(self, item: Item, end: End) -> None:
        if self._running.pop(item.number, None) is not None:  # else it was dropped meanwhile
            self._has_ended(item, end)
            self._go_on(item.key)

    def _go_on(self, key: Hashable) -> None:
        """Let the next one of *key* run, since the one before is over."""
        if key is None:
            return
        behind = self._behind[key]
        if behind:
            self._may_run(behind.popleft())
        else:
            del self._behind[key]

    def _has_ended(self, item: Item, end: End) -> None:
        assert item.end is None
        item.end = end
        self._ends[end] += 1
