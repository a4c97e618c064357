"""A service that is held: its exits wait undecided, until somebody releases it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import get_hub

from scripted import Crash, Idle, Journal, Scripted, crash, family, restarts, spawn, states
from sprag import App, Backoff, DynamicSupervisor, Service, State, Supervisor, to_json
from sprag.exceptions import BadValue, CalledInHub, ChildRestarting, NotRunning, StartFailed
from sprag.testing import check_invariants
from sprag_supervisor import Lack, hold_exits, is_held, restart_child
from sprag_supervisor.life import holding as _holding

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")

GROUPS = ["one_for_all", "rest_for_one"]
STRATEGIES = ["one_for_one", *GROUPS]
TEN_SECONDS = Backoff(initial=10.0, factor=1.0, jitter=0.0)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def told(top: Service) -> list[tuple[str, str]]:
    """Return what was decided about whom."""
    assert top._tree_ is not None
    return [(each.name, each.decision) for each in top._tree_.ledger]


def noted(top: Service) -> list[tuple[str, str]]:
    """Return what was held and released."""
    assert top._tree_ is not None
    return [(each.path, each.what) for each in top._tree_.ledger.holds]


# -- exits wait -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_crash_of_one_that_is_held_waits_and_no_sibling_is_touched(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b, c = family("abc", journal)
    with Supervisor(children=[a, b, c], strategy=strategy, name="top") as top:
        b.hold_exits()
        journal.take()
        crash(b)
        clock.advance(3600)
        assert states(top) == {"a": "running", "b": "restarting", "c": "running"}
        assert journal.take() == ["stop b"]
        assert told(top) == []
        check_invariants(top)
        b.release_exits()
        clock.settle()
        assert states(top) == dict.fromkeys("abc", "running")
        assert told(top) == [("b", "restart")]
        assert is_held(b) is False
        check_invariants(top)
    assert restarts(top) == {}


@pytest.mark.parametrize("strategy", GROUPS)
def test_at_the_release_the_group_is_restarted_as_ever(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b], strategy=strategy, name="top"):
        a.hold_exits()
        crash(a)
        clock.settle()
        journal.take()
        a.release_exits()
        clock.settle()
        assert journal.take() == ["stop b", "start a", "start b"]


def test_what_is_below_a_held_supervisor_waits_as_well_and_is_decided_in_order(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    fleet = Supervisor(children=[a, b, c], name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        fleet.hold_exits()
        for each in (c, a):
            clock.advance(1)
            crash(each)
        clock.advance(1)
        assert states(fleet) == {"a": "restarting", "b": "running", "c": "restarting"}
        journal.take()
        fleet.release_exits()
        clock.settle()
        assert journal.take() == ["start c", "start a"]
        assert told(top) == [("c", "restart"), ("a", "restart")]


def test_a_held_supervisor_that_crashes_itself_waits_with_all_below_it(
    clock: VirtualClock, journal: Journal
) -> None:
    (a,) = family("a", journal)
    fleet = Supervisor(children=[a], name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        fleet.hold_exits()
        crash(a)
        clock.settle()
        crash(fleet)
        clock.advance(60)
        assert states(top) == {"fleet": "restarting"}
        check_invariants(top)
        fleet.release_exits()
        clock.settle()
        assert states(top) == {"fleet": "running"}
        assert states(fleet) == {"a": "running"}


def test_a_service_that_takes_the_place_of_a_held_one_is_held_too(clock: VirtualClock) -> None:
    fleet = Supervisor(children=[a := Idle("a")], name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        a.hold_exits()
        crash(fleet)
        clock.settle()
        assert a._incarnation_ == 2
        crash(a)
        clock.advance(60)
        assert states(fleet) == {"a": "restarting"}
        assert list(top.not_ready()) == ["top/fleet/a"]
        a.release_exits()
        clock.settle()
        assert states(fleet) == {"a": "running"}


def test_what_ends_nobody_and_restarts_nobody_does_not_wait(clock: VirtualClock) -> None:
    pool = DynamicSupervisor(name="pool")
    with Supervisor(children=[pool], name="top") as top:
        pool.hold_exits()
        for _ in range(50):
            crash(pool.start_child(Idle("job"), restart="temporary"))
            clock.settle()
        assert top._tree_ is not None
        assert told(top) == [("job", "keep")] * 50
        assert states(pool) == {}


@pytest.mark.parametrize("restart", ["permanent", "temporary"])
@pytest.mark.parametrize("what", ["each", "all"])
def test_an_escalation_waits(clock: VirtualClock, restart: str, what: str) -> None:
    jobs = [Idle(name, on_failure={Crash: "escalate"}, restart=restart) for name in "ab"]
    fleet = Supervisor(children=jobs, name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        held = [fleet] if what == "all" else jobs
        for each in held:
            each.hold_exits()
        for each in jobs:
            crash(each)
            clock.advance(10)
        assert states(top) == {"fleet": "running"}
        assert states(fleet) == {"a": "failed", "b": "failed"}
        assert fleet._incarnation_ == 1
        for each in held:
            each.release_exits()
        clock.settle()
        assert fleet._incarnation_ == 2
        assert told(top) == [("a", "escalate"), ("fleet", "restart")]


def test_the_end_of_a_significant_child_waits(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sprag")
    job = Idle("job", restart="transient", significant=True)
    fleet = Supervisor([job], name="fleet", auto_shutdown="any_significant", restart="transient")
    with Supervisor(children=[fleet], name="top") as top:
        job.hold_exits()
        job.finish()
        clock.advance(10)
        assert states(top) == {"fleet": "running"}
        job.release_exits()
        clock.settle()
        assert states(top) == {"fleet": "finished"}
    assert "top/fleet: supervisor shuts down: significant children have ended" in caplog.messages


def test_what_is_about_to_be_decided_when_the_hold_comes_waits(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, start_takes=0.0)
    b = Scripted("b", journal)
    with Supervisor(children=[a, b], name="top") as top:
        a.script.start_takes = 5.0
        crash(a)
        clock.advance(1)  # its restart is under way, and goes on
        crash(b)
        b.hold_exits()
        clock.advance(60)
        assert states(top) == {"a": "running", "b": "restarting"}
        b.release_exits()
        clock.settle()
        assert states(top) == dict.fromkeys("ab", "running")


def test_a_restart_that_fails_under_a_hold_is_not_tried_again_before_the_release(
    clock: VirtualClock, journal: Journal
) -> None:
    (a,) = family("a", journal)
    with Supervisor(children=[a], name="top") as top:
        a.script.start_takes, a.script.fail_starts = 5.0, 1
        crash(a)
        clock.advance(1)
        a.hold_exits()
        clock.advance(60)
        assert states(top) == {"a": "restarting"}
        assert told(top) == [("a", "restart")]
        a.release_exits()
        clock.advance(6)
        assert states(top) == {"a": "running"}
        assert told(top) == [("a", "restart")] * 2


# -- how it counts --------------------------------------------------------------------------------


def test_what_has_waited_counts_when_it_happened_and_not_when_it_is_decided(
    clock: VirtualClock,
) -> None:
    jobs = [Idle(name) for name in "abcdef"]
    fleet = Supervisor(children=jobs, name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        fleet.hold_exits()
        for each in jobs:
            crash(each)
            clock.advance(10)
        fleet.release_exits()
        clock.settle()
        assert [each.decision for each in top._tree_.ledger] == ["restart"] * 6  # type: ignore[union-attr]
        assert fleet._incarnation_ == 1


def test_too_many_at_once_are_too_many_at_the_release_as_well(clock: VirtualClock) -> None:
    jobs = [Idle(name) for name in "abcd"]
    fleet = Supervisor(children=jobs, name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        fleet.hold_exits()
        for each in jobs:
            crash(each)
        clock.advance(3600)
        fleet.release_exits()
        clock.settle()
        assert told(top)[3] == ("d", "give_up")
        assert fleet._incarnation_ == 2


def test_a_late_decision_does_not_make_later_crashes_of_others_count_twice(
    clock: VirtualClock,
) -> None:
    a, b = Idle("a"), Idle("b")
    with Supervisor(children=[a, b], name="top") as top:
        a.hold_exits()
        crash(a)
        clock.advance(100)
        for _ in range(3):
            crash(b)
            clock.settle()
        a.release_exits()
        clock.settle()
        assert states(top) == dict.fromkeys("ab", "running")
        clock.advance(6)
        crash(b)
        clock.settle()
        assert top._tree_ is not None
        assert [each.restarts for each in top._tree_.ledger] == [1, 2, 3, 1, 1]


# -- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", GROUPS)
@pytest.mark.parametrize("is_down", [False, True])
def test_a_restart_of_the_group_leaves_out_who_is_held(
    clock: VirtualClock, journal: Journal, strategy: str, *, is_down: bool
) -> None:
    a, b, c = family("abc", journal)
    with Supervisor(children=[a, b, c], strategy=strategy, name="top") as top:
        b.hold_exits()
        if is_down:
            crash(b)
            clock.settle()
        journal.take()
        crash(a)
        clock.settle()
        assert journal.take() == ["stop a", "stop c", "start a", "start c"]
        wanted = "restarting" if is_down else "running"
        assert states(top) == {"a": "running", "b": wanted, "c": "running"}
        assert b._incarnation_ == 1
        check_invariants(top)
        b.release_exits()
        clock.settle()
        assert states(top) == dict.fromkeys("abc", "running")
        own = [("b", "restart")] if is_down else []
        assert told(top) == [("a", "restart"), *own]


@pytest.mark.parametrize("strategy", GROUPS)
def test_one_that_waits_for_its_group_and_is_held_is_started_at_its_release(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b, c = family("abc", journal, backoff=TEN_SECONDS)
    with Supervisor(children=[a, b, c], strategy=strategy, name="top") as top:
        crash(a)
        clock.advance(4)
        b.hold_exits()
        clock.advance(60)
        assert states(top) == {"a": "running", "b": "restarting", "c": "running"}
        check_invariants(top)
        b.release_exits()
        clock.advance(20)
        assert states(top) == dict.fromkeys("abc", "running")
        assert told(top) == [("a", "back_off")]
        check_invariants(top)


@pytest.mark.parametrize("strategy", GROUPS)
def test_who_waits_for_one_that_is_held_waits_for_its_release(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b = family("ab", journal, backoff=TEN_SECONDS)
    with Supervisor(children=[a, b], strategy=strategy, name="top") as top:
        crash(a)
        clock.advance(4)
        a.hold_exits()
        clock.advance(60)
        assert states(top) == dict.fromkeys("ab", "restarting")
        check_invariants(top)
        a.release_exits()
        clock.settle()
        assert states(top) == dict.fromkeys("ab", "running")


def test_who_waits_for_its_backoff_does_not_come_back_while_it_is_held(
    clock: VirtualClock, journal: Journal
) -> None:
    (a,) = family("a", journal, backoff=TEN_SECONDS)
    with Supervisor(children=[a], name="top") as top:
        crash(a)
        clock.advance(1)
        a.hold_exits()
        clock.advance(2)
        a.release_exits()
        clock.advance(6)
        assert states(top) == {"a": "restarting"}
        clock.advance(1)
        assert states(top) == {"a": "running"}
        crash(a)
        clock.advance(1)
        a.hold_exits()
        clock.advance(100)
        assert states(top) == {"a": "restarting"}
        a.release_exits()
        clock.settle()
        assert states(top) == {"a": "running"}


# -- by hand --------------------------------------------------------------------------------------


def test_who_is_held_can_be_stopped_and_started_by_hand(clock: VirtualClock) -> None:
    a = Idle("a")
    with Supervisor(children=[a], name="top") as top:
        a.hold_exits()
        crash(a)
        clock.settle()
        with pytest.raises(ChildRestarting):
            top.restart_child("a")
        a.stop()
        assert states(top) == {"a": "stopped"}
        a.start()
        assert states(top) == {"a": "running"}
        crash(a)
        clock.settle()
        restart_child(a, now=True)
        assert states(top) == {"a": "running"}
        assert is_held(a)
        a.release_exits()
        clock.settle()
        assert a._incarnation_ == 3
        assert told(top) == []


def test_a_stop_by_hand_is_no_exit_that_waits(clock: VirtualClock) -> None:
    a = Idle("a")
    with Supervisor(children=[a], name="top") as top:
        a.hold_exits()
        crash(a)
        clock.settle()
        a.stop()
        a.release_exits()
        clock.advance(60)
        assert states(top) == {"a": "stopped"}


def test_a_start_now_begins_the_backoff_anew(clock: VirtualClock, journal: Journal) -> None:
    growing = Backoff(initial=10.0, factor=2.0, maximum=100.0, jitter=0.0)
    (a,) = family("a", journal, backoff=growing)
    with Supervisor(children=[a], name="top", max_restarts=99) as top:
        for _ in range(3):
            crash(a)
            clock.settle()
            restart_child(a, now=True)
            assert states(top) == {"a": "running"}
        crash(a)
        clock.settle()
        assert a.snapshot().next_try == 10.0


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_start_now_starts_also_those_who_wait_for_it(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b = family("ab", journal, backoff=TEN_SECONDS)
    with Supervisor(children=[a, b], strategy=strategy, name="top") as top:
        crash(a)
        clock.advance(1)
        a.script.fail_starts = 1
        with pytest.raises(StartFailed, match="top/a failed to start"):
            restart_child(a, now=True)
        clock.settle()
        assert states(top) == dict.fromkeys("ab", "restarting")
        restart_child(a, now=True)
        assert states(top) == dict.fromkeys("ab", "running")
        check_invariants(top)
        clock.advance(60)
        assert restarts(top) == {"a": 2, "b": 1}


def test_a_start_now_of_one_that_waits_with_others_starts_that_one(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal, backoff=TEN_SECONDS)
    with Supervisor(children=[a, b], strategy="one_for_all", name="top") as top:
        crash(a)
        clock.advance(1)
        restart_child(b, now=True)
        assert states(top) == {"a": "restarting", "b": "running"}
        clock.advance(10)
        assert states(top) == dict.fromkeys("ab", "running")
        check_invariants(top)


@pytest.mark.parametrize("how", ["stop", "crash", "root"])
def test_the_end_of_its_parent_takes_along_who_is_held(clock: VirtualClock, how: str) -> None:
    a = Idle("a")
    fleet = Supervisor(children=[a], name="fleet")
    with Supervisor(children=[fleet], name="top") as top:
        a.hold_exits(3600)
        crash(a)
        clock.settle()
        if how == "stop":
            fleet.stop()
            assert states(top) == {"fleet": "stopped"}
        elif how == "crash":
            crash(fleet)
            clock.settle()
            assert states(fleet) == {"a": "running"}
        check_invariants(top)
    assert not is_held(a)
    with top:
        assert not is_held(a)


# -- when it ends ---------------------------------------------------------------------------------


def test_a_hold_ends_when_its_time_is_over(clock: VirtualClock) -> None:
    a = Idle("a")
    with Supervisor(children=[a], name="top") as top:
        hold = a.hold_exits(timedelta(minutes=1))
        assert (hold.path, hold.by) == ("top/a", None)
        assert hold.until == hold.since + 60
        crash(a)
        clock.advance(59)
        assert states(top) == {"a": "restarting"}
        clock.advance(1)
        assert states(top) == {"a": "running"}
        assert noted(top) == [("top/a", "held"), ("top/a", "expired")]
        assert a.release_exits() is None


def test_who_is_held_again_at_the_moment_its_time_is_over_stays_held(clock: VirtualClock) -> None:
    a = Idle("a")
    with Supervisor(children=[a], name="top") as top:
        first = a.hold_exits(10)
        a.hold_exits(20)
        crash(a)
        assert top._tree_ is not None
        _holding._over(top._tree_, first)  # what its timer had begun when it was held again
        clock.settle()
        assert states(top) == {"a": "restarting"}
        clock.advance(20)
        assert states(top) == {"a": "running"}


def test_to_hold_it_again_gives_it_a_new_time(clock: VirtualClock) -> None:
    a = Idle("a")
    with Supervisor(children=[a], name="top") as top:
        a.hold_exits(10)
        clock.advance(5)
        a.hold_exits(20)
        crash(a)
        clock.advance(19)
        assert states(top) == {"a": "restarting"}
        a.hold_exits()
        clock.advance(3600)
        assert states(top) == {"a": "restarting"}
        assert a.release_exits() is not None
        clock.settle()
        assert states(top) == {"a": "running"}


def test_what_is_held_twice_waits_for_both_releases(clock: VirtualClock) -> None:
    a = Idle("a")
    fleet = Supervisor(children=[a], name="fleet")
    with Supervisor(children=[fleet], name="top"):
        fleet.hold_exits()
        a.hold_exits()
        crash(a)
        clock.settle()
        a.release_exits()
        clock.settle()
        assert states(fleet) == {"a": "restarting"}
        before = noted(fleet)
        assert a.release_exits() is None
        assert noted(fleet) == before
        fleet.release_exits()
        clock.settle()
        assert states(fleet) == {"a": "running"}


def test_who_holds_nothing_any_more_is_asked_nothing(clock: VirtualClock) -> None:
    a = Idle("a")
    with Supervisor(children=[a], name="top") as top:
        tree, supervision = top._tree_, top._supervision_
        assert tree is not None
        assert supervision is not None
        before = tree.attend, type(supervision.inbox)
        a.hold_exits()
        crash(a)
        clock.settle()
        assert (tree.attend, type(supervision.inbox)) != before
        a.release_exits()
        clock.settle()
        assert (tree.attend, type(supervision.inbox)) == before
        assert tree.holds is None


def test_a_held_root_holds_all_below_it_and_ends_as_ever(clock: VirtualClock) -> None:
    a = Idle("a")
    top = Supervisor(children=[a], name="top")
    top.start()
    top.hold_exits()
    crash(a)
    clock.settle()
    assert states(top) == {"a": "restarting"}
    crash(top)
    clock.settle()
    assert top._state_ is State.FAILED


# -- what is seen of it ---------------------------------------------------------------------------


def test_who_is_held_is_shown_and_not_ready(clock: VirtualClock) -> None:
    a = Idle("a")
    fleet = Supervisor(children=[a], name="fleet")
    with App(providers={"fleet": fleet}, name="top") as top:
        assert top.not_ready() == {}
        hold = hold_exits(fleet, 60, by=1000)
        assert top.not_ready() == {"top/fleet": Lack(State.RUNNING, "held")}
        shown = fleet.snapshot()
        assert shown.held == shown.children[0].held == hold
        assert (shown.is_ready, shown.children[0].is_ready) == (False, True)
        assert to_json(shown)["held"] == {
            "path": "top/fleet",
            "since": "2026-01-01T00:00:00.000+00:00",
            "until": "2026-01-01T00:01:00.000+00:00",
            "by": 1000,
        }
        assert top.snapshot().held is None
        fleet.release_exits()
        assert top.not_ready() == {}
        assert fleet.snapshot().held is None
        assert noted(top) == [("top/fleet", "held"), ("top/fleet", "released")]


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0, -1, float("inf"), float("nan"), "1h", True, timedelta(0)])
def test_a_time_that_is_none_is_refused(running: Service, given: Any) -> None:
    with pytest.raises(BadValue, match="seconds"):
        running.hold_exits(given)
    assert not is_held(running)


def test_who_has_no_place_in_a_living_tree_cannot_be_held(clock: VirtualClock) -> None:
    a = Idle("a")
    with pytest.raises(NotRunning):
        a.hold_exits()
    assert a.release_exits() is None
    with Supervisor(children=[a]) as top:
        pass
    with pytest.raises(NotRunning):
        top.hold_exits()


def test_the_hub_holds_and_releases_nobody(clock: VirtualClock, running: Service) -> None:
    found: list[object] = []

    def call(fn: Any) -> None:
        try:
            fn()
        except CalledInHub as error:
            found.append(error)

    get_hub().loop.run_callback(call, running.hold_exits)
    get_hub().loop.run_callback(call, running.release_exits)
    gevent.sleep(0.1)
    assert len(found) == 2


def test_a_hundred_paths_may_be_held_and_no_more(clock: VirtualClock) -> None:
    jobs = [Idle(f"job-{number}") for number in range(101)]
    with Supervisor(children=jobs, name="top"):
        for each in jobs[:100]:
            each.hold_exits()
        jobs[0].hold_exits(5)
        with pytest.raises(BadValue, match="release some first"):
            jobs[100].hold_exits()
        jobs[0].release_exits()
        jobs[100].hold_exits()


def test_a_users_own_word_of_the_same_name_hides_ours_and_breaks_nothing(
    clock: VirtualClock,
) -> None:
    class Own(Service):
        hold_exits = release_exits = "mine"  # type: ignore[assignment]

    with Supervisor([own := Own()], name="top") as top:
        Service.hold_exits(own)
        crash(own)
        clock.settle()
        assert states(top) == {"Own": "restarting"}
        Service.release_exits(own)
        clock.settle()
        assert states(top) == {"Own": "running"}


def test_a_service_may_hold_itself(clock: VirtualClock) -> None:
    class Careful(Service):
        def run(self) -> None:
            self.hold_exits()
            raise Crash

    with Supervisor([Careful()], name="top") as top:
        clock.advance(60)
        assert states(top) == {"Careful": "restarting"}
        assert spawn(top.stop).get().is_clean
