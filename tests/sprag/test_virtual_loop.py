"""Virtual time: what waits takes no time, happens in order, and ends with the block."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.event
import gevent.lock
import gevent.queue
import gevent.socket
import pytest
from gevent.exceptions import LoopExit
from greenlet import greenlet
from hypothesis import given, settings
from hypothesis import strategies as st

from sprag.exceptions import BadValue
from sprag.testing import VirtualClock, VirtualLoop, _virtual_time, virtual_time
from sprag_supervisor.loop import clock as _clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = 86_400.0


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


@pytest.fixture
def errors(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what reaches the hub's handle_error, instead of stderr: (context, error)."""
    del clock  # its hub
    caught: list[Any] = []

    def handle_error(context: object, _: object, error: object, __: object) -> None:
        caught.append((context, error))

    monkeypatch.setattr(gevent.get_hub(), "handle_error", handle_error)
    return caught


def timer(after: float, repeat: float = 0.0, *, ref: bool = True) -> Any:
    return gevent.get_hub().loop.timer(after, repeat, ref=ref)


def spawn(function: Callable[..., object], *args: object) -> Any:
    return cast("Any", gevent.spawn(function, *args))


def run_callback(function: Callable[..., object], *args: object) -> Any:
    return gevent.get_hub().loop.run_callback(function, *args)


def fail(error: BaseException) -> None:
    raise error


