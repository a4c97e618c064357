"""The line of a pool's items, without a pool: whatever comes, each ends once, in its order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprag.services.line import Item, Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

REPEATABLE = settings(max_examples=300, deadline=None, database=None, derandomize=True)
KEYS = (None, "a", "b", "c")


@st.composite
def stories(draw: DrawFn) -> list[tuple[str, int]]:
    """Draw what happens: a word, and a number that says to whom."""
    words = ("add", "add", "take", "take", "done", "crash", "give back", "drop", "cancelled")
    step = st.tuples(st.sampled_from(words), st.integers(0, 20))
    return draw(st.lists(step, max_size=60))


class World:
    """A line with what is known of it: who was added, who runs, and in which order they ended."""

    def __init__(self, places: int, workers: int, retries: int) -> None:
        self.line = Line(places, retries)
        self.places, self.workers, self.retries = places, workers, retries
        self.items: list[Item] = []
        self.running: list[Item] = []
        self.begun: list[Item] = []

    @property
    def free(self) -> int:
        return self.workers - len(self.running)

    def do(self, word: str, number: int) -> None:
        if word == "add":
            key = KEYS[number % len(KEYS)]
            if self.line.has_place(key, self.free):
                self.items.append(Item(len(self.items), key))
                self.line.add(self.items[-1])
        elif word == "take":
            if self.free and (item := self.line.take()) is not None:
                self.running.append(item)
                self.begun.append(item)
        elif word == "drop" and self.items:
            self.line.drop(self.items[number % len(self.items)])
        elif self.running:
            item = self.running.pop(number % len(self.running))
            if word == "crash":
                tries_again = self.line.crashed(item)
                assert tries_again is (item.crashes <= self.retries)
            elif word == "give back":
                self.line.give_back(item)
            else:
                self.line.done(item)

    def check(self) -> None:
        counts = self.line.counts()
        ends = Counter(item.end for item in self.items)
        assert counts.running == len(self.running)
        assert counts.queued == ends[None] - len(self.running)
        assert (counts.done, counts.poison, counts.dropped) == (
            ends["done"],
            ends["poison"],
            ends["dropped"],
        )
        assert counts.queued <= self.places + 2 * self.workers
        keys = [item.key for item in self.running if item.key is not None]
        assert len(set(keys)) == len(keys), "two of one key at once"
        assert all(item.crashes <= self.retries + 1 for item in self.items)
        assert self.line.is_empty is (counts.queued + counts.running == 0)

    def finish(self) -> None:
        """Handle all that is left."""
        while not self.line.is_empty:
            self.do("take", 0)
            self.do("done", 0)
            self.check()


@REPEATABLE
@given(stories(), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_each_item_ends_once_whatever_happens(
    story: Sequence[tuple[str, int]], places: int, workers: int, retries: int
) -> None:
    world = World(places, workers, retries)
    for step in story:
        world.do(*step)
        world.check()
    world.finish()
    assert all(item.end in {"done", "poison", "dropped"} for item in world.items)
    assert world.line.counts()[:2] == (0, 0)
    assert not world.line._chains
    for key in KEYS[1:]:
        # Of one key nobody begins before those ahead of it have ended.
        begun = [item.number for item in world.begun if item.key == key]
        assert begun == sorted(begun)


@REPEATABLE
@given(stories(), st.integers(1, 5), st.integers(1, 4))
def test_all_that_is_left_is_dropped_at_once(
    story: Sequence[tuple[str, int]], places: int, workers: int
) -> None:
    world = World(places, workers, 1)
    for step in story:
        world.do(*step)
    left = [item for item in world.items if item.end is None]
    assert list(world.line.drop_all()) == left
    assert {item.end for item in left} <= {"dropped"}
    for item in world.running:  # who still runs comes too late, and changes nothing
        world.line.done(item)
        world.line.give_back(item)
    assert world.line.is_empty
    assert world.line.take() is None
    assert all(not world.line.drop(item) for item in world.items)


def test_one_that_is_tried_again_comes_before_the_others_of_its_key() -> None:
    line = Line(10, retries=1)
    first, second, other = Item("first", "k"), Item("second", "k"), Item("other")
    for item in (first, second, other):
        line.add(item)
    assert line.take() is first
    assert line.crashed(first)
    assert [line.take(), line.take(), line.take()] == [first, other, None]
    assert not line.crashed(first)
    assert line.take() is second
    assert line.counts() == (0, 2, 0, 1, 0)


def test_an_item_that_a_free_worker_takes_at_once_needs_no_place() -> None:
    line = Line(1, retries=0)
    for key in ("a", "a"):
        line.add(Item(0, key))
        line.take()
    assert line.counts().queued == 1
    assert not line.has_place("a", free=2)
    assert line.has_place("b", free=2)
    assert line.has_place(None, free=1)
    assert not line.has_place(None, free=0)


class Key:
    """Cannot be compared any more, once it is spoilt."""

    is_spoilt = False

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if Key.is_spoilt:
            raise ValueError("no")
        return self is other


def test_a_key_that_cannot_be_compared_any_more_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(10, 0)
    first, second = Key(), Key()
    for key in (first, second, first, second):
        line.add(Item(None, key))
    monkeypatch.setattr(Key, "is_spoilt", True)
    for _ in range(4):
        item = line.take()
        assert item is not None
        line.done(item)
    assert line.is_empty
    monkeypatch.setattr(Key, "is_spoilt", False)
    line.add(Item(None, second))
    assert line.take() is not None


@pytest.mark.parametrize("key", [None, "a"])
def test_what_is_dropped_from_a_long_line_is_neither_looked_for_nor_kept(key: str | None) -> None:
    line = Line(1000, 0)
    before = [Item(number, key) for number in range(3)]
    for item in before:
        line.add(item)
    for number in range(10_000):
        item = Item(number, key)
        line.add(item)
        assert line.drop(item)
        assert not line.drop(item)
    kept = len(line._ready) + sum(len(chain.behind) for chain in line._chains.values())
    assert kept <= 2 * len(before) + 1
    assert (line.counts().queued, line.counts().dropped) == (3, 10_000)
    for item in before:
        assert line.take() is item
        line.done(item)
    assert line.is_empty
