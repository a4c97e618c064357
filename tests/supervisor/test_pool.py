"""Engine greenlets: how one waits, how a body is run beside it, and that none is left."""

from __future__ import annotations

import contextvars
import sys
import weakref
from typing import TYPE_CHECKING, Any

import gevent
import gevent.local
import pytest
from gevent import GreenletExit, get_hub, getcurrent
from gevent.exceptions import LoopExit

from scripted import spawn
from sprag.testing import LeakCheck, virtual_time
from sprag_supervisor.loop import pool as _pool
from sprag_supervisor.loop import pools as _pools
from sprag_supervisor.loop.calls import Call
from sprag_supervisor.loop.left_behind import is_left_behind, leave_behind
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.pools import (
    forget_all,
    idle_greenlets,
    join_pool,
    leave_pool,
    pool_of,
)

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


def run(pool: Pool, body: Callable[[], object]) -> Call:
    """Run *body* to its end."""
    call = Call(body)
    pool.enter_and_wait(call, Parking())
    while not call.done:
        call.wait()
    return call


def sleeper(seconds: float, log: list[str]) -> Callable[[], None]:
    def body() -> None:
        log.append("begins")
        try:
            gevent.sleep(seconds)
        except GreenletExit:
            log.append("killed")
            raise
        log.append("ends")

    return body


def test_what_needs_a_stack_of_its_own_is_done_before_one_goes_on_and_in_the_hub_in_the_next_turn(
    pool: Pool,
) -> None:
    done: list[str] = []

    def body() -> None:
        gevent.sleep(1.0)
        done.append("body")

    def ask() -> None:
        pool.run_apart(body)
        done.append("who asked")

    ask()
    assert done == ["body", "who asked"]
    get_hub().loop.run_callback(ask)
    gevent.sleep(2.0)
    assert done[2:] == ["who asked", "body"]


# -- parking --------------------------------


def test_a_parked_greenlet_goes_on_when_it_is_poked(clock: VirtualClock) -> None:
    parking = Parking()
    waiting = spawn(parking.park)
    clock.settle()
    assert parking.greenlet == waiting
    parking.poke()
    assert not waiting.ready()  # it goes on in the next turn of the loop
    clock.settle()
    assert waiting.ready()
    assert parking.greenlet is None


def test_a_poke_that_comes_early_is_kept(clock: VirtualClock) -> None:
    parking = Parking()
    parking.poke()
    parking.park()
    waiting = spawn(parking.park)
    clock.settle()
    assert not waiting.ready()  # kept for one time only
    waiting.kill()


def test_several_pokes_wake_once(clock: VirtualClock) -> None:
    parking = Parking()
    turns: list[float] = []

    def wait_twice() -> None:
        for _ in range(2):
            parking.park()
            turns.append(clock.now)

    waiting = spawn(wait_twice)
    clock.settle()
    for _ in range(5):
        parking.poke()
    clock.settle()
    assert turns == [0.0]
    waiting.kill()


def test_a_poke_may_come_from_the_hub(clock: VirtualClock) -> None:
    parking = Parking()
    waiting = spawn(parking.park)
    clock.settle()
    get_hub().loop.run_callback(parking.poke)
    clock.settle()
    assert waiting.ready()


@pytest.mark.parametrize("until", [0.0, 2.5])
def test_parking_ends_at_its_deadline(clock: VirtualClock, until: float) -> None:
    Parking().park(until)
    assert clock.now == until


def test_a_deadline_that_has_passed_waits_one_turn_and_no_time(clock: VirtualClock) -> None:
    clock.advance(5.0)
    Parking().park(1.0)
    assert clock.now == 5.0


def test_a_poke_before_the_deadline_leaves_no_timer(clock: VirtualClock) -> None:
    parking = Parking()
    waiting = spawn(parking.park, 100.0)
    clock.settle()
    parking.poke()
    clock.settle()
    assert waiting.ready()
    assert get_hub().loop.activecnt == 0


