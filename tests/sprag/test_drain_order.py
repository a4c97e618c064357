"""Who needs another has drained before that one begins to: it may still give it work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Idle, Journal, Scripted, crash, spawn
from sprag import DynamicSupervisor, Service, Supervisor, Worker, WorkerPool
from sprag.exceptions import NotRunning
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")


@pytest.fixture
def journal() -> Journal:
    return Journal("drain")


def drainer(name: str, journal: Journal, takes: float = 1.0, **orders: Any) -> Scripted:
    return Scripted(name, journal, drain_takes=takes, **orders)


def timed(clock: VirtualClock, journal: Journal, top: Service, seconds: int) -> list[list[str]]:
    """Return who begins to drain in each of the first *seconds* of the stop of *top*."""
    spawn(top.stop)
    clock.settle()
    seen = [journal.take()]
    for _ in range(seconds):
        clock.advance(1.0)
        seen.append(journal.take())
    return seen


# -- the order -------------------------------------------------------------------------


def test_who_needs_another_has_drained_before_that_begins(
    clock: VirtualClock, journal: Journal
) -> None:
    children = [
        drainer("db", journal, needs=()),
        drainer("web", journal, needs=("api",)),
        drainer("api", journal, needs=("db",)),
        drainer("log", journal, needs=()),
    ]
    with Supervisor(children) as top:
        assert timed(clock, journal, top, 3) == [
            ["drain log", "drain web"],
            ["drain api"],
            ["drain db"],
            [],
        ]


def test_a_chain_leads_over_those_that_do_not_drain(clock: VirtualClock, journal: Journal) -> None:
    children: list[Any] = [
        drainer("db", journal, needs=()),
        (Idle("cache"), {"needs": {"db": "started"}}),
        (Idle("pages"), {"needs": ("cache",)}),
        drainer("web", journal, needs=("pages", "cache")),
    ]
    with Supervisor(children) as top:
        assert timed(clock, journal, top, 2) == [["drain web"], ["drain db"], []]


def test_who_has_left_keeps_nobody_that_needs_it_from_draining(
    clock: VirtualClock, journal: Journal
) -> None:
    children: list[Any] = [
        (Idle("cache"), {"needs": ()}),
        drainer("api", journal, needs=("cache",)),
        drainer("web", journal, needs=("api",)),
    ]
    with Supervisor(children) as top:
        top.terminate_child("cache")
        top.delete_child("cache")
        assert timed(clock, journal, top, 2) == [["drain web"], ["drain api"], []]


def test_all_below_one_that_needs_another_come_before_all_below_that(
    clock: VirtualClock, journal: Journal
) -> None:
    def parent(name: str, *children: Service, takes: float = 1.0) -> Scripted:
        def adopts(me: Scripted) -> None:
            for each in children:
                me.adopt(each)

        return drainer(name, journal, takes, in_on_start=adopts)

    feeds = Supervisor([parent("feed", drainer("page", journal, 2.0)), Idle("idle")], name="feeds")
    pools = DynamicSupervisor(name="pools")
    children: list[Any] = [(pools, {"needs": ()}), (feeds, {"needs": ("pools",)})]
    with Supervisor([Supervisor(children, name="inner"), drainer("beside", journal)]) as top:
        pools.start_child(parent("pool", drainer("worker", journal)))
        assert timed(clock, journal, top, 5) == [
            ["drain beside", "drain feed"],
            ["drain page"],
            [],
            ["drain pool"],
            ["drain worker"],
            [],
        ]


def test_needs_within_needs_keep_both_orders(clock: VirtualClock, journal: Journal) -> None:
    def pair(first: str, second: str) -> list[Any]:
        return [drainer(first, journal, needs=()), drainer(second, journal, needs=(first,))]

    children: list[Any] = [
        (Supervisor(pair("a", "b"), name="low"), {"needs": ()}),
        (Supervisor(pair("c", "d"), name="high"), {"needs": ("low",)}),
    ]
    with Supervisor(children) as top:
        assert timed(clock, journal, top, 4) == [
            ["drain d"],
            ["drain c"],
            ["drain b"],
            ["drain a"],
            [],
        ]


def test_who_names_nobody_drains_beside_all_others_whatever_the_order_of_the_list(
    clock: VirtualClock, journal: Journal
) -> None:
    children = [
        drainer("db", journal, needs=()),
        drainer("last", journal),
        drainer("api", journal, needs=("db",)),
    ]
    with Supervisor(children) as top:
        assert timed(clock, journal, top, 1) == [["drain api", "drain last"], ["drain db"]]


def test_a_parent_drains_before_any_of_them(clock: VirtualClock, journal: Journal) -> None:
    def adopts(me: Scripted) -> None:
        me.adopt(drainer("db", journal), needs=())
        me.adopt(drainer("api", journal), needs=("db",))

    top = drainer("top", journal, in_on_start=adopts)
    top.start()
    assert timed(clock, journal, top, 3) == [["drain top"], ["drain api"], ["drain db"], []]


def test_work_under_way_is_drained_in_this_order_too(clock: VirtualClock, journal: Journal) -> None:
    children: list[Any] = [drainer("db", journal, needs=()), (Idle("api"), {"needs": ("db",)})]
    with Supervisor(children) as top:
        top.service("api").task(gevent.sleep, 2.0)
        assert timed(clock, journal, top, 2) == [[], [], ["drain db"]]


class Packer(Worker):
    def handle(self, item: object) -> object:
        gevent.sleep(0.1)
        return item


def test_a_feeder_that_needs_the_pool_may_submit_as_long_as_it_drains(clock: VirtualClock) -> None:
    pool = WorkerPool(Packer, size=1)

    class Feeder(Service, needs=("pool",)):
        def __init__(self) -> None:
            self.tasks: list[Any] = []

        def on_drain(self) -> None:
            for number in range(3):
                gevent.sleep(0.5)
                self.tasks.append(pool.submit(number))

    feeder = Feeder()
    with Supervisor([(pool, {"name": "pool", "needs": ()}), feeder]) as top:
        report = top.stop()
    assert report.is_clean
    assert report.dropped == 0
    assert [task.get() for task in feeder.tasks] == [0, 1, 2]
    with pytest.raises(NotRunning):
        pool.submit(3)


# -- the time ----------------------------------------------------------------------------


def test_all_of_a_chain_have_a_third_of_the_time_together(
    clock: VirtualClock, journal: Journal
) -> None:
    orders: dict[str, Any] = {"shutdown": 20.0}
    children = [
        drainer("db", journal, 60.0, needs=(), **orders),
        drainer("api", journal, 60.0, needs=("db",), **orders),
    ]
    with Supervisor(children) as top:
        report = top.stop(9.0)
    assert report.seconds == pytest.approx(3.0)
    assert journal.take() == ["drain api", "drain db"]
    assert [each.path for each in report.entries] == ["Supervisor/api", "Supervisor/db"]


def test_each_has_its_own_shutdown_from_its_own_beginning(
    clock: VirtualClock, journal: Journal
) -> None:
    children = [
        drainer("db", journal, 60.0, needs=(), shutdown=2.0),
        drainer("api", journal, 60.0, needs=("db",), shutdown=3.0),
    ]
    with Supervisor(children) as top:
        report = top.stop()
    assert report.seconds == pytest.approx(5.0)
    assert report.killed == 2


# -- meanwhile ---------------------------------------------------------------------------


def test_who_is_stopped_by_hand_drains_at_once_and_keeps_the_others_order(
    clock: VirtualClock, journal: Journal
) -> None:
    children = [
        drainer("db", journal, needs=()),
        drainer("api", journal, needs=("db",)),
        drainer("web", journal, 3.0, needs=("api",)),
    ]
    with Supervisor(children) as top:
        stopping = spawn(top.stop)
        clock.settle()
        api = top.service("api")
        assert api.stop().is_clean
        assert clock.now == 1.0
        assert journal.take() == ["drain web", "drain api"]
        check_invariants(top)
        clock.advance(2.0)
        assert journal.take() == ["drain db"]
        clock.advance(1.0)
        assert stopping.value.is_clean


def test_a_supervisor_in_between_that_gives_up_keeps_the_order_below_it(
    clock: VirtualClock, journal: Journal
) -> None:
    children: list[Any] = [
        drainer("db", journal, needs=()),
        drainer("api", journal, 2.0, needs=("db",)),
        (Idle("idle"), {"needs": ()}),
    ]
    between = Supervisor(children, name="between", max_restarts=0)
    with Supervisor([between, drainer("slow", journal, 5.0, shutdown=9.0)]) as top:
        stopping = spawn(top.stop)
        clock.advance(1.0)
        crash(top.service("between/idle"))
        clock.settle()
        assert journal.take() == ["drain slow", "drain api"]
        clock.advance(1.0)
        assert journal.take() == ["drain db"]
        clock.advance(3.0)
        assert stopping.value.seconds == 5.0


def test_an_on_drain_that_raises_or_is_killed_keeps_nobody_waiting(
    clock: VirtualClock, journal: Journal
) -> None:
    children = [
        drainer("db", journal, needs=()),
        drainer("api", journal, needs=("db",), drain_raises=True),
        drainer("web", journal, 60.0, needs=("api",), shutdown=1.0),
    ]
    with Supervisor(children) as top:
        report = top.stop()
    assert journal.take() == ["drain web", "drain api", "drain db"]
    assert (report.errors, report.killed) == (1, 1)


def test_a_task_that_is_done_before_its_turn_keeps_nobody_waiting(
    clock: VirtualClock, journal: Journal
) -> None:
    children: list[Any] = [(Idle("db"), {"needs": ()}), drainer("api", journal, needs=("db",))]
    with Supervisor(children) as top:
        top.service("db").task(gevent.sleep, 0.5)
        assert top.stop().seconds == 1.0


def test_a_circle_which_nobody_refused_is_drained_all_at_once(
    clock: VirtualClock, journal: Journal
) -> None:
    children = [
        drainer("a", journal, needs=()),
        drainer("b", journal, needs=("a",)),
        drainer("c", journal, needs=("b",)),
    ]
    with Supervisor(children) as top:
        a = top.service("a")
        a._policy_ = a._policy_.with_({"needs": ("b",)})
        assert timed(clock, journal, top, 2) == [["drain c"], ["drain b", "drain a"], []]
