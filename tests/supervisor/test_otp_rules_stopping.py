"""OTP's rules of stopping, 45-53, and what is left of 26 and 68-71; see test_otp_rules.py.

Where sprag differs on purpose, the test says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Idle, Journal, Scripted, crash, family, restarts, spawn, states
from sprag import DynamicSupervisor, Outcome, Service, StartFailed, State, Supervisor
from sprag.exceptions import AlreadyPresent, AlreadyStarted, BadPolicy, NotRunning, UnknownService
from sprag_supervisor import Reason
from sprag_supervisor.life.steps import KILL_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

EVERYTHING = ("start", "drain", "stop", "clean", "killed")


@pytest.fixture
def journal() -> Journal:
    return Journal()


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# -- the protocol --------------------------------


def test_rule_45_a_stop_asks_then_waits_for_the_childs_own_time_then_kills(
    clock: VirtualClock,
) -> None:
    journal = Journal(*EVERYTHING)
    a = Scripted("a", journal, stop_takes=60.0, shutdown=2.0)
    with Supervisor(children=[a]) as top:
        journal.take()
        stopping = spawn(top.terminate_child, "a")
        clock.advance(1.999)
        assert journal.take() == ["drain a", "stop a"]
        assert states(top) == {"a": "stopping"}
        clock.advance(0.001)
        assert journal.take() == ["killed a"]
        assert states(top) == {"a": "stopped"}
        assert stopping.get().killed == 1
        assert clock.now == 2.0


def test_rule_45_a_child_that_ends_in_time_is_not_killed(clock: VirtualClock) -> None:
    journal = Journal(*EVERYTHING)
    a = Scripted("a", journal, stop_takes=1.999, shutdown=2.0)
    with Supervisor(children=[a]) as top:
        journal.take()
        assert top.terminate_child("a").is_clean
        assert journal.take() == ["drain a", "stop a"]


def test_rule_45_difference_what_swallows_its_kill_is_left_behind_and_named(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    # OTP's kill cannot be caught, so it waits for it without limit. gevent's can.
    journal = Journal(*EVERYTHING)
    a = Scripted("a", journal, stop_takes=60.0, shutdown=2.0, deaf=True)
    with Supervisor(children=[a, Scripted("b", journal)]) as top:
        report = top.terminate_child("a")
        assert clock.now == 2.0 + KILL_GRACE
        assert states(top) == {"a": "stopped", "b": "running"}
        (entry,) = report.entries
        assert (entry.path, entry.outcome, entry.step) == (
            "Supervisor/a",
            Outcome.STRAGGLER,
            "on_stop",
        )
        assert "in on_stop" in entry.detail
        assert messages(caplog) == ["Supervisor/a: straggler left behind (step='on_stop')"]
    clock.advance(60.0)


def test_rule_45_without_a_limit_a_child_is_waited_for(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, stop_takes=86_400.0, shutdown="infinity")
    with Supervisor(children=[a]) as top:
        assert top.terminate_child("a").is_clean
        assert clock.now == 86_400.0


def test_rule_45_a_brutal_kill_skips_the_asking(clock: VirtualClock) -> None:
    journal = Journal(*EVERYTHING)
    a = Scripted("a", journal, shutdown="brutal_kill", stop_takes=1.0, works=60.0)
    with Supervisor(children=[a]) as top:
        clock.settle()
        journal.take()
        top.terminate_child("a")
        assert journal.take() == ["killed a"]
        assert clock.now == 0.0


def test_rule_45_difference_clean_ups_run_even_after_a_brutal_kill(clock: VirtualClock) -> None:
    journal = Journal(*EVERYTHING)
    a = Scripted("a", journal, shutdown="brutal_kill", cleanup_takes=0.0)
    with Supervisor(children=[a]) as top:
        journal.take()
        top.terminate_child("a")
        assert journal.take() == ["clean a"]


def test_rule_46_static_children_stop_one_after_another_so_their_times_add_up(
    clock: VirtualClock, journal: Journal
) -> None:
    top = Supervisor(children=family("abc", journal, stop_takes=60.0, shutdown=2.0))
    top.start()
    journal.take()
    report = top.stop()
    assert journal.take() == ["stop c", "stop b", "stop a"]
    assert clock.now == 6.0
    assert report.killed == 3


def test_rule_46_dynamic_children_stop_together(clock: VirtualClock, journal: Journal) -> None:
    pool = DynamicSupervisor()
    pool.start()
    for name, seconds in (("a", 1.0), ("b", 3.0), ("c", 60.0)):
        pool.start_child(Scripted(name, journal, stop_takes=60.0, shutdown=seconds))
    pool.terminate_child("c")
    clock_before = clock.now
    report = pool.stop()
    assert clock.now - clock_before == 3.0
    assert report.killed == 2


# -- saying goodbye --------------------------------


ENDS: dict[str, tuple[Callable[[Scripted], object], list[str]]] = {
    "stopped": (lambda service: service.stop(), ["drain a", "stop a"]),
    "finished": (lambda service: service.finish(), ["drain a", "stop a"]),
    "crashed": (crash, ["stop a"]),
}


@pytest.mark.parametrize("end", ENDS)
def test_rule_47_difference_a_service_always_says_goodbye(clock: VirtualClock, end: str) -> None:
    # OTP runs terminate/2 at a stop only for a process that traps exits. Here on_stop runs at
    # every end; on_drain, which takes leave of a world that still works, not after a crash.
    journal = Journal("drain", "stop")
    a = Scripted("a", journal, restart="temporary")
    with Supervisor(children=[a]) as top:
        act, lines = ENDS[end]
        act(a)
        clock.settle()
        assert journal.take() == lines
        assert states(top) == {}


def test_rule_47_a_start_that_failed_has_nothing_to_say_goodbye_for(clock: VirtualClock) -> None:
    journal = Journal(*EVERYTHING)
    a = Scripted("a", journal, fail_starts=1, cleanup_takes=0.0)
    with pytest.raises(StartFailed):
        Supervisor(children=[a]).start()
    assert journal.take() == ["start a", "clean a"]


@pytest.mark.parametrize("end", ["stopped", "crashed", "gave_up"])
def test_rule_26_difference_on_drain_runs_first_with_the_children_alive_if_the_end_is_ordered(
    clock: VirtualClock, end: str
) -> None:
    # OTP's prep_stop also runs after the top supervisor has crashed, with the tree dead.
    journal = Journal("drain", "stop")
    seen: list[dict[str, str]] = []

    def adopt_one(service: Scripted) -> None:
        service.adopt(Scripted("child", journal))

    top = Scripted("top", journal, max_restarts=0, in_on_start=adopt_one)
    top.script.in_on_drain = lambda service: seen.append(states(service))
    top.start()
    if end == "stopped":
        top.stop()
    elif end == "crashed":
        crash(top)
    else:
        crash(top.service("child"))
    clock.settle()
    ordered = ["drain top", "drain child", "stop child", "stop top"]
    ends = {
        "stopped": ordered,
        "crashed": ordered[1:],
        "gave_up": ["stop child", "stop top"],  # the child is down already
    }
    assert journal.take() == ends[end]
    assert seen == ([{"child": "stopping"}] if end == "stopped" else [])  # it drains, and works


# -- meanwhile --------------------------------


def test_rule_48_difference_a_supervisor_answers_while_a_child_stops(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal, stop_takes=2.0)
    with Supervisor(children=[a, b]) as top:
        spawn(top.terminate_child, "a")
        clock.advance(1.0)
        assert states(top) == {"a": "stopping", "b": "running"}
        assert top.count_children().active == 1
        top.start_child(Scripted("c", journal))
        top.terminate_child("c")
        assert clock.now == 1.0
        crash(b, ValueError("meanwhile"))
        clock.advance(2.0)
        assert states(top) == {"a": "stopped", "b": "running", "c": "stopped"}
        assert restarts(top) == {"a": 0, "b": 1, "c": 0}


def ask(call: Callable[[], object]) -> str:
    """Return what became of a call: "ok", or the name of the error."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - its name is the answer
        return type(error).__name__
    return "ok"


