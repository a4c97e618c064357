"""A tree far deeper than Python's recursion limit allows of plain calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import gevent
import pytest

from scripted import Crash, crash, spawn
from sprag import Service, StartFailed, State, StopReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag import Snapshot
    from sprag.testing import VirtualClock

DEPTH = 1_000


class Link(Service):
    """One of a chain: each adopts the next in its on_start."""

    def __init__(self, depth: int, log: list[tuple[str, int]], broken_at: int = 0) -> None:
        self.depth = depth
        self.diary = log
        self.broken_at = broken_at
        self.below: Link | None = None

    def on_start(self) -> None:
        self.diary.append(("start", self.depth))
        if self.depth == self.broken_at:
            raise Crash("at the bottom")
        if self.depth > 1:
            self.below = self.adopt(Link(self.depth - 1, self.diary, self.broken_at))

    def on_stop(self) -> None:
        self.diary.append(("stop", self.depth))


def chain(top: Link) -> list[Link]:
    links = [top]
    while (below := links[-1].below) is not None:
        links.append(below)
    return links


def pictures(top: Snapshot) -> Iterator[Snapshot]:
    yield top
    while top.children:
        (top,) = top.children
        yield top


@pytest.fixture
def log() -> list[tuple[str, int]]:
    return []


DOWN = [("start", depth) for depth in range(DEPTH, 0, -1)]
UP = [("stop", depth) for depth in range(1, DEPTH + 1)]


def test_the_depth_is_more_than_calls_could_nest() -> None:
    assert sys.getrecursionlimit() <= DEPTH


def test_a_deep_tree_starts_from_the_top_and_stops_from_the_bottom(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    top = Link(DEPTH, log)
    top.start()
    assert log == DOWN
    log.clear()
    report = top.stop()
    assert log == UP
    assert (report.clean, report.entries) == (DEPTH, ())


def test_a_deep_tree_has_its_picture_taken(clock: VirtualClock, log: list[tuple[str, int]]) -> None:
    top = Link(DEPTH, log)
    top.start()
    seen = list(pictures(top.snapshot()))
    assert len(seen) == DEPTH
    assert {picture.state for picture in seen} == {State.RUNNING}
    assert seen[-1].path == "/".join(["Link"] * DEPTH)
    top.stop()


def test_a_picture_taken_with_pauses_is_the_same_and_lets_others_run(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    top = Link(DEPTH, log)
    top.start()
    pauses: list[None] = []
    paused = top.snapshot(pause=lambda: pauses.append(None))
    assert len(pauses) == DEPTH // 50 - 1
    assert [each.path for each in pictures(paused)] == [
        each.path for each in pictures(top.snapshot())
    ]
    top.stop()


def test_a_crash_at_the_bottom_restarts_only_there(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    top = Link(DEPTH, log)
    top.start()
    log.clear()
    crash(chain(top)[-1])
    clock.settle()
    assert log == [("stop", 1), ("start", 1)]
    incarnations = [link.snapshot().incarnation for link in chain(top)[-3:]]
    assert incarnations == [1, 1, 2]
    top.stop()


def test_a_crash_below_the_top_restarts_everything_below(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    top = Link(DEPTH, log)
    top.start()
    log.clear()
    crash(chain(top)[1])
    clock.settle()
    assert log == UP[:-1] + DOWN[1:]
    assert len(chain(top)) == DEPTH
    top.stop()


def test_limits_used_up_level_by_level_bring_a_deep_tree_down(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    class Fragile(Link, max_restarts=0):
        def on_start(self) -> None:
            self.diary.append(("start", self.depth))
            if self.depth > 1:
                self.below = self.adopt(Fragile(self.depth - 1, self.diary))

    top = Fragile(DEPTH, log)
    top.start()
    log.clear()
    crash(chain(top)[-1])
    clock.settle()
    assert top.snapshot().state is State.FAILED
    assert log == UP


def test_a_start_that_fails_at_the_bottom_is_undone_up_to_the_top(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    top = Link(DEPTH, log, broken_at=1)
    with pytest.raises(StartFailed) as caught:
        top.start()
    assert caught.value.path == "/".join(["Link"] * DEPTH)
    assert log == DOWN
    assert top.snapshot().state is State.FAILED


def test_a_stop_while_a_deep_tree_starts_brings_all_of_it_down(
    clock: VirtualClock, log: list[tuple[str, int]]
) -> None:
    class Slow(Link):
        def on_start(self) -> None:
            self.diary.append(("start", self.depth))
            if self.depth > 1:
                self.below = self.adopt(Slow(self.depth - 1, self.diary))
            else:
                gevent.sleep(100.0)

    top = Slow(DEPTH, log)
    starting = spawn(top.start)
    clock.advance(1.0)
    report: StopReport = top.stop()
    assert clock.now == 1.0
    assert report.is_clean
    assert top.snapshot().state is State.STOPPED
    clock.settle()
    assert isinstance(starting.exception, StartFailed)
