"""The last resorts, one by one: what is done when sprag's own code has a bug.

That an error anywhere in the engine loses nothing is told by tests/faults, where several nets are
under each other; here each is by itself.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit

from scripted import Crash, Idle, Journal, Scripted, crash, spawn, states
from sprag import Service, State, Supervisor
from sprag.exceptions import AlreadyStarted, StartFailed
from sprag_supervisor import Outcome, adopt_all, end_in_next_turn, request_stop, tree_of
from sprag_supervisor.exceptions import EngineError
from sprag_supervisor.life import adopting as _adopting
from sprag_supervisor.life import steps
from sprag_supervisor.life import walking as _walking
from sprag_supervisor.life.bugs import give_in
from sprag_supervisor.life.lineup import _Start
from sprag_supervisor.life.settling import attend_soon
from sprag_supervisor.life.stopping import bring_down
from sprag_supervisor.loop.calls import Call
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.tree.drainers import drainers
from sprag_supervisor.tree.holdings import Holdings

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


def bugs(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of bugs in sprag, with what has caused each."""
    said = [record.exc_info[1] for record in caplog.records if record.exc_info]
    return [repr(each.__cause__) for each in said if isinstance(each, EngineError)]


# -- what is let go of by assignments alone -------------------------------------------


class Holding(Service):
    """Holds what its test says."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def hear(self, event: str = "tick") -> None:
        self.heard.append(event)


def test_a_lone_listener_of_what_is_given_up_hears_no_more(clock: VirtualClock) -> None:
    heard: list[str] = []
    with Supervisor([one := Holding(heard)]) as top:
        one.listen("order", one.hear)
        assert type(one._holdings_) is not Holdings
        give_in(one)
        top.emit("order", "beer")
        assert heard == []


def test_listeners_timers_and_greenlets_of_what_is_given_up_are_over(clock: VirtualClock) -> None:
    heard: list[str] = []
    with Supervisor([one := Holding(heard)]) as top:
        one.listen("order", one.hear)
        one.listen("bill", one.hear)
        one.interval(one.hear, 1.0)
        working = one.spawn(gevent.sleep, 60)
        give_in(one)
        top.emit("order", "beer")
        top.emit("bill", "two")
        clock.advance(5.0)
        assert heard == []
        assert working.ready()


def test_what_is_given_up_is_not_waited_for_even_if_it_will_not_die(clock: VirtualClock) -> None:
    def deaf() -> None:
        with suppress(GreenletExit):
            gevent.sleep(60)
        gevent.sleep(60)

    with Supervisor([one := Idle("a")]):
        one.spawn(deaf)
        clock.settle()
        give_in(one)
        assert clock.now == 0.0
        clock.advance(60.0)


def test_who_waits_for_the_end_or_the_turn_of_what_is_given_up_goes_on(clock: VirtualClock) -> None:
    slow = Scripted("slow", Journal(), start_takes=9.0)
    with Supervisor([inner := Supervisor(name="inner"), Idle("beside")]) as top:
        ended = spawn(inner.wait)
        starting = spawn(inner.adopt, slow)
        clock.settle()
        queued = spawn(inner.adopt, Idle("late"))
        clock.settle()
        give_in(inner)
        clock.settle()
        assert (ended.ready(), queued.ready()) == (True, True)
        assert states(top) == {"inner": "failed", "beside": "running"}
        top.adopt(Idle("new"))  # the tree is as it was
        clock.advance(9.0)
        assert starting.ready()


def test_who_waits_for_a_stop_of_what_is_given_up_goes_on(clock: VirtualClock) -> None:
    slow = Scripted("slow", Journal(), stop_takes=2.0)
    with Supervisor([slow, Idle("beside")]):
        stopping = spawn(slow.stop)
        clock.settle()
        give_in(slow)
        clock.settle()
        assert stopping.ready()
        clock.advance(2.0)


def test_what_was_down_below_what_is_given_up_stays_as_it_was(clock: VirtualClock) -> None:
    with Supervisor([inner := Supervisor([one := Idle("a"), other := Idle("b")])]):
        one.stop()
        give_in(inner)
        assert one.snapshot().state.value == "stopped"
        assert other.snapshot().state.value == "failed"


def test_what_is_given_up_is_not_drained(clock: VirtualClock) -> None:
    journal = Journal("drain")
    with Supervisor([one := Scripted("a", journal), other := Scripted("b", journal)]) as top:
        give_in(one)
        assert list(drainers(top, tree_of(top))) == [other]
    assert journal.take() == ["drain b"]


def test_a_root_that_is_given_up_leaves_its_tree(clock: VirtualClock) -> None:
    top = Supervisor([below := Idle("a")])
    top.start()
    tree = top._tree_
    assert tree is not None
    give_in(top)
    assert below.snapshot().state.value == "failed"
    assert tree.thread == 0


# -- an end that was asked for where nobody can wait ----------------------------------


def test_an_end_that_fails_at_first_is_begun_once_more(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[object] = []

    def end(node: Any) -> None:
        tries.append(node)
        if len(tries) == 1:
            raise Crash("at first")
        request_stop(node, math.inf)

    with Supervisor([one := Idle("a")]):
        end_in_next_turn(one, tree_of(one), end)
        starting = spawn(one.start)  # waits for the end, and not just for the first try
        clock.settle()
        assert tries == [one, one]
        assert bugs(caplog) == ["Crash('at first')"]
        assert starting.successful()
        assert one.snapshot().incarnation == 2


def test_an_end_that_cannot_be_begun_keeps_nobody_waiting(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def end(_node: object) -> None:
        raise Crash("always")

    with Supervisor([one := Idle("a")]):
        end_in_next_turn(one, tree_of(one), end)
        starting = spawn(one.start)
        clock.settle()
        assert bugs(caplog) == ["Crash('always')"] * 2
        assert not tree_of(one).pending_ends
        assert isinstance(starting.exception, AlreadyStarted)


# -- an end that does not get on ------------------------------------------------------


@pytest.mark.parametrize("bugs_in_a_row", [1, 2, 3])
def test_an_end_goes_on_behind_two_bugs_and_is_given_up_with_the_third(
    bugs_in_a_row: int,
    clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[object] = []
    release = steps.release

    def broken(ending: Any, holdings: Any) -> None:
        tries.append(ending)
        if len(tries) <= bugs_in_a_row:
            raise Crash("a bug")
        release(ending, holdings)

    monkeypatch.setattr(_walking, "release", broken)
    journal = Journal("stop", "clean")
    one = Scripted("a", journal, cleanup_takes=1.0)
    with Supervisor([one, Idle("beside")]) as top:
        report = one.stop()
        if bugs_in_a_row < 3:
            assert [each.outcome for each in report.entries] == [Outcome.ERROR] * bugs_in_a_row
        assert states(top)["a"] == ("stopped" if bugs_in_a_row < 3 else "failed")
        assert journal.take() == ["stop a", "clean a"][: 2 if bugs_in_a_row < 3 else 1]
        assert bugs(caplog) == ["Crash('a bug')"] * bugs_in_a_row


# -- what somebody waits for ----------------------------------------------------------


@pytest.mark.parametrize("error", [Crash("a bug"), KeyboardInterrupt("main's")])
def test_who_waits_for_what_has_a_bug_around_it_gets_that_bug(
    error: BaseException, clock: VirtualClock
) -> None:
    call = Call(int)
    call.waiter = Parking()
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            call.broke(error)
            gevent.sleep(0)
        assert call.error is error
    else:
        call.broke(error)
        assert isinstance(call.error, EngineError)
        assert call.error.__cause__ is error
    assert (call.done, call.is_disturbed) == (True, True)
    call.wait()  # for nothing any more


def test_a_start_side_by_side_that_has_a_bug_around_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    over: list[int] = []
    start = _Start(list, over, 7)
    start.broke(IndexError("ours"))
    assert start.done
    assert isinstance(start.error, EngineError)
    assert over == [7]
    assert bugs(caplog) == ["IndexError('ours')"]


def test_what_is_brought_down_in_the_midst_of_its_start_fails_it_and_is_undone(
    clock: VirtualClock,
) -> None:
    a = Scripted("a", Journal(), start_takes=5.0)
    starting = spawn(a.start)
    clock.advance(1.0)
    bring_down(a, IndexError("ours"))
    clock.settle()
    with pytest.raises(StartFailed, match="IndexError: ours"):
        starting.get()
    assert clock.now == 1.0
    assert a.snapshot().state is State.FAILED


def test_what_was_done_before_the_bug_stays_as_it_was(clock: VirtualClock) -> None:
    call = Call(int)
    call.done = True
    call.broke(Crash("afterwards"))
    assert (call.error, call.is_disturbed) == (None, False)


# -- several starts side by side ------------------------------------------------------


def test_a_bug_is_told_that_comes_after_the_failure_of_a_sibling(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised to the caller is the first; the other would be heard of by nobody."""
    start = _adopting.start_first

    def broken(child: Any) -> None:
        try:
            start(child)
        finally:
            if child.name == "b":
                raise Crash("a bug")

    monkeypatch.setattr(_adopting, "start_first", broken)
    journal = Journal()
    a = Scripted("a", journal, fail_starts=1)
    b, c = (Scripted(name, journal, start_takes=1.0) for name in "bc")
    with Supervisor() as top:
        with pytest.raises(Exception, match="a does not start"):
            adopt_all(top, [(each, None, {"needs": ()}) for each in (b, c, a)], by_needs=True)
        assert bugs(caplog) == ["Crash('a bug')"]  # and not that c was called off


# -- who works through an inbox -------------------------------------------------------


def readers(top: Service) -> int:
    """Return how many are at work on an inbox, or about to be."""
    return [call.step for call in tree_of(top).pool.under_way()].count("supervise")


def test_an_inbox_has_one_reader_and_an_empty_one_none(clock: VirtualClock) -> None:
    a = Idle("a")
    b = Scripted("b", Journal())
    b.script.in_on_start = lambda _b: crash(a)
    with Supervisor([Idle("alone")]) as top:
        assert readers(top) == 0
        attend_soon(top)
        assert readers(top) == 0
    with Supervisor([a, b], max_restarts=9) as top:
        assert readers(top) == 1  # made by the crash; that it has come up makes no second
        clock.settle()
        assert readers(top) == 0
        assert states(top) == {"a": "running", "b": "running"}
        assert a.snapshot().incarnation == 2
