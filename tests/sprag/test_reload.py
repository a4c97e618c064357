"""`on_reload`: who runs reads its configuration again, parents first, and nobody is restarted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import get_hub

from scripted import crash, spawn, states
from sprag import App, ReloadReport, Service, State, Supervisor
from sprag.exceptions import BadValue, CalledInHub, NotRunning, TaskTimeout, WouldDeadlock
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

done: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


class Reads(Service):
    """Notes that it reloads, and does then what a test has given it for that."""

    def __init__(self, name: str, then: Any = None) -> None:
        self.name = name
        self.then = then

    def on_reload(self) -> None:
        done.append(self.name)
        if self.then is not None:
            self.then(self)


class Fleet(Supervisor):
    def on_reload(self) -> None:
        done.append("fleet")


class Deaf(Service):
    name = "deaf"


def outcomes(report: ReloadReport) -> list[tuple[str, str]]:
    return [(each.path.rpartition("/")[2], each.outcome) for each in report.entries]


def fails(_service: Service) -> None:
    raise ValueError("token=hunter2 is no port")


def hangs(_service: Service) -> None:
    gevent.sleep(3600)


def sleeps(_service: Service) -> None:
    gevent.sleep(1)


# -- who, and in which order ---------------------------------------------------------------------


def test_parents_reload_before_children_in_the_order_of_the_list(clock: VirtualClock) -> None:
    fleet = Fleet([Reads("b"), Reads("c", sleeps)], name="fleet")
    with Supervisor([Reads("a", sleeps), fleet, Deaf(), Reads("d")], name="top") as top:
        report = spawn(top.reload_tree)
        clock.advance(3)
        assert done == ["a", "fleet", "b", "c", "d"]
        told = report.get()
        assert outcomes(told) == [(name, "reloaded") for name in done]
        assert (told.reloaded, told.is_clean, told.seconds) == (5, True, pytest.approx(2.0))
        assert [each.seconds for each in told.entries] == pytest.approx([1, 0, 0, 1, 0])
        assert {each.restarts for each in top.snapshot().children} == {0}


def test_only_what_is_at_and_below_it_reloads(clock: VirtualClock) -> None:
    fleet = Fleet([Reads("b")], name="fleet")
    with Supervisor([Reads("a"), fleet], name="top"):
        assert fleet.reload_tree().reloaded == 2
        assert done == ["fleet", "b"]


def test_children_that_a_parent_adopts_while_it_reloads_are_seen(clock: VirtualClock) -> None:
    def grows(service: Service) -> None:
        service.adopt(Reads("new"))

    with Reads("top", grows) as top:
        assert top.reload_tree().reloaded == 2
        assert done == ["top", "new"]


def test_a_plan_calls_nobody_and_tells_the_order(clock: VirtualClock) -> None:
    fleet = Fleet([Reads("b"), down := Reads("c")], name="fleet")
    with Supervisor([Reads("a"), fleet, Deaf()], name="top") as top:
        down.stop()
        plan = top.reload_tree(dry_run=True)
        assert done == []
        assert outcomes(plan) == [
            ("a", "planned"),
            ("fleet", "planned"),
            ("b", "planned"),
            ("c", "skipped"),
        ]
        assert (plan.reloaded, plan.skipped) == (3, 1)


def test_who_does_not_run_is_skipped(clock: VirtualClock) -> None:
    class Starts(Reads):
        def on_start(self) -> None:
            gevent.sleep(60)

    stopped, held, starts = Reads("stopped"), Reads("held"), Starts("starts")
    with Supervisor([stopped, held], name="top") as top:
        stopped.stop()
        held.hold_exits()
        crash(held)
        starting = spawn(top.adopt, starts)
        clock.settle()
        report = top.reload_tree()
        assert outcomes(report) == [(name, "skipped") for name in ("stopped", "held", "starts")]
        assert [each.state.value for each in report.entries] == [
            "stopped",
            "restarting",
            "starting",
        ]
        assert (done, report.is_clean) == ([], True)
        clock.advance(60)
        starting.get()


def test_a_tree_that_has_ended_reloads_nothing(clock: VirtualClock) -> None:
    with Reads("top") as top:
        pass
    assert outcomes(top.reload_tree()) == [("top", "skipped")]


# -- what goes wrong -----------------------------------------------------------------------------


def test_what_one_raises_is_logged_and_told_and_is_no_crash(clock: VirtualClock, log: Any) -> None:
    with Supervisor([Reads("a", fails), Reads("b")], name="top") as top:
        report = top.reload_tree()
        clock.settle()
        assert outcomes(report) == [("a", "failed"), ("b", "reloaded")]
        assert report.entries[0].detail.startswith("ValueError: token=***")
        assert not report.is_clean
        assert states(top) == {"a": "running", "b": "running"}
        assert top.snapshot().children[0].restarts == 0
        check_invariants(top)
    said = [each.sprag["event"] for each in log.at_least(logging.WARNING)]
    assert said == ["on_reload failed", "reload is over"]


def test_a_timeout_of_gevent_s_is_a_failure_like_any_other(clock: VirtualClock) -> None:
    def waits(_service: Service) -> None:
        with gevent.Timeout(1):
            gevent.sleep(3600)

    with Supervisor([Reads("a", waits), Reads("b")], name="top") as top:
        reloading = spawn(top.reload_tree)
        clock.advance(1)
        assert outcomes(reloading.get()) == [("a", "failed"), ("b", "reloaded")]


def test_a_timeout_of_who_asks_is_theirs(clock: VirtualClock) -> None:
    def asks(top: Service) -> str:
        try:
            with gevent.Timeout(1):
                top.reload_tree()
        except gevent.Timeout:
            return "no longer"
        return "done"

    with Supervisor([Reads("a", hangs)], name="top") as top:
        asking = spawn(asks, top)
        clock.advance(1)
        assert asking.get() == "no longer"
        clock.settle()
        assert not any(top.snapshot().children[0].owned)


def test_one_that_hangs_is_killed_when_the_time_is_over_and_the_rest_is_told(
    clock: VirtualClock,
) -> None:
    with Supervisor([Reads("a"), Reads("b", hangs), Reads("c")], name="top") as top:
        reloading = spawn(top.reload_tree, 5)
        clock.advance(4.9)
        assert not reloading.ready()
        clock.advance(0.2)
        report = reloading.get()
        assert outcomes(report) == [("a", "reloaded"), ("b", "late"), ("c", "late")]
        assert (report.late, done) == (2, ["a", "b"])
        clock.settle()
        assert not any(top.snapshot().children[1].owned)


def test_a_timeout_of_its_own_work_is_its_failure(clock: VirtualClock) -> None:
    def waits(service: Service) -> None:
        service.task(gevent.sleep, 3600).get(1)

    with Supervisor([Reads("a", waits)], name="top") as top:
        reloading = spawn(top.reload_tree)
        clock.advance(1)
        (entry,) = reloading.get().entries
        assert (entry.outcome, entry.detail.partition(":")[0]) == ("failed", TaskTimeout.__name__)


def test_what_it_raises_after_it_has_ended_its_own_service_is_told_too(clock: VirtualClock) -> None:
    del clock

    def gives_up(service: Service) -> None:
        service.stop()
        fails(service)

    def goes_on(service: Service) -> None:
        service.stop()
        try:
            gevent.sleep(60)
        finally:
            service.spawn(int)

    with Supervisor([Reads("a", gives_up), Reads("b", goes_on)], name="top") as top:
        assert outcomes(top.reload_tree()) == [("a", "failed"), ("b", "skipped")]


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_one_that_ends_meanwhile_is_skipped(clock: VirtualClock, how: str) -> None:
    with Supervisor([a := Reads("a", hangs), Reads("b")], name="top") as top:
        reloading = spawn(top.reload_tree)
        clock.settle()
        if how == "stop":
            spawn(a.stop, 0.5)
        else:
            crash(a)
        clock.advance(1)
        assert outcomes(reloading.get()) == [("a", "skipped"), ("b", "reloaded")]
        assert states(top)["a"] == ("stopped" if how == "stop" else "running")


def test_a_stop_of_the_tree_ends_a_reload(clock: VirtualClock) -> None:
    with Supervisor([Reads("a", hangs), Reads("b")], name="top") as top:
        reloading = spawn(top.reload_tree, None)
        clock.settle()
        spawn(top.stop)
        clock.advance(20)
        assert outcomes(reloading.get()) == [("a", "skipped"), ("b", "skipped")]


def test_who_asks_may_be_killed_and_the_next_one_gets_its_turn(clock: VirtualClock) -> None:
    with Supervisor([a := Reads("a", hangs)], name="top") as top:
        reloading = spawn(top.reload_tree)
        clock.settle()
        reloading.kill()
        clock.settle()
        assert not any(top.snapshot().children[0].owned)
        a.then = None
        assert top.reload_tree().reloaded == 1


def test_a_system_exit_stops_the_app(clock: VirtualClock) -> None:
    def leaves(_service: Service) -> None:
        raise SystemExit(7)

    app = App(name="shop", providers={"a": Reads("a", leaves)})
    app.start()
    spawn(app.reload_tree)
    clock.advance(1)
    assert app.snapshot().state.value == "stopped"


# -- one at a time -------------------------------------------------------------------------------


def test_a_reload_waits_for_the_one_that_is_under_way(clock: VirtualClock) -> None:
    with Supervisor([Reads("a", sleeps), b := Reads("b")], name="top") as top:
        first, second = spawn(top.reload_tree), spawn(b.reload_tree)
        third = spawn(b.reload_tree, 0.5)
        clock.advance(0.5)
        assert outcomes(third.get()) == [("b", "late")]
        assert done == ["a"]
        clock.advance(0.5)
        assert done == ["a", "b", "b"]
        assert first.get().is_clean
        assert second.get().is_clean


def test_an_on_reload_that_reloads_its_tree_would_wait_for_itself(clock: VirtualClock) -> None:
    def again(service: Service) -> None:
        with pytest.raises(WouldDeadlock, match=r"self\.spawn"):
            service.reload_tree()
        service.then = None  # type: ignore[attr-defined]
        service.spawn(service.reload_tree)

    with Supervisor([Reads("a", again)], name="top") as top:
        assert top.reload_tree().is_clean
        clock.settle()
        assert done == ["a", "a"]


# -- arguments, places ---------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
def test_a_timeout_that_is_no_time_is_refused(clock: VirtualClock, timeout: Any) -> None:
    with Supervisor([Reads("a")], name="top") as top:
        with pytest.raises(BadValue, match="timeout"):
            top.reload_tree(timeout)
        assert done == []


def test_one_that_was_never_started_is_refused(clock: VirtualClock) -> None:
    with pytest.raises(NotRunning, match="cannot reload it; start it first"):
        Reads("a").reload_tree()


def test_the_hub_cannot_reload(clock: VirtualClock) -> None:
    raised: list[BaseException] = []

    def call(top: Service) -> None:
        try:
            top.reload_tree()
        except CalledInHub as error:
            raised.append(error)

    with Supervisor([Reads("a")], name="top") as top:
        get_hub().loop.run_callback(call, top)
        clock.settle()
    assert len(raised) == 1


def test_a_static_hook_is_called_as_any_other(clock: VirtualClock) -> None:
    class Odd(Service):
        @staticmethod
        def on_reload() -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            done.append("odd")

    with Odd() as odd:
        assert odd.reload_tree().is_clean
        assert done == ["odd"]


def test_a_users_own_word_of_the_same_name_hides_ours_and_breaks_nothing(
    clock: VirtualClock,
) -> None:
    class Own(Reads):
        reload_tree = reload = "mine"  # type: ignore[assignment]

    with Supervisor([Own("a")], name="top") as top:
        assert top.reload_tree().reloaded == 1


def test_thousands_are_all_reloaded_and_the_first_of_them_told(clock: VirtualClock) -> None:
    with Supervisor([Reads(f"n{number}") for number in range(600)], name="top") as top:
        report = spawn(top.reload_tree)
        clock.settle()
        told = report.get()
        assert (told.reloaded, len(told.entries), told.left_out) == (600, 500, 100)


def test_an_entry_tells_of_the_life_and_the_state_that_its_turn_has_found(
    clock: VirtualClock,
) -> None:
    class Restless(Service):
        def on_reload(self) -> None:
            self.stop()

    with Supervisor([Restless()], name="top") as top:
        (entry,) = top.reload_tree().entries
    assert (entry.outcome, entry.incarnation, entry.state) == ("reloaded", 1, State.RUNNING)