@pytest.mark.parametrize("shutdown", [5.0, "infinity"])
@pytest.mark.parametrize("hook", ["in_on_drain", "in_on_stop"])
@pytest.mark.parametrize("how", ["terminated", "with its supervisor"])
def test_rule_48_difference_a_child_being_stopped_may_call_its_supervisor(
    clock: VirtualClock, journal: Journal, shutdown: float | str, hook: str, how: str
) -> None:
    # In OTP every one of these calls hangs until the child is killed.
    answers: dict[str, str] = {}

    def call_everything(_service: Scripted) -> None:
        answers["which_children"] = ask(top.which_children)
        answers["count_children"] = ask(top.count_children)
        answers["get_childspec"] = ask(lambda: top.get_childspec("a"))
        answers["terminate_child"] = ask(lambda: top.terminate_child("a"))
        answers["restart_child"] = ask(lambda: top.restart_child("a"))
        answers["delete_child"] = ask(lambda: top.delete_child("a"))
        answers["start_child"] = ask(lambda: top.start_child(Idle("new")))

    a = Scripted("a", journal, shutdown=shutdown)
    setattr(a.script, hook, call_everything)
    top = Supervisor(children=[a])
    top.start()
    stopping = spawn(top.stop) if how == "with its supervisor" else spawn(a.stop)
    clock.settle()
    assert stopping.ready()
    assert clock.now == 0.0
    stopped = how == "with its supervisor"
    assert answers == {
        "which_children": "ok",
        "count_children": "ok",
        "get_childspec": "ok",
        "terminate_child": "ok",
        "restart_child": "NotRunning" if stopped else "AlreadyStarted",
        "delete_child": "ChildRunning",
        "start_child": "NotRunning" if stopped else "ok",
    }
    top.stop()


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_rule_48_difference_services_that_stop_each_other_all_stop(
    clock: VirtualClock, journal: Journal, names: str
) -> None:
    # Each waits for the next one's end; the last would wait for the first, and is not made to.
    children = family(names, journal, shutdown="infinity")
    pending: list[bool] = []
    for child, following in zip(children, [*children[1:], children[0]], strict=True):
        child.script.in_on_stop = lambda _, other=following: pending.append(other.stop().is_pending)
    with Supervisor(children=children) as top:
        journal.take()
        top.terminate_child("a")
        assert journal.take() == [f"stop {name}" for name in names]
        assert set(states(top).values()) == {"stopped"}
        assert pending == [True, *[False] * (len(names) - 1)]