class TestWaiting:
    def test_sleep_takes_virtual_time_only(self, clock: VirtualClock) -> None:
        before = time.monotonic()
        gevent.sleep(365 * DAY)
        assert clock.now == 365 * DAY
        assert time.monotonic() - before < 60

    def test_sleepers_wake_in_order_of_time(self, clock: VirtualClock) -> None:
        woken: list[tuple[float, float]] = []

        def sleep(seconds: float) -> None:
            gevent.sleep(seconds)
            woken.append((seconds, clock.now))

        gevent.joinall([spawn(sleep, seconds) for seconds in (3, 0.5, 2, 1e-9, 1000)])
        assert woken == [(1e-9, 1e-9), (0.5, 0.5), (2, 2), (3, 3), (1000, 1000)]

    def test_sleepers_due_at_the_same_time_wake_in_order_of_start(
        self, clock: VirtualClock
    ) -> None:
        woken: list[str] = []

        def sleep(name: str, *naps: float) -> None:
            for nap in naps:
                gevent.sleep(nap)
            woken.append(name)

        spawn(sleep, "one nap", 3)
        spawn(sleep, "two naps", 1, 2)
        spawn(sleep, "late riser", 2, 1)
        clock.advance(3)
        assert woken == ["one nap", "two naps", "late riser"]

    def test_everything_a_timer_sets_going_runs_before_the_next_timer(
        self, clock: VirtualClock
    ) -> None:
        event = gevent.event.Event()
        order: list[str] = []

        def wait() -> None:
            event.wait()
            order.append("woken by the first")

        spawn(wait)
        clock.settle()
        timer(1).start(event.set)
        timer(1).start(order.append, "second timer")
        clock.advance(1)
        assert order == ["woken by the first", "second timer"]

    def test_a_queued_callback_runs_before_time_moves(self, clock: VirtualClock) -> None:
        seen: list[float] = []

        def chain(left: int) -> None:
            seen.append(clock.now)
            if left:
                run_callback(chain, left - 1)

        spawn(gevent.sleep, 1)
        clock.settle()
        run_callback(chain, 1000)
        gevent.sleep(1)
        assert seen == [0.0] * 1001

    def test_sleep_zero_lets_others_run_without_moving_time(self, clock: VirtualClock) -> None:
        order: list[str] = []
        spawn(order.append, "other")
        gevent.sleep(0)
        assert (order, clock.now) == (["other"], 0.0)

    def test_timeout_interrupts_a_sleep_at_its_time(self, clock: VirtualClock) -> None:
        with pytest.raises(gevent.Timeout), gevent.Timeout(5):
            gevent.sleep(10)
        assert clock.now == 5

    def test_timeout_that_is_not_reached_leaves_nothing(self, clock: VirtualClock) -> None:
        with gevent.Timeout(5):
            gevent.sleep(4)
        gevent.sleep(100)
        assert clock.now == 104

    def test_timeout_wins_over_a_later_started_sleep_of_the_same_length(
        self, clock: VirtualClock
    ) -> None:
        with pytest.raises(gevent.Timeout), gevent.Timeout(5):
            gevent.sleep(5)
        assert clock.now == 5

    def test_inner_timeout_fires_first_and_outer_one_is_still_good(
        self, clock: VirtualClock
    ) -> None:
        fired: list[tuple[bool, float]] = []
        with gevent.Timeout(10) as outer:
            inner = gevent.Timeout(3)
            try:
                with inner:
                    gevent.sleep(100)
            except gevent.Timeout as timeout:
                fired.append((timeout is inner, clock.now))
            try:
                gevent.sleep(100)
            except gevent.Timeout as timeout:
                fired.append((timeout is outer, clock.now))
        assert fired == [(True, 3), (True, 10)]

    def test_outer_timeout_passes_through_an_inner_one(self, clock: VirtualClock) -> None:
        with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(3) as outer:  # noqa: SIM117
            with gevent.Timeout(10):
                gevent.sleep(100)
        assert caught.value is outer
        assert clock.now == 3

    def test_event_wait_gives_up_at_its_timeout(self, clock: VirtualClock) -> None:
        assert gevent.event.Event().wait(7) is False
        assert clock.now == 7

    def test_event_wait_returns_when_the_event_is_set(self, clock: VirtualClock) -> None:
        event = gevent.event.Event()
        gevent.spawn_later(2, event.set)
        assert event.wait(7) is True
        assert clock.now == 2

    def test_async_result_get_times_out(self, clock: VirtualClock) -> None:
        result: gevent.event.AsyncResult[int] = gevent.event.AsyncResult()
        with pytest.raises(gevent.Timeout):
            result.get(timeout=4)
        assert clock.now == 4

    def test_semaphore_acquire_times_out(self, clock: VirtualClock) -> None:
        semaphore = gevent.lock.Semaphore(0)
        assert semaphore.acquire(timeout=4) is False
        assert clock.now == 4

    def test_queue_get_times_out(self, clock: VirtualClock) -> None:
        queue: gevent.queue.Queue[int] = gevent.queue.Queue()
        with pytest.raises(gevent.queue.Empty):
            queue.get(timeout=2)
        assert clock.now == 2

    def test_queue_get_takes_what_comes_in_time(self, clock: VirtualClock) -> None:
        queue: gevent.queue.Queue[int] = gevent.queue.Queue()
        gevent.spawn_later(1.5, queue.put, 42)
        assert queue.get(timeout=2) == 42
        assert clock.now == 1.5

    def test_queue_put_times_out_when_full(self, clock: VirtualClock) -> None:
        queue: gevent.queue.Queue[int] = gevent.queue.Queue(maxsize=1)
        queue.put(1)
        with pytest.raises(gevent.queue.Full):
            queue.put(2, timeout=3)
        assert clock.now == 3

    def test_spawn_later_starts_at_its_time(self, clock: VirtualClock) -> None:
        started = cast("Any", gevent.spawn_later(30, lambda: clock.now))
        assert started.get() == 30

    def test_spawn_later_that_is_killed_never_starts(self, clock: VirtualClock) -> None:
        ran: list[int] = []
        greenlet = cast("Any", gevent.spawn_later(30, ran.append, 1))
        greenlet.kill()
        clock.advance(60)
        assert ran == []

    def test_join_times_out(self, clock: VirtualClock) -> None:
        greenlet = spawn(gevent.sleep, 100)
        greenlet.join(timeout=9)
        assert not greenlet.ready()
        assert clock.now == 9

    def test_kill_waits_no_longer_than_its_timeout(self, clock: VirtualClock) -> None:
        def stubborn() -> None:
            while True:
                with suppress(gevent.GreenletExit):
                    gevent.sleep(1000)

        greenlet = spawn(stubborn)
        clock.settle()
        greenlet.kill(timeout=5)
        assert not greenlet.dead
        assert clock.now == 5

    def test_kill_returns_when_the_clean_up_is_done(self, clock: VirtualClock) -> None:
        def slow() -> None:
            try:
                gevent.sleep(1000)
            finally:
                gevent.sleep(2)

        greenlet = spawn(slow)
        clock.settle()
        greenlet.kill(timeout=5)
        assert greenlet.dead
        assert clock.now == 2

    def test_wait_and_joinall_time_out(self, clock: VirtualClock) -> None:
        greenlets = [spawn(gevent.sleep, seconds) for seconds in (1, 2, 30)]
        assert gevent.joinall(greenlets, timeout=5) == greenlets[:2]
        assert gevent.wait(greenlets, timeout=5) == greenlets[:2]
        assert clock.now == 10

    def test_ten_tenths_are_one(self, clock: VirtualClock) -> None:
        for _ in range(10):
            gevent.sleep(0.1)
        assert clock.now == 1.0

    def test_idle_waits_for_everything_that_is_ready(self, clock: VirtualClock) -> None:
        order: list[str] = []

        def busy() -> None:
            gevent.sleep(0)
            gevent.sleep(0)
            order.append("busy")

        spawn(busy)
        gevent.spawn_later(1, order.append, "later")
        gevent.idle()
        assert order == ["busy"]
        assert clock.now == 0


