"""Timers: on time, never early, never twice at once, gone with their service."""

from __future__ import annotations

import math
import types
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, State
from sprag.exceptions import BadValue, NotRunning
from sprag.owned import timers as _timers
from sprag_supervisor import idle_greenlets

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Plain(Service):
    """Does nothing."""


class Parent(Service, max_restarts=1000):
    """Never gives up."""


def boom() -> None:
    raise ValueError("boom")


@pytest.fixture
def service(clock: VirtualClock) -> Any:
    """Return a running service that ends with the test."""
    del clock  # it must be there first
    service = Plain()
    service.start()
    yield service
    service.stop()


class Times:
    """A function for timers that notes when it was called and takes its time.

    Attributes:
        at: When each call began.
        most: How many calls ran at once, at most.
    """

    def __init__(self, clock: VirtualClock, *busy: float) -> None:
        self._clock = clock
        self._busy = list(busy)
        self._running = 0
        self.at: list[float] = []
        self.most = 0

    def __call__(self, *_args: object) -> None:
        self.at.append(self._clock.now)
        self._running += 1
        self.most = max(self.most, self._running)
        if self._busy:
            gevent.sleep(self._busy.pop(0))
        self._running -= 1


# -- on time ---------------------------------------------------------------------------


def test_an_interval_ticks_at_its_due_times(service: Service, clock: VirtualClock) -> None:
    times = Times(clock)
    handle = service.interval(times, 60)
    clock.advance(59)
    assert times.at == []
    clock.advance(3541)
    assert times.at == [60.0 * n for n in range(1, 61)]
    assert (handle.ticks, handle.missed) == (60, 0)


def test_an_interval_may_begin_at_once(service: Service, clock: VirtualClock) -> None:
    times = Times(clock)
    service.interval(times, 60, immediate=True)
    assert times.at == []  # not in the caller's greenlet
    clock.settle()
    assert times.at == [0.0]
    clock.advance(120)
    assert times.at == [0.0, 60.0, 120.0]


def test_arguments_are_passed_on(service: Service, clock: VirtualClock) -> None:
    seen: list[tuple[object, ...]] = []

    def note(*args: object) -> None:
        seen.append(args)

    service.interval(note, 1, "a", 2)
    service.timeout(note, 1.5, "b")
    service.timeout(note, 1.7)
    clock.advance(2)
    assert seen == [("a", 2), ("b",), (), ("a", 2)]


def test_work_within_the_period_does_not_shift_it(service: Service, clock: VirtualClock) -> None:
    """gevent-traps 22."""
    times = Times(clock, *[0.004] * 1000)
    handle = service.interval(times, 0.01)
    clock.advance(10)
    assert len(times.at) == 1000
    assert times.at == pytest.approx([0.01 * n for n in range(1, 1001)])
    assert handle.missed == 0


