"""OTP's rules of management, 54-62, and appendix A: every call in every state of the child.

See test_otp_rules.py. Where sprag differs on purpose, the test says so. The last part makes
the calls at the very moment at which the child crashes, restarts or stops.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Crash, Idle, Journal, Scripted, crash, family, restarts, spawn, states
from sprag import Backoff, DynamicSupervisor, Service, SpragError, StartFailed, State, Supervisor
from sprag.exceptions import (
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    BadValue,
    ChildRestarting,
    ChildRunning,
    MaxChildren,
    NotRunning,
    UnknownChild,
)
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

Place = Supervisor | DynamicSupervisor

SLOW = 1.0
"""How long the starts and stops take that are looked at while they last."""
PATIENT = Backoff(initial=1000.0, maximum=1000.0, jitter=0.0)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def crash_and_settle(service: Service, clock: VirtualClock) -> None:
    crash(service)
    clock.settle()


def answer_of(call: Callable[[], object]) -> str:
    """Return "ok", or the name of the error that a management call answers with."""
    try:
        call()
    except SpragError as error:
        return type(error).__name__
    return "ok"


def ask(call: Callable[[Any, Scripted], object], place: Place, a: Scripted) -> Any:
    """Make a call in a greenlet, which returns `answer_of` it."""
    return spawn(answer_of, lambda: call(place, a))


# -- start_child --------------------------------


def test_rule_54_a_known_name_is_refused_and_the_error_says_what_it_does(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor(children=[Scripted("a", journal)]) as top:
        journal.take()
        with pytest.raises(AlreadyStarted) as started:
            top.start_child(Scripted("b", journal), name="a")
        assert started.value.path == "Supervisor/a"
        top.terminate_child("a")
        with pytest.raises(AlreadyPresent) as present:
            top.start_child(Scripted("b", journal), name="a")
        assert (present.value.path, present.value.state) == ("Supervisor/a", "stopped")
        assert journal.take() == ["stop a"]


def test_rule_54_what_was_refused_may_be_started_under_another_name(
    clock: VirtualClock, journal: Journal
) -> None:
    b = Scripted("b", journal)
    with Supervisor(children=[Scripted("a", journal)]) as top:
        with pytest.raises(AlreadyStarted):
            top.start_child(b, name="a", restart="temporary")
        assert top.start_child(b) is b
        assert states(top) == {"a": "running", "b": "running"}
        assert b.snapshot().policy.restart == "permanent"


def test_rule_55_a_start_that_fails_leaves_nothing_behind_and_its_error_is_bare(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, fail_starts=1)
    with Supervisor() as top:
        with pytest.raises(StartFailed) as caught:
            top.start_child(a, restart="transient")
        assert caught.value.path == "Supervisor/a"
        assert isinstance(caught.value.__cause__, Crash)
        assert top.count_children().specs == 0
        with pytest.raises(UnknownChild):
            top.get_childspec("a")
        top.start_child(a)
        assert states(top) == {"a": "running"}
        assert a.snapshot().policy.restart == "permanent"


def test_rule_55_an_ignored_start_is_kept_and_a_temporary_one_is_not(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor() as top:
        kept = Scripted("kept", journal, ignore_starts=1)
        assert top.start_child(kept) is kept
        top.start_child(Scripted("gone", journal, ignore_starts=1, restart="temporary"))
        assert states(top) == {"kept": "stopped"}


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("given", [17, None, Idle])
def test_rule_55_what_is_no_service_is_refused(
    clock: VirtualClock, kind: Callable[[], Place], given: Any
) -> None:
    with kind() as top:
        with pytest.raises(BadValue):
            top.start_child(given)
        assert top.count_children().specs == 0


def test_rule_55_a_bad_policy_is_refused_before_anything_starts(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor() as top:
        with pytest.raises(BadPolicy):
            top.start_child(Scripted("a", journal), restart="sometimes")
        assert journal.take() == []
        assert top.count_children().specs == 0


# -- restart_child, delete_child, terminate_child --------------------------------


def test_rule_56_a_restart_by_hand_that_fails_keeps_the_child(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a], max_restarts=0) as top:
        top.terminate_child("a")
        a.script.fail_starts = 1
        with pytest.raises(StartFailed):
            top.restart_child("a")
        clock.advance(60.0)
        assert states(top) == {"a": "failed"}  # kept, and nobody tries again
        assert top.restart_child("a") is a
        assert states(top) == {"a": "running"}


def test_rule_56_a_restart_by_hand_may_be_ignored(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        top.terminate_child("a")
        a.script.ignore_starts = 1
        assert top.restart_child("a") is a
        assert states(top) == {"a": "stopped"}


def test_rule_56_a_temporary_child_that_is_gone_is_unknown(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor(children=[Scripted("a", journal, restart="temporary")]) as top:
        crash_and_settle(top.service("a"), clock)
        with pytest.raises(UnknownChild, match="it has no children"):
            top.restart_child("a")


def test_rule_56_a_child_brought_back_by_hand_is_supervised_again(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, restart="transient")
    with Supervisor(children=[a]) as top:
        a.finish()
        clock.settle()
        top.restart_child("a")
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running"}
        assert restarts(top) == {"a": 1}  # that by hand is none


def test_rule_57_delete_never_stops_anything(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        with pytest.raises(ChildRunning):
            top.delete_child("a")
        assert states(top) == {"a": "running"}
        assert journal.take() == ["start a"]


def test_rule_57_a_deleted_child_is_free(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal)
    with Supervisor() as other, Supervisor(children=[a]) as top:
        top.terminate_child("a")
        top.delete_child("a")
        assert states(top) == {}
        other.start_child(a)
        assert states(other) == {"a": "running"}
        assert top.start_child(Scripted("a", journal)).snapshot().path == "Supervisor/a"


def test_rule_58_to_terminate_a_child_that_is_down_is_well(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor(children=[Scripted("a", journal)]) as top:
        assert top.terminate_child("a").clean == 1
        for _ in range(2):
            report = top.terminate_child("a")
            assert report.is_clean
            assert report.clean == 0
        assert states(top) == {"a": "stopped"}


@pytest.mark.parametrize("kind", [Scripted, Idle])
def test_rule_58_terminating_a_temporary_child_removes_it(
    clock: VirtualClock, journal: Journal, kind: type[Service]
) -> None:
    child = Idle("a") if kind is Idle else Scripted("a", journal)
    with Supervisor(children=[(child, {"restart": "temporary"})]) as top:
        assert top.terminate_child("a").clean == 1
        assert states(top) == {}
        with pytest.raises(UnknownChild):
            top.terminate_child("a")


# -- dynamic supervisors --------------------------------


def test_rule_59_difference_dynamic_children_are_addressed_as_themselves_or_by_name(
    clock: VirtualClock, journal: Journal
) -> None:
    with DynamicSupervisor() as pool, DynamicSupervisor() as other:
        a, b = pool.start_child(Scripted("a", journal)), pool.start_child(Scripted("b", journal))
        foreign = other.start_child(Scripted("foreign", journal))
        pool.terminate_child(a)
        pool.terminate_child("b")
        for unknown in (a, b, "b", "nobody", foreign, Idle("never started")):
            with pytest.raises(UnknownChild):
                pool.terminate_child(unknown)
        assert states(pool) == {}
        assert states(other) == {"foreign": "running"}


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_rule_59_a_terminated_dynamic_child_is_forgotten_whatever_its_type(
    clock: VirtualClock, journal: Journal, restart: str
) -> None:
    with DynamicSupervisor() as pool:
        a = pool.start_child(Scripted("a", journal, restart=restart))
        pool.terminate_child(a)
        clock.advance(60.0)
        assert pool.count_children().specs == 0
        assert journal.take() == ["start a", "stop a"]


def test_rule_60_what_is_counted(clock: VirtualClock, journal: Journal) -> None:
    children = [
        *family("ab", journal),
        Supervisor(children=[Scripted("x", journal)], name="c"),
        DynamicSupervisor(name="d"),
        Scripted("e", journal, backoff=PATIENT),
    ]
    with Supervisor(children=children) as top:
        assert vars_of(top) == (5, 5, 2, 3)
        top.terminate_child("a")
        top.terminate_child("c")
        crash_and_settle(children[4], clock)
        # Specifications by their declared kind, alive or not; only what lives is active.
        assert vars_of(top) == (5, 2, 2, 3)
        top.delete_child("c")
        assert vars_of(top) == (4, 2, 1, 3)


def vars_of(top: Supervisor | DynamicSupervisor) -> tuple[int, int, int, int]:
    counts = top.count_children()
    return counts.specs, counts.active, counts.supervisors, counts.workers


def test_rule_60_a_child_that_starts_is_active_and_one_that_stops_is_not(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor() as top:
        slow = Scripted("slow", journal, start_takes=SLOW, stop_takes=SLOW)
        spawn(top.start_child, slow)
        clock.settle()
        assert vars_of(top) == (1, 1, 0, 1)
        clock.advance(SLOW)
        spawn(top.terminate_child, "slow")
        clock.settle()
        assert vars_of(top) == (1, 0, 0, 1)


def test_rule_60_a_dynamic_supervisor_counts_each_child(
    clock: VirtualClock, journal: Journal
) -> None:
    # simple_one_for_one has one specification for all; Elixir's counts as here.
    with DynamicSupervisor() as pool:
        for name in "abc":
            pool.start_child(Scripted(name, journal))
        pool.start_child(Supervisor(name="d"))
        assert vars_of(pool) == (4, 4, 1, 3)


def test_rule_61_difference_4_which_children_tells_all_there_is_in_start_order(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    b = Supervisor(name="b", restart="transient")
    c = Scripted("c", journal, restart="temporary")
    with Supervisor(children=[a, b, c]) as top:
        top.terminate_child("a")
        told = [
            (each.name, each.state, each.service, each.restart, each.kind)
            for each in top.which_children()
        ]
        assert told == [
            ("a", State.STOPPED, a, "permanent", "worker"),
            ("b", State.RUNNING, b, "transient", "supervisor"),
            ("c", State.RUNNING, c, "temporary", "worker"),
        ]


def test_rule_62_what_ignores_its_start_is_returned_and_not_kept(
    clock: VirtualClock, journal: Journal
) -> None:
    with DynamicSupervisor() as pool:
        a = Scripted("a", journal, ignore_starts=1)
        assert pool.start_child(a) is a
        assert states(pool) == {}
        pool.start_child(a)
        assert states(pool) == {"a": "running"}


def test_rule_62_difference_ids_are_names_and_those_must_differ(
    clock: VirtualClock, journal: Journal
) -> None:
    # Elixir ignores the ids of dynamic children. Here an explicit name is a place.
    with DynamicSupervisor() as pool:
        pool.start_child(Scripted("x", journal), name="a")
        with pytest.raises(AlreadyStarted):
            pool.start_child(Scripted("y", journal), name="a")
        pool.start_child(Scripted("a", journal))
        assert list(states(pool)) == ["a", "a-2"]


def test_rule_62_a_restarting_child_fills_its_place_and_is_still_addressed(
    clock: VirtualClock, journal: Journal
) -> None:
    with DynamicSupervisor(max_children=1) as pool:
        a = pool.start_child(Scripted("a", journal, backoff=PATIENT))
        crash_and_settle(a, clock)
        assert states(pool) == {"a": "restarting"}
        with pytest.raises(MaxChildren) as caught:
            pool.start_child(Scripted("b", journal))
        assert caught.value.max_children == 1
        pool.terminate_child(a)
        pool.start_child(Scripted("b", journal))
        assert states(pool) == {"b": "running"}


def test_rule_62_those_who_wait_for_their_turn_do_not_exceed_the_limit_together(
    clock: VirtualClock, journal: Journal
) -> None:
    with DynamicSupervisor(max_children=2) as pool:
        a = pool.start_child(Scripted("a", journal))
        a.script.start_takes = SLOW
        crash_and_settle(a, clock)  # its restart holds the turn
        waiting = [
            spawn(answer_of, lambda name=name: pool.start_child(Scripted(name, journal)))
            for name in "bcd"
        ]
        clock.advance(SLOW)
        assert states(pool) == {"a": "running", "b": "running"}
        assert [each.get() for each in waiting] == ["ok", "MaxChildren", "MaxChildren"]


# -- appendix A: each call in each state of the child --------------------------------


def running(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a)


def starting(place: Place, a: Scripted, clock: VirtualClock) -> None:
    a.script.start_takes = SLOW
    spawn(answer_of, lambda: place.start_child(a))
    clock.settle()


def starting_again(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a)
    a.script.start_takes = SLOW
    crash_and_settle(a, clock)


def stopping(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a)
    a.script.stop_takes = SLOW
    spawn(a.stop)
    clock.settle()


def crashing(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a, restart="transient")
    a.script.stop_takes = SLOW
    crash_and_settle(a, clock)


def restarting(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a, backoff=PATIENT)
    crash_and_settle(a, clock)


def stopped(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a)
    a.stop()


def ignored(place: Place, a: Scripted, clock: VirtualClock) -> None:
    a.script.ignore_starts = 1
    place.start_child(a)


def finished(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a, restart="transient")
    a.finish()
    clock.settle()


def failed(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a, on_failure={Crash: "stop"})
    crash_and_settle(a, clock)


def unknown(place: Place, a: Scripted, clock: VirtualClock) -> None:
    place.start_child(a, restart="temporary")
    crash_and_settle(a, clock)


IN = {
    running: "running",
    starting: "starting",
    starting_again: "starting",
    stopping: "stopping",
    crashing: "stopping",
    restarting: "restarting",
    stopped: "stopped",
    ignored: "stopped",
    finished: "finished",
    failed: "failed",
    unknown: None,
}

CALLS: dict[str, Callable[[Any, Scripted], object]] = {
    "start_child(name)": lambda top, a: top.start_child(Scripted("b", a.journal), name="a"),
    "start_child(service)": lambda top, a: top.start_child(a),
    "terminate_child": lambda top, a: top.terminate_child("a"),
    "restart_child": lambda top, a: top.restart_child("a"),
    "delete_child": lambda top, a: top.delete_child("a"),
    "get_childspec": lambda top, a: top.get_childspec("a"),
}

# What each call answers, and the state of the child afterwards; "~" marks an answer that comes
# when the start or stop in progress is over. OTP's words: AlreadyStarted is
# {already_started,_}, AlreadyPresent already_present, ChildRunning running, ChildRestarting
# restarting, UnknownChild not_found. In OTP the supervisor is deaf while a child starts or stops,
# so the columns for these states are sprag's own.
STATIC: dict[str, dict[Callable[..., None], tuple[str, str | None]]] = {
    "start_child(name)": {
        running: ("AlreadyStarted", "running"),
        starting: ("~AlreadyStarted", "running"),
        starting_again: ("~AlreadyStarted", "running"),
        stopping: ("AlreadyPresent", "stopped"),
        crashing: ("AlreadyPresent", "running"),
        restarting: ("AlreadyPresent", "restarting"),
        stopped: ("AlreadyPresent", "stopped"),
        ignored: ("AlreadyPresent", "stopped"),
        finished: ("AlreadyPresent", "finished"),
        failed: ("AlreadyPresent", "failed"),
        unknown: ("ok", "running"),
    },
    "start_child(service)": {
        running: ("AlreadyStarted", "running"),
        starting: ("AlreadyStarted", "running"),
        starting_again: ("AlreadyStarted", "running"),
        stopping: ("AlreadyPresent", "stopped"),
        crashing: ("AlreadyPresent", "running"),
        restarting: ("AlreadyPresent", "restarting"),
        stopped: ("AlreadyPresent", "stopped"),
        ignored: ("AlreadyPresent", "stopped"),
        finished: ("AlreadyPresent", "finished"),
        failed: ("AlreadyPresent", "failed"),
        unknown: ("ok", "running"),
    },
    "terminate_child": {
        running: ("ok", "stopped"),
        starting: ("ok", None),  # its first start has failed
        starting_again: ("ok", "stopped"),
        stopping: ("~ok", "stopped"),
        crashing: ("~ok", "stopped"),
        restarting: ("ok", "stopped"),
        stopped: ("ok", "stopped"),
        ignored: ("ok", "stopped"),
        finished: ("ok", "finished"),
        failed: ("ok", "failed"),
        unknown: ("UnknownChild", None),
    },
    "restart_child": {
        running: ("ChildRunning", "running"),
        starting: ("~ChildRunning", "running"),
        starting_again: ("~ChildRunning", "running"),
        stopping: ("~ok", "running"),
        crashing: ("~ChildRestarting", "running"),
        restarting: ("ChildRestarting", "restarting"),
        stopped: ("ok", "running"),
        ignored: ("ok", "running"),
        finished: ("ok", "running"),
        failed: ("ok", "running"),
        unknown: ("UnknownChild", None),
    },
    "delete_child": {
        running: ("ChildRunning", "running"),
        starting: ("~ChildRunning", "running"),
        starting_again: ("~ChildRunning", "running"),
        stopping: ("ChildRunning", "stopped"),
        crashing: ("ChildRunning", "running"),
        restarting: ("ChildRestarting", "restarting"),
        stopped: ("ok", None),
        ignored: ("ok", None),
        finished: ("ok", None),
        failed: ("ok", None),
        unknown: ("UnknownChild", None),
    },
    "get_childspec": {
        running: ("ok", "running"),
        starting: ("ok", "running"),
        starting_again: ("ok", "running"),
        stopping: ("ok", "stopped"),
        crashing: ("ok", "running"),
        restarting: ("ok", "restarting"),
        stopped: ("ok", "stopped"),
        ignored: ("ok", "stopped"),
        finished: ("ok", "finished"),
        failed: ("ok", "failed"),
        unknown: ("UnknownChild", None),
    },
}

DYNAMIC_CALLS: dict[str, Callable[[Any, Scripted], object]] = {
    "start_child(name)": CALLS["start_child(name)"],
    "start_child(service)": CALLS["start_child(service)"],
    "terminate_child": CALLS["terminate_child"],
    "terminate_child(service)": lambda top, a: top.terminate_child(a),
}

# There are no other states, since what ends for good is forgotten.
DYNAMIC: dict[str, dict[Callable[..., None], tuple[str, str | None]]] = {
    "start_child(name)": {
        running: ("AlreadyStarted", "running"),
        starting: ("~AlreadyStarted", "running"),
        starting_again: ("~AlreadyStarted", "running"),
        stopping: ("AlreadyPresent", None),
        crashing: ("AlreadyPresent", "running"),
        restarting: ("AlreadyPresent", "restarting"),
        unknown: ("ok", "running"),
    },
    "start_child(service)": {
        running: ("AlreadyStarted", "running"),
        starting: ("AlreadyStarted", "running"),
        starting_again: ("AlreadyStarted", "running"),
        stopping: ("AlreadyPresent", None),
        crashing: ("AlreadyPresent", "running"),
        restarting: ("AlreadyPresent", "restarting"),
        unknown: ("ok", "running"),
    },
    "terminate_child": {
        running: ("ok", None),
        starting: ("ok", None),
        starting_again: ("ok", None),
        stopping: ("~ok", None),
        crashing: ("~ok", None),
        restarting: ("ok", None),
        unknown: ("UnknownChild", None),
    },
}
DYNAMIC["terminate_child(service)"] = DYNAMIC["terminate_child"]


def cells(
    table: dict[str, dict[Callable[..., None], tuple[str, str | None]]],
) -> list[Any]:
    return [
        pytest.param(call, state, answer, after, id=f"{call}-{state.__name__}")
        for call, column in table.items()
        for state, (answer, after) in column.items()
    ]


@pytest.mark.parametrize(("call", "bring_to", "answer", "after"), cells(STATIC))
def test_rule_54_56_57_58_what_each_call_answers_in_each_state_of_the_child(
    clock: VirtualClock,
    journal: Journal,
    *,
    call: str,
    bring_to: Callable[..., None],
    answer: str,
    after: str | None,
) -> None:
    with Supervisor() as top:
        check_cell(top, CALLS[call], bring_to, clock, journal, answer=answer, after=after)


@pytest.mark.parametrize(("call", "bring_to", "answer", "after"), cells(DYNAMIC))
def test_rule_54_58_59_what_each_call_to_a_dynamic_supervisor_answers(
    clock: VirtualClock,
    journal: Journal,
    *,
    call: str,
    bring_to: Callable[..., None],
    answer: str,
    after: str | None,
) -> None:
    with DynamicSupervisor() as pool:
        check_cell(pool, DYNAMIC_CALLS[call], bring_to, clock, journal, answer=answer, after=after)


def check_cell(
    place: Place,
    call: Callable[[Any, Scripted], object],
    bring_to: Callable[..., None],
    clock: VirtualClock,
    journal: Journal,
    *,
    answer: str,
    after: str | None,
) -> None:
    a = Scripted("a", journal)
    bring_to(place, a, clock)
    assert states(place).get("a") == IN[bring_to]
    asked = ask(call, place, a)
    clock.settle()
    assert asked.ready() == (not answer.startswith("~"))
    clock.advance(2 * SLOW)
    assert asked.ready()
    assert asked.get() == answer.removeprefix("~")
    assert states(place).get("a") == after
    assert place.snapshot().state is State.RUNNING
    check_invariants(place)


def test_rule_54_56_57_58_the_tables_have_every_call_and_every_state() -> None:
    assert set(STATIC) == set(CALLS)
    assert all(set(column) == set(IN) for column in STATIC.values())
    assert set(IN.values()) == {each.value for each in State} - {"new"} | {None}
    has_none = ("restart_child", "delete_child", "get_childspec")
    assert not [name for name in has_none if hasattr(DynamicSupervisor, name)]


@pytest.mark.parametrize("call", [*CALLS, "which_children", "count_children"])
@pytest.mark.parametrize("when", ["never started", "stopping", "stopped"])
def test_rule_48_56_what_a_supervisor_that_does_not_run_answers(
    clock: VirtualClock, journal: Journal, call: str, when: str
) -> None:
    queries: dict[str, Callable[[Any, Scripted], object]] = {
        "which_children": lambda top, _: top.which_children(),
        "count_children": lambda top, _: top.count_children(),
    }
    a = Scripted("a", journal)
    top = Supervisor(children=[a])
    if when != "never started":
        top.start()
        a.script.stop_takes = SLOW
        spawn(top.stop)
        clock.advance(SLOW / 2 if when == "stopping" else SLOW)
    asked = ask(queries.get(call) or CALLS[call], top, a)
    clock.advance(2 * SLOW)
    assert asked.ready()
    if call in queries:
        expected = "ok"
    elif when == "stopping":
        expected = {
            "start_child(name)": "NotRunning",
            "start_child(service)": "AlreadyPresent",
            "terminate_child": "ok",
            "restart_child": "NotRunning",
            "delete_child": "ChildRunning",
            "get_childspec": "ok",
        }[call]
    else:
        expected = "NotRunning" if call.startswith("start") else "UnknownChild"
    assert asked.get() == expected
    top.stop()


# -- at the same moment --------------------------------


def at_the_crash(a: Scripted, clock: VirtualClock) -> None:
    crash(a)


def after_the_crash(a: Scripted, clock: VirtualClock) -> None:
    crash(a)
    gevent.sleep(0)


def while_it_goes_down_by_a_crash(a: Scripted, clock: VirtualClock) -> None:
    a.script.stop_takes = SLOW
    crash(a)
    clock.advance(SLOW / 2)


def when_it_is_down_after_a_crash(a: Scripted, clock: VirtualClock) -> None:
    a.script.stop_takes = SLOW
    crash(a)
    clock.advance(SLOW)


def while_it_comes_up_again(a: Scripted, clock: VirtualClock) -> None:
    a.script.start_takes = SLOW
    crash(a)
    clock.advance(SLOW / 2)


def between_the_tries_to_restart_it(a: Scripted, clock: VirtualClock) -> None:
    a.script.fail_starts = 2
    crash(a)
    gevent.sleep(0)
    gevent.sleep(0)


def at_its_clean_end(a: Scripted, clock: VirtualClock) -> None:
    a.finish()


def at_its_stop(a: Scripted, clock: VirtualClock) -> None:
    spawn(a.stop)
    gevent.sleep(0)


def while_it_stops(a: Scripted, clock: VirtualClock) -> None:
    a.script.stop_takes = SLOW
    spawn(a.stop)
    clock.advance(SLOW / 2)


def while_its_supervisor_gives_up(a: Scripted, clock: VirtualClock) -> None:
    a.script.fail_starts = 100
    crash(a)
    gevent.sleep(0)


MOMENTS = [
    at_the_crash,
    after_the_crash,
    while_it_goes_down_by_a_crash,
    when_it_is_down_after_a_crash,
    while_it_comes_up_again,
    between_the_tries_to_restart_it,
    at_its_clean_end,
    at_its_stop,
    while_it_stops,
    while_its_supervisor_gives_up,
]

REFUSALS = {
    kind.__name__
    for kind in (
        AlreadyPresent,
        AlreadyStarted,
        ChildRestarting,
        ChildRunning,
        NotRunning,
        StartFailed,
        UnknownChild,
    )
}


STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]
RESTARTS = ["permanent", "transient", "temporary"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", RESTARTS)
def test_rule_54_56_57_58_calls_at_the_same_moment_get_an_answer_or_an_error(
    clock: VirtualClock,
    moment: Callable[[Scripted, VirtualClock], None],
    strategy: str,
    restart: str,
) -> None:
    # One call, and each two of them in both orders: under each strategy with one way to restart,
    # and each way to restart under one strategy.
    at = STRATEGIES.index(strategy) + RESTARTS.index(restart)
    pairs = list(itertools.permutations(CALLS, 2))[at % 3 :: 3]
    for calls in [*((one,) for one in CALLS), *pairs]:
        journal = Journal()
        a, b = Scripted("a", journal, restart=restart), Scripted("b", journal)
        top = Supervisor(children=[Scripted("z", journal), a, b], strategy=strategy)
        top.start()
        moment(a, clock)
        asked = [ask(CALLS[call], top, a) for call in calls]
        clock.advance(10 * SLOW)
        assert all(each.ready() for each in asked), (calls, "hang")
        assert {each.get() for each in asked} <= REFUSALS | {"ok"}, calls
        check_invariants(top)
        if top.snapshot().state is State.RUNNING:
            assert states(top)["b"] == states(top)["z"] == "running", calls
            assert states(top).get("a") not in ("starting", "stopping", "restarting"), calls
        top.stop()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_rule_54_58_59_calls_to_a_dynamic_supervisor_at_the_same_moment(
    clock: VirtualClock, moment: Callable[[Scripted, VirtualClock], None], restart: str
) -> None:
    for calls in [*((one,) for one in DYNAMIC_CALLS), *itertools.permutations(DYNAMIC_CALLS, 2)]:
        journal = Journal()
        pool = DynamicSupervisor(max_children=2)
        pool.start()
        pool.start_child(Scripted("z", journal))
        a = pool.start_child(Scripted("a", journal, restart=restart))
        moment(a, clock)
        asked = [ask(DYNAMIC_CALLS[call], pool, a) for call in calls]
        clock.advance(10 * SLOW)
        assert all(each.ready() for each in asked), (calls, "hang")
        assert {each.get() for each in asked} <= REFUSALS | {"ok", "MaxChildren"}, calls
        check_invariants(pool)
        assert pool.count_children().specs <= 2
        pool.stop()


@pytest.mark.parametrize("moment", MOMENTS)
def test_rule_51_58_the_supervisor_may_stop_at_the_same_moment(
    clock: VirtualClock, moment: Callable[[Scripted, VirtualClock], None]
) -> None:
    for name, call in CALLS.items():
        journal = Journal()
        a = Scripted("a", journal)
        top = Supervisor(children=[a])
        top.start()
        moment(a, clock)
        asked = ask(call, top, a)
        stopping = spawn(top.stop)
        clock.advance(10 * SLOW)
        assert asked.ready(), name
        assert asked.get() in REFUSALS | {"ok"}, name
        assert stopping.ready(), name
        check_invariants(top)
        assert top.snapshot().children == ()