class TestDeadlocks:
    @pytest.mark.usefixtures("clock")
    def test_waiting_for_what_cannot_come_raises_loop_exit(self) -> None:
        with pytest.raises(LoopExit):
            gevent.event.Event().wait()

    def test_the_loop_can_be_used_after_loop_exit(self, clock: VirtualClock) -> None:
        for turn in range(1, 4):
            with pytest.raises(LoopExit):
                gevent.event.Event().wait()
            gevent.sleep(1)
            assert clock.now == turn

    def test_loop_exit_comes_after_the_last_timer(self, clock: VirtualClock) -> None:
        spawn(gevent.sleep, 50)
        with pytest.raises(LoopExit):
            gevent.event.Event().wait()
        assert clock.now == 50

    def test_timer_without_ref_does_not_keep_the_loop_alive(self, clock: VirtualClock) -> None:
        fired: list[int] = []
        timer(5, ref=False).start(fired.append, 1)
        with pytest.raises(LoopExit):
            gevent.event.Event().wait()
        assert (fired, clock.now) == ([], 0)

    def test_timer_without_ref_fires_while_something_else_keeps_the_loop_alive(
        self, clock: VirtualClock
    ) -> None:
        fired: list[float] = []
        timer(5, ref=False).start(lambda: fired.append(clock.now))
        gevent.sleep(6)
        assert fired == [5]

    def test_ref_can_be_changed_while_active(self, clock: VirtualClock) -> None:
        watcher = timer(5)
        watcher.start(lambda: None)
        watcher.ref = False
        with pytest.raises(LoopExit):
            gevent.event.Event().wait()
        watcher.ref = True
        with pytest.raises(LoopExit):
            gevent.event.Event().wait()
        assert clock.now == 5

    def test_infinite_wait_is_a_deadlock(self, clock: VirtualClock) -> None:
        with pytest.raises(LoopExit):
            gevent.sleep(math.inf)
        assert clock.now == 0

    def test_hub_join_returns_when_all_is_done(self, clock: VirtualClock) -> None:
        spawn(gevent.sleep, 20)
        assert gevent.get_hub().join() is True
        assert clock.now == 20

    def test_spinning_until_a_later_time_is_reported(
        self,
        clock: VirtualClock,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(VirtualLoop, "max_rounds", 1000)

        def spin() -> None:
            while clock.now < 1:
                gevent.sleep(0)

        with pytest.raises(RuntimeError, match=r"stood still at 0\.0 s"):
            spin()
        assert "RuntimeError" in capsys.readouterr().err


class TestAdvance:
    @pytest.mark.parametrize(
        ("seconds", "fired"), [(4.999999999, False), (5.0, True), (5.000000001, True)]
    )
    def test_timer_fires_from_its_edge_on(
        self, clock: VirtualClock, seconds: float, *, fired: bool
    ) -> None:
        greenlet = spawn(gevent.sleep, 5)
        clock.advance(seconds)
        assert greenlet.ready() is fired
        assert clock.now == seconds

    def test_ends_exactly_where_it_should_without_any_timer(self, clock: VirtualClock) -> None:
        clock.advance(1.25)
        clock.advance(DAY)
        assert clock.now == DAY + 1.25

    def test_fires_in_order_and_at_the_right_times(self, clock: VirtualClock) -> None:
        seen: list[float] = []
        for seconds in (3, 1, 2, 4):
            timer(seconds).start(lambda: seen.append(clock.now))
        clock.advance(3)
        assert seen == [1, 2, 3]

    def test_includes_timers_started_on_the_way(self, clock: VirtualClock) -> None:
        ticks: list[float] = []

        def tick() -> None:
            while True:
                gevent.sleep(0.1)
                ticks.append(clock.now)

        spawn(tick)
        clock.advance(1)
        assert ticks == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]

    def test_includes_zero_timers_started_at_its_last_moment(self, clock: VirtualClock) -> None:
        order: list[float] = []
        timer(5).start(lambda: timer(0).start(lambda: order.append(clock.now)))
        clock.advance(5)
        assert order == [5]

    def test_runs_what_its_last_moment_sets_going(self, clock: VirtualClock) -> None:
        event = gevent.event.Event()
        greenlet = spawn(event.wait)
        gevent.spawn_later(5, event.set)
        clock.advance(5)
        assert greenlet.ready()

    def test_passes_over_timers_without_ref_too(self, clock: VirtualClock) -> None:
        fired: list[int] = []
        timer(5, ref=False).start(fired.append, 1)
        clock.advance(5)
        assert fired == [1]

    def test_settle_runs_what_is_ready_and_keeps_the_time(self, clock: VirtualClock) -> None:
        order: list[str] = []

        def ready() -> None:
            gevent.sleep(0)
            order.append("ready")

        spawn(ready)
        timer(0).start(order.append, "due")
        timer(1e-9).start(order.append, "later")
        clock.settle()
        assert (order, clock.now) == (["ready", "due"], 0)

    def test_settle_with_nothing_to_do_returns(self, clock: VirtualClock) -> None:
        clock.settle()
        assert clock.now == 0

    @pytest.mark.parametrize("seconds", [-1, -1e-12, math.inf, math.nan, None, "1"])
    def test_refuses_impossible_lengths(self, clock: VirtualClock, seconds: Any) -> None:
        with pytest.raises(BadValue, match="a finite number, 0 or more"):
            clock.advance(seconds)

    def test_can_be_called_from_another_greenlet(self, clock: VirtualClock) -> None:
        sleeper = spawn(gevent.sleep, 5)
        spawn(clock.advance, 7).join()
        assert sleeper.ready()
        assert clock.now == 7

    def test_refuses_a_second_driver(self, clock: VirtualClock) -> None:
        def drive() -> None:
            with pytest.raises(RuntimeError, match="driven by another greenlet"):
                clock.advance(1)

        second = spawn(drive)
        clock.advance(1)
        second.get()

    def test_refuses_the_hub(self, clock: VirtualClock, errors: list[Any]) -> None:
        run_callback(clock.advance, 1)
        clock.settle()
        assert "callback in the hub" in str(errors[0][1])

    def test_a_timeout_of_the_caller_comes_out_at_its_time(self, clock: VirtualClock) -> None:
        with pytest.raises(gevent.Timeout), gevent.Timeout(3):
            clock.advance(10)
        assert clock.now == 3
        clock.advance(10)
        assert clock.now == 13

    def test_system_exit_of_a_greenlet_comes_out(self, clock: VirtualClock) -> None:
        gevent.spawn_later(2, fail, SystemExit(3))
        with pytest.raises(SystemExit):
            clock.advance(10)
        assert clock.now == 2
        gevent.sleep(1)
        assert clock.now == 3


