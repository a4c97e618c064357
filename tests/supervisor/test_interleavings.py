"""Things that happen at the same time: stops, starts, crashes and restarts in each other's way."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Crash, Idle, Journal, Scripted, crash, family, restarts, spawn, states
from sprag import Backoff, Service, StartFailed, State, Supervisor
from sprag.exceptions import (
    AlreadyStarted,
    ChildRestarting,
    NotRunning,
    StartAborted,
    UnknownChild,
    WouldDeadlock,
)
from sprag_supervisor import Owned, Reason
from sprag_supervisor.life import guard as _guard
from sprag_supervisor.life import supervising
from sprag_supervisor.life.steps import release
from sprag_supervisor.loop import clock as _clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag import Lifecycle
    from sprag.testing import VirtualClock

ONE_SECOND = Backoff(initial=1.0, jitter=0.0)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def state_of(service: Service) -> str:
    return service.snapshot().state.value


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# -- stops and restarts --------------------------------


def test_a_stop_during_the_backoff_cancels_the_restart(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=ONE_SECOND)
    with Supervisor(children=[a]) as top:
        crash(a)
        clock.advance(0.5)
        assert a.stop().is_clean
        assert a.snapshot().next_try is None
        clock.advance(60.0)
        assert states(top) == {"a": "stopped"}
        assert a.script.starts == 1


def test_a_stop_of_the_parent_during_the_backoff_cancels_the_restart(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=ONE_SECOND)
    top = Supervisor(children=[a])
    top.start()
    crash(a)
    clock.advance(0.5)
    top.stop()
    assert clock.now == 0.5
    clock.advance(60.0)
    assert a.script.starts == 1


def test_a_stop_at_the_very_moment_the_backoff_is_over_wins_if_it_comes_first(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=ONE_SECOND)
    with Supervisor(children=[a]) as top:
        gevent.spawn_later(1.0, a.stop)
        gevent.sleep(0)  # its timer is older than the backoff's
        crash(a)
        clock.advance(60.0)
        assert states(top) == {"a": "stopped"}
        assert a.script.starts == 1


@pytest.mark.parametrize("who", ["itself", "its parent"])
def test_who_is_stopped_while_it_comes_up_has_not_failed(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture, who: str
) -> None:
    a = Scripted("a", journal, start_takes=9.0)
    with Supervisor() as top:
        inner = top.adopt(Supervisor(name="inner"))
        starting = spawn(inner.adopt, a)
        clock.advance(1.0)
        (a if who == "itself" else inner).stop()
        assert isinstance(starting.exception, StartFailed)
        ending = a.wait(0)
        assert ending is not None
        assert ending.reason is Reason.STOPPED
        assert a.snapshot().failures == ()
        assert errors(caplog) == []


def test_restarts_that_fail_count_also_long_after_the_start(
    clock: VirtualClock, journal: Journal
) -> None:
    """Where the clock begins at zero, what happened "at one" counts for a while."""
    a = Scripted("a", journal)
    with Supervisor(children=[a], max_restarts=3) as top:
        clock.advance(1000.0)
        a.script.fail_starts = 99
        crash(a)
        clock.settle()
        assert state_of(top) == "failed"
        assert a.script.starts == 1 + 3


def test_a_start_by_hand_during_the_backoff_is_refused(
    clock: VirtualClock, journal: Journal
) -> None:

    a = Scripted("a", journal, backoff=ONE_SECOND)
    with Supervisor(children=[a]):
        crash(a)
        clock.settle()
        with pytest.raises(ChildRestarting):
            a.start()
        clock.advance(1.0)
        assert state_of(a) == "running"


def test_a_child_stopped_in_its_backoff_and_started_by_hand_is_not_restarted_again(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=ONE_SECOND)
    with Supervisor(children=[a]) as top:
        crash(a)
        clock.advance(0.5)
        a.stop()
        a.start()
        clock.advance(60.0)
        assert a.snapshot().incarnation == 2
        assert restarts(top) == {"a": 0}


def test_a_child_replaced_before_its_restart_leaves_the_restart_without_effect(
    clock: VirtualClock, journal: Journal
) -> None:
    old = Scripted("a", journal, backoff=ONE_SECOND)
    with Supervisor(children=[old], max_restarts=1) as top:
        crash(old)
        clock.advance(0.5)
        top.terminate_child("a")
        top.delete_child("a")
        new = top.start_child(Scripted("a", journal), name="a")
        clock.advance(60.0)
        assert top.which_children()[0].service is new
        assert new.snapshot().incarnation == 1
        assert old.snapshot().incarnation == 1
        assert state_of(old) == "stopped"


def test_a_child_replaced_while_its_exit_waits_in_the_inbox_is_not_restarted(
    clock: VirtualClock, journal: Journal
) -> None:
    old = Idle("a")
    with Supervisor(children=[old]) as top:
        crash(old)  # ended on the spot; its parent has not read it yet
        assert state_of(old) == "restarting"
        top.terminate_child("a")
        top.delete_child("a")
        new = top.start_child(Idle("a"), name="a")
        clock.settle()
        assert [info.service for info in top.which_children()] == [new]
        assert state_of(old) == "stopped"


def test_a_late_exit_of_an_older_life_is_dropped(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        crash(a)
        clock.settle()
        _guard.report_crash(a, 1, "greenlet", Crash("of the first life"))
        _guard.end_cleanly(a, 1)
        clock.settle()
        assert states(top) == {"a": "running"}
        assert a.snapshot().incarnation == 2
        late = "Supervisor/a: late crash of an older incarnation (late=1)"
        assert caplog.records[-1].getMessage() == late


def test_a_crash_during_a_stop_is_reported_and_not_restarted(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    with Supervisor(children=[a]) as top:
        stopping = spawn(a.stop)
        clock.advance(0.5)
        crash(a)
        clock.advance(60.0)
        report = stopping.get()
        assert states(top) == {"a": "stopped"}
        assert (report.clean, report.errors) == (0, 1)
        assert [(entry.path, entry.step) for entry in report.entries] == [("Supervisor/a", "test")]
        assert errors(caplog) == ["Supervisor/a: service raised while stopping (step='test')"]
        assert restarts(top) == {"a": 0}


def test_a_stop_during_the_end_after_a_crash_keeps_the_child_down(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    with Supervisor(children=[a]) as top:
        crash(a)
        clock.advance(0.5)
        a.stop()
        assert clock.now == 1.0
        clock.advance(60.0)
        assert states(top) == {"a": "stopped"}
        assert journal.take() == ["start a", "stop a"]


def test_a_second_crash_of_the_same_life_is_one_end(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    with Supervisor(children=[a], max_restarts=1) as top:
        crash(a)
        crash(a)
        clock.advance(0.5)
        crash(a)
        clock.advance(1.0)
        assert states(top) == {"a": "running"}
        assert restarts(top) == {"a": 1}


# -- several stops --------------------------------


def test_two_stops_at_once_are_one_stop_with_one_report(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    with Supervisor(children=[a]):
        stops = [spawn(a.stop) for _ in range(3)]
        clock.advance(1.0)
        reports = [stop.get() for stop in stops]
        assert reports[0].clean == 1
        assert reports == [reports[0]] * 3
        assert journal.take() == ["start a", "stop a"]


def test_a_stop_of_the_parent_joins_the_stop_of_the_child(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    top = Supervisor(children=[a])
    top.start()
    stopping = spawn(a.stop)
    clock.advance(0.5)
    report = top.stop()
    assert clock.now == 1.0
    assert stopping.ready()
    assert report.clean == 2
    assert journal.take() == ["start a", "stop a"]


def test_a_second_stop_with_less_time_makes_the_first_one_shorter(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1000.0, shutdown="infinity")
    top = Supervisor(children=[Supervisor(children=[a], name="inner")], name="top")
    top.start()
    first = spawn(top.stop)
    clock.advance(10.0)
    report = top.stop(timeout=2.0)
    assert 12.0 <= clock.now < 12.5
    assert report.killed == 1
    assert first.get() == report


def test_a_second_stop_with_more_time_changes_nothing(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1000.0, shutdown="infinity")
    top = Supervisor(children=[a])
    top.start()
    first = spawn(top.stop, 2.0)
    clock.advance(1.0)
    top.stop(timeout=500.0)
    assert 2.0 <= clock.now < 2.5
    assert first.ready()


def test_a_second_stop_with_less_time_reaches_a_start_that_is_being_aborted(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, shutdown="infinity")
    top = Supervisor(children=[a])
    top.start()
    a.script.start_takes, a.script.deaf = 50.0, True
    crash(a)
    clock.settle()
    first = spawn(top.stop)
    clock.advance(10.0)
    assert not first.ready()
    report = top.stop(timeout=2.0)
    assert 12.0 <= clock.now < 12.5
    assert report.stragglers == 1
    assert first.ready()
    clock.advance(50.0)  # the straggler ends at last


def test_a_stop_of_what_does_not_run_is_no_event(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal)
    assert a.stop().is_clean
    with Supervisor(children=[a]):
        a.stop()
        assert a.stop().is_clean
        assert journal.take() == ["start a", "stop a"]
    assert a.stop().is_clean


def test_a_timeout_around_a_stop_leaves_the_stop_going_on(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=3.0)
    top = Supervisor(children=[a])
    top.start()
    with pytest.raises(gevent.Timeout), gevent.Timeout(1.0):
        top.stop()
    assert clock.now == 1.0
    assert state_of(top) == "stopping"
    clock.advance(2.0)
    assert state_of(top) == "stopped"


def test_who_waits_for_a_stop_may_be_killed_and_the_stop_goes_on(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=3.0)
    top = Supervisor(children=[a])
    top.start()
    stopping = spawn(top.stop)
    clock.advance(1.0)
    stopping.kill()
    clock.advance(2.0)
    assert state_of(top) == "stopped"


# -- stops and starts --------------------------------


def test_a_stop_during_the_start_aborts_it_and_the_starter_hears_of_it(
    clock: VirtualClock,
) -> None:
    journal = Journal("start", "up", "killed", "clean", "drain", "stop")
    a = Scripted("a", journal, start_takes=10.0, cleanup_takes=0.0)
    starting = spawn(a.start)
    clock.advance(1.0)
    a.stop()
    assert clock.now == 1.0
    assert journal.take() == ["start a", "killed a", "clean a"]
    assert state_of(a) == "stopped"
    with pytest.raises(StartFailed) as caught:
        starting.get()
    assert str(caught.value) == ("a failed to start: on_start was aborted: it was asked to stop")
    assert isinstance(caught.value.__cause__, StartAborted)


def test_a_stop_during_the_start_reports_what_was_undone(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, start_takes=10.0, cleanup_takes=0.0)
    starting = spawn(a.start)
    clock.advance(1.0)
    report = a.stop()
    assert (report.clean, report.entries) == (1, ())
    with pytest.raises(StartFailed):
        starting.get()


def test_a_stop_during_the_start_of_a_tree_takes_back_what_was_started(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    b.script.start_takes = 10.0
    top = Supervisor(children=[a, b, c])
    starting = spawn(top.start)
    clock.advance(1.0)
    top.stop()
    with pytest.raises(StartFailed):
        starting.get()
    assert journal.take() == ["start a", "start b", "stop a"]
    assert state_of(top) == "stopped"


def test_a_stop_of_one_child_during_its_restart_keeps_it_down(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b]) as top:
        a.script.start_takes = 10.0
        crash(a)
        clock.advance(1.0)
        assert states(top) == {"a": "starting", "b": "running"}
        a.stop()
        clock.advance(60.0)
        assert states(top) == {"a": "stopped", "b": "running"}
        assert a.script.starts == 2


def test_a_start_that_swallows_its_kill_is_left_behind_and_named(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, start_takes=100.0, deaf=True, shutdown=2.0)
    starting = spawn(a.start)
    clock.advance(1.0)
    report = a.stop()
    assert 3.0 <= clock.now < 3.5
    assert report.stragglers == 1
    assert [(entry.path, entry.step) for entry in report.entries] == [("a", "on_start")]
    assert "_wait" in report.entries[0].detail
    with pytest.raises(StartFailed):
        starting.get()
    clock.advance(100.0)  # the straggler ends at last


def test_two_starts_at_once_are_one_start_and_one_refusal(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, start_takes=1.0)
    starting = spawn(a.start)
    clock.advance(0.5)
    with pytest.raises(AlreadyStarted):
        a.start()
    clock.advance(0.5)
    assert starting.ready()
    assert state_of(a) == "running"
    a.stop()


def test_a_start_during_the_stop_of_a_child_waits_for_its_end(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    with Supervisor(children=[a]):
        stopping = spawn(a.stop)
        clock.advance(0.5)
        a.start()
        assert clock.now == 1.0
        assert stopping.ready()
        assert state_of(a) == "running"
        assert a.snapshot().incarnation == 2


def test_who_starts_itself_in_its_start_is_not_told_of_a_stop(clock: VirtualClock) -> None:
    class StartsItself(Service):
        def on_start(self) -> None:
            self.start()

    with pytest.raises(StartFailed, match="WouldDeadlock"):
        Supervisor([StartsItself()]).start()
    with pytest.raises(StartFailed, match="is already started: stop it first"):
        StartsItself().start()


def test_who_restarts_a_child_that_leaves_meanwhile_is_told_which_ones_there_are(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1.0, restart="temporary")
    with Supervisor([a, Idle("b")], name="top") as top:
        spawn(a.stop)
        clock.advance(0.5)
        restarting = spawn(lambda: top.restart_child("a"))
        clock.advance(1.0)
        with pytest.raises(UnknownChild, match="b"):
            restarting.get()


@pytest.mark.parametrize("needs", [None, ()], ids=["in order", "by needs"])
def test_what_a_child_takes_to_be_undone_is_not_the_time_of_who_starts_it(
    clock: VirtualClock, journal: Journal, needs: Any
) -> None:
    def undone_slowly(_service: Any) -> None:
        try:
            gevent.sleep(100)
        finally:
            gevent.sleep(3.0)

    a = Scripted("a", journal, in_on_start=undone_slowly, shutdown=5.0)
    top = Supervisor(children=[(a, {"needs": needs})], shutdown=0.1)
    starting = spawn(top.start)
    clock.advance(1.0)
    report = top.stop()
    assert clock.now == 4.0
    assert (report.stragglers, starting.ready()) == (0, True)


def test_a_start_timeout_undoes_the_start(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal, start_takes=10.0, start_timeout=2.0)
    with pytest.raises(StartFailed) as caught:
        a.start()
    assert clock.now == 2.0
    assert caught.value.reason == "on_start did not return within 2 s (start_timeout)"


def test_no_start_timeout_is_none_or_infinite(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal, start_takes=10.0, start_timeout=float("inf"))
    with Supervisor(children=[a]):
        assert clock.now == 10.0


def test_what_a_service_owns_crashing_during_its_start_makes_the_start_fail(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    def spawn_a_crash(service: Scripted) -> None:
        service.spawn(fail)

    def fail() -> None:
        raise Crash("in a greenlet")

    a = Scripted("a", journal, start_takes=10.0, in_on_start=spawn_a_crash)
    with pytest.raises(StartFailed, match="Crash: in a greenlet"):
        a.start()
    assert clock.now == 0.0
    assert errors(caplog) == ["a: service failed to start"]


def test_a_child_that_dies_before_its_parents_start_returns_is_restarted_after_it(
    clock: VirtualClock, journal: Journal
) -> None:
    child = Scripted("child", journal)

    def adopt_and_crash(service: Scripted) -> None:
        service.adopt(child)
        crash(child)

    parent = Scripted("parent", journal, in_on_start=adopt_and_crash, start_takes=1.0)
    starting = spawn(parent.start)
    clock.advance(0.5)
    assert states(parent) == {"child": "restarting"}
    clock.advance(0.5)
    assert starting.ready()
    assert states(parent) == {"child": "running"}
    parent.stop()


def test_a_child_that_dies_while_its_own_start_returns_is_restarted(
    clock: VirtualClock, journal: Journal
) -> None:
    def crash_soon(service: Scripted) -> None:
        if service.script.starts == 1:
            service.spawn(fail)

    def fail() -> None:
        raise Crash("at once")

    a = Scripted("a", journal, in_on_start=crash_soon)
    with Supervisor(children=[a]) as top:
        clock.settle()
        assert states(top) == {"a": "running"}
        assert restarts(top) == {"a": 1}


def test_a_service_that_finishes_while_it_starts_ends_when_it_has_started(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, restart="transient", in_on_start=Scripted.finish)
    with Supervisor(children=[a]) as top:
        clock.settle()
        assert states(top) == {"a": "finished"}
        assert journal.take() == ["start a", "stop a"]


# -- what is thrown into the greenlet that adopts --------------------------------


def adopt_in(parent: Service, child: Service, outcome: list[BaseException]) -> Any:
    def adopt() -> None:
        try:
            parent.adopt(child)
        except BaseException as error:
            outcome.append(error)
            raise

    return spawn(adopt)


def test_a_kill_of_the_greenlet_that_adopts_undoes_the_start_first(clock: VirtualClock) -> None:
    journal = Journal("start", "up", "killed", "clean")
    child = Scripted("child", journal, start_takes=10.0, cleanup_takes=2.0)
    outcome: list[BaseException] = []
    with Supervisor() as top:
        adopting = adopt_in(top, child, outcome)
        clock.advance(1.0)
        adopting.kill(block=False)
        clock.advance(1.0)
        assert not adopting.ready()
        assert states(top) == {"child": "stopping"}
        clock.advance(1.0)
        assert adopting.ready()
        assert states(top) == {}
        assert journal.take() == ["start child", "killed child", "clean child"]
        assert [type(error) for error in outcome] == [gevent.GreenletExit]


def test_a_second_kill_does_not_cut_the_undoing_short(clock: VirtualClock) -> None:
    journal = Journal("clean", "killed")
    child = Scripted("child", journal, start_takes=10.0, cleanup_takes=2.0)
    outcome: list[BaseException] = []
    with Supervisor() as top:
        adopting = adopt_in(top, child, outcome)
        clock.advance(1.0)
        for _ in range(3):
            adopting.kill(block=False)
            clock.advance(0.5)
        assert not adopting.ready()
        clock.advance(0.5)
        assert adopting.ready()
        assert states(top) == {}
        assert journal.take() == ["killed child", "clean child"]


def test_a_timeout_around_adopt_undoes_the_start_and_comes_out_as_itself(
    clock: VirtualClock, journal: Journal
) -> None:
    child = Scripted("child", journal, start_takes=10.0)
    with Supervisor() as top:
        with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(1.0) as timeout:
            top.adopt(child)
        assert caught.value is timeout
        assert clock.now == 1.0
        assert states(top) == {}
        top.adopt(Scripted("other", journal))
        assert states(top) == {"other": "running"}


def test_a_timeout_around_a_start_undoes_the_whole_tree(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    b.script.start_takes = 10.0
    top = Supervisor(children=[Supervisor(children=[a, b], name="inner")], name="top")
    with pytest.raises(gevent.Timeout), gevent.Timeout(1.0):
        top.start()
    assert clock.now == 1.0
    assert state_of(top) == "failed"
    assert journal.take() == ["start a", "start b", "stop a"]


def test_a_kill_of_a_greenlet_that_waits_for_its_turn_gives_up_its_place(
    clock: VirtualClock, journal: Journal
) -> None:
    slow, second, third = family(["slow", "second", "third"], journal)
    slow.script.start_takes = 2.0
    outcome: list[BaseException] = []
    with Supervisor() as top:
        first = adopt_in(top, slow, outcome)
        clock.advance(1.0)
        waiting = adopt_in(top, second, outcome)
        last = adopt_in(top, third, outcome)
        clock.settle()
        waiting.kill()
        clock.advance(1.0)
        assert first.successful()
        assert last.successful()
        assert states(top) == {"slow": "running", "third": "running"}
        assert journal.take() == ["start slow", "start third"]
        assert second.snapshot().state is State.NEW


# -- adopting while things end --------------------------------


def test_an_adoption_while_the_parent_stops_is_refused(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    top = Supervisor(children=[a])
    top.start()
    stopping = spawn(top.stop)
    clock.advance(0.5)
    with pytest.raises(NotRunning, match="Supervisor is stopping: cannot adopt a child"):
        top.adopt(Scripted("late", journal))
    clock.advance(0.5)
    assert stopping.ready()
    assert journal.take() == ["start a", "stop a"]


def test_an_adoption_that_waits_for_its_turn_is_refused_when_the_parent_stops_meanwhile(
    clock: VirtualClock, journal: Journal
) -> None:
    slow = Scripted("slow", journal, start_takes=10.0)
    late = Scripted("late", journal)
    outcome: list[BaseException] = []
    top = Supervisor()
    top.start()
    adoptions = [adopt_in(top, slow, outcome), adopt_in(top, late, outcome)]
    clock.advance(1.0)
    top.stop()
    clock.settle()
    assert all(each.ready() for each in adoptions)
    assert [type(error) for error in outcome] == [StartFailed, NotRunning]
    assert journal.take() == ["start slow"]
    assert state_of(late) == "new"


def test_an_adoption_in_progress_is_aborted_when_the_parent_stops(
    clock: VirtualClock, journal: Journal
) -> None:
    slow = Scripted("slow", journal, start_takes=10.0)
    outcome: list[BaseException] = []
    with Supervisor() as top:
        adopt_in(top, slow, outcome)
        clock.advance(1.0)
    assert clock.now == 1.0
    clock.settle()
    assert [str(error) for error in outcome] == [
        "Supervisor/slow failed to start: on_start was aborted: its parent is stopping"
    ]


def test_a_child_whose_adoption_failed_may_be_adopted_again(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, fail_starts=1)
    with Supervisor() as top:
        with pytest.raises(StartFailed):
            top.adopt(a)
        assert states(top) == {}
        top.adopt(a, restart="temporary")
        assert states(top) == {"a": "running"}


def test_a_policy_given_at_an_adoption_that_failed_is_forgotten(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, fail_starts=1)
    with Supervisor(auto_shutdown="any_significant") as top:
        with pytest.raises(StartFailed):
            top.adopt(a, restart="transient", significant=True)
        top.adopt(a, restart="permanent")
        assert not a.snapshot().policy.significant
        crash(a)
        clock.settle()
        assert a.snapshot().policy.restart == "permanent"
        assert not a.snapshot().policy.significant


def test_a_policy_given_to_a_child_that_was_deleted_is_forgotten(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor() as top:
        top.start_child(a, restart="transient", shutdown=1.0)
        top.terminate_child("a")
        top.delete_child("a")
        top.start_child(a, shutdown=2.0)
        assert a.snapshot().policy.restart == "permanent"
        assert a.snapshot().policy.shutdown == 2.0
        crash(a)
        clock.settle()
        assert a.snapshot().policy.restart == "permanent"
        assert a.snapshot().policy.shutdown == 2.0


# -- the parent stops while its child restarts --------------------------------


def test_a_parent_that_stops_while_a_restart_blocks_aborts_the_restart(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b])
    top.start()
    a.script.start_takes = 100.0
    crash(a)
    clock.advance(1.0)
    assert states(top) == {"a": "starting", "b": "running"}
    report = top.stop()
    assert clock.now == 1.0
    assert report.is_clean
    assert state_of(top) == "stopped"
    assert journal.take() == ["start a", "start b", "stop a", "start a", "stop b"]


def test_a_parent_that_stops_while_its_group_is_being_stopped_for_a_restart_starts_nobody(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    b.script.stop_takes = 2.0
    top = Supervisor(children=[a, b], strategy="one_for_all")
    top.start()
    journal.take()
    crash(a)
    clock.advance(1.0)
    assert states(top) == {"a": "restarting", "b": "stopping"}
    top.stop()
    assert clock.now == 2.0
    clock.advance(60.0)
    assert journal.take() == ["stop a", "stop b"]


def test_a_crash_of_the_parent_while_a_restart_blocks_aborts_it_and_starts_all_anew(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner")
    with Supervisor(children=[inner]):
        a.script.start_takes = 5.0
        crash(a)
        clock.advance(1.0)
        crash(inner)
        clock.settle()
        assert states(inner) == {"a": "starting"}
        clock.advance(5.0)
        assert states(inner) == {"a": "running"}
        assert a.script.starts == 3


# -- group restarts and stops by hand --------------------------------


def test_a_sibling_stopped_by_hand_while_its_group_restarts_stays_stopped(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        for child in (a, b, c):
            child.script.start_takes = 1.0
        journal.take()
        crash(a)
        clock.advance(0.5)
        assert states(top) == {"a": "starting", "b": "restarting", "c": "restarting"}
        c.stop()
        assert states(top) == {"a": "starting", "b": "restarting", "c": "stopped"}
        clock.advance(60.0)
        assert states(top) == {"a": "running", "b": "running", "c": "stopped"}
        assert journal.take() == ["stop a", "stop c", "stop b", "start a", "start b"]


def test_the_failed_one_stopped_by_hand_while_its_group_is_stopped_stays_stopped(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal, stop_takes=1.0)
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        crash(a)
        clock.advance(1.5)
        assert states(top) == {"a": "restarting", "b": "stopping"}
        a.stop()
        clock.advance(60.0)
        assert states(top) == {"a": "stopped", "b": "running"}


def test_the_sibling_being_started_by_its_group_may_be_stopped_and_the_rest_goes_on(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        b.script.start_takes = 10.0
        crash(a)
        clock.advance(1.0)
        assert states(top) == {"a": "running", "b": "starting", "c": "restarting"}
        b.stop()
        clock.settle()
        assert states(top) == {"a": "running", "b": "stopped", "c": "running"}
        assert clock.now == 1.0


def test_a_crash_during_a_group_restart_is_handled_after_it(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        b.script.start_takes = 1.0
        journal.take()
        crash(a)
        clock.advance(0.5)
        assert states(top) == {"a": "running", "b": "starting"}
        crash(a)
        clock.advance(0.5)
        assert states(top) == {"a": "running", "b": "starting"}
        clock.advance(1.0)
        assert states(top) == {"a": "running", "b": "running"}
        assert restarts(top) == {"a": 2, "b": 2}


# -- from inside --------------------------------


@pytest.mark.parametrize("hook", ["in_on_start", "in_on_drain", "in_on_stop"])
def test_a_service_may_stop_itself_from_each_hook(
    clock: VirtualClock, journal: Journal, hook: str
) -> None:
    reports: list[Any] = []

    def stop(service: Scripted) -> None:
        reports.append(service.stop())

    a = Scripted("a", journal)
    setattr(a.script, hook, stop)
    a.script.start_takes = 1.0 if hook == "in_on_start" else 0.0
    if hook == "in_on_start":
        with pytest.raises(StartFailed, match="it was asked to stop"):
            a.start()
    else:
        a.start()
        a.stop()
    assert [report.is_pending for report in reports] == [True]
    assert state_of(a) == "stopped"
    assert clock.now == 0.0


@pytest.mark.parametrize("hook", ["in_on_start", "in_on_drain", "in_on_stop"])
def test_a_child_may_stop_its_tree_from_each_hook(
    clock: VirtualClock, journal: Journal, hook: str
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[Supervisor(children=[a], name="inner")], name="top")
    top.start()

    def stop(_service: Scripted) -> None:
        top.stop()

    setattr(a.script, hook, stop)
    if hook == "in_on_drain":  # the first step of a stop, not of a crash
        a.finish()
    else:
        crash(a)
    clock.settle()
    assert state_of(top) == "stopped"
    assert clock.now == 0.0


def test_a_crash_runs_on_stop_and_not_on_drain(clock: VirtualClock, journal: Journal) -> None:
    hooks: list[str] = []
    a = Scripted("a", journal)
    a.script.in_on_drain = lambda _service: hooks.append("on_drain")
    a.script.in_on_stop = lambda _service: hooks.append("on_stop")
    with Supervisor(children=[a]):
        crash(a)
        clock.settle()
        assert hooks == ["on_stop"]
    assert hooks == ["on_stop", "on_drain", "on_stop"]


def test_a_greenlet_of_the_service_may_stop_it_and_is_ended_with_it(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        stopping = a.spawn(a.stop)
        clock.settle()
        assert states(top) == {"a": "stopped"}
        assert stopping.get().is_pending


def test_a_service_that_stops_itself_and_crashes_at_once_stays_stopped(
    clock: VirtualClock, journal: Journal
) -> None:
    def stop_and_fail() -> None:
        a.stop()
        raise Crash("after the stop")

    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        a.spawn(stop_and_fail)
        clock.advance(60.0)
        assert states(top) == {"a": "stopped"}


def test_a_hook_may_stop_a_sibling(clock: VirtualClock, journal: Journal) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b]) as top:
        a.script.in_on_start = lambda _service: b.stop()
        crash(a)
        clock.settle()
        assert states(top) == {"a": "running", "b": "stopped"}


HOOKS = ["in_on_start", "in_on_drain", "in_on_stop"]


def ask_everything(top: Supervisor) -> Callable[[Scripted], None]:
    def ask(service: Scripted) -> None:
        top.which_children()
        top.count_children()
        top.get_childspec("a")
        top.snapshot()
        service.snapshot()
        assert top.service("a") is service

    return ask


@pytest.mark.parametrize("hook", HOOKS)
def test_queries_from_a_hook_are_answered_at_once(
    clock: VirtualClock, journal: Journal, hook: str
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        setattr(a.script, hook, ask_everything(top))
        crash(b)
        clock.settle()
        assert clock.now == 0.0
        assert states(top) == {"a": "running", "b": "running"}


CHANGES: dict[str, Callable[[Supervisor, Journal], object]] = {
    "adopt": lambda top, journal: top.adopt(Scripted("new", journal)),
    "start_child": lambda top, journal: top.start_child(Scripted("new", journal)),
    "start": lambda top, _journal: top.which_children()[-1].service.start(),  # type: ignore[attr-defined]
    "restart_child": lambda top, _journal: top.restart_child("down"),
    "delete_child": lambda top, _journal: top.delete_child("down"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("hook", ["in_on_start", "in_on_stop"])
def test_a_change_from_a_hook_that_its_supervisor_waits_for_would_deadlock(
    clock: VirtualClock, journal: Journal, hook: str, change: str
) -> None:
    caught: list[BaseException] = []

    def call_back(_service: Scripted) -> None:
        with pytest.raises(WouldDeadlock) as info:
            CHANGES[change](top, journal)
        caught.append(info.value)

    # In a group restart the supervisor waits for a's end, and then for its start.
    a, failed = family(["a", "failed"], journal)
    down = Scripted("down", journal, restart="transient")
    with Supervisor(children=[a, failed, down], strategy="one_for_all") as top:
        down.stop()
        setattr(a.script, hook, call_back)
        crash(failed)
        clock.settle()
        assert clock.now == 0.0
        assert len(caught) == 1
        assert "Supervisor is waiting for the hook that makes this call" in str(caught[0])
        assert states(top) == {"a": "running", "failed": "running", "down": "running"}
        setattr(a.script, hook, None)


def test_a_change_from_the_first_start_of_a_child_would_deadlock(
    clock: VirtualClock, journal: Journal
) -> None:
    def call_back(_service: Scripted) -> None:
        top.adopt(Scripted("sibling", journal))

    top = Supervisor(children=[Scripted("a", journal, in_on_start=call_back)], name="top")
    with pytest.raises(StartFailed, match="WouldDeadlock: cannot adopt a child: top is waiting"):
        top.start()


def test_a_change_two_levels_up_from_a_hook_would_deadlock(
    clock: VirtualClock, journal: Journal
) -> None:
    caught: list[BaseException] = []

    def call_back(_service: Scripted) -> None:
        with pytest.raises(WouldDeadlock) as info:
            top.adopt(Scripted("new", journal))
        caught.append(info.value)

    a, failed = family(["a", "failed"], journal)
    inner = Supervisor(children=[a], name="inner")
    with Supervisor(children=[inner, failed], name="top", strategy="one_for_all") as top:
        a.script.in_on_stop = call_back
        crash(failed)
        clock.settle()
        assert clock.now == 0.0
        assert len(caught) == 1
        a.script.in_on_stop = None


def test_a_hook_that_waits_already_when_the_supervisor_comes_to_wait_for_it_would_deadlock(
    clock: VirtualClock, journal: Journal
) -> None:
    moments: list[float] = []

    def call_back(_service: Scripted) -> None:
        with pytest.raises(WouldDeadlock):
            top.adopt(Scripted("new", journal))
        moments.append(clock.now)

    # The supervisor first waits for c; meanwhile a is stopped by hand, and waits for its turn.
    a, failed, c = family(["a", "failed", "c"], journal)
    with Supervisor(children=[a, failed, c], strategy="one_for_all") as top:
        a.script.in_on_stop = call_back
        c.script.stop_takes = 1.0
        crash(failed)
        clock.advance(0.5)
        spawn(a.stop)
        clock.advance(0.5)
        assert moments == [1.0]
        a.script.in_on_stop = None
        assert states(top) == {"a": "stopped", "failed": "running", "c": "running"}


def test_a_hook_two_levels_down_that_waits_already_would_deadlock(
    clock: VirtualClock, journal: Journal
) -> None:
    moments: list[float] = []

    def call_back(_service: Scripted) -> None:
        with pytest.raises(WouldDeadlock):
            top.adopt(Scripted("new", journal))
        moments.append(clock.now)

    # Three greenlets: the restart waits for inner's end, which waits for x's, which crashed.
    x, failed, c = family(["x", "failed", "c"], journal)
    inner = Supervisor(children=[x], name="inner")
    with Supervisor(children=[inner, failed, c], strategy="one_for_all") as top:
        x.script.in_on_stop = call_back
        c.script.stop_takes = 1.0
        crash(failed)
        clock.advance(0.5)
        crash(x)
        clock.advance(0.5)
        assert moments == [1.0]
        x.script.in_on_stop = None
        assert states(top) == {"inner": "running", "failed": "running", "c": "running"}


def test_two_supervisors_whose_children_start_in_each_other_would_deadlock(
    clock: VirtualClock, journal: Journal
) -> None:
    caught: list[str] = []

    def adopt_below(other: Supervisor) -> Callable[[Scripted], None]:
        def call_over(_service: Scripted) -> None:
            gevent.sleep(1.0)
            try:
                other.adopt(Idle("guest"))
            except WouldDeadlock as error:
                caught.append(str(error))

        return call_over

    left, right = Supervisor(name="left"), Supervisor(name="right")
    with Supervisor(children=[left, right]):
        outcome: list[BaseException] = []
        adopt_in(left, Scripted("a", journal, in_on_start=adopt_below(right)), outcome)
        adopt_in(right, Scripted("b", journal, in_on_start=adopt_below(left)), outcome)
        clock.advance(1.0)
        assert len(caught) == 1
        assert outcome == []
        assert list(states(left)) == ["a"]
        assert list(states(right)) == ["b", "guest"]


def test_a_greenlet_of_a_service_may_change_its_supervisor_once_its_turn_comes(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        a.spawn(lambda: top.adopt(Scripted("b", journal)))
        clock.settle()
        assert states(top) == {"a": "running", "b": "running"}


# -- exits and interrupts --------------------------------


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_args: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("raised", "code"),
    [(SystemExit(3), 3), (SystemExit(), 0), (SystemExit("message"), 1), (SystemExit(0), 0)],
)
def test_a_system_exit_in_a_service_stops_the_tree_with_its_code(
    clock: VirtualClock, journal: Journal, raised: SystemExit, code: int
) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[Supervisor(children=[a], name="inner"), b], name="top")
    top.start()
    a.spawn(fail_with(raised))
    ended = top.wait(timeout=10.0)
    assert ended is not None
    assert (ended.reason, ended.code) == (Reason.STOPPED, code)
    assert journal.take() == ["start a", "start b", "stop b", "stop a"]


@pytest.mark.parametrize("hook", ["in_on_start", "in_on_drain", "in_on_stop"])
def test_a_system_exit_in_any_hook_stops_the_tree_with_its_code(
    clock: VirtualClock, journal: Journal, hook: str
) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b])
    top.start()
    setattr(a.script, hook, fail_with(SystemExit(7)))
    a.finish()
    ended = top.wait(timeout=10.0)
    assert ended is not None
    assert ended.code == 7


def test_a_system_exit_while_the_tree_starts_makes_the_start_fail(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    b.script.in_on_start = fail_with(SystemExit(7))
    top = Supervisor(children=[a, b])
    with pytest.raises(StartFailed):
        top.start()
    ended = top.wait()
    assert ended is not None
    assert ended.code == 7
    assert journal.take() == ["start a", "start b", "stop a"]


def test_the_first_system_exit_counts(clock: VirtualClock, journal: Journal) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b])
    top.start()
    a.spawn(fail_with(SystemExit(3)))
    b.spawn(fail_with(SystemExit(4)))
    ended = top.wait(timeout=10.0)
    assert ended is not None
    assert ended.code == 3


def test_a_keyboard_interrupt_in_a_service_is_the_programs_and_no_crash(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        a.spawn(fail_with(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            gevent.sleep(10.0)
        assert clock.now == 0.0
        assert states(top) == {"a": "running"}


def test_a_keyboard_interrupt_in_a_start_undoes_it_and_comes_out(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    b.script.in_on_start = fail_with(KeyboardInterrupt())
    top = Supervisor(children=[a, b])
    with pytest.raises(KeyboardInterrupt):
        top.start()
    assert journal.take() == ["start a", "start b", "stop a"]
    assert state_of(top) == "failed"


def test_a_keyboard_interrupt_in_a_restart_reaches_the_main_greenlet(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[a])
    top.start()
    a.script.in_on_start = fail_with(KeyboardInterrupt())
    crash(a)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(10.0)
    a.script.in_on_start = None
    top.stop()


def test_a_keyboard_interrupt_amid_a_decision_leaves_it_to_be_made(
    clock: VirtualClock, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, interrupts = supervising._attend_to, [KeyboardInterrupt()]

    def interrupted(*given: Any) -> None:
        if interrupts:
            raise interrupts.pop()
        decide(*given)

    monkeypatch.setattr(supervising, "_attend_to", interrupted)
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        crash(a)
        with pytest.raises(KeyboardInterrupt):
            gevent.sleep(10.0)
        clock.settle()
        assert states(top) == {"a": "running"}
        assert a.snapshot().restarts == 1


def test_a_keyboard_interrupt_in_a_start_that_is_cut_short_reaches_the_main_greenlet(
    clock: VirtualClock, journal: Journal
) -> None:
    def interrupted(_service: Any) -> None:
        try:
            gevent.sleep(100)
        finally:
            raise KeyboardInterrupt

    a = Scripted("a", journal, in_on_start=interrupted)
    top = Supervisor()
    top.start()
    starting = spawn(lambda: top.adopt(a))
    clock.settle()
    stopping = spawn(a.stop)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(10.0)
    clock.settle()
    assert stopping.ready()
    with pytest.raises(StartFailed):
        starting.get()
    top.stop()


def test_a_keyboard_interrupt_in_on_stop_does_not_keep_the_tree_from_stopping(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, in_on_stop=fail_with(KeyboardInterrupt()))
    top = Supervisor(children=[a])
    top.start()
    with pytest.raises(KeyboardInterrupt):  # it is the program's
        top.stop()
    clock.settle()
    assert state_of(top) == "stopped"


# -- what an earlier life has left behind --------------------------------


class Zombie(Service, shutdown=0.5):
    """Its first on_start swallows every kill, and then goes on as if nothing had happened."""

    lives: list[int]

    def __init__(self, journal: Journal, action: Callable[[Zombie], object]) -> None:
        self.journal = journal
        self.action = action

    def on_start(self) -> None:
        life = self.snapshot().incarnation
        self.journal.write("start", str(life))
        if life == 1:
            until = 10.0
            while (left := until - _clock.now()) > 0:
                try:
                    gevent.sleep(left)
                except gevent.GreenletExit:
                    continue
            try:
                self.action(self)
            except NotRunning:
                self.journal.write("refused", str(life))


ACTIONS: dict[str, Callable[[Zombie], object]] = {
    "spawn": lambda service: service.spawn(gevent.sleep, 1000.0),
    "adopt": lambda service: service.adopt(Idle("child")),
    "timeout": lambda service: service.timeout(print, 1000.0),
    "listen": lambda service: service.listen("event", print),
    "add_cleanup": lambda service: service.add_cleanup(print),
    "finish": lambda service: service.finish(),
}


def stop_later(service: Service, seconds: float) -> None:
    def stop() -> None:
        gevent.sleep(seconds)
        service.stop()

    spawn(stop)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_straggler_of_a_service_that_is_down_gets_nothing(
    clock: VirtualClock, action: str
) -> None:
    journal = Journal("start", "refused")
    service = Zombie(journal, ACTIONS[action])
    stop_later(service, 1.0)
    with pytest.raises(StartFailed):
        service.start()
    assert clock.now < 2.0
    clock.advance(10.0)
    assert journal.take() == ["start 1", "refused 1"]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_straggler_of_an_earlier_life_gets_nothing_of_the_next(
    clock: VirtualClock, action: str
) -> None:
    journal = Journal("start", "refused")
    service = Zombie(journal, ACTIONS[action])
    stop_later(service, 1.0)
    with pytest.raises(StartFailed):
        service.start()
    service.start()
    try:
        clock.advance(10.0)
        assert journal.take() == ["start 1", "start 2", "refused 1"]
        assert state_of(service) == "running"
        assert service.snapshot().owned == Owned()
    finally:
        service.stop()


def test_a_greenlet_left_behind_is_told_why_it_gets_nothing(clock: VirtualClock) -> None:
    said: list[str] = []

    class Deaf(Service, shutdown=0.5):
        def on_start(self) -> None:
            if self.snapshot().incarnation == 1:
                self.spawn(self.hang_on)

        def hang_on(self) -> None:
            while _clock.now() < 10.0:
                try:
                    gevent.sleep(10.0 - _clock.now())
                except gevent.GreenletExit:
                    continue
            with pytest.raises(NotRunning) as caught:
                self.adopt(Idle("child"))
            said.append(str(caught.value))

    service = Deaf()
    with Supervisor(children=[service], name="top"):
        clock.settle()
        assert service.stop().stragglers == 1
        service.start()
        clock.advance(10.0)
        assert said == [
            (
                "top/Deaf is running: cannot adopt a child; who asks was killed and left behind: "
                "let GreenletExit end what it is raised in"
            )
        ]


# -- observers --------------------------------


def test_an_observer_that_changes_the_tree_it_watches_would_deadlock(
    clock: VirtualClock, journal: Journal
) -> None:
    caught: list[BaseException] = []

    def observe(record: Lifecycle) -> None:
        if record.path == "top/b":
            try:
                top.adopt(Idle("c"))
            except WouldDeadlock as error:
                caught.append(error)

    with Supervisor(children=[Idle("a")], name="top") as top:
        assert top._tree_ is not None
        top._tree_.observers.append(observe)
        top.adopt(Idle("b"))
        assert len(caught) == 1
        assert states(top) == {"a": "running", "b": "running"}
        top.adopt(Idle("d"))
        top._tree_.observers.clear()


def test_an_observer_that_raises_is_removed_and_hurts_nobody(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    records: list[Lifecycle] = []

    def observe(record: Lifecycle) -> None:
        records.append(record)
        raise Crash("in the observer")

    with Supervisor(children=[Idle("a")]) as top:
        assert top._tree_ is not None
        top._tree_.observers.append(observe)
        top.adopt(Idle("b"))
        top.adopt(Idle("c"))
    assert [record.event for record in records] == ["started"]
    assert errors(caplog) == ["an observer of the tree raised and was removed"]


def test_every_start_is_followed_by_exactly_one_end(clock: VirtualClock, journal: Journal) -> None:
    records: list[tuple[str, int, str]] = []

    def observe(record: Lifecycle) -> None:
        records.append((record.path, record.incarnation, record.event))

    a, b, c = family("abc", journal)
    b.script.ignore_starts = 1
    top = Supervisor(name="top", strategy="one_for_all", max_restarts=10)
    with top:
        assert top._tree_ is not None
        top._tree_.observers.append(observe)
        for child in (a, b, c):
            top.adopt(child)
        crash(a)
        clock.settle()
        c.script.fail_starts = 1
        crash(b)
        clock.settle()
        a.finish()
        clock.settle()
        c.stop()
    begins = {"started", "restarted"}
    lives: dict[tuple[str, int], list[str]] = {}
    for path, incarnation, event in records:
        lives.setdefault((path, incarnation), []).append(event)
    del lives["top", 1]
    for life, events in lives.items():
        kinds = ["begin" if event in begins else "end" for event in events]
        assert kinds in (["begin", "end"], ["end"]), life
    # A life without a begin is a start that failed or was ignored.
    assert {life for life, events in lives.items() if events[0] not in begins} == {
        ("top/b", 1),
        ("top/c", 3),
    }


# -- exits of an older life: each carries its incarnation -------------------------------


class Fatal(Crash):
    """What is to be escalated."""


def test_an_escalation_of_a_life_that_was_started_anew_meanwhile_ends_nobody(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, on_failure={Fatal: "escalate"})
    with Supervisor(children=[a]) as top:
        spawn(top.adopt, Scripted("slow", journal, start_takes=1.0))  # holds the turn
        clock.settle()
        spawn(a.start)  # is the next to have it, before whoever attends to the crash
        clock.settle()
        crash(a, Fatal("no configuration"))
        clock.advance(2.0)
        assert (state_of(a), a.snapshot().incarnation) == ("running", 2)
        assert state_of(top) == "running"


def test_a_bug_behind_on_stop_does_not_make_it_run_twice(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal("drain", "stop")
    child = Scripted("a", journal, cleanup_takes=0.1)
    faults = [RuntimeError("a bug of sprag's")]

    def fails_once(*args: Any) -> None:
        if faults:
            raise faults.pop()
        release(*args)

    monkeypatch.setattr("sprag_supervisor.life.walking.release", fails_once)
    with Supervisor([child]) as top:
        child.stop()
        assert journal.take() == ["drain a", "stop a"]
        assert states(top)["a"] == "stopped"
