"""Siblings that are restarted together, while they wait for the one that failed.

They are down with it and wait for their turn, so they are `restarting` like that one itself; and
whoever wants one of them down is obeyed.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Crash, Journal, Scripted, crash, family, restarts, spawn, states
from sprag import Backoff, Service, State, Supervisor, to_json
from sprag.exceptions import AlreadyPresent, ChildRestarting, SpragError
from sprag.testing import check_invariants
from sprag_supervisor.loop import clock as _clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")

TEN_SECONDS = Backoff(initial=10.0, factor=1.0, jitter=0.0)
GROUPS = ["one_for_all", "rest_for_one"]


@pytest.fixture
def journal() -> Journal:
    return Journal()


def three(journal: Journal, **orders: object) -> tuple[Scripted, Scripted, Scripted]:
    a, b, c = family("abc", journal, backoff=TEN_SECONDS, **orders)
    return a, b, c


def waiting(top: Supervisor, failed: Scripted, clock: VirtualClock) -> None:
    """Let *failed* crash, and four of its ten seconds pass."""
    crash(failed)
    clock.advance(4.0)
    check_invariants(top)


@pytest.mark.parametrize("strategy", GROUPS)
def test_siblings_that_wait_for_the_backoff_of_their_group_are_restarting(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy=strategy, name="top") as top:
        waiting(top, a, clock)
        assert states(top) == dict.fromkeys("abc", "restarting")
        assert list(top.not_ready()) == ["top/a", "top/b", "top/c"]
        assert {lack.state for lack in top.not_ready().values()} == {State.RESTARTING}
        assert [each.next_try for each in top.snapshot().children] == [6.0, 6.0, 6.0]
        told = to_json(top.snapshot())["children"]
        assert [(each["state"], each["next_try"]) for each in told] == [("restarting", 6.0)] * 3
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert not top.not_ready()
        assert restarts(top) == dict.fromkeys("abc", 1)


@pytest.mark.parametrize("strategy", GROUPS)
def test_one_that_was_down_before_comes_back_with_its_group_and_tells_of_no_next_try(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy=strategy, name="top") as top:
        b.stop()
        waiting(top, a, clock)
        assert states(top) == {"a": "restarting", "b": "stopped", "c": "restarting"}
        assert [each.next_try for each in top.snapshot().children] == [6.0, None, 6.0]
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")


def test_the_time_until_the_next_try_runs_down_to_nothing_and_no_further(
    clock: VirtualClock, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        waiting(top, a, clock)
        clock.advance(5.75)
        assert [each.next_try for each in top.snapshot().children] == [0.25] * 3
        with monkeypatch.context() as patched:  # the loop is held, and the timer late
            patched.setattr(_clock, "now", lambda: clock.now + 7.0)
            assert [each.next_try for each in top.snapshot().children] == [0.0] * 3


def test_under_one_for_one_nobody_waits_for_another(clock: VirtualClock, journal: Journal) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c]) as top:
        waiting(top, b, clock)
        assert states(top) == {"a": "running", "b": "restarting", "c": "running"}


def test_who_needs_nothing_of_the_failed_one_runs_on(clock: VirtualClock, journal: Journal) -> None:
    a, b, c = three(journal)
    with Supervisor(strategy="rest_for_one") as top:
        top.start_child(a)
        top.start_child(b, needs=())
        top.start_child(c, needs=("a",))
        waiting(top, a, clock)
        assert states(top) == {"a": "restarting", "b": "running", "c": "restarting"}


def test_wait_goes_on_while_a_group_waits(clock: VirtualClock, journal: Journal) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        ended = spawn(c.wait)
        waiting(top, a, clock)
        clock.advance(20.0)
        assert not ended.ready()
    assert ended.get().reason.value == "stopped"


def test_a_group_that_waits_is_part_of_the_larger_one_and_gone_with_it(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="rest_for_one", max_restarts=9) as top:
        waiting(top, b, clock)
        crash(a)
        clock.advance(20.0)
        assert states(top) == dict.fromkeys("abc", "running")
        c.stop()  # of which the group of *b* would know, if it were still there
        waiting(top, b, clock)
        clock.advance(20.0)
        assert states(top) == dict.fromkeys("abc", "running")


def test_groups_of_which_none_needs_another_wait_each_for_its_own(
    clock: VirtualClock, journal: Journal
) -> None:
    needs: list[Any] = [(), ("a",), (), ("c",)]
    with Supervisor(strategy="rest_for_one") as top:
        for each, those in zip(family("abcd", journal, backoff=TEN_SECONDS), needs, strict=True):
            top.start_child(each, needs=those)
        for name in "ac":
            crash(top.service(name))
            clock.advance(4.0)
        assert states(top) == dict.fromkeys("abcd", "restarting")
        clock.advance(3.0)
        assert states(top) == {
            **dict.fromkeys("ab", "running"),
            **dict.fromkeys("cd", "restarting"),
        }
        clock.advance(4.0)
        assert states(top) == dict.fromkeys("abcd", "running")
        assert restarts(top) == dict.fromkeys("abcd", 1)


# -- a stop takes one out ----------------------------------------------------------------


@pytest.mark.parametrize("strategy", GROUPS)
@pytest.mark.parametrize("how", ["stop", "terminate_child"])
def test_a_stop_of_one_that_waits_takes_it_out_of_the_group(
    clock: VirtualClock, journal: Journal, strategy: str, how: str
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy=strategy) as top:
        waiting(top, a, clock)
        if how == "stop":
            b.stop()
        else:
            top.terminate_child("b")
        assert states(top) == {"a": "restarting", "b": "stopped", "c": "restarting"}
        assert b.snapshot().next_try is None
        check_invariants(top)
        clock.advance(60.0)
        assert states(top) == {"a": "running", "b": "stopped", "c": "running"}
        assert b.script.starts == 1


def test_one_that_was_taken_out_stays_out_over_further_tries(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all", max_restarts=5) as top:
        a.script.fail_starts = 2
        waiting(top, a, clock)
        b.stop()
        clock.advance(10.0)
        assert states(top) == {"a": "restarting", "b": "stopped", "c": "restarting"}
        check_invariants(top)
        clock.advance(60.0)
        assert states(top) == {"a": "running", "b": "stopped", "c": "running"}
        # A new failure is another restart, and covers whom its strategy covers (otp-rules 31).
        a.script.fail_starts = 0
        crash(c)
        clock.advance(10.0)
        assert states(top) == dict.fromkeys("abc", "running")


def test_a_new_child_that_is_stopped_while_the_last_one_waits_stays_out(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b], strategy="rest_for_one") as top:
        waiting(top, b, clock)
        top.start_child(c)
        c.stop()
        clock.advance(60.0)
        assert states(top) == {"a": "running", "b": "running", "c": "stopped"}


def test_one_that_was_taken_out_and_started_again_belongs_to_the_group_again(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        waiting(top, a, clock)
        b.stop()
        top.restart_child("b")
        assert states(top) == {"a": "restarting", "b": "running", "c": "restarting"}
        check_invariants(top)
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert restarts(top) == dict.fromkeys("abc", 1)


def test_one_that_was_taken_out_may_be_deleted(clock: VirtualClock, journal: Journal) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        waiting(top, a, clock)
        b.stop()
        top.delete_child("b")
        clock.advance(60.0)
        assert states(top) == {"a": "running", "c": "running"}


def test_one_that_waited_for_its_own_backoff_waits_for_its_group_as_soon_as_that_goes_down(
    clock: VirtualClock, journal: Journal
) -> None:
    a = Scripted("a", journal)
    b, slow = family(("b", "slow"), journal, backoff=TEN_SECONDS)
    with Supervisor(children=[a, b], strategy="rest_for_one", name="top") as top:
        waiting(top, b, clock)
        top.start_child(slow)
        slow.script.stop_takes = 1.0
        crash(a)
        clock.settle()
        assert states(top) == {"a": "restarting", "b": "restarting", "slow": "stopping"}
        assert b.snapshot().next_try is None
        clock.advance(1.0)
        assert states(top) == dict.fromkeys(("a", "b", "slow"), "running")


def test_with_the_failed_one_its_group_is_called_off(clock: VirtualClock, journal: Journal) -> None:
    # otp-rules 43: the one whose next try begins the restart is stopped, and nobody retries.
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        waiting(top, b, clock)
        b.stop()
        assert states(top) == dict.fromkeys("abc", "stopped")
        check_invariants(top)
        clock.advance(60.0)
        assert states(top) == dict.fromkeys("abc", "stopped")
        top.restart_child("a")
        assert states(top) == {"a": "running", "b": "stopped", "c": "stopped"}


def test_stops_of_all_that_wait_are_told_and_call_everything_off(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all", name="top") as top:
        seen: list[tuple[str, str]] = []
        watcher = top.adopt(Service(), name="watcher")
        waiting(top, a, clock)
        assert watcher.snapshot().state is State.RESTARTING
        assert top._tree_ is not None
        top._tree_.observers.append(lambda told: seen.append((told.path, told.context)))
        c.stop()
        a.stop()
        assert seen == [(f"top/{name}", "restart_cancelled") for name in ("c", "a", "b", "watcher")]


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_stop_of_the_parent_ends_all_that_wait(
    clock: VirtualClock, journal: Journal, strategy: str
) -> None:
    a, b, c = three(journal)
    top = Supervisor(children=[a, b, c], strategy=strategy)
    top.start()
    waiting(top, a, clock)
    assert top.stop().is_clean
    assert [each._state_ for each in (a, b, c)] == [State.STOPPED] * 3
    clock.advance(60.0)
    assert a.script.starts == 1


# -- other calls -------------------------------------------------------------------------


def test_one_that_waits_is_treated_as_restarting_by_every_call(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        waiting(top, a, clock)
        with pytest.raises(ChildRestarting):
            top.restart_child("b")
        with pytest.raises(ChildRestarting):
            b.start()
        with pytest.raises(ChildRestarting):
            top.delete_child("b")
        with pytest.raises(AlreadyPresent):
            top.start_child(Service(), name="b")
        assert top.count_children().active == 0
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")


def test_a_child_that_is_started_while_its_group_waits_is_part_of_it(
    clock: VirtualClock, journal: Journal
) -> None:
    # otp-rules 37
    a, b, c = three(journal)
    with Supervisor(children=[a, b], strategy="one_for_all") as top:
        waiting(top, a, clock)
        top.start_child(c)
        assert states(top) == {"a": "restarting", "b": "restarting", "c": "running"}
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert restarts(top)["c"] == 1


def test_children_that_were_down_before_come_back_with_the_group_and_say_nothing_else(
    clock: VirtualClock, journal: Journal
) -> None:
    # otp-rules 30, 31
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        b.stop()
        waiting(top, a, clock)
        assert states(top) == {"a": "restarting", "b": "stopped", "c": "restarting"}
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")


# -- more than one failure ---------------------------------------------------------------


def test_a_failure_further_up_takes_over_who_waits(clock: VirtualClock, journal: Journal) -> None:
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="rest_for_one") as top:
        waiting(top, b, clock)
        assert states(top) == {"a": "running", "b": "restarting", "c": "restarting"}
        waiting(top, a, clock)
        assert [each.next_try for each in top.snapshot().children] == [6.0, 6.0, 6.0]
        clock.advance(5.0)
        assert states(top) == dict.fromkeys("abc", "restarting")
        clock.advance(1.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert restarts(top) == dict.fromkeys("abc", 1)
        clock.advance(60.0)
        assert restarts(top) == dict.fromkeys("abc", 1)


def test_who_needs_the_failed_one_of_two_groups_comes_back_with_each(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal)
    with Supervisor(strategy="rest_for_one") as top:
        top.start_child(a)
        top.start_child(b, needs=())
        top.start_child(c, needs=("a", "b"))
        waiting(top, a, clock)
        waiting(top, b, clock)
        assert states(top) == dict.fromkeys("abc", "restarting")
        assert [each.next_try for each in top.snapshot().children] == [2.0, 6.0, 6.0]
        clock.advance(2.0)
        check_invariants(top)
        assert states(top) == {"a": "running", "b": "restarting", "c": "restarting"}
        assert c.snapshot().waits_for == ("b",)
        clock.advance(4.0)
        assert states(top) == dict.fromkeys("abc", "running")


def test_one_that_waits_for_a_sibling_that_does_not_need_it_is_not_lost(
    clock: VirtualClock, journal: Journal
) -> None:
    """c needs a, not b; a comes up again, b does not, and its own group would be b alone."""
    a, b, c = family("abc", journal)
    with Supervisor(strategy="rest_for_one", max_restarts=5) as top:
        top.start_child(a)
        top.start_child(b, needs=("a",))
        top.start_child(c, needs=("a",))
        b.script.fail_starts = 2
        crash(a)
        clock.settle()
        assert states(top) == dict.fromkeys("abc", "running")


def test_a_group_restart_that_fails_half_way_waits_for_the_one_that_failed(
    clock: VirtualClock, journal: Journal
) -> None:
    # otp-rules 38, 41: b is tried again, and c after it; a is up, and is stopped with them again
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all", max_restarts=5) as top:
        b.script.fail_starts = 1
        waiting(top, a, clock)
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "restarting"), "all wait for b now"
        assert [each.next_try for each in top.snapshot().children] == [10.0, 10.0, 10.0]
        check_invariants(top)
        clock.advance(10.0)
        assert states(top) == dict.fromkeys("abc", "running")


def test_a_rest_that_fails_half_way_keeps_those_before_it(
    clock: VirtualClock, journal: Journal
) -> None:
    # otp-rules 39
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="rest_for_one", max_restarts=5) as top:
        b.script.fail_starts = 1
        waiting(top, a, clock)
        clock.advance(6.0)
        assert states(top) == {"a": "running", "b": "restarting", "c": "restarting"}
        c.stop()
        clock.advance(10.0)
        assert states(top) == {"a": "running", "b": "running", "c": "stopped"}


def test_a_group_that_gives_up_leaves_nobody_waiting(clock: VirtualClock, journal: Journal) -> None:
    a, b, c = family("abc", journal)
    inner = Supervisor(
        children=[a, b, c], strategy="one_for_all", max_restarts=2, restart="temporary"
    )
    with Supervisor(children=[inner]):
        b.script.fail_starts = 9
        crash(a)
        clock.settle()
        assert inner._state_ is State.FAILED
        assert [each._state_ for each in (a, b, c)] == [State.STOPPED] * 3


def test_a_restart_whose_failure_is_escalated_leaves_nobody_waiting(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    inner = Supervisor(strategy="one_for_all", restart="temporary")
    with Supervisor(children=[inner]):
        inner.start_child(a)
        inner.start_child(b, on_failure={Crash: "escalate"})
        inner.start_child(c)
        b.script.fail_starts = 1
        crash(a)
        clock.settle()
        assert inner._state_ is State.FAILED
        assert [each._state_ for each in (a, b, c)] == [State.STOPPED, State.FAILED, State.STOPPED]


def test_two_crashes_at_once_wait_together_and_count_once(
    clock: VirtualClock, journal: Journal
) -> None:
    # otp-rules 14
    a, b, c = three(journal)
    with Supervisor(children=[a, b, c], strategy="one_for_all", max_restarts=1) as top:
        crash(a)
        crash(b)
        clock.advance(4.0)
        assert states(top) == dict.fromkeys("abc", "restarting")
        clock.advance(6.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert restarts(top) == dict.fromkeys("abc", 1)


# -- in the midst of it ------------------------------------------------------------------


def test_a_stop_of_a_sibling_that_is_just_going_down_takes_it_out(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal, stop_takes=1.0)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        crash(a)
        clock.advance(1.5)
        assert states(top) == {"a": "restarting", "b": "running", "c": "stopping"}
        stopping = spawn(c.stop)
        clock.advance(2.0)
        assert stopping.ready()
        assert states(top) == {"a": "restarting", "b": "restarting", "c": "stopped"}
        clock.advance(60.0)
        assert states(top) == {"a": "running", "b": "running", "c": "stopped"}


def test_a_stop_of_the_failed_one_while_its_group_goes_down_calls_it_off(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal, stop_takes=1.0)
    with Supervisor(children=[a, b, c], strategy="one_for_all") as top:
        crash(a)
        clock.advance(2.5)
        assert states(top) == {"a": "restarting", "b": "stopping", "c": "restarting"}
        a.stop()
        clock.advance(60.0)
        assert states(top) == dict.fromkeys("abc", "stopped")
        check_invariants(top)


def test_a_sibling_that_crashes_while_the_group_goes_down_waits_with_it(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = three(journal, stop_takes=1.0)
    with Supervisor(children=[a, b, c], strategy="one_for_all", max_restarts=1) as top:
        crash(a)
        clock.advance(1.5)
        crash(b)
        clock.advance(3.0)
        assert states(top) == dict.fromkeys("abc", "restarting")
        check_invariants(top)
        clock.advance(60.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert _clock.now() > 60.0


# -- the supervisor comes back meanwhile -------------------------------------------------


def slow_in(life: int) -> Callable[[Scripted], None]:
    """Return an `in_on_stop` that takes a second in that life."""
    return lambda service: gevent.sleep(1.0 if service._incarnation_ == life else 0.0)


def renewed(top: Supervisor, failed: Scripted, clock: VirtualClock) -> None:
    """Let *failed* crash, and *top* while c, which takes a second, goes down with it."""
    crash(failed)
    clock.advance(0.5)
    crash(top)
    clock.advance(0.6)


@pytest.mark.parametrize("backoff", [None, TEN_SECONDS])
def test_a_group_restart_ends_with_the_life_of_its_supervisor(
    clock: VirtualClock, journal: Journal, backoff: Backoff | None
) -> None:
    a, b, c = family("abc", journal, backoff=backoff)
    c.script.in_on_stop = slow_in(1)
    top = Supervisor(children=[a, b, c], strategy="one_for_all", name="top")
    with Supervisor(children=[top], name="root"):
        renewed(top, a, clock)
        started = ["start a", "start b", "start c"]
        assert journal.take() == [*started, "stop a", "stop c", "stop b", *started]
        clock.advance(60.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert not journal.take()
        assert restarts(top) == dict.fromkeys("abc", 0)


def test_a_crash_in_its_next_life_is_not_taken_for_one_of_a_group_that_went_down(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal)
    c.script.in_on_stop = slow_in(1)
    b.script.in_on_stop = slow_in(2)
    top = Supervisor(children=[a, b, c], strategy="one_for_all", name="top")
    with Supervisor(children=[top], name="root"):
        renewed(top, a, clock)
        crash(b)
        clock.advance(60.0)
        assert states(top) == dict.fromkeys("abc", "running")
        assert restarts(top) == dict.fromkeys("abc", 1)


def test_a_group_restart_of_a_past_life_sets_no_backoff_in_the_next_one(
    clock: VirtualClock, journal: Journal
) -> None:
    a, b, c = family("abc", journal, backoff=TEN_SECONDS)
    c.script.in_on_stop = slow_in(1)
    b.script.in_on_stop = slow_in(2)
    top = Supervisor(children=[a, b, c], strategy="one_for_all", name="top")
    with Supervisor(children=[top], name="root"):
        renewed(top, a, clock)
        crash(a)
        clock.advance(1.5)
        assert states(top) == dict.fromkeys("abc", "restarting")
        assert a._history_ is not None
        assert a._history_.in_a_row == 1
        clock.advance(60.0)
        assert states(top) == dict.fromkeys("abc", "running")
    # And the clock's LeakCheck: a timer was lost here, which went off every second for ever.


# -- any story ---------------------------------------------------------------------------


class Unsteady(Service):
    """Takes its time, and does not always come up, as *chance* has it."""

    def __init__(self, chance: Random, fails: list[bool]) -> None:
        self.chance = chance
        self.fails = fails

    def on_start(self) -> None:
        gevent.sleep(self.chance.choice([0.0, 0.0, 0.5, 1.5]))
        if self.fails and self.chance.random() < 0.2:
            raise Crash

    def on_stop(self) -> None:
        gevent.sleep(self.chance.choice([0.0, 0.0, 0.5, 1.0]))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_fails_and_is_stopped_meanwhile_nobody_waits_for_ever(
    clock: VirtualClock, seed: int
) -> None:
    """With needs and backoffs of all kinds, which the models of the other tests do not have."""
    chance = Random(seed)
    fails: list[bool] = []
    strategy = chance.choice(["one_for_all", "rest_for_one", "rest_for_one"])
    many = 1_000_000
    with Supervisor(strategy=strategy, max_restarts=many) as top:
        names = "abcdef"
        for at, name in enumerate(names):
            policy: dict[str, object] = {}
            if strategy == "rest_for_one" and chance.random() < 0.6:
                policy["needs"] = tuple(chance.sample(names[:at], chance.randint(0, at)))
            if chance.random() < 0.5:
                seconds = chance.choice([1.0, 3.0])
                policy["backoff"] = Backoff(initial=seconds, factor=1.0, jitter=0.0)
            top.start_child(Unsteady(chance, fails), name=name, **policy)
        fails.append(True)
        calls = [_anything(top, chance, clock) for _ in range(chance.randint(5, 25))]
        fails.clear()
        clock.advance(300.0)
        assert all(call is None or call.ready() for call in calls)
        check_invariants(top)
        for child in top.which_children():
            if child.state in {State.STOPPED, State.FAILED}:  # others may wait for it
                assert isinstance(child.service, Service)
                _start_if_possible(child.service)
        clock.advance(300.0)
        assert set(states(top).values()) == {"running"}
        check_invariants(top)


def _anything(top: Supervisor, chance: Random, clock: VirtualClock) -> Any:
    child = top.service(chance.choice("abcdef"))
    what = chance.random()
    call = None
    if what < 0.5:
        if child.snapshot().state is State.RUNNING:
            crash(child)
    elif what < 0.7:
        call = spawn(child.stop)
    elif what < 0.85:
        call = spawn(_start_if_possible, child)
    clock.advance(chance.choice([0.0, 0.0, 0.25, 0.5, 1.0, 2.0]))
    return call


def _start_if_possible(child: Service) -> None:
    with suppress(SpragError):
        child.start()
