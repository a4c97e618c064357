"""`retry_start` and `Backoff(tries=)`: a first start that is tried again, and when that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import crash, spawn, states
from sprag import Backoff, Service, StartFailed, State, Supervisor
from sprag.exceptions import BadPolicy

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")


class Database(Service, retry_start=True):
    """Comes up when the world lets it."""

    def __init__(self, world: dict[str, Any]) -> None:
        self.world = world

    def on_start(self) -> None:
        self.world["tries"] = self.world.get("tries", 0) + 1
        if self.world["tries"] <= self.world["failing"]:
            raise OSError("connection refused")


def test_a_first_start_that_fails_holds_up_nobody_and_is_tried_again(clock: VirtualClock) -> None:
    world = {"failing": 5}
    with Supervisor([Database(world), Service()]) as top:
        assert states(top) == {"Database": "restarting", "Service": "running"}
        assert top.not_ready()["Supervisor/Database"].reason == "OSError: connection refused"
        clock.advance(30)
        assert states(top)["Database"] == "running"
        assert world["tries"] == 6
        assert not top.not_ready()


def test_tries_of_a_first_start_count_nothing_toward_the_limit(clock: VirtualClock) -> None:
    with Supervisor([Database({"failing": 9})], max_restarts=0) as top:
        clock.advance(120)
        assert states(top)["Database"] == "running"
        assert [each.restarts for each in _ledger(top)] == [0] * 9


def test_after_it_was_up_once_its_restarts_count_as_any(clock: VirtualClock) -> None:
    world = {"failing": 1}
    with Supervisor([Database(world)], max_restarts=1) as top:
        clock.advance(1)
        world["failing"] = 99
        crash(top.service("Database"))
        clock.settle()
        assert top.snapshot().state is State.FAILED


def test_who_finishes_as_soon_as_it_comes_up_has_been_up(clock: VirtualClock) -> None:
    class Brief(Database):
        def on_start(self) -> None:
            super().on_start()
            self.finish()
            gevent.sleep(1.0)  # it ends before `adopt` returns

    world = {"failing": 0}
    with Supervisor(max_restarts=2) as top:
        top.adopt(Brief(world))
        world["failing"] = 99
        clock.settle()
        assert top.snapshot().state is State.FAILED


class Slow(Service):
    """Gets ready after a second."""

    def on_start(self) -> None:
        self.set_ready(False, "slow")
        self.timeout(self.set_ready, 1.0)


def test_who_waits_for_its_needs_has_its_first_start_after_that_in_each_life_of_its_parent(
    clock: VirtualClock,
) -> None:
    world = {"failing": 2}
    database = (Database(world), {"needs": ("Slow",)})
    top = Supervisor([(Slow(), {"needs": ()}), database], name="top", max_restarts=0)
    with Supervisor([top]):
        for crashes in range(2):
            world["tries"] = 0
            clock.advance(60)
            assert states(top) == dict.fromkeys(("Slow", "Database"), "running")
            assert top.snapshot().restarts == crashes
            crash(top)


def test_who_leaves_before_it_was_up_is_tried_again_elsewhere_only_if_it_asks_for_that(
    clock: VirtualClock,
) -> None:
    database = Database({"failing": 9})
    with Supervisor() as top:
        top.adopt(database)
        assert states(top) == {"Database": "restarting"}
    with Supervisor() as top:
        with pytest.raises(StartFailed):
            top.adopt(database, retry_start=False)
        assert database.snapshot().state is State.FAILED


def test_adopt_returns_a_child_that_is_still_to_come_up(clock: VirtualClock) -> None:
    with Supervisor() as top:
        child = top.adopt(Database({"failing": 1}))
        assert child.snapshot().state is State.RESTARTING
        clock.advance(1)
        assert child.snapshot().state is State.RUNNING


def test_who_starts_it_by_hand_is_told_and_nothing_is_tried_again(clock: VirtualClock) -> None:
    with Supervisor([Database({"failing": 2})]) as top:
        child = top.service("Database", Database)
        child.stop()
        with pytest.raises(StartFailed):
            child.start()
        clock.advance(60)
        assert child.snapshot().state is State.FAILED


def test_an_adopt_that_was_cut_short_is_not_tried_again(clock: VirtualClock) -> None:
    class Slow(Service, retry_start=True):
        def on_start(self) -> None:
            gevent.sleep(10)

    with Supervisor() as top:
        asks = spawn(top.adopt, Slow())
        clock.settle()
        asks.kill()
        assert not states(top)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_its_tries_stop_no_sibling(strategy: Any, clock: VirtualClock) -> None:
    world = {"failing": 4}
    with Supervisor([Service(), Database(world), Service()], strategy=strategy) as top:
        clock.advance(60)
        assert set(states(top).values()) == {"running"}
        assert [child.incarnation for child in top.snapshot().children] == [1, 5, 1]


def test_siblings_that_are_restarted_meanwhile_do_not_wait_for_it(clock: VirtualClock) -> None:
    first, last = Service(), Service()
    children: list[Any] = [(first, {"name": "first"}), Database({"failing": 99}), last]
    with Supervisor(children, strategy="one_for_all") as top:
        crash(first)
        clock.settle()
        assert states(top) == {"first": "running", "Database": "restarting", "Service": "running"}


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_after_so_many_tries_it_is_failed(restart: Any, clock: VirtualClock) -> None:
    world = {"failing": 99}
    backoff = Backoff(0.5, jitter=0, tries=3)
    with Supervisor([(Database(world), {"backoff": backoff, "restart": restart})]) as top:
        child = top.service("Database", Database)
        clock.advance(60)
        assert world["tries"] == 4
        assert child.snapshot().state is State.FAILED
        assert ("Database" in states(top)) == (restart != "temporary")
        assert _ledger(top)[-1].decision == "gave_up_tries"


def test_a_crash_loop_ends_after_so_many_tries_and_counts_no_more(clock: VirtualClock) -> None:
    with Supervisor(max_restarts=2) as top:
        child = top.adopt(Service(), backoff=Backoff(0.1, jitter=0, tries=2))
        other = top.adopt(Service(), name="other")
        for _ in range(3):
            crash(child)
            clock.advance(1)
        assert child.snapshot().state is State.FAILED
        assert child.wait(0) is not None
        clock.advance(3.5)  # the first restart has left the window of 5 s
        crash(other)
        clock.settle()
        assert other.snapshot().state is State.RUNNING


def test_a_healthy_run_begins_the_row_anew(clock: VirtualClock) -> None:
    with Supervisor() as top:
        child = top.adopt(Service(), backoff=Backoff(0.1, tries=1, reset_after=10))
        for _ in range(3):
            crash(child)
            clock.advance(20)
        assert child.snapshot().state is State.RUNNING


def test_in_a_group_the_supervisor_gives_up_with_the_tries(clock: VirtualClock) -> None:
    with Supervisor([Service()], strategy="one_for_all") as top:
        child = top.adopt(Service(), name="twice", backoff=Backoff(0.1, tries=1))
        crash(child)
        clock.advance(1)
        crash(child)
        clock.settle()
        how = top.wait(0)
    assert how is not None
    assert str(how.failure).startswith("TriesExceeded: Supervisor gave up: twice was tried 1 times")


def test_what_on_failure_says_wins_over_another_try(clock: VirtualClock) -> None:
    class Strict(Database, on_failure={OSError: "stop"}):
        pass

    with Supervisor() as top:
        with pytest.raises(StartFailed):
            top.adopt(Strict({"failing": 1}))
        clock.settle()
        assert not states(top)


def test_a_stop_by_hand_ends_the_tries(clock: VirtualClock) -> None:
    world = {"failing": 99}
    with Supervisor([Database(world)]) as top:
        clock.advance(1)
        top.service("Database", Database).stop()
        before = world["tries"]
        clock.advance(60)
        assert world["tries"] == before
        assert states(top)["Database"] == "stopped"


@pytest.mark.parametrize("how", ["itself", "its group"])
def test_a_temporary_one_that_is_stopped_while_it_waits_leaves_the_tree(
    how: str, clock: VirtualClock
) -> None:
    first, waiting = Service(), Database({"failing": 99})
    with Supervisor(strategy="one_for_all") as top:
        top.adopt(first, name="first", backoff=Backoff(1.0))
        top.adopt(waiting, restart="temporary")
        if how == "its group":
            crash(first)
            clock.settle()
        (waiting if how == "itself" else first).stop()
        assert states(top) == {"first": "running" if how == "itself" else "stopped"}


def test_a_healthy_run_begins_the_row_of_its_tries_anew_without_a_backoff_of_its_own(
    clock: VirtualClock,
) -> None:
    world = {"failing": 4}
    with Supervisor([(Supervisor([Database(world)], name="inner"), {})]) as top:
        clock.advance(3600)
        world["failing"] = 6
        crash(top.service("inner"))
        clock.advance(0.12)
        assert world["tries"] == 7


@pytest.mark.parametrize("tries", [0, -1, 1.5, "3", True])
def test_tries_are_a_whole_number(tries: Any) -> None:
    with pytest.raises(BadPolicy, match=r"backoff\.tries"):
        Backoff(tries=tries)


def test_retry_start_is_a_flag() -> None:
    with pytest.raises(BadPolicy, match="retry_start"):
        Supervisor(retry_start=1)


def _ledger(top: Supervisor) -> list[Any]:
    tree = top._tree_
    assert tree is not None
    return list(tree.ledger)
