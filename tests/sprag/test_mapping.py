"""`map`: so many items at a time, results in order, and nothing left when it is over."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from gevent import Timeout, sleep

from sprag import Service, Supervisor
from sprag.exceptions import (
    BadValue,
    NotRunning,
    TaskCancelled,
    TaskTimeout,
    WouldDeadlock,
    WrongThread,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


class Plain(Service):
    pass


class Log:
    """What was begun, and what is over."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []

    def __call__(self, seconds: float) -> float:
        self.begun.append(seconds)
        try:
            sleep(abs(seconds))
            if seconds < 0:
                raise ValueError(seconds)
        finally:
            self.ended.append(seconds)
        return seconds


@pytest.fixture
def service(clock: VirtualClock) -> Iterator[Plain]:
    with Supervisor([plain := Plain()], name="top"):
        yield plain
        clock.settle()


def test_results_come_in_the_order_of_the_items(service: Plain, clock: VirtualClock) -> None:
    before = clock.now
    assert list(service.map(Log(), [3, 1, 2])) == [3, 1, 2]
    assert clock.now - before == 3


def test_no_more_than_the_limit_are_begun_before_results_are_taken(
    service: Plain, clock: VirtualClock
) -> None:
    log = Log()
    results = service.map(log, itertools.count(1), limit=2)
    clock.advance(100)
    assert log.begun == [1, 2]
    assert next(results) == 1
    clock.settle()
    assert log.begun == [1, 2, 3]
    assert service.snapshot().owned.tasks == 1
    results.close()
    assert list(results) == []


def test_an_error_is_raised_in_its_place_and_cancels_the_others(
    service: Plain, clock: VirtualClock
) -> None:
    log = Log()
    results = service.map(log, [2, -1, 50, 60])
    assert next(results) == 2
    with pytest.raises(ValueError, match="-1"):
        next(results)
    clock.settle()
    assert sorted(log.ended) == [-1, 2, 50, 60]
    assert service.snapshot().owned.tasks == 0
    assert list(results) == []
    assert service.snapshot().restarts == 0


def test_an_error_of_the_items_themselves_comes_after_the_results_before_it(
    service: Plain,
) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("torn")

    results = service.map(Log(), items())
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(KeyError):
        next(results)
    assert list(results) == []


def test_an_item_that_takes_too_long_is_killed_from_its_own_beginning(
    service: Plain, clock: VirtualClock
) -> None:
    log = Log()
    results = service.map(log, [2, 2, 2, 50], limit=1, item_timeout=3)
    assert [next(results), next(results), next(results)] == [2, 2, 2]
    with pytest.raises(TaskTimeout, match="within 3 s"):
        next(results)
    clock.settle()
    assert log.ended == [2, 2, 2, 50]


def test_the_rest_is_cancelled_when_it_is_closed_or_dropped(
    service: Plain, clock: VirtualClock
) -> None:
    log = Log()
    with service.map(log, [1, 50, 60]) as results:
        assert next(results) == 1
    clock.settle()
    assert log.ended == [1, 50, 60]
    for result in service.map(log, [1, 50, 60]):
        assert result == 1
        break
    clock.settle()
    assert log.ended == [1, 50, 60, 1, 50, 60]


def test_a_timeout_of_who_takes_loses_no_result(service: Plain, clock: VirtualClock) -> None:
    results = service.map(Log(), [5, 1])
    with pytest.raises(Timeout), Timeout(1):
        next(results)
    assert list(results) == [5, 1]
    clock.settle()


def test_it_ends_with_the_service_and_is_drained_first(clock: VirtualClock) -> None:
    log = Log()
    with Supervisor([plain := Plain()]):
        results = plain.map(log, [1, 2, 3, 50], limit=3)
        clock.settle()
        assert plain.stop().is_clean
        assert log.ended == [1, 2, 3]
        assert next(results) == 1
        with pytest.raises(NotRunning):
            list(results)

        plain.start()
        results = plain.map(log, [50])
        clock.settle()
        assert plain.stop().dropped == 1
        with pytest.raises(TaskCancelled):
            next(results)


def test_no_items_are_no_results(service: Plain) -> None:
    assert list(service.map(Log(), [])) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"limit": 0}, "limit=0"),
        ({"limit": True}, "limit=True"),
        ({"item_timeout": 0}, "item_timeout=0"),
        ({"item_timeout": float("nan")}, "item_timeout=nan"),
        ({"items": 5}, "items=5"),
        ({"fn": None}, "fn=None"),
    ],
)
def test_bad_input_is_refused(service: Plain, arguments: dict[str, object], named: str) -> None:
    given: dict[str, Any] = {"fn": Log(), "items": [1], **arguments}
    with pytest.raises(BadValue, match=named):
        service.map(**given)


def test_a_service_that_is_down_maps_nothing(clock: VirtualClock) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        read.append(1)
        yield 1

    with pytest.raises(NotRunning):
        Plain().map(Log(), items())
    assert read == []


# -- several who take results ------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_each_result_is_had_by_one_of_several_who_take_them(
    service: Plain, clock: VirtualClock, limit: int
) -> None:
    def slowly() -> Iterator[int]:
        for number in range(9):
            sleep(0.5)
            yield number

    results = service.map(Log(), slowly(), limit=limit)
    had: list[tuple[int, float]] = []

    def take(who: int) -> None:
        for result in results:
            had.append((who, result))
            sleep(1)

    for who in range(3):
        service.spawn(take, who)
    clock.advance(100)
    assert [result for _, result in had] == [*range(9)]
    assert {who for who, _ in had} == {0, 1, 2}


def test_who_is_killed_while_others_take_results_leaves_them_their_turn(
    service: Plain, clock: VirtualClock
) -> None:
    results = service.map(Log(), [1, 2, 3], limit=1)
    had: list[float] = []
    greenlets = [service.spawn(lambda: had.append(next(results))) for _ in range(3)]
    clock.advance(0.5)
    greenlets[0].kill()
    greenlets[1].kill()
    clock.advance(10)
    assert had == [1]
    assert list(results) == [2, 3]


def test_items_that_ask_for_their_own_results_are_a_deadlock(service: Plain) -> None:
    def circle() -> Iterator[float]:
        yield 0
        yield next(results)

    results = service.map(Log(), circle(), limit=1)
    with pytest.raises(WouldDeadlock):
        list(results)


def test_a_close_from_another_thread_is_refused_and_changes_nothing(service: Plain) -> None:
    results = service.map(Log(), [1, 2, 3], limit=2)
    told: list[type] = []

    def close() -> None:
        try:
            results.close()
        except WrongThread as error:
            told.append(type(error))

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert told == [WrongThread]
    assert list(results) == [1, 2, 3]