class TestTimers:
    def test_one_shot_is_active_until_it_fires(self, clock: VirtualClock) -> None:
        seen: list[bool] = []
        watcher = timer(1)
        assert not watcher.active
        watcher.start(lambda: seen.append(watcher.active))
        assert (watcher.active, watcher.pending) == (True, False)
        clock.advance(1)
        assert seen == [False]
        assert (watcher.active, watcher.callback, watcher.args) == (False, None, None)

    def test_callback_gets_its_arguments(self, clock: VirtualClock) -> None:
        got: list[tuple[object, ...]] = []

        def take(*args: object) -> None:
            got.append(args)

        watcher = timer(1)
        watcher.start(take, 1, "two", update=True)
        assert watcher.args == (1, "two")
        clock.advance(1)
        assert got == [(1, "two")]

    def test_stopped_timer_does_not_fire(self, clock: VirtualClock) -> None:
        fired: list[int] = []
        watcher = timer(1)
        watcher.start(fired.append, 1)
        watcher.stop()
        watcher.stop()
        clock.advance(2)
        assert (fired, watcher.active, watcher.callback) == ([], False, None)

    def test_stopped_timer_keeps_the_rest_of_its_time(self, clock: VirtualClock) -> None:
        fired: list[float] = []
        watcher = timer(10)
        watcher.start(lambda: None)
        clock.advance(4)
        watcher.stop()
        assert watcher.at == 6
        clock.advance(100)
        watcher.start(lambda: fired.append(clock.now))
        clock.advance(100)
        assert fired == [110]

    def test_one_shot_restarted_in_its_callback_is_due_at_once(self, clock: VirtualClock) -> None:
        fired: list[float] = []
        watcher = timer(1)

        def fire() -> None:
            fired.append(clock.now)
            if len(fired) < 3:
                watcher.start(fire)

        watcher.start(fire)
        clock.advance(1)
        assert fired == [1, 1, 1]
        assert not watcher.active

    def test_starting_an_active_timer_changes_only_its_callback(self, clock: VirtualClock) -> None:
        fired: list[tuple[str, float]] = []
        watcher = timer(2)
        watcher.start(lambda: fired.append(("first", clock.now)))
        clock.advance(1)
        watcher.start(lambda: fired.append(("second", clock.now)))
        clock.advance(5)
        assert fired == [("second", 2)]

    def test_repeating_timer_is_stopped_in_its_own_callback(self, clock: VirtualClock) -> None:
        fired: list[float] = []
        watcher = timer(2, 0.5)

        def fire() -> None:
            fired.append(clock.now)
            assert watcher.active
            if len(fired) == 3:
                watcher.stop()

        watcher.start(fire)
        clock.advance(10)
        assert fired == [2, 2.5, 3]
        assert not watcher.active

    def test_again_waits_for_a_full_period(self, clock: VirtualClock) -> None:
        fired: list[float] = []
        watcher = timer(7, 3)
        watcher.start(lambda: None)
        clock.advance(2)
        watcher.again(lambda: fired.append(clock.now))
        clock.advance(6)
        assert fired == [5, 8]

    def test_again_without_a_period_stops(self, clock: VirtualClock) -> None:
        fired: list[int] = []
        watcher = timer(1)
        watcher.start(fired.append, 1)
        watcher.again(fired.append, 2, update=False)
        assert not watcher.active
        clock.advance(2)
        assert fired == []

    def test_closed_at_the_end_of_its_block(self, clock: VirtualClock) -> None:
        fired: list[int] = []
        with timer(1) as watcher:
            watcher.start(fired.append, 1)
        clock.advance(2)
        assert fired == []

    def test_negative_time_is_now_and_infinite_time_never(self, clock: VirtualClock) -> None:
        fired: list[str] = []
        timer(-5).start(fired.append, "past")
        never = timer(math.inf)
        never.start(fired.append, "never")
        clock.advance(1000 * DAY)
        assert fired == ["past"]
        assert never.at == math.inf

    @pytest.mark.usefixtures("clock")
    def test_refuses_nonsense(self) -> None:
        with pytest.raises(ValueError, match="positive or zero"):
            timer(1, -1)
        with pytest.raises(ValueError, match="NaN"):
            timer(math.nan)
        nothing: Any = None
        watcher = timer(1)
        with pytest.raises(TypeError, match="Expected callable"):
            watcher.start(nothing)
        with pytest.raises(TypeError, match="Expected callable"):
            watcher.callback = 3
        watcher.start(lambda: None)
        with pytest.raises(AttributeError, match="active"):
            watcher.priority = 1

    @pytest.mark.usefixtures("clock")
    def test_has_what_gevent_reads_of_a_watcher(self) -> None:
        loop = gevent.get_hub().loop
        watcher: Any = loop.timer(1, priority=-1)
        assert (watcher.loop, watcher.ref, watcher.priority) == (loop, True, -1)
        watcher.priority = 2
        watcher.callback = print
        assert (watcher.priority, watcher.callback) == (2, print)
        assert "stopped" in repr(watcher)
        watcher.start(print, "hello")
        assert "due at 1.0 s" in repr(watcher)
        assert "hello" in repr(watcher)
        assert loop.activecnt == 1
        watcher.ref = False
        assert "ref=False" in repr(watcher)
        assert loop.activecnt == 0

    def test_many_stopped_timers_are_swept_out(self, clock: VirtualClock) -> None:
        fired: list[float] = []
        timer(3).start(lambda: fired.append(clock.now))
        for _ in range(10_000):
            with gevent.Timeout(3600):
                pass
        loop: Any = gevent.get_hub().loop
        assert len(loop._timeline._heap) < 200
        clock.advance(3600)
        assert fired == [3]
        assert loop.active_timers() == []


