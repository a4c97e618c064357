"""The testing kit, used as its users do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sprag import Backoff, Service, StartFailed, State, Supervisor
from sprag.exceptions import BadValue, NotRunning, UnknownService
from sprag.testing import InjectedFailure, RunningTree, fail_next_start
from sprag.testing.plugin import run_tree, virtual_clock
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

__all__ = ["run_tree", "virtual_clock"]


class Pool(Service):
    """A database pool."""


class Consumer(Service, backoff=Backoff(initial=30, jitter=0)):
    """Has a constructor, like most."""

    def __init__(self, queue: str = "orders") -> None:
        self.queue = queue


def test_my_consumer_is_restarted_after_thirty_seconds_and_the_pool_is_not(
    run_tree: Callable[[Service], RunningTree], virtual_clock: VirtualClock
) -> None:
    tree = run_tree(Supervisor(children=[Pool(), Consumer("mail")]))
    tree.crash("Consumer")
    virtual_clock.advance(29.9)
    assert tree.state("Consumer") is State.RESTARTING
    virtual_clock.advance(0.1)
    assert tree.events_of("Consumer") == ["started", "crashed", "restarted"]
    assert tree.events_of("Pool") == ["started"]


def test_a_start_that_is_made_to_fail_fails_as_often_as_asked(
    run_tree: Callable[[Service], RunningTree], virtual_clock: VirtualClock
) -> None:
    tree = run_tree(Supervisor(children=[Pool()], max_restarts=5))
    tree.fail_next_start("Pool", OSError("no route"), times=2)
    tree.crash("Pool")
    virtual_clock.settle()
    assert tree.events_of("Pool") == ["started", "crashed", "crashed", "crashed", "restarted"]
    assert type(tree.service("Pool")) is Pool


def test_a_first_start_can_be_made_to_fail(virtual_clock: VirtualClock) -> None:
    pool = Pool()
    fail_next_start(pool)
    with pytest.raises(StartFailed, match="start of Pool"):
        pool.start()
    pool.start()
    pool.stop()
    virtual_clock.settle()


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
def test_a_start_is_made_to_fail_once_at_least(times: Any) -> None:
    with pytest.raises(BadValue, match="times="):
        fail_next_start(Pool(), times=times)


@pytest.mark.parametrize("given", [None, Pool, "pool"])
def test_only_a_service_can_be_made_to_fail(given: Any) -> None:
    with pytest.raises(BadValue, match="service="):
        fail_next_start(given)


def test_a_tree_that_does_not_start_is_not_listened_to_any_longer(
    virtual_clock: VirtualClock,
) -> None:
    pool = Pool()
    fail_next_start(pool)
    with pytest.raises(StartFailed), RunningTree(pool):
        pass
    assert tree_of(pool).observers == []


def test_a_hanging_service_is_named_as_a_straggler_and_released_afterwards(
    run_tree: Callable[[Service], RunningTree],
) -> None:
    tree = run_tree(Supervisor(children=[Pool()]))
    tree.hang("Pool")
    report = tree.stop(timeout=2)
    assert report.stragglers == 1
    assert "stubborn" in report.entries[0].detail


def test_only_what_runs_can_crash_and_only_what_exists_has_a_path(
    run_tree: Callable[[Service], RunningTree],
) -> None:
    tree = run_tree(Supervisor(children=[Pool()]))
    with pytest.raises(UnknownService, match="Pool"):
        tree.crash("Pol")
    tree.service("Pool").stop()
    with pytest.raises(NotRunning, match="stopped"):
        tree.crash("Pool", InjectedFailure())