def test_a_timer_counts_from_now_however_stale_the_loop_is(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gevent-traps 20: the loop must look at the clock before a timer is set."""
    starts: list[dict[str, object]] = []

    class FakeTimer:
        def start(self, _callback: object, *_args: object, **options: object) -> None:
            starts.append(options)

        def close(self) -> None:
            pass

    class FakeLoop:
        def timer(self, _seconds: float) -> FakeTimer:
            return FakeTimer()

    hub = types.SimpleNamespace(loop=FakeLoop())
    monkeypatch.setattr(_timers, "get_hub", lambda: hub)
    service.timeout(boom, 1).cancel()
    service.interval(boom, 1).cancel()
    assert starts == [{"update": True}] * 2


# -- never two at once -----------------------------------------------------------------


def test_two_ticks_never_overlap_and_missed_ones_become_one(
    service: Service, clock: VirtualClock
) -> None:
    """gevent-traps 21."""
    times = Times(clock, 3.5)
    handle = service.interval(times, 1)
    clock.advance(4.4)
    assert times.at == [1.0]
    assert handle.ticks == 1
    clock.advance(0.1)  # the call returns at 4.5, and due at 2, 3, 4 were missed: one call now
    assert times.at == [1.0, 4.5]
    assert (handle.ticks, handle.missed) == (2, 2)
    clock.advance(2.5)
    assert times.at == [1.0, 4.5, 5.0, 6.0, 7.0]
    assert times.most == 1
    assert handle.ticks + handle.missed == 7


@pytest.mark.parametrize("busy", [0.0, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0, 2.5, 7.3])
def test_ticks_and_missed_ones_add_up_to_the_due_times(
    service: Service, clock: VirtualClock, busy: float
) -> None:
    times = Times(clock, *[busy] * 100)
    handle = service.interval(times, 1)
    for _ in range(40):
        clock.advance(0.7)
        if times.at:
            # Those that pass during a call are counted when it has returned.
            assert handle.ticks + handle.missed == int(times.at[-1] + 1e-6)
    assert times.most == 1
    assert len(times.at) == handle.ticks


def test_a_tick_that_takes_exactly_its_period_misses_nothing(
    service: Service, clock: VirtualClock
) -> None:
    times = Times(clock, *[1.0] * 10)
    handle = service.interval(times, 1)
    clock.advance(10)
    assert times.at == [float(n) for n in range(1, 11)]
    assert handle.missed == 0


# -- jitter ----------------------------------------------------------------------------


def test_jitter_delays_each_tick_by_less_than_its_share(
    service: Service, clock: VirtualClock
) -> None:
    times = Times(clock)
    handle = service.interval(times, 10, jitter=0.3)
    clock.advance(10_000)
    late = [at - 10.0 * n for n, at in enumerate(times.at, start=1)]
    assert len(times.at) in (999, 1000)
    assert all(0.0 <= each < 3.0 for each in late)
    assert max(late) - min(late) > 1.5  # it does spread
    assert handle.missed == 0


def test_full_jitter_stays_on_the_grid(service: Service, clock: VirtualClock) -> None:
    times = Times(clock)
    service.interval(times, 10, jitter=1.0)
    clock.advance(1000)
    periods = [int(at // 10) for at in times.at]
    assert periods == sorted(periods)
    assert len(times.at) in (99, 100)
    assert all(later > earlier for earlier, later in zip(times.at, times.at[1:], strict=False))


# -- once ------------------------------------------------------------------------------


def test_a_timeout_fires_once(service: Service, clock: VirtualClock) -> None:
    times = Times(clock)
    handle = service.timeout(times, 5)
    assert handle.active
    clock.advance(100)
    assert times.at == [5.0]
    assert not handle.active
    assert handle.ticks == 1
    assert service.snapshot().owned.timers == 0


def test_a_timeout_of_nothing_fires_in_the_next_turn(service: Service, clock: VirtualClock) -> None:
    times = Times(clock)
    service.timeout(times, 0)
    assert times.at == []
    clock.settle()
    assert times.at == [0.0]


# -- cancelled -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["interval", "timeout"])
def test_a_cancelled_timer_never_fires(service: Any, clock: VirtualClock, kind: str) -> None:
    times = Times(clock)
    handle = getattr(service, kind)(times, 5)
    clock.advance(4)
    handle.cancel()
    handle.cancel()
    clock.advance(100)
    assert times.at == []
    assert not handle.active
    assert service.snapshot().owned.timers == 0


def test_a_timer_may_cancel_itself_within_its_tick(service: Service, clock: VirtualClock) -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(clock.now)
        if len(ticks) == 3:
            handle.cancel()
            gevent.sleep(0.1)  # the call goes on
            ticks.append(clock.now)

    handle = service.interval(tick, 1)
    clock.advance(10)
    assert ticks == [1.0, 2.0, 3.0, 3.1]
    assert not handle.active
    assert service.snapshot().owned.greenlets == 0


def test_cancelling_lets_a_call_under_way_go_on(service: Service, clock: VirtualClock) -> None:
    done: list[float] = []

    def slow() -> None:
        gevent.sleep(5)
        done.append(clock.now)

    handle = service.timeout(slow, 1)
    clock.advance(2)
    handle.cancel()
    clock.advance(10)
    assert done == [6.0]


def test_a_cancelled_call_still_belongs_to_the_service(clock: VirtualClock) -> None:
    ended: list[float] = []

    def slow() -> None:
        try:
            gevent.sleep(1000)
        finally:
            ended.append(clock.now)

    service = Plain()
    service.start()
    handle = service.interval(slow, 1)
    clock.advance(2)
    handle.cancel()
    assert service.snapshot().owned.greenlets == 1
    assert service.stop().is_clean
    assert ended == [2.0]


def test_a_stop_cancels_the_timers(clock: VirtualClock) -> None:
    times = Times(clock)
    service = Plain()
    service.start()
    handles = [service.interval(times, 5), service.timeout(times, 7)]
    clock.advance(6)
    service.stop()
    clock.advance(100)
    assert times.at == [5.0]
    assert not any(handle.active for handle in handles)


def test_a_crash_cancels_the_timers(clock: VirtualClock) -> None:
    times = Times(clock)
    root = Parent()
    root.start()
    child = root.adopt(Plain())
    handles = [child.interval(times, 5), child.timeout(times, 7)]
    clock.advance(6)
    child.spawn(boom)
    clock.advance(100)
    assert child.snapshot().incarnation == 2
    assert times.at == [5.0]
    assert not any(handle.active for handle in handles)
    root.stop()


# -- crashes ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["interval", "timeout"])
def test_an_exception_in_a_tick_is_a_crash_and_the_last_tick(
    clock: VirtualClock, kind: str
) -> None:
    root = Parent()
    root.start()
    child: Any = root.adopt(Plain())
    handle = getattr(child, kind)(boom, 5)
    clock.advance(100)
    assert child.snapshot().restarts == 1
    assert str(child.snapshot().last_failure) == "ValueError: boom"
    assert handle.ticks == 1
    assert not handle.active
    root.stop()


def test_a_crash_elsewhere_ends_a_tick_under_way(clock: VirtualClock) -> None:
    ended: list[str] = []

    def slow() -> None:
        try:
            gevent.sleep(1000)
        except gevent.GreenletExit:
            ended.append("killed")
            raise

    root = Parent()
    root.start()
    child = root.adopt(Plain())
    child.interval(slow, 1)
    clock.advance(1)
    child.spawn(boom)
    clock.settle()
    assert ended == ["killed"]
    assert child.snapshot().state is State.RUNNING
    assert child.snapshot().restarts == 1
    root.stop()


# -- what it costs ---------------------------------------------------------------------


def test_idle_timers_cost_no_greenlet(service: Service, clock: VirtualClock) -> None:
    for n in range(1000):
        service.interval(boom, 1000 + n)
        service.timeout(boom, 1000 + n)
    clock.advance(500)
    assert service.snapshot().owned.timers == 2000
    assert service.snapshot().owned.greenlets == 0
    idle = [one for one in idle_greenlets() if one.parent is gevent.get_hub()]
    assert idle == []  # the pool has emptied itself


def test_ticks_that_do_not_block_share_a_greenlet(service: Service, clock: VirtualClock) -> None:
    seen: set[int] = set()
    for _ in range(100):
        service.interval(lambda: seen.add(id(gevent.getcurrent())), 1)
    clock.advance(1)
    assert len(seen) == 1


# -- wrong arguments -------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_an_interval_needs_a_period(service: Service, seconds: float) -> None:
    with pytest.raises(BadValue, match="seconds="):
        service.interval(boom, seconds)
    assert service.snapshot().owned.timers == 0


@pytest.mark.parametrize("seconds", [-0.001, math.nan])
def test_a_timeout_is_not_in_the_past(service: Service, seconds: float) -> None:
    with pytest.raises(BadValue, match="seconds="):
        service.timeout(boom, seconds)
    assert service.snapshot().owned.timers == 0


@pytest.mark.parametrize("seconds", ["10", None, math.inf])
@pytest.mark.parametrize("kind", ["interval", "timeout"])
def test_seconds_are_a_finite_number(service: Any, kind: str, seconds: Any) -> None:
    with pytest.raises(BadValue, match="seconds="):
        getattr(service, kind)(boom, seconds)
    assert service.snapshot().owned.timers == 0


@pytest.mark.parametrize("jitter", [-0.1, 1.1, math.nan, "much", True, timedelta(seconds=0.5)])
def test_jitter_is_a_fraction(service: Service, jitter: Any) -> None:
    with pytest.raises(BadValue, match="jitter="):
        service.interval(boom, 1, jitter=jitter)
    assert service.snapshot().owned.timers == 0


def test_a_stopped_service_starts_no_timer() -> None:
    service = Plain()
    service.start()
    service.stop()
    with pytest.raises(NotRunning, match="cannot start a timer"):
        service.interval(boom, 1)
    with pytest.raises(NotRunning, match="cannot start a timer"):
        service.timeout(boom, 1)
