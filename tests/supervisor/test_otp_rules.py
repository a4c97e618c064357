"""OTP's rules of supervision, one by one; the numbers are those of the rules' reference.

Rules 1-44 and 63-67, as far as they apply. Where sprag differs on purpose, the test says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import (
    Crash,
    Idle,
    Journal,
    Script,
    Scripted,
    ScriptedBody,
    crash,
    family,
    restarts,
    spawn,
    states,
)
from sprag import Backoff, Service, StartFailed, State, Supervisor
from sprag.exceptions import (
    AlreadyPresent,
    BadPolicy,
    BadValue,
    ChildRestarting,
    MaxRestartsExceeded,
)
from sprag_supervisor import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


@pytest.fixture
def journal() -> Journal:
    return Journal()


def crash_and_settle(service: Service, clock: VirtualClock) -> None:
    crash(service)
    clock.settle()


# -- start, rollback, ignore --------------------------------


def test_rule_01_children_start_left_to_right_and_each_returns_before_the_next_begins(
    clock: VirtualClock,
) -> None:
    journal = Journal("start", "up")
    children = family("abc", journal, start_takes=2.0)
    with Supervisor(children=children):
        assert clock.now == 6.0
        assert journal.take() == ["start a", "up a", "start b", "up b", "start c", "up c"]


def test_rule_01_the_supervisors_own_start_returns_last(
    clock: VirtualClock, journal: Journal
) -> None:
    inner = Supervisor(children=[Scripted("a", journal, start_takes=2.0)], name="inner")
    outer = Supervisor(children=[inner])
    starting = spawn(outer.start)
    clock.advance(1.0)
    assert states(outer) == {"inner": "starting"}
    assert outer.snapshot().state is State.STARTING
    clock.advance(1.0)
    assert starting.ready()
    outer.stop()


def test_rule_02_a_child_that_fails_to_start_takes_back_what_was_started_in_reverse(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c, d = family("abcd", journal)
    c.script.fail_starts = 1
    top = Supervisor(children=[a, b, c, d])
    with pytest.raises(StartFailed) as caught:
        top.start()
    assert str(caught.value) == "Supervisor/c failed to start: Crash: c does not start"
    assert isinstance(caught.value.__cause__, Crash)
    # Nothing is tried again, and those after it are not tried at all.
    assert journal.take() == ["start a", "start b", "start c", "stop b", "stop a"]
    assert top.snapshot().state is State.FAILED
    assert states(top) == {}
    clock.advance(60.0)
    assert journal.take() == []
    reports = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in reports] == ["Supervisor/c: service failed to start"]


def test_rule_02_the_innermost_failure_comes_up_unchanged_through_the_levels(
    clock: VirtualClock, journal: Journal
) -> None:
    broken = Scripted("broken", journal, fail_starts=1)
    inner = Supervisor(children=[broken], name="inner")
    outer = Supervisor(children=[Scripted("a", journal), inner], name="outer")
    with pytest.raises(StartFailed) as caught:
        outer.start()
    assert caught.value.path == "outer/inner/broken"
    assert journal.take() == ["start a", "start broken", "stop a"]


def test_rule_02_the_limit_is_not_consulted_when_the_supervisor_itself_starts(
    clock: VirtualClock, journal: Journal
) -> None:
    top = Supervisor(children=[Scripted("a", journal, fail_starts=1)], max_restarts=100)
    with pytest.raises(StartFailed):
        top.start()
    assert journal.take() == ["start a"]
    top.start()
    assert journal.take() == ["start a"]
    top.stop()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("x"), "ValueError: x"),
        (KeyError(), "KeyError"),
        (gevent.GreenletExit(), "on_start was killed"),
        (gevent.Timeout(3), "Timeout: 3 seconds"),
    ],
)
def test_rule_03_whatever_a_start_raises_is_its_reason(
    clock: VirtualClock, journal: Journal, error: BaseException, reason: str
) -> None:
    def raise_it(_service: Scripted) -> None:
        raise error

    top = Supervisor(children=[Scripted("a", journal, in_on_start=raise_it)])
    with pytest.raises(StartFailed) as caught:
        top.start()
    assert caught.value.reason == reason
    assert caught.value.__cause__ is error


def test_rule_03_what_on_start_returns_does_not_matter(clock: VirtualClock) -> None:
    class Odd(Service):
        def on_start(self) -> Any:
            return {"error": "not at all"}

    with Supervisor(children=[Odd()]) as top:
        assert states(top) == {"Odd": "running"}


@pytest.mark.parametrize(
    ("restart", "expected"),
    [
        ("permanent", {"a": "running", "b": "stopped", "c": "running"}),
        ("transient", {"a": "running", "b": "stopped", "c": "running"}),
        ("temporary", {"a": "running", "c": "running"}),
    ],
)
def test_rule_04_an_ignored_start_is_a_success_and_a_temporary_child_is_dropped(
    clock: VirtualClock, journal: Journal, restart: str, expected: dict[str, str]
) -> None:
    a, b, c = family("abc", journal, restart=restart)
    b.script.ignore_starts = 1
    with Supervisor(children=[a, b, c]) as top:
        assert states(top) == expected
        assert journal.take() == ["start a", "start b", "start c"]
    assert journal.take() == ["stop c", "stop a"]


def test_rule_05_an_ignored_restart_is_a_success_and_is_not_tried_again(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        a.script.ignore_starts = 1
        crash_and_settle(a, clock)
        assert states(top) == {"a": "stopped"}
        clock.advance(60.0)
        assert journal.take() == ["start a", "stop a", "start a"]


def test_rule_06_an_ignored_child_is_asked_again_by_the_group_restart_that_covers_it(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    b.script.ignore_starts = 1
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        assert states(top) == {"a": "running", "b": "stopped"}
        journal.take()
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running", "b": "running"}
        assert journal.take() == ["stop a", "start a", "start b"]


def test_rule_07_children_are_checked_before_any_is_started(journal: Journal) -> None:
    a, b = family("ab", journal)
    with pytest.raises(AlreadyPresent):
        Supervisor(children=[(a, {"name": "x"}), (b, {"name": "x"})])
    with pytest.raises(BadValue):
        Supervisor(children=[a, a])
    with pytest.raises(BadPolicy):
        Supervisor(children=[a, (b, {"restart": "sometimes"})])
    assert journal.take() == []


def test_rule_07_a_name_asked_for_twice_by_attribute_is_numbered(
    clock: VirtualClock, journal: Journal
) -> None:
    # On purpose: only an explicit name must be unique.
    with Supervisor(children=[Scripted("a", journal), Scripted("a", journal)]) as top:
        assert list(states(top)) == ["a", "a-2"]


def test_rule_08_difference_2_unknown_policy_keys_are_refused(journal: Journal) -> None:
    with pytest.raises(BadPolicy, match="unknown policy keyword 'restarts'"):
        Supervisor(children=[(Scripted("a", journal), {"restarts": "permanent"})])


def test_rule_09_a_supervisor_that_ignores_its_start_takes_its_children_back(
    clock: VirtualClock, journal: Journal
) -> None:
    def adopt_one(service: Scripted) -> None:
        service.adopt(Scripted("child", journal))

    top = Scripted("top", journal, ignore_starts=1, in_on_start=adopt_one)
    top.start()
    assert top.snapshot().state is State.STOPPED
    assert journal.take() == ["start top", "start child", "stop child"]
    exit_ = top.wait()
    assert exit_ is not None
    assert exit_.reason is Reason.IGNORED
    assert exit_.is_clean


# -- what counts toward the limit --------------------------------


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_rule_11_the_limit_is_more_than_n_within_the_window(
    clock: VirtualClock, journal: Journal, limit: int
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[a], max_restarts=limit)
    top.start()
    for _ in range(limit):
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running"}
    assert restarts(top) == {"a": limit}
    crash_and_settle(a, clock)
    assert top.snapshot().state is State.FAILED
    assert a.script.starts == limit + 1


@pytest.mark.parametrize(("pause", "survives"), [(4.999, False), (5.0, False), (5.001, True)])
def test_rule_11_a_restart_leaves_the_window_just_after_its_seconds(
    clock: VirtualClock, journal: Journal, pause: float, survives: bool
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[a], max_restarts=1, max_seconds=5.0)
    top.start()
    crash_and_settle(a, clock)
    clock.advance(pause)
    crash_and_settle(a, clock)
    assert top.snapshot().state is (State.RUNNING if survives else State.FAILED)
    top.stop()


def test_rule_12_the_crashes_of_different_children_add_up(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    top = Supervisor(children=[a, b, c], max_restarts=2)
    top.start()
    crash_and_settle(a, clock)
    crash_and_settle(b, clock)
    assert top.snapshot().state is State.RUNNING
    crash_and_settle(c, clock)
    assert top.snapshot().state is State.FAILED


def test_rule_12_each_supervisor_counts_for_itself(clock: VirtualClock, journal: Journal) -> None:
    a, b = family("ab", journal)
    inner = Supervisor(children=[b], name="inner", max_restarts=1)
    with Supervisor(children=[a, inner], max_restarts=1) as top:
        crash_and_settle(a, clock)
        crash_and_settle(b, clock)
        assert states(top) == {"a": "running", "inner": "running"}
        assert restarts(top) == {"a": 1, "inner": 0}


def test_rule_13_a_group_restart_of_many_counts_one(clock: VirtualClock, journal: Journal) -> None:
    children = family("abcdefgh", journal)
    with Supervisor(children=children, strategy="one_for_all", max_restarts=2) as top:
        crash_and_settle(children[0], clock)
        crash_and_settle(children[5], clock)
        assert set(states(top).values()) == {"running"}
        assert set(restarts(top).values()) == {2}


@pytest.mark.parametrize(
    ("strategy", "survives"),
    [("one_for_all", True), ("rest_for_one", True), ("one_for_one", False)],
)
def test_rule_14_two_that_crash_at_the_same_moment_count_one_if_they_are_a_group(
    clock: VirtualClock, journal: Journal, strategy: str, survives: bool
) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b], strategy=strategy, max_restarts=1)
    top.start()
    crash(a)
    crash(b)
    clock.settle()
    assert top.snapshot().state is (State.RUNNING if survives else State.FAILED)
    if survives:
        assert states(top) == {"a": "running", "b": "running"}
        assert restarts(top) == {"a": 1, "b": 1}
    top.stop()


def test_rule_14_the_later_one_first_counts_two_under_rest_for_one(
    clock: VirtualClock, journal: Journal
) -> None:
    # The first corpse in the inbox is b's, whose group does not hold a.
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b], strategy="rest_for_one", max_restarts=1)
    top.start()
    crash(b)
    crash(a)
    clock.settle()
    assert top.snapshot().state is State.FAILED


def test_rule_14_a_sibling_that_crashes_while_its_group_is_stopped_counts_with_it(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal, stop_takes=1.0)
    with Supervisor(children=[a, b], strategy="one_for_all", max_restarts=1) as top:
        crash(a)
        clock.advance(1.5)  # b is in its on_stop
        assert states(top) == {"a": "restarting", "b": "stopping"}
        crash(b)
        clock.advance(1.0)
        assert states(top) == {"a": "running", "b": "running"}


def test_rule_15_each_failed_attempt_counts_and_there_is_no_delay_between(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[a], max_restarts=3)
    top.start()
    journal.take()
    a.script.fail_starts = 100
    crash_and_settle(a, clock)
    assert clock.now == 0.0
    assert journal.take() == ["stop a", "start a", "start a", "start a"]
    assert top.snapshot().state is State.FAILED


def test_rule_15_an_attempt_within_the_limit_may_succeed(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a], max_restarts=3) as top:
        a.script.fail_starts = 2
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running"}
        assert restarts(top) == {"a": 3}
        assert a.snapshot().incarnation == 4


@pytest.mark.parametrize(
    ("restart", "counts"), [("permanent", True), ("transient", False), ("temporary", False)]
)
def test_rule_16_only_a_permanent_childs_clean_end_counts(
    clock: VirtualClock, journal: Journal, restart: str, counts: bool
) -> None:
    top = Supervisor(children=[Scripted("a", journal, restart=restart)], max_restarts=0)
    top.start()
    a = top.which_children()[0].service
    assert isinstance(a, Service)
    a.finish()
    clock.settle()
    assert top.snapshot().state is (State.FAILED if counts else State.RUNNING)
    top.stop()


def test_rule_16_no_exit_of_a_temporary_child_counts(clock: VirtualClock, journal: Journal) -> None:
    with Supervisor(max_restarts=0) as top:
        for _ in range(3):
            child = top.start_child(Scripted("a", journal, restart="temporary"))
            crash_and_settle(child, clock)
        assert states(top) == {}


def test_rule_17_management_calls_never_count_even_when_they_fail(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a], max_restarts=0) as top:
        for _ in range(5):
            top.terminate_child("a")
            a.script.fail_starts = 1
            with pytest.raises(StartFailed):
                top.restart_child("a")
            top.restart_child("a")
            with pytest.raises(StartFailed):
                top.start_child(Scripted("b", journal, fail_starts=1))
        assert states(top) == {"a": "running"}
        assert restarts(top) == {"a": 0}


def test_rule_18_difference_3_the_window_is_exact_seconds(
    clock: VirtualClock, journal: Journal
) -> None:
    # OTP's whole seconds would count crashes 1.8 s apart together in a period of 1.
    a = Scripted("a", journal)
    with Supervisor(children=[a], max_restarts=1, max_seconds=1.0) as top:
        for _ in range(10):
            crash_and_settle(a, clock)
            clock.advance(1.001)
        assert states(top) == {"a": "running"}


def test_rule_19_nothing_resets_the_count_early(clock: VirtualClock, journal: Journal) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b], max_restarts=1, max_seconds=5.0)
    top.start()
    crash_and_settle(a, clock)
    top.terminate_child("a")
    top.delete_child("a")
    clock.advance(4.0)
    crash_and_settle(b, clock)
    assert top.snapshot().state is State.FAILED


def test_rule_20_the_defaults_are_three_within_five_seconds(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[a])
    top.start()
    for _ in range(3):
        crash_and_settle(a, clock)
    clock.advance(5.0)
    crash_and_settle(a, clock)
    assert top.snapshot().state is State.FAILED


# -- giving up --------------------------------


def test_rule_21_giving_up_names_the_last_child_and_stops_the_rest_in_reverse(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    children = family("abcd", journal)
    top = Supervisor(children=children, max_restarts=0, name="top")
    top.start()
    journal.take()
    crash_and_settle(children[1], clock)
    assert journal.take() == ["stop b", "stop d", "stop c", "stop a"]
    ended = top.wait()
    assert ended is not None
    assert ended.reason is Reason.GAVE_UP
    assert not ended.is_clean
    assert ended.failure is not None
    assert ended.failure.message.startswith(
        "top gave up: more than 0 restarts within 5 s, the last for b ("
    )
    assert ended.failure.cause is not None
    assert ended.failure.cause.type == "scripted.Crash"
    assert [record.getMessage() for record in caplog.records] == [
        "top/b: service crashed (step='test')",
        f"top: supervisor gave up (reason={ended.failure.message!r})",
    ]


def test_rule_21_each_supervisor_that_gave_up_names_what_all_began_with(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    tree: Service = a
    for name in ("three", "two", "one"):
        tree = Supervisor(children=[tree], name=name, max_restarts=0)
    tree.start()
    crash(a, ValueError("bad order 17"))
    clock.settle()
    ended = tree.wait()
    assert ended is not None
    assert ended.failure is not None
    assert ended.failure.message == (
        "one gave up: more than 0 restarts within 5 s, the last for two (ValueError: bad order 17)"
    )
    assert ended.failure.format().count("gave up") == 3


def test_rule_21_who_waits_for_the_last_child_hears_that_it_is_over(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    top = Supervisor(children=[a], max_restarts=1)
    top.start()
    waiting = spawn(a.wait)
    clock.settle()
    a.script.fail_starts = 100
    crash_and_settle(a, clock)
    assert waiting.ready()
    ended = waiting.get()
    assert ended is not None
    assert ended.reason is Reason.START_FAILED


@pytest.mark.parametrize("restart", ["permanent", "transient"])
def test_rule_22_difference_1_giving_up_is_a_failure_that_also_restarts_a_transient_supervisor(
    clock: VirtualClock, journal: Journal, restart: str
) -> None:
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner", restart=restart, max_restarts=0)
    with Supervisor(children=[inner]) as outer:
        crash_and_settle(a, clock)
        assert states(outer) == {"inner": "running"}
        assert restarts(outer) == {"inner": 1}
        assert states(inner) == {"a": "running"}
        failure = inner.snapshot().last_failure
        assert failure is not None
        assert failure.type == MaxRestartsExceeded.__name__


def test_rule_22_a_temporary_supervisor_that_gave_up_leaves_the_tree(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner", restart="temporary", max_restarts=0)
    with Supervisor(children=[inner]) as outer:
        crash_and_settle(a, clock)
        assert states(outer) == {}


def test_rule_23_nested_limits_multiply(clock: VirtualClock, journal: Journal) -> None:
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner", max_restarts=3)
    outer = Supervisor(children=[inner], max_restarts=2)
    outer.start()
    journal.take()
    a.script.fail_starts = 100
    crash_and_settle(a, clock)
    # Three attempts inside; then the outer one tries twice, and each fails at once.
    assert journal.take() == ["stop a", *["start a"] * 3, *["start a"] * 2]
    assert outer.snapshot().state is State.FAILED


def test_rule_23_a_crash_after_a_good_start_uses_up_the_limits_one_by_one(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner", max_restarts=1)
    outer = Supervisor(children=[inner], max_restarts=2)
    outer.start()
    crashes = 0
    while outer.snapshot().state is State.RUNNING:
        crash_and_settle(a, clock)
        crashes += 1
    assert crashes == (1 + 1) * (2 + 1)


def test_rule_24_a_restarted_supervisor_has_forgotten_its_dynamic_children(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    inner = Supervisor(children=[a], name="inner", max_restarts=0)
    with Supervisor(children=[inner]):
        inner.start_child(Scripted("extra", journal))
        assert list(states(inner)) == ["a", "extra"]
        crash_and_settle(a, clock)
        assert states(inner) == {"a": "running"}


# -- restart type and strategy --------------------------------


def end_finished(service: Scripted) -> None:
    service.finish()


def end_crashed(service: Scripted) -> None:
    crash(service)


def end_stopped(service: Scripted) -> None:
    spawn(service.stop)


def adopt_one(service: Scripted) -> None:
    service.adopt(Idle("x", restart="transient", significant=True))


def only_child(service: Service) -> Service:
    (child,) = (service._children_ or {}).values()
    assert isinstance(child, Service)
    return child


def end_shutdown(service: Scripted) -> None:
    only_child(service).finish()


def end_gave_up(service: Scripted) -> None:
    crash(only_child(service))


ENDS: dict[str, Callable[[Scripted], object]] = {
    "finished": end_finished,
    "crashed": end_crashed,
    "stopped": end_stopped,
    "shutdown": end_shutdown,
    "gave_up": end_gave_up,
}

# What becomes of the middle one of three, and whether its siblings are restarted with it.
AFTER = {
    ("permanent", "finished"): "running",
    ("permanent", "crashed"): "running",
    ("permanent", "stopped"): "stopped",
    ("permanent", "shutdown"): "running",
    ("permanent", "gave_up"): "running",
    ("transient", "finished"): "finished",
    ("transient", "crashed"): "running",
    ("transient", "stopped"): "stopped",
    ("transient", "shutdown"): "finished",
    ("transient", "gave_up"): "running",
    ("temporary", "finished"): None,
    ("temporary", "crashed"): None,
    ("temporary", "stopped"): None,
    ("temporary", "shutdown"): None,
    ("temporary", "gave_up"): None,
}

LINES = {
    "one_for_one": ["start b"],
    "one_for_all": ["stop c", "stop a", "start a", "start b", "start c"],
    "rest_for_one": ["stop c", "start b", "start c"],
}


@pytest.mark.parametrize("strategy", LINES)
@pytest.mark.parametrize(("restart", "end"), AFTER)
def test_rule_27_28_35_36_what_every_end_means_for_the_child_and_its_siblings(
    clock: VirtualClock, journal: Journal, strategy: str, restart: str, end: str
) -> None:
    a, c = family("ac", journal)
    b = Scripted(
        "b",
        journal,
        restart=restart,
        max_restarts=0,
        auto_shutdown="any_significant",
        in_on_start=adopt_one,
    )
    after = AFTER[restart, end]
    with Supervisor(children=[a, b, c], strategy=strategy, max_restarts=1) as top:
        journal.take()
        ENDS[end](b)
        clock.settle()
        expected = {"a": "running", "b": after, "c": "running"}
        assert states(top) == {name: state for name, state in expected.items() if state}
        # An end that needs no restart never touches the siblings (rule 28).
        assert journal.take() == ["stop b", *(LINES[strategy] if after == "running" else [])]


@pytest.mark.parametrize("end", ["finished", "crashed"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_rule_27_only_a_crash_is_reported(
    clock: VirtualClock,
    journal: Journal,
    caplog: pytest.LogCaptureFixture,
    restart: str,
    end: str,
) -> None:
    a = Scripted("a", journal, restart=restart)
    with Supervisor(children=[a]):
        ENDS[end](a)
        clock.settle()
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == (["Supervisor/a: service crashed (step='test')"] if end == "crashed" else [])


def test_rule_29_a_temporary_child_caught_in_a_group_restart_does_not_come_back(
    clock: VirtualClock, journal: Journal
) -> None:
    a, c = family("ac", journal)
    b = Scripted("b", journal, restart="temporary")
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        journal.take()
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running", "c": "running"}
        assert journal.take() == ["stop a", "stop c", "stop b", "start a", "start c"]


def test_rule_30_a_transient_child_that_finished_comes_back_with_its_group(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    b = Scripted("b", journal, restart="transient")
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        b.finish()
        clock.settle()
        assert states(top) == {"a": "running", "b": "finished"}
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running", "b": "running"}


def test_rule_31_a_child_stopped_by_hand_comes_back_with_its_group(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        top.terminate_child("b")
        assert states(top) == {"a": "running", "b": "stopped"}
        clock.advance(60.0)
        assert states(top) == {"a": "running", "b": "stopped"}
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running", "b": "running"}


def test_rule_31_nobody_but_its_group_brings_back_a_child_stopped_by_hand(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    with Supervisor(children=[a, b, c], strategy="rest_for_one") as top:
        top.terminate_child("a")
        crash_and_settle(b, clock)
        assert states(top) == {"a": "stopped", "b": "running", "c": "running"}


@pytest.mark.parametrize(
    ("restart", "after"), [("permanent", "running"), ("transient", "finished")]
)
def test_rule_32_difference_killing_the_body_of_a_service_is_a_quiet_end(
    clock: VirtualClock, journal: Journal, restart: str, after: str
) -> None:
    # OTP calls `killed` abnormal. In gevent a kill is how one's own greenlets are ended, so
    # it counts as a clean end.
    bodies: list[Any] = []

    def body(_service: Scripted) -> None:
        bodies.append(gevent.getcurrent())
        gevent.sleep(1000)

    a = ScriptedBody("a", journal, restart=restart, body=body)
    with Supervisor(children=[a]) as top:
        clock.settle()
        bodies[0].kill()
        clock.settle()
        assert states(top) == {"a": after}


def test_rule_33_a_restart_uses_the_arguments_of_the_construction_and_nothing_else(
    clock: VirtualClock,
) -> None:
    seen: list[dict[str, Any]] = []

    class Collector(Service):
        def __init__(self, start: int, *, step: int) -> None:
            self.total = start
            self.step = step

        def on_start(self) -> None:
            seen.append(dict(vars(self)))
            self.total += self.step
            self.broken = True

    collector = Collector(10, step=5)
    with Supervisor(children=[collector]):
        crash_and_settle(collector, clock)
        assert collector.total == 15
    assert seen == [{"total": 10, "step": 5}] * 2


def test_rule_33_difference_5_a_restarted_service_is_the_same_object(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a]) as top:
        crash_and_settle(a, clock)
        assert top.which_children()[0].service is a
        assert a.snapshot().incarnation == 2


def test_rule_33_the_policy_given_at_adoption_survives_a_restart(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor() as top:
        top.start_child(a, restart="transient", shutdown=1.5)
        crash_and_settle(a, clock)
        assert a.snapshot().policy.restart == "transient"
        assert a.snapshot().policy.shutdown == 1.5


def test_rule_33_it_also_decides_what_follows_a_constructor_that_fails(clock: VirtualClock) -> None:
    class Feed(Service):
        lives = 0

        def __init__(self) -> None:
            Feed.lives += 1
            if Feed.lives == 2:
                raise Crash("no such file")

    feed = Feed()
    with Supervisor() as top:
        top.start_child(feed, backoff=Backoff(10, factor=1, jitter=0), shutdown=1.5)
        crash_and_settle(feed, clock)
        clock.advance(10)
        assert (Feed.lives, feed.snapshot().state) == (2, State.RESTARTING)
        clock.advance(9)
        assert Feed.lives == 2  # without its backoff it would have been tried again at once
        clock.advance(1)
        assert (Feed.lives, feed.snapshot().state) == (3, State.RUNNING)
        assert feed.snapshot().policy.shutdown == 1.5


def test_rule_33_so_does_what_its_constructor_has_asked_for(clock: VirtualClock) -> None:
    class Pool(Supervisor):
        lives = 0

        def __init__(self) -> None:
            Pool.lives += 1
            if Pool.lives == 2:
                raise Crash("no such file")
            super().__init__(restart="transient", backoff=Backoff(10, factor=1, jitter=0))

    with Supervisor(auto_shutdown="any_significant") as top:
        # Which its class alone could not be: it is permanent.
        pool = top.start_child(Pool(), significant=True)
        crash_and_settle(pool, clock)
        clock.advance(10)
        assert (Pool.lives, pool.snapshot().state) == (2, State.RESTARTING)
        assert pool.snapshot().failures[-1].message == "no such file"
        clock.advance(10)
        assert (Pool.lives, pool.snapshot().state) == (3, State.RUNNING)
        assert pool.snapshot().policy.significant


def test_rule_33_what_a_constructor_asks_for_beside_it_is_refused_and_it_holds_again_after_that(
    clock: VirtualClock,
) -> None:
    class Feed(Service):
        lives = 0

        def __init__(self) -> None:
            Feed.lives += 1
            self._policy_ = self._policy_.with_(
                {"restart": "permanent" if Feed.lives == 2 else "transient"}
            )

    feed = Feed()
    with Supervisor(auto_shutdown="any_significant") as top:
        top.start_child(feed, significant=True, backoff=Backoff(1, jitter=0))
        crash_and_settle(feed, clock)
        clock.advance(1)
        assert (Feed.lives, feed.snapshot().state) == (2, State.RESTARTING)
        clock.advance(2)
        assert (Feed.lives, feed.snapshot().state) == (3, State.RUNNING)
        assert feed.snapshot().policy.significant


def test_rule_34_the_arguments_of_a_temporary_child_are_not_in_its_spec(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor() as top:
        top.start_child(Scripted("a", journal, restart="temporary"))
        top.start_child(Scripted("b", journal))
        assert top.get_childspec("a").args is None
        assert top.get_childspec("b").args == ("b", journal)


# -- group restarts --------------------------------


def test_rule_35_one_for_all_stops_in_reverse_and_starts_all_in_order(
    clock: VirtualClock, journal: Journal
) -> None:
    children = family("abcd", journal)
    with Supervisor(children=children, strategy="one_for_all") as top:
        journal.take()
        crash_and_settle(children[1], clock)
        assert journal.take() == [
            "stop b",  # after its crash; it is not stopped again
            *("stop d", "stop c", "stop a"),
            *("start a", "start b", "start c", "start d"),
        ]
        assert restarts(top) == dict.fromkeys("abcd", 1)


@pytest.mark.parametrize(
    ("failed", "lines"),
    [
        ("a", ["stop a", "stop c", "stop b", "start a", "start b", "start c"]),
        ("b", ["stop b", "stop c", "start b", "start c"]),
        ("c", ["stop c", "start c"]),
    ],
)
def test_rule_36_rest_for_one_leaves_the_earlier_ones_alone(
    clock: VirtualClock, journal: Journal, failed: str, lines: list[str]
) -> None:
    children = {child.name: child for child in family("abc", journal)}
    with Supervisor(children=children.values(), strategy="rest_for_one"):
        journal.take()
        crash_and_settle(children[failed], clock)
        assert journal.take() == lines


def test_rule_36_each_start_of_a_group_restart_returns_before_the_next_begins(
    clock: VirtualClock,
) -> None:
    journal = Journal("start", "up")
    children = family("abc", journal)
    with Supervisor(children=children, strategy="one_for_all"):
        for child in children:
            child.script.start_takes = 1.0
        journal.take()
        crash(children[2])
        clock.advance(3.0)
        assert journal.take() == ["start a", "up a", "start b", "up b", "start c", "up c"]


def test_rule_37_a_child_started_later_is_in_the_rest_of_all_earlier_ones(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, late = family(["a", "b", "late"], journal)
    with Supervisor(children=[a, b], strategy="rest_for_one") as top:
        top.start_child(late)
        journal.take()
        crash_and_settle(b, clock)
        assert journal.take() == ["stop b", "stop late", "start b", "start late"]


def test_rule_37_deleting_and_adding_again_moves_a_child_to_the_end(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b], strategy="rest_for_one") as top:
        top.terminate_child("a")
        top.delete_child("a")
        top.start_child(a)
        assert list(states(top)) == ["b", "a"]
        journal.take()
        crash_and_settle(a, clock)
        assert journal.take() == ["stop a", "start a"]


def test_rule_38_a_start_that_fails_in_one_for_all_starts_the_whole_group_over(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        journal.take()
        b.script.fail_starts = 1
        crash_and_settle(c, clock)
        assert journal.take() == [
            *("stop c", "stop b", "stop a"),
            *("start a", "start b"),  # c was not tried
            *("stop a", "start a", "start b", "start c"),
        ]
        assert set(states(top).values()) == {"running"}


def test_rule_39_a_start_that_fails_in_rest_for_one_is_tried_again_from_there(
    clock: VirtualClock, journal: Journal
) -> None:
    children = family("abcd", journal)
    _, b, c, _ = children
    with Supervisor(children=children, strategy="rest_for_one") as top:
        journal.take()
        c.script.fail_starts = 1
        crash_and_settle(b, clock)
        assert journal.take() == [
            *("stop b", "stop d", "stop c"),
            *("start b", "start c"),
            *("start c", "start d"),  # b, which just came back, is kept
        ]
        assert set(states(top).values()) == {"running"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@pytest.mark.parametrize(("limit", "survives"), [(2, True), (1, False)])
def test_rule_40_the_retry_of_a_group_is_a_new_count(
    clock: VirtualClock, journal: Journal, strategy: str, limit: int, survives: bool
) -> None:
    a, b = family("ab", journal)
    top = Supervisor(children=[a, b], strategy=strategy, max_restarts=limit)
    top.start()
    b.script.fail_starts = 1
    crash_and_settle(a, clock)
    assert top.snapshot().state is (State.RUNNING if survives else State.FAILED)
    top.stop()


def test_rule_41_between_the_tries_the_group_is_up_restarting_and_waits_for_that(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    seen: list[dict[str, str]] = []

    def look() -> None:
        while True:
            seen.append(states(top))
            gevent.sleep(0)

    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        b.script.fail_starts = 1
        looking = spawn(look)
        gevent.sleep(0)
        crash(a)
        for _ in range(20):
            gevent.sleep(0)
        looking.kill()
        # The retry is an item at the end of the inbox: other calls get in between. OTP's c is
        # `undefined` meanwhile; here it waits for b, and says so.
        assert {"a": "running", "b": "restarting", "c": "restarting"} in seen
        assert states(top) == {"a": "running", "b": "running", "c": "running"}


def test_rule_42_a_retry_that_finds_the_child_up_again_is_dropped_and_not_counted(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = family("ab", journal)
    with Supervisor(children=[a, b], strategy="one_for_all", max_restarts=2) as top:
        a.script.fail_starts = 1
        journal.take()
        # a's crash (1) is tried, fails, and waits at the end behind b's crash (2), whose
        # group brings a up. The third restart would be one too many.
        crash(a)
        crash(b)
        clock.settle()
        assert states(top) == {"a": "running", "b": "running"}


def test_rule_43_terminating_a_restarting_child_ends_the_tries(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=Backoff(initial=1.0, jitter=0.0))
    with Supervisor(children=[a]) as top:
        journal.take()
        crash_and_settle(a, clock)
        assert states(top) == {"a": "restarting"}
        with pytest.raises(ChildRestarting):
            top.restart_child("a")
        top.terminate_child("a")
        assert states(top) == {"a": "stopped"}
        clock.advance(60.0)
        assert states(top) == {"a": "stopped"}
        assert journal.take() == ["stop a"]


def test_rule_43_a_stop_gets_in_between_the_tries_of_a_dead_dependency(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    with Supervisor(children=[a], max_restarts=1_000_000) as top:
        a.script.fail_starts = 1_000_000
        crash(a)
        for _ in range(50):
            gevent.sleep(0)
        assert 5 < a.script.starts < 100
        top.terminate_child("a")
        tries = a.script.starts
        clock.settle()
        assert a.script.starts == tries
        assert states(top) == {"a": "stopped"}


def test_rule_44_difference_a_slow_start_blocks_neither_queries_nor_stops(
    clock: VirtualClock, journal: Journal
) -> None:
    # In OTP a slow start function makes the whole supervisor deaf. Here only other changes
    # of the same supervisor's children wait.
    slow, other = family(["slow", "other"], journal)
    with Supervisor(children=[slow, other]) as top:
        slow.script.start_takes = 10.0
        crash_and_settle(slow, clock)
        assert states(top) == {"slow": "starting", "other": "running"}
        assert top.count_children().specs == 2
        top.terminate_child("other")
        assert states(top) == {"slow": "starting", "other": "stopped"}
        assert clock.now == 0.0
        waiting = spawn(top.restart_child, "other")
        clock.advance(9.9)
        assert not waiting.ready()
        clock.advance(0.1)
        assert states(top) == {"slow": "running", "other": "running"}


def test_rule_44_a_slow_start_leaves_the_other_branches_of_the_tree_running(
    clock: VirtualClock, journal: Journal
) -> None:
    slow, other = family(["slow", "other"], journal)
    left = Supervisor(children=[slow], name="left")
    right = Supervisor(children=[other], name="right")
    with Supervisor(children=[left, right]):
        slow.script.start_takes = 10.0
        crash_and_settle(slow, clock)
        crash_and_settle(other, clock)
        assert states(left) == {"slow": "starting"}
        assert states(right) == {"other": "running"}
        assert restarts(right) == {"other": 1}
        assert clock.now == 0.0


# -- differences on purpose that no rule above has shown --------------------------------


def test_rule_61_difference_4_children_are_listed_in_start_order(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor(children=family("abc", journal)) as top:
        assert [child.name for child in top.which_children()] == ["a", "b", "c"]


def test_difference_6_backoff_waits_in_sight_and_blocks_nobody(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=Backoff(initial=1.0, factor=3.0, jitter=0.0))
    b = Scripted("b", journal)
    with Supervisor(children=[a, b]) as top:
        crash_and_settle(a, clock)
        assert states(top) == {"a": "restarting", "b": "running"}
        assert a.snapshot().next_try == 1.0
        clock.advance(0.25)
        assert a.snapshot().next_try == 0.75
        crash_and_settle(b, clock)
        assert states(top) == {"a": "restarting", "b": "running"}
        clock.advance(0.75)
        assert states(top) == {"a": "running", "b": "running"}
        assert a.snapshot().next_try is None
        crash_and_settle(a, clock)
        assert a.snapshot().next_try == 3.0


def test_difference_6_each_try_counts_toward_the_limit(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, backoff=Backoff(initial=1.0, jitter=0.0))
    top = Supervisor(children=[a], max_restarts=2, max_seconds=60.0)
    top.start()
    a.script.fail_starts = 100
    crash_and_settle(a, clock)
    clock.advance(1.0)  # the first try
    assert a.script.starts == 2
    clock.advance(2.0)  # the second; a third would be one too many
    assert a.script.starts == 3
    assert top.snapshot().state is State.FAILED
    assert clock.now == 3.0


def test_difference_6_a_healthy_run_starts_the_row_of_delays_anew(
    clock: VirtualClock, journal: Journal
) -> None:
    backoff = Backoff(initial=1.0, jitter=0.0, reset_after=10.0)
    a = Scripted("a", journal, backoff=backoff)
    with Supervisor(children=[a], max_restarts=100):
        delays: list[float] = []
        for healthy in (0.0, 0.0, 9.0, 10.0, 0.0):
            clock.advance(healthy)
            crash_and_settle(a, clock)
            delay = a.snapshot().next_try
            assert delay is not None
            delays.append(delay)
            clock.advance(delay)
        assert delays == [1.0, 2.0, 4.0, 1.0, 2.0]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_difference_6_the_group_is_down_while_its_member_waits(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b = family("ab", journal, backoff=Backoff(initial=1.0, jitter=0.0))
    with Supervisor(children=[a, b], strategy=strategy) as top:
        journal.take()
        crash_and_settle(a, clock)
        assert states(top) == {"a": "restarting", "b": "restarting"}
        clock.advance(1.0)
        assert states(top) == {"a": "running", "b": "running"}
        assert journal.take() == ["stop a", "stop b", "start a", "start b"]


def test_rule_46_difference_7_children_stop_one_after_another_in_reverse(
    clock: VirtualClock, journal: Journal
) -> None:
    top = Supervisor(children=family("abc", journal, stop_takes=1.0))
    top.start()
    journal.take()
    top.stop()
    assert journal.take() == ["stop c", "stop b", "stop a"]
    assert clock.now == 3.0


def test_rule_46_difference_7_a_budget_bounds_the_whole(
    clock: VirtualClock, journal: Journal
) -> None:
    top = Supervisor(children=family("abc", journal, stop_takes=4.0))
    top.start()
    report = top.stop(timeout=5.0)
    assert 5.0 <= clock.now < 5.5
    assert journal.take()[3:] == ["stop c", "stop b", "stop a"]
    # Each has its third of the 5 s, which is less than it needs.
    assert (report.clean, report.killed, report.stragglers) == (1, 3, 0)


# -- significant children --------------------------------


class Significant(Scripted, restart="transient", significant=True):
    """One whose end matters."""


def test_rule_63_significant_needs_a_parent_with_auto_shutdown(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor() as top, pytest.raises(BadPolicy, match="auto_shutdown"):
        top.start_child(Significant("a", journal))
    with pytest.raises(StartFailed, match="auto_shutdown"):
        Supervisor(children=[Significant("a", journal)]).start()
    assert journal.take() == []


def test_rule_63_significant_and_permanent_do_not_go_together(journal: Journal) -> None:
    with pytest.raises(BadPolicy, match="'transient' or 'temporary'"):

        class _Wrong(Service, significant=True):  # pyright: ignore[reportUnusedClass]
            pass

    with pytest.raises(BadPolicy, match="'transient' or 'temporary'"):
        Supervisor(children=[(Scripted("a", journal), {"significant": True})])


@pytest.mark.parametrize(
    ("restart", "end", "ends"),
    [
        ("transient", "finished", True),
        ("transient", "crashed", False),
        ("temporary", "finished", True),
        ("temporary", "crashed", True),
    ],
)
def test_rule_64_a_transient_one_triggers_on_a_clean_end_and_a_temporary_one_on_any(
    clock: VirtualClock, journal: Journal, restart: str, end: str, ends: bool
) -> None:
    a = Scripted("a", journal)
    b = Scripted("b", journal, significant=True, restart=restart)
    top = Supervisor(children=[a, b], auto_shutdown="any_significant")
    top.start()
    ENDS[end](b)
    clock.settle()
    assert top.snapshot().state is (State.FINISHED if ends else State.RUNNING)
    top.stop()


def test_rule_64_a_start_that_fails_is_no_end_of_a_significant_child(
    clock: VirtualClock, journal: Journal
) -> None:
    with Supervisor(auto_shutdown="any_significant") as top:
        child = Scripted("a", journal, significant=True, restart="temporary")
        child.script.fail_starts = 1
        with pytest.raises(StartFailed):
            top.start_child(child)
        clock.settle()
        assert top.snapshot().state is State.RUNNING
        child.script.ignore_starts = 1
        top.start_child(child)
        clock.settle()
        assert top.snapshot().state is State.RUNNING


def test_rule_65_all_significant_waits_for_the_last_one(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = Significant("a", journal), Significant("b", journal), Scripted("c", journal)
    top = Supervisor(children=[a, b, c], auto_shutdown="all_significant")
    top.start()
    a.finish()
    clock.settle()
    assert top.snapshot().state is State.RUNNING
    b.finish()
    clock.settle()
    assert top.snapshot().state is State.FINISHED


def test_rule_65_those_stopped_by_hand_count_as_ended(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = Significant("a", journal), Significant("b", journal)
    top = Supervisor(children=[a, b], auto_shutdown="all_significant")
    top.start()
    a.stop()
    assert top.snapshot().state is State.RUNNING
    b.finish()
    clock.settle()
    assert top.snapshot().state is State.FINISHED


def test_rule_65_one_on_its_way_down_by_a_crash_has_not_ended(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = Significant("a", journal, stop_takes=1.0), Significant("b", journal)
    with Supervisor(children=[a, b], auto_shutdown="all_significant") as top:
        crash_and_settle(a, clock)
        b.finish()
        clock.settle()
        assert states(top) == {"a": "stopping", "b": "finished"}
        clock.advance(1.0)
        assert states(top) == {"a": "running", "b": "finished"}


def test_rule_65_one_on_its_way_down_by_hand_has_ended(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = Significant("a", journal, stop_takes=1.0), Significant("b", journal)
    top = Supervisor(children=[a, b], auto_shutdown="all_significant")
    top.start()
    spawn(a.stop)
    clock.settle()
    b.finish()
    clock.advance(1.0)
    assert top.snapshot().state is State.FINISHED


def test_rule_65_one_that_waits_with_its_group_counts_as_ended(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = Significant("a", journal), Scripted("b", journal), Significant("c", journal)
    top = Supervisor(children=[a, b, c], auto_shutdown="all_significant", strategy="rest_for_one")
    top.start()
    b.script.fail_starts = 1
    crash(b)
    a.finish()  # read while c waits for b's next try, and has no process
    clock.settle()
    assert top.snapshot().state is State.FINISHED


def test_rule_65_one_that_waits_with_its_group_for_a_backoff_counts_as_ended(
    clock: VirtualClock, journal: Journal
) -> None:
    a, c = Significant("a", journal), Significant("c", journal)
    b = Scripted("b", journal, backoff=Backoff(5, jitter=0))
    top = Supervisor(children=[a, b, c], auto_shutdown="all_significant", strategy="rest_for_one")
    top.start()
    crash_and_settle(b, clock)
    assert states(top) == {"a": "running", "b": "restarting", "c": "restarting"}
    a.finish()
    clock.settle()
    assert top.snapshot().state is State.FINISHED


def test_rule_65_one_whose_own_next_try_waits_for_an_earlier_one_counts_as_ended(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = Significant("a", journal), Scripted("b", journal), Significant("c", journal)
    top = Supervisor(children=[a, b, c], auto_shutdown="all_significant", strategy="rest_for_one")
    top.start()
    b.script.fail_starts = c.script.fail_starts = 1
    crash(c)
    crash(b)
    a.finish()  # c's next try is in the inbox, but counts with b's
    clock.settle()
    assert top.snapshot().state is State.FINISHED


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_rule_65_one_for_whose_next_try_the_others_wait_has_not_ended(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    b = Significant("b", journal, backoff=Backoff(5, jitter=0))
    c, late = Scripted("c", journal), Significant("late", journal)
    with Supervisor(children=[b, c], auto_shutdown="all_significant", strategy=strategy) as top:
        crash_and_settle(b, clock)
        top.start_child(late)
        late.finish()
        clock.settle()
        assert states(top) == {"b": "restarting", "c": "restarting", "late": "finished"}
        clock.advance(5.0)
        assert states(top)["b"] == "running"


def test_rule_65_a_supervisor_without_significant_children_goes_on(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal, restart="transient")
    with Supervisor(children=[a], auto_shutdown="all_significant") as top:
        a.finish()
        clock.settle()
        assert states(top) == {"a": "finished"}


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_rule_66_an_end_by_hand_never_triggers(
    clock: VirtualClock, journal: Journal, auto_shutdown: str
) -> None:
    a, b = Significant("a", journal), Significant("b", journal, restart="temporary")
    with Supervisor(children=[a, b], auto_shutdown=auto_shutdown) as top:
        top.terminate_child("a")
        top.terminate_child("b")
        clock.settle()
        assert states(top) == {"a": "stopped"}


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_rule_66_an_end_with_the_group_never_triggers(
    clock: VirtualClock, journal: Journal, auto_shutdown: str
) -> None:
    a = Scripted("a", journal)
    b, c = Significant("b", journal), Significant("c", journal, restart="temporary")
    with Supervisor(children=[a, b, c], auto_shutdown=auto_shutdown, strategy="one_for_all") as top:
        crash_and_settle(a, clock)
        assert states(top) == {"a": "running", "b": "running"}


def test_rule_66_an_end_of_an_earlier_life_never_triggers(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b = Scripted("a", journal), Significant("b", journal)
    with Supervisor(
        children=[a, b], auto_shutdown="any_significant", strategy="one_for_all"
    ) as top:
        # The crash is read first, and its group restart has given b another life when the
        # end of the first is read.
        b.script.in_on_start = lambda service: service.stop() if service.script.starts == 2 else 0
        crash(a)
        b.finish()
        clock.settle()
        assert top.snapshot().state is State.RUNNING


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_rule_66_an_end_while_the_group_goes_down_never_triggers(
    clock: VirtualClock, journal: Journal, auto_shutdown: str
) -> None:
    a, c = Scripted("a", journal), Scripted("c", journal, stop_takes=2.0)
    b = Significant("b", journal, restart="temporary")
    with Supervisor(children=[a, b, c], auto_shutdown=auto_shutdown, strategy="one_for_all") as top:
        crash(a)
        clock.advance(1.0)
        b.finish()  # by itself, while the group waits for c
        clock.advance(2.0)
        assert states(top) == {"a": "running", "c": "running"}


def test_rule_67_the_supervisor_ends_cleanly_and_its_children_stop_in_reverse(
    clock: VirtualClock, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    a, c, d = family("acd", journal)
    b = Significant("b", journal)
    top = Supervisor(children=[a, b, c, d], auto_shutdown="any_significant")
    top.start()
    journal.take()
    b.finish()
    clock.settle()
    assert journal.take() == ["stop b", "stop d", "stop c", "stop a"]
    ended = top.wait()
    assert ended is not None
    assert ended.reason is Reason.SHUTDOWN
    assert ended.is_clean
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("restart", "expected"),
    [
        ("permanent", {"inner": "running"}),
        ("transient", {"inner": "finished"}),
        ("temporary", {}),
    ],
)
def test_rule_67_what_the_parent_does_with_a_supervisor_that_shut_down(
    clock: VirtualClock, journal: Journal, restart: str, expected: dict[str, str]
) -> None:
    a = Significant("a", journal)
    inner = Supervisor(children=[a], name="inner", restart=restart, auto_shutdown="any_significant")
    with Supervisor(children=[inner]) as outer:
        a.finish()
        clock.settle()
        assert states(outer) == expected


def test_rule_67_made_significant_itself_the_shutdown_climbs(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Significant("a", journal)
    tree: Service = a
    for name in ("one", "two", "three"):
        tree = Supervisor(
            children=[tree],
            name=name,
            restart="transient",
            significant=True,
            auto_shutdown="any_significant",
        )
    top = Supervisor(children=[tree], name="top", auto_shutdown="all_significant")
    top.start()
    a.finish()
    clock.settle()
    assert top.snapshot().state is State.FINISHED


def test_idle_services_follow_the_same_rules(clock: VirtualClock) -> None:
    # Without hooks and resources the engine starts and ends them on the spot.
    kept, back, gone = (
        Idle("kept", restart="transient"),
        Idle("back"),
        Idle("gone", restart="temporary"),
    )
    with Supervisor(children=[kept, back, gone], max_restarts=1) as top:
        for each in (kept, back, gone):
            each.finish()
        clock.settle()
        assert states(top) == {"kept": "finished", "back": "running"}
        assert restarts(top) == {"kept": 0, "back": 1}


def test_a_script_is_shared_by_all_lives(clock: VirtualClock, journal: Journal) -> None:
    script = Script()
    a = Scripted("a", journal, script)
    with Supervisor(children=[a]):
        crash_and_settle(a, clock)
    assert script.starts == 2