def test_what_is_thrown_into_a_parked_greenlet_passes_through(clock: VirtualClock) -> None:
    parking = Parking()
    with pytest.raises(gevent.Timeout), gevent.Timeout(1.0):
        parking.park(100.0)
    assert clock.now == 1.0
    assert parking.greenlet is None
    parking.poke()
    parking.park()


def test_a_poke_that_was_under_way_when_its_greenlet_was_killed_hurts_nobody(
    clock: VirtualClock,
) -> None:
    parking = Parking()
    waiting = spawn(parking.park)
    clock.settle()
    waiting.kill(block=False)
    parking.poke()
    clock.settle()
    assert waiting.ready()


# -- calls --------------------------------


def test_a_body_runs_in_a_greenlet_of_the_pool(pool: Pool) -> None:
    # By id: a greenlet that somebody holds is not used again.
    seen: list[int] = []
    call = run(pool, lambda: seen.append(id(getcurrent())))
    assert call.done
    assert call.error is None
    assert seen[0] != id(getcurrent())
    assert [id(worker) for worker in pool.idle] == seen


def test_a_body_that_does_not_block_never_passes_through_the_hub(
    pool: Pool, clock: VirtualClock
) -> None:
    run(pool, list)  # makes the greenlet, which begins from the hub
    turns: list[int] = []
    get_hub().loop.run_callback(turns.append, 1)
    call = Call(list)
    pool.enter_and_wait(call, Parking())
    assert call.done
    assert turns == []
    clock.settle()


def test_a_greenlet_of_the_pool_is_used_again(pool: Pool) -> None:
    seen: list[Any] = []
    for _ in range(10):
        run(pool, lambda: seen.append(id(getcurrent())))
    assert len(set(seen)) == 1


def test_a_body_that_blocks_is_waited_for(pool: Pool, clock: VirtualClock) -> None:
    log: list[str] = []
    for _ in range(2):
        run(pool, sleeper(2.0, log))
    assert clock.now == 4.0
    assert log == ["begins", "ends"] * 2


@pytest.mark.parametrize(
    "error", [ValueError("x"), GreenletExit(), SystemExit(3), KeyboardInterrupt()]
)
def test_what_a_body_raises_is_kept_and_hurts_nobody(pool: Pool, error: BaseException) -> None:
    def body() -> None:
        raise error

    call = run(pool, body)
    assert call.done
    assert call.error is error


