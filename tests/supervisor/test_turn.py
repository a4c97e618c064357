"""The turn: first come first served, and never a wait without end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import get_hub, getcurrent

from scripted import Idle, spawn, states
from sprag import Service, Supervisor
from sprag.exceptions import WouldDeadlock
from sprag_supervisor import adopt_all, order_children
from sprag_supervisor.loop.calls import Call
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.pools import join_pool, leave_pool
from sprag_supervisor.loop.turn import Turn
from sprag_supervisor.tree.inbox import supervision_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.testing import VirtualClock
    from sprag_supervisor.loop.pool import Pool


@pytest.fixture
def pool(clock: VirtualClock) -> Iterator[Pool]:
    """The pool of the hub, in use by one tree."""
    pool = join_pool(get_hub())
    yield pool
    leave_pool(pool)


def in_pool(pool: Pool, body: Callable[[], object]) -> Call:
    """Run *body* in a greenlet of the pool, as hooks are, and wait for it."""
    call = Call(body)
    pool.enter_and_wait(call, Parking())
    while not call.done:
        call.wait()
    return call


def take_and_hold(turn: Turn, seconds: float, log: list[str], name: str) -> Any:
    def body() -> None:
        assert turn.take()
        try:
            log.append(name)
            gevent.sleep(seconds)
        finally:
            turn.give()

    return spawn(body)


def test_a_free_turn_is_taken_on_the_spot(clock: VirtualClock) -> None:
    turn = Turn()
    assert turn.take()
    assert turn.holder is getcurrent()
    turn.give()
    assert turn.holder is None


def test_a_turn_of_somebody_elses_is_not_given_away(clock: VirtualClock) -> None:
    turn = Turn()
    turn.take()
    spawn(turn.give)
    clock.settle()
    assert turn.is_mine()


def test_a_taken_turn_is_passed_on_in_the_order_of_asking(clock: VirtualClock) -> None:
    turn = Turn()
    log: list[str] = []
    holders = [take_and_hold(turn, 1.0, log, name) for name in "abcd"]
    clock.advance(0.5)
    assert log == ["a"]
    clock.advance(1.0)
    assert log == ["a", "b"]
    clock.advance(10.0)
    assert log == ["a", "b", "c", "d"]
    assert all(holder.ready() for holder in holders)
    assert turn.holder is None


def test_who_asks_while_a_turn_is_passed_on_comes_after_those_who_wait(
    clock: VirtualClock,
) -> None:
    turn: Turn = Turn()
    log: list[str] = []
    assert turn.take()
    take_and_hold(turn, 0.0, log, "waits")
    clock.settle()
    turn.give()
    assert turn.holder is not None  # reserved, though the other one has not run yet
    take_and_hold(turn, 0.0, log, "comes late")
    clock.settle()
    assert log == ["waits", "comes late"]


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_who_is_killed_while_waiting_gives_up_the_place(clock: VirtualClock, victim: int) -> None:
    turn: Turn = Turn()
    log: list[str] = []
    holders = [take_and_hold(turn, 1.0, log, name) for name in "abcd"]
    clock.advance(0.5)
    holders[victim].kill()
    assert len(turn.queue or ()) == 2
    clock.advance(10.0)
    assert "".join(log) == "abcd".replace("abcd"[victim], "")
    assert turn.holder is None


def test_a_timeout_while_waiting_passes_through(clock: VirtualClock) -> None:
    turn: Turn = Turn()
    holder = take_and_hold(turn, 5.0, [], "a")
    clock.settle()
    with pytest.raises(gevent.Timeout), gevent.Timeout(1.0):
        turn.take()
    assert clock.now == 1.0
    clock.advance(5.0)
    assert holder.ready()
    assert turn.holder is None


def test_who_is_killed_just_when_the_turn_is_passed_on_passes_it_on(clock: VirtualClock) -> None:
    turn: Turn = Turn()
    log: list[str] = []
    assert turn.take()
    first = take_and_hold(turn, 0.0, log, "first")
    take_and_hold(turn, 0.0, log, "second")
    clock.settle()
    first.kill(block=False)
    turn.give()
    clock.settle()
    assert log == ["second"]
    assert turn.holder is None


def test_a_holder_that_is_killed_gives_the_turn_back(clock: VirtualClock) -> None:
    turn: Turn = Turn()
    log: list[str] = []
    first = take_and_hold(turn, 100.0, log, "first")
    take_and_hold(turn, 0.0, log, "second")
    clock.settle()
    first.kill()
    clock.settle()
    assert log == ["first", "second"]


def test_to_ask_again_for_ones_own_turn_would_deadlock(clock: VirtualClock) -> None:
    turn: Turn = Turn()
    assert turn.take()
    assert not turn.take()
    turn.give()
    assert turn.holder is None


CHANGES: dict[str, Callable[[Supervisor], object]] = {
    "adopt": lambda top: top.adopt(Service()),
    "adopt several": lambda top: adopt_all(top, [(Service(), "c", {"needs": ()})], by_needs=True),
    "start": lambda top: top.restart_child("b"),
    "delete": lambda top: top.delete_child("b"),
    "order": lambda top: order_children(top, ["b"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("clock")
def test_who_changes_the_children_already_may_not_do_so_once_more_and_keeps_the_turn(
    change: Callable[[Supervisor], object],
) -> None:
    top = Supervisor([Idle("a"), Idle("b")])
    with top:
        top.terminate_child("b")
        turn = supervision_of(top).turn
        assert turn.take()
        with pytest.raises(WouldDeadlock):
            change(top)
        assert turn.is_mine()
        turn.give()
        assert states(top) == {"a": "running", "b": "stopped"}


def test_a_hook_that_asks_for_the_turn_of_the_one_who_waits_for_it_would_deadlock(
    pool: Pool,
) -> None:
    turn: Turn = Turn()
    answers: list[bool] = []
    assert turn.take()
    in_pool(pool, lambda: answers.append(turn.take()))
    turn.give()
    assert answers == [False]
    assert turn.holder is None


def test_a_deadlock_is_seen_through_nested_hooks(pool: Pool) -> None:
    turn: Turn = Turn()
    answers: list[bool] = []
    assert turn.take()
    in_pool(pool, lambda: in_pool(pool, lambda: in_pool(pool, lambda: answers.append(turn.take()))))
    turn.give()
    assert answers == [False]


def test_a_hook_may_take_a_turn_that_nobody_who_waits_for_it_holds(
    pool: Pool, clock: VirtualClock
) -> None:
    mine, other = Turn(), Turn()
    take_and_hold(other, 1.0, [], "somebody else")
    clock.settle()
    answers: list[bool] = []

    def hook() -> None:
        answers.append(other.take())
        other.give()

    assert mine.take()
    in_pool(pool, hook)
    mine.give()
    assert answers == [True]
    assert clock.now == 1.0


def test_two_who_hold_what_the_other_wants_would_deadlock(pool: Pool, clock: VirtualClock) -> None:
    left, right = Turn(), Turn()
    answers: dict[str, bool] = {}

    def hold_and_want(name: str, held: Turn, wanted: Turn) -> None:
        def hook() -> None:
            gevent.sleep(1.0)
            answers[name] = wanted.take()
            if answers[name]:
                wanted.give()

        assert held.take()
        in_pool(pool, hook)
        held.give()

    both = [
        spawn(hold_and_want, "one", left, right),
        spawn(hold_and_want, "two", right, left),
    ]
    clock.advance(1.0)
    assert all(each.ready() for each in both)
    assert answers == {"one": True, "two": False}


def test_three_in_a_ring_would_deadlock(pool: Pool, clock: VirtualClock) -> None:
    turns = [Turn(), Turn(), Turn()]
    answers: dict[int, bool] = {}

    def hold_and_want(number: int) -> None:
        assert turns[number].take()
        gevent.sleep(1.0)
        wanted = turns[(number + 1) % 3]
        answers[number] = wanted.take()
        if answers[number]:
            wanted.give()
        turns[number].give()

    ring = [spawn(hold_and_want, number) for number in range(3)]
    clock.advance(1.0)
    assert all(each.ready() for each in ring)
    assert answers == {0: True, 1: True, 2: False}


def test_nobody_is_remembered_as_waiting_afterwards(pool: Pool, clock: VirtualClock) -> None:
    turn: Turn = Turn()
    holders = [take_and_hold(turn, 1.0, [], name) for name in "abc"]
    clock.advance(0.5)
    assert len(pool.queued) == 2
    holders[1].kill()
    clock.advance(5.0)
    assert not pool.queued