def test_rule_49_an_exception_during_a_stop_is_reported_and_nothing_else(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = family("abc", journal)
    b.script.stop_raises = True
    top = Supervisor(children=[a, b, c])
    top.start()
    journal.take()
    report = top.stop()
    assert journal.take() == ["stop c", "stop b", "stop a"]
    assert (report.clean, report.errors) == (3, 1)
    assert [(entry.path, entry.outcome) for entry in report.entries] == [
        ("Supervisor/b", Outcome.ERROR)
    ]
    assert messages(caplog) == ["Supervisor/b: service raised while stopping (step='on_stop')"]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_rule_49_an_exception_during_a_stop_never_restarts(
    clock: VirtualClock, journal: Journal, restart: str
) -> None:
    a = Scripted("a", journal, restart=restart, stop_raises=True, drain_raises=True)
    with Supervisor(children=[a], max_restarts=0) as top:
        assert top.terminate_child("a").errors == 1
        clock.settle()
        assert states(top) == ({} if restart == "temporary" else {"a": "stopped"})


def test_rule_49_a_crash_while_a_child_is_being_stopped_is_a_stop_error(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    a = Scripted("a", journal, stop_takes=1.0)
    with Supervisor(children=[a], max_restarts=0) as top:
        stopping = spawn(top.terminate_child, "a")
        clock.advance(0.5)
        crash(a)
        clock.advance(0.5)
        assert stopping.get().errors == 1
        assert states(top) == {"a": "stopped"}
        assert messages(caplog) == ["Supervisor/a: service raised while stopping (step='test')"]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_rule_49_a_child_that_ends_as_asked_is_not_reported_whatever_its_type(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture, restart: str
) -> None:
    with Supervisor(children=[Scripted("a", journal, restart=restart)]) as top:
        assert top.terminate_child("a").is_clean
    assert messages(caplog) == []


# -- who may stop a supervisor --------------------------------


def by_its_parent(outer: Supervisor, _inner: Supervisor, _a: Scripted) -> None:
    outer.terminate_child("inner")


def by_a_stranger(_outer: Supervisor, inner: Supervisor, _a: Scripted) -> None:
    spawn(inner.stop).join()


def by_its_child(_outer: Supervisor, inner: Supervisor, a: Scripted) -> None:
    a.spawn(inner.stop)


@pytest.mark.parametrize("who", [by_its_parent, by_a_stranger, by_its_child])
def test_rule_50_difference_anybody_may_stop_a_supervisor_and_it_stays_stopped(
    clock: VirtualClock, journal: Journal, who: Callable[[Supervisor, Supervisor, Any], None]
) -> None:
    # There are no exit signals: who holds a service may call its stop().
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner")
    with Supervisor(children=[inner]) as outer:
        who(outer, inner, a)
        clock.advance(60.0)
        assert states(outer) == {"inner": "stopped"}
        assert journal.take() == ["start a", "stop a"]


def test_rule_50_the_end_of_another_service_or_greenlet_does_not_reach_a_supervisor(
    clock: VirtualClock, journal: Journal
) -> None:
    inner = Supervisor(children=[Scripted("a", journal)], name="inner")

    def start_it(outer: Supervisor) -> None:
        outer.start_child(inner)
        gevent.sleep(60.0)

    with Supervisor(children=[Scripted("other", journal, restart="temporary")]) as outer:
        starter = spawn(start_it, outer)
        clock.settle()
        starter.kill()
        crash(outer.service("other"))
        clock.settle()
        assert states(outer) == {"inner": "running"}


def finish(outer: Scripted) -> None:
    outer.finish()


def crash_a_child_too_often(outer: Scripted) -> None:
    crash(outer.service("a"))


@pytest.mark.parametrize(
    ("end", "reason"),
    [(finish, Reason.FINISHED), (crash, Reason.CRASHED), (crash_a_child_too_often, Reason.GAVE_UP)],
)
def test_rule_51_however_a_parent_ends_its_children_stop_first_in_reverse(
    clock: VirtualClock, journal: Journal, end: Callable[[Scripted], None], reason: Reason
) -> None:
    def adopt_three(service: Scripted) -> None:
        for child in family("abc", journal):
            service.adopt(child)

    outer = Scripted("outer", journal, max_restarts=0, in_on_start=adopt_three)
    outer.start()
    journal.take()
    end(outer)
    clock.settle()
    stops = ["stop c", "stop b", "stop a", "stop outer"]
    if reason is Reason.GAVE_UP:
        stops = ["stop a", "stop c", "stop b", "stop outer"]  # a is what it died of
    assert journal.take() == stops
    ended = outer.wait()
    assert ended is not None
    assert ended.reason is reason


def test_rule_51_a_supervisor_that_ends_takes_whole_branches_down_one_by_one(
    clock: VirtualClock, journal: Journal
) -> None:
    left = Supervisor(children=family("ab", journal, stop_takes=1.0), name="left")
    right = Supervisor(children=family("cd", journal, stop_takes=1.0), name="right")
    top = Supervisor(children=[left, right])
    top.start()
    journal.take()
    top.finish()
    clock.advance(4.0)
    assert journal.take() == ["stop d", "stop c", "stop b", "stop a"]
    assert top.snapshot().state is State.FINISHED


@pytest.mark.parametrize("shutdown", ["brutal_kill", 0.0])
def test_rule_52_difference_a_supervisor_without_time_of_its_own_still_stops_its_children(
    clock: VirtualClock, shutdown: float | str
) -> None:
    # OTP's supervisor is killed, and its children get a bare `killed`, in no order.
    journal = Journal("drain", "stop")
    children = family("abc", journal, stop_takes=1.0)
    inner = Supervisor(children=children, name="inner", shutdown=shutdown)
    with Supervisor(children=[inner]) as outer:
        report = outer.terminate_child("inner")
        drained = ["drain c", "drain b", "drain a"]
        assert journal.take() == [*drained, "stop c", "stop b", "stop a"]
        assert report.clean == 4
        assert clock.now == 3.0


def test_rule_53_difference_five_seconds_are_everybodys_default(clock: VirtualClock) -> None:
    for service in (Service(), Supervisor(), DynamicSupervisor()):
        assert service.snapshot().policy.shutdown == 5.0
    a = Scripted("a", Journal(), stop_takes=60.0)
    with Supervisor(children=[a]) as top:
        top.terminate_child("a")
        assert clock.now == 5.0


def test_rule_53_difference_a_supervisors_time_does_not_include_its_childrens(
    clock: VirtualClock, journal: Journal
) -> None:
    # So it needs no `infinity`: 5 seconds of its own steps, of which it has none.
    children = family("abc", journal, stop_takes=60.0, shutdown=100.0)
    inner = Supervisor(children=children, name="inner")
    with Supervisor(children=[inner]) as outer:
        assert outer.terminate_child("inner").is_clean
        assert clock.now == 180.0


# -- dynamic supervisors, messages, names --------------------------------


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_rule_68_difference_a_dynamic_supervisor_does_not_end_by_itself(
    auto_shutdown: str,
) -> None:
    with pytest.raises(BadPolicy, match="auto_shutdown"):
        DynamicSupervisor(auto_shutdown=auto_shutdown)


def test_rule_68_an_empty_dynamic_supervisor_runs_on(clock: VirtualClock, journal: Journal) -> None:
    with DynamicSupervisor() as pool:
        child = pool.start_child(Scripted("a", journal, restart="temporary"))
        child.finish()
        clock.settle()
        assert states(pool) == {}
        assert pool.snapshot().state is State.RUNNING
        with pytest.raises(BadPolicy, match="auto_shutdown"):
            pool.start_child(Scripted("b", journal, restart="transient", significant=True))


def test_rule_69_difference_what_nobody_understands_hurts_only_who_said_it(
    clock: VirtualClock, journal: Journal
) -> None:
    # There is no mailbox. An event without listeners is nothing; a look-up that finds nothing
    # raises where it was made, while OTP's supervisor dies of an unknown call.
    with Supervisor(children=[Scripted("a", journal)]) as top:
        top.emit("no such event", 17)
        with pytest.raises(UnknownService):
            top.service("nobody")
        clock.settle()
        assert states(top) == {"a": "running"}


def test_rule_70_difference_waiting_for_the_dead_returns_at_once(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, restart="transient")
    with Supervisor(children=[a]) as top:
        with pytest.raises(NotRunning):
            Idle("never started").wait()
        a.finish()
        clock.settle()
        ended = a.wait()
        assert ended is not None
        assert ended.reason is Reason.FINISHED
        assert a.stop().clean == 0
        assert top.terminate_child("a").clean == 0
        assert clock.now == 0.0
        assert states(top) == {"a": "finished"}


def test_rule_71_a_taken_name_fails_the_start_it_is_part_of(
    clock: VirtualClock, journal: Journal
) -> None:
    def adopt_two_alike(service: Scripted) -> None:
        service.adopt(Scripted("x", journal), name="same")
        service.adopt(Scripted("y", journal), name="same")

    top = Supervisor(children=[Scripted("a", journal, in_on_start=adopt_two_alike)])
    with pytest.raises(StartFailed) as caught:
        top.start()
    assert caught.value.path == "Supervisor/a"
    assert isinstance(caught.value.__cause__, AlreadyStarted)
    assert journal.take() == ["start a", "start x", "stop x"]


def test_rule_71_the_name_of_a_child_that_is_down_is_taken_too(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor(children=[Scripted("a", journal)]) as top:
        top.terminate_child("a")
        with pytest.raises(AlreadyPresent, match="Supervisor/a is already there"):
            top.start_child(Scripted("b", journal), name="a")
        assert states(top) == {"a": "stopped"}