@pytest.mark.parametrize("is_first", [True, False])
def test_a_call_is_waited_for_until_its_deadline_and_may_be_waited_for_again(
    pool: Pool, clock: VirtualClock, is_first: bool
) -> None:
    if not is_first:
        run(pool, list)
    log: list[str] = []
    call = Call(sleeper(2.0, log))
    pool.enter_and_wait(call, Parking(), until=0.5)
    assert clock.now == 0.5
    assert not call.done
    call.wait(1.0)
    assert clock.now == 1.0
    assert not call.done
    call.wait()
    assert call.done
    assert clock.now == 2.0
    assert log == ["begins", "ends"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_poke_ends_the_waiting_and_not_the_call(
    pool: Pool, clock: VirtualClock, is_first: bool
) -> None:
    if not is_first:
        run(pool, list)
    parking = Parking()
    call = Call(sleeper(2.0, []))
    gevent.spawn_later(1.0, parking.poke)
    pool.enter_and_wait(call, parking)
    assert clock.now == 1.0
    assert not call.done
    call.wait()
    assert call.done


@pytest.mark.parametrize("is_first", [True, False])
def test_a_timeout_thrown_at_the_one_who_waits_leaves_the_call_going_on(
    pool: Pool, clock: VirtualClock, is_first: bool
) -> None:
    if not is_first:
        run(pool, list)
    call = Call(sleeper(2.0, []))
    with pytest.raises(gevent.Timeout), gevent.Timeout(1.0):
        pool.enter_and_wait(call, Parking())
    assert not call.done
    call.wait()
    assert call.done
    assert clock.now == 2.0


def test_a_killed_call_ends_where_it_blocks(pool: Pool, clock: VirtualClock) -> None:
    log: list[str] = []
    call = Call(sleeper(100.0, log))
    pool.enter_and_wait(call, Parking(), until=1.0)
    call.kill()
    call.wait()
    assert call.done
    assert isinstance(call.error, GreenletExit)
    assert log == ["begins", "killed"]
    assert clock.now == 1.0


def test_a_kill_that_comes_too_late_does_not_reach_the_next_call(
    pool: Pool, clock: VirtualClock
) -> None:
    first = Call(sleeper(1.0, []))
    pool.enter_and_wait(first, Parking(), until=0.5)
    second = Call(sleeper(5.0, []))

    def kill_and_go_on() -> None:
        first.kill()  # delivered in the next turn; by then the greenlet runs the second

    get_hub().loop.timer(0.5).start(kill_and_go_on)
    first.wait()
    pool.enter_and_wait(second, Parking())
    assert second.done
    assert second.error is None
    first.kill()


def test_a_call_is_killed_before_its_greenlet_has_begun(pool: Pool, clock: VirtualClock) -> None:
    log: list[str] = []
    call = Call(sleeper(1.0, log))
    parking = Parking()
    parking.poke()
    pool.enter_and_wait(call, parking)  # returns at once; the new greenlet has yet to begin
    assert log == []
    call.kill()
    call.wait()
    assert call.done
    assert log in (["begins", "killed"], [])
    assert clock.now == 0.0


def test_an_abandoned_call_goes_on_alone_and_its_greenlet_is_not_the_pools_any_more(
    pool: Pool, clock: VirtualClock
) -> None:
    log: list[str] = []
    call = Call(sleeper(2.0, log))
    pool.enter_and_wait(call, Parking(), until=1.0)
    left_behind = call.abandon()
    assert left_behind is not None
    run(pool, list)
    assert left_behind not in pool.idle
    clock.advance(1.0)
    assert log == ["begins", "ends"]
    assert left_behind.dead
    assert left_behind not in pool.idle


def test_a_call_may_be_made_from_within_a_call(pool: Pool, clock: VirtualClock) -> None:
    log: list[str] = []

    def outer() -> None:
        log.append("outer begins")
        run(pool, sleeper(1.0, log))
        log.append("outer ends")

    run(pool, outer)
    assert log == ["outer begins", "begins", "ends", "outer ends"]


def test_nested_calls_do_not_add_up_their_recursion_depth(pool: Pool) -> None:
    levels = 3 * sys.getrecursionlimit()
    reached: list[int] = []

    def dig(level: int) -> None:
        reached.append(level)
        if level < levels:
            run(pool, lambda: dig(level + 1))

    dig(0)
    assert reached[-1] == levels


def test_a_chain_of_calls_by_used_greenlets_does_not_add_up_either(pool: Pool) -> None:
    levels = 3 * sys.getrecursionlimit()
    for _ in range(2):
        reached: list[int] = []

        def dig(level: int, reached: list[int] = reached) -> None:
            reached.append(level)
            if level < levels:
                run(pool, lambda: dig(level + 1))

        dig(0)
        assert reached[-1] == levels


# -- the pool --------------------------------


def test_a_launched_body_runs_in_the_next_turn(pool: Pool, clock: VirtualClock) -> None:
    log: list[str] = []
    pool.launch(lambda: log.append("ran"))
    assert log == []
    clock.settle()
    assert log == ["ran"]


def test_a_body_may_be_launched_from_the_hub(pool: Pool, clock: VirtualClock) -> None:
    log: list[str] = []
    get_hub().loop.run_callback(pool.launch, lambda: log.append("ran"))
    clock.settle()
    assert log == ["ran"]


def test_an_error_of_a_launched_body_is_a_bug_and_reported_and_it_is_tried_once_more(
    pool: Pool,
    clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tries: list[int] = []

    def body() -> None:
        tries.append(1)
        raise ValueError("a bug")

    pool.launch(body)
    clock.settle()
    assert "a bug in sprag" in caplog.text
    assert "ValueError: a bug" in caplog.text
    assert len(tries) == 2
    assert capsys.readouterr().err == ""  # gevent says there what was raised in the hub
    assert run(pool, list).done


def test_a_killed_idle_greenlet_is_passed_over(pool: Pool, clock: VirtualClock) -> None:
    run(pool, list)
    victim = pool.idle[0]
    gevent.kill(victim)
    clock.settle()
    seen: list[Any] = []
    call = run(pool, lambda: seen.append(getcurrent()))
    assert call.done
    assert call.error is None
    assert seen != [victim]


def test_a_body_that_is_killed_from_outside_ends_only_its_call(
    pool: Pool, clock: VirtualClock
) -> None:
    call = Call(sleeper(100.0, []))
    pool.enter_and_wait(call, Parking(), until=1.0)
    assert call.worker is not None
    gevent.kill(call.worker)
    call.wait()
    assert call.done
    assert isinstance(call.error, GreenletExit)
    assert run(pool, list).done


def test_a_body_that_forgets_to_close_a_timeout_takes_its_greenlet_with_it(
    pool: Pool, clock: VirtualClock
) -> None:
    def forget() -> None:
        gevent.Timeout(1.0).start()

    log: list[str] = []
    run(pool, forget)
    call = run(pool, sleeper(5.0, log))
    assert call.error is None
    assert log == ["begins", "ends"]


def test_what_a_body_keeps_for_its_thread_is_not_found_by_the_next_one(pool: Pool) -> None:
    own = gevent.local.local()  # what threading.local is under `sprag run`

    def keep() -> None:
        own.session = "of the first"

    found: list[bool] = []
    run(pool, keep)
    run(pool, lambda: found.append(hasattr(own, "session")))
    assert found == [False]


def test_a_body_that_spawns_leaves_its_greenlet_to_the_next_one(pool: Pool) -> None:
    used: list[Any] = []

    def grow() -> None:
        used.append(id(getcurrent()))
        spawn(list).spawn_tree_locals["of"] = "the first"

    run(pool, grow)
    run(pool, lambda: used.append(getattr(getcurrent(), "spawn_tree_locals", id(getcurrent()))))
    assert used[0] == used[1]


def test_what_the_engine_spawns_is_not_the_kin_of_what_the_next_body_spawns(
    pool: Pool, clock: VirtualClock
) -> None:
    used: list[Any] = []
    kin: list[dict[str, str]] = []

    def restart() -> None:
        used.append(getcurrent())
        spawn(list).spawn_tree_locals["of"] = "the first"

    def body() -> None:
        used.append(getcurrent())
        kin.append(dict(spawn(list).spawn_tree_locals))

    run(pool, list)
    pool.launch(restart)
    clock.settle()
    run(pool, body)
    assert used[0] is used[1]
    assert kin == [{}]


def test_an_idle_greenlet_keeps_nothing_of_what_the_last_body_ran_in(pool: Pool) -> None:
    class Large:
        """What a hook may put into a context variable."""

    var: contextvars.ContextVar[Large] = contextvars.ContextVar("var")

    def body(gone: list[weakref.ref[Large]]) -> None:
        large = Large()
        var.set(large)
        gone.append(weakref.ref(large))

    run(pool, list)  # of the first call the interpreter keeps the arguments
    gone: list[weakref.ref[Large]] = []
    call = Call(lambda: body(gone))
    call.context = contextvars.Context()
    pool.enter_and_wait(call, Parking())
    del call
    assert gone[0]() is None


def test_an_engine_greenlet_that_has_waited_for_a_hook_is_used_again(
    pool: Pool, clock: VirtualClock
) -> None:
    used: list[Any] = []

    def work() -> None:
        used.append(getcurrent())
        run(pool, list)

    for _ in range(5):
        pool.launch(work)
        clock.settle()
    assert len(set(used)) <= 2  # at first both are new, and may change places


def test_few_greenlets_stay_idle(pool: Pool, clock: VirtualClock) -> None:
    calls = [spawn(run, pool, lambda: gevent.sleep(1.0)) for _ in range(100)]
    for _ in range(100):
        pool.launch(list)
    clock.settle()
    assert 0 < len(pool.idle) <= _pool._MAX_IDLE  # without a wait until it is quiet
    clock.advance(1.1)
    assert all(call.ready() for call in calls)
    assert 0 < len(pool.idle) <= _pool._MAX_IDLE


def test_the_idle_pool_empties_when_it_is_quiet(pool: Pool, clock: VirtualClock) -> None:
    run(pool, list)
    assert len(pool.idle) == 1
    clock.advance(1.5)
    assert pool.idle == []


def test_a_pool_that_was_in_use_empties_when_it_is_quiet(pool: Pool, clock: VirtualClock) -> None:
    for _ in range(3):
        run(pool, list)
        clock.advance(0.6)
    assert len(pool.idle) == 1
    clock.advance(2.5)
    assert pool.idle == []


def test_a_pool_that_was_used_for_the_last_time_before_the_look_is_looked_at_again(
    pool: Pool, clock: VirtualClock
) -> None:
    run(pool, list)
    clock.advance(0.6)
    run(pool, list)
    clock.advance(2.5)
    assert pool.idle == []


def test_a_pool_in_use_keeps_its_greenlets(pool: Pool, clock: VirtualClock) -> None:
    seen: set[int] = set()
    for _ in range(20):
        run(pool, lambda: seen.add(id(getcurrent())))
        clock.advance(0.5)
        assert len(pool.idle) == 1
    assert len(seen) == 1


def test_the_quiet_timer_keeps_no_loop_alive(pool: Pool) -> None:
    run(pool, list)
    with pytest.raises(LoopExit):
        Parking().park()


def test_trees_of_one_hub_share_a_pool_that_goes_with_the_last(clock: VirtualClock) -> None:
    one, two = join_pool(get_hub()), join_pool(get_hub())
    assert one is two
    run(one, list)
    leave_pool(one)
    assert one.idle
    leave_pool(two)
    clock.settle()
    assert not one.idle
    assert join_pool(get_hub()) is not one
    leave_pool(join_pool(get_hub()))
    last = pool_of(get_hub())
    assert last is not None
    leave_pool(last)


def test_idle_greenlets_are_known_to_leak_checks(pool: Pool) -> None:
    with LeakCheck():
        run(pool, list)
    assert set(pool.idle) <= set(idle_greenlets())


def test_a_call_on_gevents_own_loop_works_as_on_the_virtual_one() -> None:
    pool = join_pool(get_hub())
    log: list[str] = []
    with LeakCheck():
        for _ in range(3):
            run(pool, sleeper(0.0, log))
            run(pool, list)
        call = Call(sleeper(100.0, []))
        pool.enter_and_wait(call, Parking(), until=0.0)
        call.kill()
        call.wait()
        assert isinstance(call.error, GreenletExit)
        leave_pool(pool)
    gevent.sleep(0)
    assert log == ["begins", "ends"] * 3


def test_two_hubs_have_two_pools() -> None:
    with virtual_time():
        inner = join_pool(get_hub())
        inner_hub = get_hub()
        leave_pool(inner)
    outer = join_pool(get_hub())
    assert outer is not inner
    assert outer.hub is not inner_hub
    leave_pool(outer)
    gevent.sleep(0)


def test_a_forked_child_takes_no_straggler_for_one(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the one that has forked it: there it is all there is."""
    for name in ("_pools", "_parting"):
        monkeypatch.setattr(_pools, name, type(getattr(_pools, name))())
    forker = spawn(is_left_behind)
    leave_behind(forker)
    forget_all()
    clock.settle()
    assert forker.value is False


def test_what_was_never_raised_was_not_thrown_in() -> None:
    assert not _pool.was_thrown_in(ValueError())