class TestErrors:
    def test_error_in_a_timer_goes_to_handle_error_and_the_loop_goes_on(
        self, clock: VirtualClock, errors: list[Any]
    ) -> None:
        error = ValueError("from a timer")
        watcher = timer(1)
        watcher.start(fail, error)
        gevent.sleep(2)
        assert errors == [(watcher, error)]
        assert clock.now == 2
        assert not watcher.active

    def test_repeating_timer_goes_on_after_an_error(
        self, clock: VirtualClock, errors: list[Any]
    ) -> None:
        watcher = timer(1, 1)
        watcher.start(fail, ValueError())
        clock.advance(3)
        assert len(errors) == 3
        assert watcher.active

    def test_error_in_a_callback_goes_to_handle_error_and_the_rest_still_runs(
        self, clock: VirtualClock, errors: list[Any]
    ) -> None:
        error = ValueError("from a callback")
        ran: list[int] = []
        callback = run_callback(fail, error)
        run_callback(ran.append, 1)
        clock.settle()
        assert errors == [(callback, error)]
        assert ran == [1]

    def test_error_is_printed_by_default(
        self, clock: VirtualClock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        timer(1).start(fail, ValueError("shown to people"))
        clock.advance(1)
        assert "shown to people" in capsys.readouterr().err

    def test_system_exit_in_a_timer_is_raised_in_the_main_greenlet(
        self, clock: VirtualClock
    ) -> None:
        timer(1).start(fail, SystemExit(3))
        with pytest.raises(SystemExit):
            gevent.sleep(5)
        assert clock.now == 1

    def test_greenlet_exit_in_a_callback_does_not_end_the_hub(self, clock: VirtualClock) -> None:
        run_callback(fail, gevent.GreenletExit())
        timer(1).start(fail, gevent.GreenletExit())
        gevent.sleep(2)
        assert clock.now == 2

    def test_blocking_in_a_callback_is_refused(
        self, clock: VirtualClock, errors: list[Any]
    ) -> None:
        run_callback(gevent.sleep, 1)
        clock.settle()
        assert "event loop callback" in str(errors[0][1])


class TestCallbacks:
    def test_stopped_callback_does_not_run(self, clock: VirtualClock) -> None:
        ran: list[int] = []
        callback = run_callback(ran.append, 1)
        assert callback.pending
        callback.stop()
        assert not callback
        assert "stopped" in repr(callback)
        clock.settle()
        assert ran == []

    def test_callback_is_true_but_not_pending_while_it_runs(self, clock: VirtualClock) -> None:
        seen: list[tuple[bool, bool]] = []
        callback = run_callback(lambda: seen.append((bool(callback), callback.pending)))
        assert (bool(callback), callback.pending) == (True, True)
        assert "lambda" in repr(callback)
        clock.settle()
        assert seen == [(True, False)]
        assert not callback

    def test_callbacks_run_in_order_of_queueing(self, clock: VirtualClock) -> None:
        order: list[int] = []
        for number in range(500):
            run_callback(order.append, number)
        clock.settle()
        assert order == list(range(500))

    def test_a_loop_without_a_hub_can_be_run_step_by_step(self) -> None:
        loop = VirtualLoop(default=False)
        order: list[tuple[str, float]] = []

        def note(name: str) -> None:
            order.append((name, loop.now()))

        loop.timer(2).start(note, "timer")
        loop.timer(3).start(loop.break_)
        loop.timer(4).start(note, "after the break")
        loop.run_callback(note, "callback")
        loop.run(nowait=True)
        assert order == [("callback", 0)]
        loop.run(once=True)
        assert loop.now() == 2
        loop.run()
        assert order == [("callback", 0), ("timer", 2)]
        loop.run()
        assert order[2:] == [("after the break", 4)]
        assert (loop.activecnt, loop.pendingcnt) == (0, 0)
        loop.update_now()
        loop.destroy()

    def test_another_thread_can_queue_one(self, clock: VirtualClock) -> None:
        event = gevent.event.Event()
        loop = gevent.get_hub().loop
        keep_alive = loop.async_()
        keep_alive.start(lambda: None)
        thread = threading.Thread(target=loop.run_callback_threadsafe, args=(event.set,))
        thread.start()
        event.wait()
        thread.join()
        keep_alive.close()
        assert clock.now == 0

    def test_real_sockets_work_but_cost_no_virtual_time(self, clock: VirtualClock) -> None:
        left, right = gevent.socket.socketpair()
        with left, right:
            echo = spawn(lambda: right.sendall(right.recv(10)))
            left.sendall(b"hello")
            assert left.recv(10) == b"hello"
            echo.join()
        assert clock.now == 0


class TestBlock:
    def test_engine_clocks_are_virtual_inside_and_real_again_after(self) -> None:
        before = _clock.now, _clock.wall, gevent.get_hub(), gevent.get_hub().loop
        with virtual_time() as clock:
            assert (_clock.now(), _clock.wall()) == (0.0, 1767225600.0)
            clock.advance(90.5)
            assert (_clock.now(), _clock.wall()) == (90.5, 1767225690.5)
            assert (clock.now, clock.wall) == (90.5, 1767225690.5)
            assert gevent.get_hub() is not before[2]
            assert isinstance(gevent.get_hub().loop, VirtualLoop)
        assert (_clock.now, _clock.wall, gevent.get_hub(), gevent.get_hub().loop) == before

    def test_all_is_restored_after_an_error_too(self) -> None:
        before = _clock.now, _clock.wall, gevent.get_hub()

        def leave_and_fail() -> None:
            with virtual_time():
                spawn(gevent.sleep, 5)
                gevent.sleep(1)
                fail(ValueError("mine"))

        with pytest.raises(ValueError, match="mine"):
            leave_and_fail()
        assert (_clock.now, _clock.wall, gevent.get_hub()) == before

    def test_call_later_of_the_engine_follows(self, clock: VirtualClock) -> None:
        called: list[float] = []
        _clock.call_later(60, lambda: called.append(_clock.now()))
        clock.advance(60)
        assert called == [60]

    def test_outer_greenlets_wait_for_the_end_of_the_block(self) -> None:
        ran: list[str] = []
        outer = spawn(ran.append, "outer")
        with virtual_time() as clock:
            spawn(ran.append, "inner")
            clock.advance(DAY)
        outer.join()
        assert ran == ["inner", "outer"]

    def test_blocks_nest(self) -> None:
        with virtual_time() as outer:
            outer.advance(1)
            with virtual_time() as inner:
                inner.advance(5)
                assert _clock.now() == 5
                with pytest.raises(RuntimeError, match="not the current one"):
                    outer.advance(1)
            outer.advance(1)
            assert (_clock.now(), outer.now, inner.now) == (2, 2, 5)

    def test_clock_can_be_read_but_not_driven_after_the_block(self) -> None:
        with virtual_time() as clock:
            gevent.sleep(3)
        assert clock.now == 3
        assert repr(clock) == "<VirtualClock at 3.0 s>"
        with pytest.raises(RuntimeError):
            clock.advance(1)

    def test_timers_and_callbacks_end_with_the_block(self) -> None:
        with virtual_time():
            loop: Any = gevent.get_hub().loop
            watcher = timer(5)
            watcher.start(fail, AssertionError())
            callback = loop.run_callback(fail, AssertionError())
        assert not watcher.active
        assert callback.pending
        with pytest.raises(ValueError, match="destroyed"):
            watcher.start(print)
        with pytest.raises(ValueError, match="destroyed"):
            watcher.again(print)
        with pytest.raises(ValueError, match="destroyed"):
            loop.run_callback(print)
        watcher.stop()

    def test_is_refused_outside_the_main_greenlet(self) -> None:
        def enter() -> None:
            with pytest.raises(RuntimeError, match="main greenlet"), virtual_time():
                pass

        spawn(enter).get()

    def test_an_event_of_the_block_can_be_used_outside_after_it(self) -> None:
        with virtual_time():
            event = gevent.event.Event()
            event.wait(1)
        waiter = spawn(event.wait)
        gevent.sleep(0)
        event.set()
        assert waiter.get() is True

    def test_the_same_program_runs_in_the_same_order_every_time(self) -> None:
        def run() -> list[tuple[float, int]]:
            trace: list[tuple[float, int]] = []

            def produce(number: int) -> None:
                for step in range(20):
                    gevent.sleep((number * 7 + step * 3) % 5 / 10)
                    queue.put(number)

            def consume() -> None:
                with suppress(gevent.queue.Empty):
                    while True:
                        trace.append((_clock.now(), queue.get(timeout=1)))

            with virtual_time():
                queue: gevent.queue.Queue[int] = gevent.queue.Queue()
                for number in range(10):
                    spawn(produce, number)
                gevent.joinall([spawn(consume) for _ in range(3)])
            return trace

        first = run()
        assert len(first) == 200
        assert all(run() == first for _ in range(5))

    def test_idle_greenlets_of_the_engine_end_with_the_block(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran: list[str] = []
        with virtual_time() as clock:
            hub: Any = gevent.get_hub()
            idle = greenlet(hub.switch, parent=hub)
            other = greenlet(hub.switch)
            for one in (idle, other):
                gevent.get_hub().loop.run_callback(one.switch)
            clock.settle()
            monkeypatch.setattr(_virtual_time, "idle_greenlets", lambda: [idle, other])
            spawn(ran.append, "something that must not run")
        assert (idle.dead, other.dead) == (True, False)
        assert ran == []
        monkeypatch.undo()

    @pytest.mark.parametrize("last", ["timer", "watcher"])
    def test_two_thousand_blocks_keep_no_memory_and_no_descriptors(self, last: str) -> None:
        def use() -> None:
            with virtual_time() as clock:
                event = gevent.event.Event()
                waiter = spawn(event.wait, 5)
                gevent.spawn_later(1, lambda: None)
                timer(1000).start(lambda: None)
                clock.advance(2)
                with suppress(LoopExit):
                    gevent.event.Event().wait()
                waiter.join()
                if last == "watcher":
                    gevent.idle()

        def measure() -> tuple[int, int]:
            gc.collect()
            return len(os.listdir("/proc/self/fd")), len(gc.get_objects())  # noqa: PTH208

        def resident_pages() -> int:
            return int(Path("/proc/self/statm").read_text().split()[1])

        for _ in range(500):
            use()
        descriptors, objects = measure()
        pages = resident_pages()
        for _ in range(2000):
            use()
        assert measure()[0] == descriptors
        assert measure()[1] < objects + 1000  # not one per block
        if sys.gettrace() is None:  # coverage itself keeps something for each greenlet
            assert resident_pages() < pages + 250  # 1 MB: not half a kB per block


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(
    naps=st.lists(st.lists(st.integers(0, 20), max_size=4), max_size=8),
    steps=st.lists(st.integers(0, 15), max_size=10),
)
def test_any_sleepers_wake_when_a_plain_calculation_says(
    naps: list[list[int]], steps: list[int]
) -> None:
    """Sleepers in milliseconds, driven by any steps, wake at the sums of their naps."""
    woken: list[tuple[float, int, int]] = []

    def sleep(number: int) -> None:
        for turn, nap in enumerate(naps[number]):
            gevent.sleep(nap / 1000)
            woken.append((round(_clock.now() * 1000), number, turn))

    with virtual_time() as clock:
        sleepers = [spawn(sleep, number) for number in range(len(naps))]
        for step in steps:
            clock.advance(step / 1000)
        now = sum(steps)
        due = sorted(
            (sum(mine[: turn + 1]), number, turn)
            for number, mine in enumerate(naps)
            for turn in range(len(mine))
        )
        # Ties are in order of start, which the sum alone does not tell: compare as sets.
        assert sorted(woken) == [one for one in due if steps and one[0] <= now]
        assert clock.now == now / 1000
        gevent.joinall(sleepers)
        assert [at for at, _, _ in woken] == [at for at, _, _ in due]
        assert sorted(woken) == due
