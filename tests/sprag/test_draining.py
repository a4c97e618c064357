"""A stop has all that it ends drain first: who, in which order, for how long, and what they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import gevent
import pytest

from scripted import Crash, Idle, Journal, Scripted, crash, spawn, states
from sprag import DynamicSupervisor, Service, State, Supervisor
from sprag.exceptions import NotRunning
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")


@pytest.fixture
def journal() -> Journal:
    return Journal("drain", "stop")


def drainer(name: str, journal: Journal, takes: float = 0.0, **orders: Any) -> Scripted:
    return Scripted(name, journal, drain_takes=takes, **orders)


def parent(name: str, journal: Journal, *children: Service, **orders: Any) -> Scripted:
    def adopts(service: Scripted) -> None:
        for child in children:
            service.adopt(child)

    return drainer(name, journal, in_on_start=adopts, **orders)


# -- the order -------------------------------------------------------------------------


def test_all_drain_side_by_side_before_anybody_stops(clock: VirtualClock, journal: Journal) -> None:
    below = Supervisor([drainer("a", journal, 3.0), drainer("b", journal, 2.0)], name="below")
    top = Supervisor([below, drainer("c", journal, 1.0)], name="top")
    top.start()
    report = top.stop()
    assert journal.take() == ["drain c", "drain b", "drain a", "stop c", "stop b", "stop a"]
    assert report.seconds == 3.0
    assert report.clean == 5


def test_children_drain_after_their_parent_and_wait_for_nobody_else(
    clock: VirtualClock, journal: Journal
) -> None:
    quick = parent("quick", journal, drainer("fed", journal), takes=1.0)
    slow = drainer("slow", journal, 3.0)
    with Supervisor([quick, slow]) as top:
        spawn(top.stop)
        clock.settle()
        assert journal.take() == ["drain slow", "drain quick"]
        clock.advance(1.0)
        assert journal.take() == ["drain fed"]
        clock.advance(2.0)
        assert journal.take() == ["stop slow", "stop fed", "stop quick"]


def test_children_of_a_dynamic_supervisor_drain_first_too(
    clock: VirtualClock, journal: Journal
) -> None:
    pool = DynamicSupervisor(name="pool")
    with Supervisor([pool]) as top:
        for name, takes in (("a", 1.0), ("b", 2.0)):
            pool.start_child(drainer(name, journal, takes))
        report = top.stop()
    assert sorted(journal.take()[:2]) == ["drain a", "drain b"]
    assert report.seconds == 2.0


def test_who_comes_up_while_others_drain_drains_when_its_turn_comes(
    clock: VirtualClock, journal: Journal
) -> None:
    pool = DynamicSupervisor(name="pool")
    with Supervisor([pool, drainer("door", journal, 2.0)]) as top:
        spawn(top.stop)
        clock.advance(1.0)
        pool.start_child(drainer("guest", journal))
        clock.advance(1.0)
        assert journal.take() == ["drain door", "stop door", "drain guest", "stop guest"]


@pytest.mark.parametrize("end", ["crash", "give up"])
def test_what_a_crash_ends_drains_but_for_who_has_crashed(
    clock: VirtualClock, journal: Journal, end: str
) -> None:
    top = parent(
        "top", journal, drainer("a", journal), Idle("b"), drainer("c", journal), max_restarts=0
    )
    top.start()
    crash(top if end == "crash" else top.service("b"))
    clock.settle()
    assert journal.take() == ["drain c", "drain a", "stop c", "stop a", "stop top"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_group_restart_drains_nobody(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    b = parent("b", journal, drainer("below", journal, 9.0), takes=9.0)
    with Supervisor([Idle("a"), b], strategy=strategy) as top:
        crash(top.service("a"))
        clock.settle()
        assert journal.take() == ["stop below", "stop b"]
        assert states(top) == {"a": "running", "b": "running"}
        assert clock.now == 0.0


def test_who_comes_up_late_keeps_nobody_below_it_from_draining(
    clock: VirtualClock, journal: Journal
) -> None:
    late = parent("late", journal, drainer("fed", journal, 1.0), start_takes=1.0)
    top = drainer("top", journal, 2.0)
    top.start()
    spawn(lambda: top.adopt(late))
    clock.settle()
    stopping = spawn(top.stop)
    clock.advance(1.5)
    assert states(top) == {"late": "running"}
    clock.advance(2.0)
    assert stopping.value.is_clean
    assert journal.take() == [
        *("drain top", "drain fed", "drain late"),
        *("stop fed", "stop late", "stop top"),
    ]


@pytest.mark.parametrize("takes", [1.0, 3.0])  # over when the other ends, or not
@pytest.mark.parametrize("needs", [None, ()])
def test_who_comes_up_below_one_that_drains_does_so_when_something_in_between_ends(
    clock: VirtualClock, journal: Journal, takes: float, needs: Any
) -> None:
    fed = drainer("fed", journal, takes)
    between = Supervisor([fed], name="between")
    top = Supervisor([(drainer("slow", journal, 3.5), {"needs": needs}), between])
    top.start()
    spawn(lambda: fed.adopt(drainer("late", journal, 1.0, start_takes=2.0)))
    clock.settle()
    stopping = spawn(top.stop)
    clock.advance(2.5)
    assert states(fed) == {"late": "running"}
    crash(between)
    clock.advance(1.5)
    assert stopping.ready()
    assert journal.take()[2:] == ["drain late", "stop late", "stop fed", "stop slow"]


def test_who_is_killed_brutally_does_not_drain(clock: VirtualClock, journal: Journal) -> None:
    brutal = drainer("brutal", journal, shutdown="brutal_kill")
    with Supervisor([brutal, drainer("a", journal)]):
        pass
    assert journal.take() == ["drain a", "stop a"]


def test_an_on_drain_that_a_class_gets_later_runs_too(clock: VirtualClock) -> None:
    said: list[str] = []

    class Late(Service):
        pass

    with Supervisor([Late()]):
        Late.on_drain = lambda _self: said.append("drain")  # type: ignore[method-assign, assignment]
    assert said == ["drain"]


# -- what who drains may, and what is seen of it -----------------------------------------


class Worker(Service):
    """Works while it drains, as it is told to."""

    drains: ClassVar[Callable[[Worker], object]]

    def __init__(self) -> None:
        self.done: list[str] = []

    def on_drain(self) -> None:
        type(self).drains(self)


def working(fn: Callable[[Any], object]) -> type[Worker]:
    return type("Worker", (Worker,), {"drains": staticmethod(fn)})


def test_a_service_acquires_while_it_drains(clock: VirtualClock) -> None:
    def drains(worker: Worker) -> None:
        worker.timeout(lambda: worker.done.append("timeout"), 1.0)
        worker.interval(lambda: worker.done.append("interval"), 1.5)
        worker.listen("order", worker.done.append)
        worker.add_cleanup(worker.done.append, "clean-up")
        worker.spawn(gevent.sleep, 2.0).get()
        worker.emit("order", "heard")
        worker.set_status("done")

    with Supervisor([working(drains)()]) as top:
        worker = top.service("Worker")
    assert worker.done == ["timeout", "interval", "heard", "clean-up"]


def test_it_acquires_also_while_others_still_drain(clock: VirtualClock) -> None:
    with Supervisor([Idle("idle"), working(int)(), working(lambda _: gevent.sleep(2.0))()]) as top:
        spawn(top.stop)
        clock.advance(1.0)
        worker = top.service("Worker")
        greenlet = worker.spawn(gevent.sleep, 0.5)
        worker.call_from_thread(worker.done.append, "called")
        clock.advance(0.5)
        assert greenlet.successful()
        assert worker.done == ["called"]
        check_invariants(top)


def test_it_does_not_adopt_and_acquires_nothing_once_its_own_end_has_begun(
    clock: VirtualClock,
) -> None:
    refused: list[str] = []

    def try_to(act: Callable[[], object]) -> None:
        try:
            act()
        except NotRunning as error:
            refused.append(str(error))

    class Careful(Service):
        def on_drain(self) -> None:
            try_to(lambda: self.adopt(Service()))

        def on_stop(self) -> None:
            try_to(lambda: self.spawn(int))

    with Careful():
        pass
    assert [each.partition(";")[0] for each in refused] == [
        "Careful is stopping: cannot adopt a child",
        "Careful is stopping: cannot spawn a greenlet",
    ]


def test_it_is_shown_as_draining_and_not_ready_from_the_first_moment_on(
    clock: VirtualClock, journal: Journal
) -> None:
    fed = drainer("fed", journal)
    with Supervisor([parent("a", journal, fed, takes=2.0), Idle("idle")], name="top") as top:
        spawn(top.stop)
        clock.advance(1.0)
        shown = [top.snapshot(), *top.snapshot().children, fed.snapshot()]
        assert [(each.state.value, each.draining) for each in shown] == [
            ("stopping", True),
            ("stopping", True),
            ("running", False),
            ("stopping", True),
        ]
        assert sorted(top.not_ready()) == ["top", "top/a", "top/a/fed"]
    assert not fed.snapshot().draining


@pytest.mark.parametrize("number", [0, 1])
def test_a_crash_of_who_drains_is_an_error_of_the_stop(
    clock: VirtualClock, journal: Journal, number: int
) -> None:
    services = [parent("a", journal, drainer("fed", journal), takes=2.0)]
    with Supervisor(services, name="top") as top:
        stopping = spawn(top.stop)
        clock.advance(1.0)
        crash([top.service("a"), top.service("a/fed")][number])
        clock.advance(1.0)
        report = stopping.value
        assert (report.clean, report.errors) == (2, 1)
        assert report.entries[0].path == ["top/a", "top/a/fed"][number]
        assert journal.take() == ["drain a", "drain fed", "stop fed", "stop a"]


def test_an_on_drain_that_raises_holds_up_nobody(clock: VirtualClock, journal: Journal) -> None:
    bad = parent("bad", journal, drainer("fed", journal), drain_raises=True)
    with Supervisor([bad]) as top:
        report = top.stop()
    assert report.errors == 1
    assert journal.take() == ["drain bad", "drain fed", "stop fed", "stop bad"]


def test_finish_says_nothing_new_of_who_drains(clock: VirtualClock) -> None:
    with Supervisor([working(Service.finish)()]) as top:
        assert top.stop().is_clean


def test_a_readiness_that_comes_no_more_is_no_error_of_a_service_that_drains(
    clock: VirtualClock,
) -> None:
    class Warming(Service, start_timeout=1.0):
        def on_start(self) -> None:
            self.set_ready(False, "warming up")

        def on_drain(self) -> None:
            gevent.sleep(2.0)

    with Supervisor([Warming()]) as top:
        assert top.stop().is_clean


# -- the time ----------------------------------------------------------------------------


def test_draining_takes_a_third_of_the_time_at_most(clock: VirtualClock, journal: Journal) -> None:
    slow = parent("slow", journal, drainer("fed", journal, 60.0), takes=60.0, shutdown=100.0)
    with Supervisor([slow]) as top:
        report = top.stop(9.0)
    assert report.seconds == pytest.approx(3.0)
    assert [(each.path, each.step) for each in report.entries] == [
        ("Supervisor/slow", "on_drain"),
        ("Supervisor/slow/fed", "on_drain"),
    ]


def test_an_on_drain_has_its_services_shutdown_with_all_of_its_own_steps(
    clock: VirtualClock, journal: Journal
) -> None:
    slow = drainer("slow", journal, 60.0, stop_takes=60.0, shutdown=2.0)
    with Supervisor([slow, drainer("a", journal)]) as top:
        assert top.stop().seconds == 2.0
    assert journal.take() == ["drain a", "drain slow", "stop a", "stop slow"]


def test_a_nearer_deadline_reaches_who_drains_below_somebody_that_runs(
    clock: VirtualClock, journal: Journal
) -> None:
    slow = drainer("slow", journal, 60.0, shutdown="infinity")
    with Supervisor([Supervisor([slow], name="runs")]) as top:
        spawn(top.stop)
        clock.advance(10.0)
        assert states(top) == {"runs": "running"}
        assert top.stop(3.0).killed == 1
        assert clock.now == pytest.approx(11.0)


# -- meanwhile ---------------------------------------------------------------------------


def test_who_is_stopped_by_hand_meanwhile_does_not_wait_for_all_others(
    clock: VirtualClock, journal: Journal
) -> None:
    fed = drainer("fed", journal, 1.0)
    with Supervisor([parent("a", journal, fed, takes=9.0, shutdown=20.0)]) as top:
        spawn(top.stop)
        clock.advance(1.0)
        assert fed.stop(5.0).is_clean
        assert clock.now == 2.0
        assert journal.take() == ["drain a", "drain fed", "stop fed"]
        check_invariants(top)
        clock.advance(7.0)
        assert journal.take() == ["stop a"]


def test_who_is_stopped_by_hand_while_it_drains_still_does_so_before_its_children(
    clock: VirtualClock, journal: Journal
) -> None:
    fed = drainer("fed", journal, 1.0)
    a = parent("a", journal, fed, takes=2.0)
    with Supervisor([a, drainer("b", journal, 9.0, shutdown=20.0)]) as top:
        stopping = spawn(top.stop)
        clock.settle()
        by_hand = spawn(a.stop)
        clock.advance(1.0)
        assert journal.take() == ["drain b", "drain a"]
        clock.advance(1.0)
        assert journal.take() == ["drain fed"]
        clock.advance(1.0)
        assert by_hand.value.is_clean
        assert journal.take() == ["stop fed", "stop a"]
        clock.advance(6.0)
        assert stopping.value.seconds == 9.0


def test_a_supervisor_in_between_that_gives_up_takes_those_below_it_with_it(
    clock: VirtualClock, journal: Journal
) -> None:
    between = Supervisor([drainer("a", journal, 4.0), Idle("b")], name="between", max_restarts=0)
    with Supervisor([between, drainer("c", journal, 9.0, shutdown=20.0)]) as top:
        stopping = spawn(top.stop)
        clock.advance(1.0)
        crash(top.service("between/b"))
        clock.advance(3.0)
        assert between.snapshot().state is State.FAILED
        assert journal.take() == ["drain c", "drain a", "stop a"]
        clock.advance(5.0)
        assert stopping.value.seconds == 9.0


def test_a_group_that_is_restarted_meanwhile_comes_up_and_drains_again(
    clock: VirtualClock, journal: Journal
) -> None:
    group = Supervisor([drainer("a", journal), Idle("b")], name="group", strategy="one_for_all")
    with Supervisor([group, drainer("c", journal, 9.0, shutdown=20.0)]) as top:
        stopping = spawn(top.stop)
        clock.advance(1.0)
        crash(top.service("group/b"))
        clock.settle()
        assert states(group) == {"a": "running", "b": "running"}
        clock.advance(8.0)
        assert stopping.value.is_clean
        assert journal.take()[-2:] == ["drain a", "stop a"]


def test_two_that_stop_each_other_while_they_drain_do_not_wait_for_each_other(
    clock: VirtualClock, journal: Journal
) -> None:
    a = drainer("a", journal)
    b = drainer("b", journal)
    a.script.in_on_drain = lambda _service: b.stop()
    b.script.in_on_drain = lambda _service: a.stop()
    with Supervisor([a, b]) as top:
        top.stop()
    assert clock.now == 0.0


def test_a_start_waits_for_who_drains(clock: VirtualClock, journal: Journal) -> None:
    with Supervisor([drainer("a", journal, 2.0)]) as top:
        spawn(top.service("a").stop)
        clock.advance(1.0)
        top.service("a").start()
        assert clock.now == 2.0
        assert states(top) == {"a": "running"}


def test_nobody_is_remembered_who_drains_no_more(clock: VirtualClock, journal: Journal) -> None:
    pool = DynamicSupervisor(name="pool", max_restarts=99)
    with Supervisor([pool, parent("a", journal, drainer("fed", journal))]) as top:
        tree = top._tree_
        assert tree is not None
        before = {key: list(noted) for key, noted in tree.drainers.items()}
        for number in range(3):
            child = pool.start_child(drainer(f"child {number}", journal, restart="temporary"))
            (child.stop, child.finish, lambda child=child: crash(child, Crash("x")))[number]()
            clock.settle()
        assert {key: list(noted) for key, noted in tree.drainers.items()} == before
    assert tree.drainers == {}


def test_who_does_not_drain_is_nowhere_noted(clock: VirtualClock) -> None:
    with Supervisor([Idle("a"), DynamicSupervisor()]) as top:
        tree = top._tree_
        assert tree is not None
        assert tree.drainers == {}


# -- tasks -------------------------------------------------------------------------------


def test_tasks_are_drained_with_all_others_before_anybody_stops(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor([Idle("a"), Scripted("b", journal)]) as top:
        task = top.service("a").task(gevent.sleep, 3.0)
        spawn(top.stop)
        clock.advance(2.0)
        assert top.service("a").snapshot().draining
        assert journal.take() == ["drain b"]
        clock.advance(1.0)
        assert task.done
        assert journal.take() == ["stop b"]


def test_a_task_that_a_draining_service_begins_is_waited_for_too(clock: VirtualClock) -> None:
    def drains(worker: Worker) -> None:
        worker.task(gevent.sleep, 2.0)

    with Supervisor([working(drains)()]) as top:
        assert top.stop().seconds == 2.0


def test_a_task_that_is_done_before_its_service_drains_holds_up_nobody(
    clock: VirtualClock, journal: Journal
) -> None:
    top = parent("top", journal, Idle("a"), takes=2.0)
    top.start()
    top.service("a").task(gevent.sleep, 1.0)
    assert top.stop().seconds == 2.0
    assert journal.take() == ["drain top", "stop top"]


def test_a_group_restart_waits_for_no_task(clock: VirtualClock) -> None:
    with Supervisor([Idle("a"), Idle("b")], strategy="one_for_all") as top:
        top.service("a").task(gevent.sleep, 3.0)
        crash(top.service("b"))
        clock.settle()
        assert states(top) == {"a": "running", "b": "running"}


def test_who_has_done_its_tasks_is_not_noted_any_more_and_stops_on_the_spot(
    clock: VirtualClock,
) -> None:
    with Supervisor([Idle("a"), Idle("b")]) as top:
        tree, a = top._tree_, top.service("a")
        assert tree is not None
        for seconds in (1.0, 2.0):
            a.task(gevent.sleep, seconds)
        clock.advance(1.0)
        assert len(tree.drainers) == 2
        clock.advance(1.0)
        assert tree.drainers == {}
        a.task(gevent.sleep, 9.0)
        crash(a)
        clock.settle()
        assert tree.drainers == {}
        a.task(gevent.sleep, 9.0).cancel()
        clock.settle()
        assert tree.drainers == {}
