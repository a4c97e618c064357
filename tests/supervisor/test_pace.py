"""Long work of the engine's leaves timers their turn, whatever a user's code in it costs.

Each piece of a user's code burns 10 ms of CPU here, on a clock that is told so. A timer that is
always due ticks beside it, and counts how many pieces ran without a tick in between.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit
from gevent.event import Event

from scripted import Crash, crash, spawn, states
from sprag import DynamicSupervisor, Lifecycle, Service, Supervisor
from sprag_supervisor import logger, tree_of
from sprag_supervisor.life import supervising
from sprag_supervisor.loop import clock as _clock
from sprag_supervisor.loop.pace import Batches, Pace, let_others_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock

PIECE = 0.010
MANY = 60


class Burner:
    """CPU time that passes while code runs, and what a timer notices of it."""

    def __init__(self) -> None:
        self.burned = 0.0
        self.pieces = 0
        self.longest = 0
        """So many pieces ran without a tick in between."""
        self._since = 0

    def burn(self) -> None:
        self.burned += PIECE
        self.pieces += 1
        self._since += 1
        self.longest = max(self.longest, self._since)

    def tick(self) -> None:
        self._since = 0

    def begin(self) -> None:
        self.pieces = self.longest = self._since = 0


@pytest.fixture
def burner(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Burner:
    burner = Burner()
    now = _clock.now
    monkeypatch.setattr(_clock, "now", lambda: now() + burner.burned)
    return burner


class Ticker(Service):
    """Its timer is due in each turn of the loop, so it ends with the test's last look."""

    def __init__(self, burner: Burner) -> None:
        self.burner = burner

    def on_start(self) -> None:
        self.timeout(self.tick, 0)

    def tick(self) -> None:
        self.burner.tick()
        self.timeout(self.tick, 0)


class Burning(Service):
    """Burns where it is told to."""

    def __init__(self, burner: Burner, *where: str) -> None:
        self.burner = burner
        self.where = where

    def on_start(self) -> None:
        if "clean-up" in self.where:
            for _ in range(MANY):
                self.add_cleanup(self.burner.burn)
        if "start" in self.where:
            self.burner.burn()

    def on_stop(self) -> None:
        if "stop" in self.where:
            self.burner.burn()


class Broken(Service):
    """Does not come up a second time."""

    def __init__(self, burner: Burner) -> None:
        self.burner = burner

    def on_start(self) -> None:
        self.burner.burn()
        if self._incarnation_ > 1:
            raise Crash


class Crashing(Service):
    """Crashes with all the others, when it is told to."""

    def __init__(self, go: Event | str | float) -> None:
        self.go = go

    def on_start(self) -> None:
        if self._incarnation_ > 1:
            return
        if isinstance(self.go, str):
            self.listen(self.go, fail)
        elif isinstance(self.go, float):
            self.timeout(fail, self.go, None)
        else:
            self.spawn(fail_after, self.go)


def fail(_data: object) -> None:
    raise Crash


def fail_after(go: Event) -> None:
    go.wait()
    raise Crash


class Costly(logging.Handler):
    """What it costs to log a crash."""

    def __init__(self, burner: Burner) -> None:
        super().__init__(logging.ERROR)
        self.burner = burner

    def emit(self, record: logging.LogRecord) -> None:
        if "service crashed" in record.getMessage():
            self.burner.burn()


def turns(number: int) -> None:
    """Let the loop turn, without waiting for it to come to rest: a ticker never does."""
    for _ in range(number):
        let_others_run()


def test_work_holds_the_loop_as_long_as_it_was_told_to(burner: Burner) -> None:
    with Supervisor(children=[Ticker(burner)]):
        turns(2)
        burner.begin()
        pace = Pace(2.5 * PIECE)  # as a connection of the web server does
        for _ in range(9):
            burner.burn()
            pace()
        assert burner.longest == 3


def test_work_is_launched_eight_pieces_at_a_time_and_one_by_one_as_long_as_it_holds_the_loop(
    burner: Burner,
) -> None:
    batches = Batches()

    def looks(pieces: int, *, costly: bool) -> list[int]:
        """Return after which of so many pieces others had their turn."""
        looked: list[int] = []
        for number in range(1, pieces + 1):
            if costly:
                spawn(burner.burn)
            if batches():
                looked.append(number)
        return looked

    assert looks(24, costly=False) == [8, 16, 24]
    assert looks(12, costly=True) == [8, 9, 10, 11, 12]
    assert looks(31, costly=False) == [1, 3, 7, 15, 23, 31]


def test_who_lets_others_run_does_not_wait_for_fifty_turns_of_one_that_always_can() -> None:
    turns_of_the_other, is_over = 0, False

    def always() -> None:
        nonlocal turns_of_the_other
        while not is_over:
            turns_of_the_other += 1
            until = time.perf_counter() + 2 * gevent.getswitchinterval()
            while time.perf_counter() < until:
                pass
            gevent.sleep(0)

    others: list[Any] = [gevent.spawn(always)]
    let_others_run()
    before = turns_of_the_other
    let_others_run()
    waited, is_over = turns_of_the_other - before, True
    gevent.joinall(others)
    assert 1 <= waited < 25


def test_many_that_pace_themselves_do_not_stand_before_a_newcomer() -> None:
    many, rounds, is_over = 60, 0, False

    def work() -> None:
        nonlocal rounds
        while not is_over:
            until = time.perf_counter() + 0.0003  # together more than gevent's switch interval
            while time.perf_counter() < until:
                pass
            rounds += 1
            let_others_run()

    def newcomer() -> None:
        nonlocal is_over
        is_over = True

    workers: list[Any] = [gevent.spawn(work) for _ in range(many)]
    while rounds < 10 * many:
        let_others_run()
    before = rounds
    gevent.spawn(newcomer)
    while not is_over and rounds < before + 20 * many:
        let_others_run()
    waited, was_heard, is_over = rounds - before, is_over, True
    gevent.joinall(workers)
    assert was_heard
    assert waited < 5 * many


def all_of(service: Supervisor) -> list[Service]:
    return [info.service for info in service.which_children()]  # type: ignore[misc]


def test_retries_of_a_restart_that_fails_leave_timers_their_turn(burner: Burner) -> None:
    broken = Broken(burner)
    limited = Supervisor(children=[broken], max_restarts=MANY, restart="temporary")
    with Supervisor(children=[Ticker(burner), limited]):
        burner.begin()
        crash(broken)
        turns(MANY * 3)
        assert burner.pieces == MANY
        assert burner.longest == 1


def test_a_batch_of_exits_leaves_timers_their_turn(burner: Burner) -> None:
    busy = Supervisor(children=[Burning(burner, "start") for _ in range(MANY)], max_restarts=MANY)
    with Supervisor(children=[Ticker(burner), busy]):
        burner.begin()
        for each in all_of(busy):
            crash(each)
        turns(MANY * 3)
        assert burner.pieces == MANY
        assert burner.longest <= 2


@pytest.fixture
def costly(burner: Burner) -> Iterator[None]:
    """To log a crash takes its time."""
    handler = Costly(burner)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("costly")
@pytest.mark.parametrize("by", ["event", "emit"])
def test_many_that_crash_in_one_callback_leave_timers_their_turn(burner: Burner, by: str) -> None:
    go = Event()
    pool = DynamicSupervisor(max_restarts=MANY)
    with Supervisor(children=[pool, Ticker(burner)]) as root:
        for _ in range(MANY):
            pool.adopt(Crashing("go" if by == "emit" else go))
        turns(2)
        burner.begin()
        go.set()
        root.emit("go")
        turns(MANY * 3)
        assert burner.pieces == MANY
        assert burner.longest <= 2
        assert all(child.incarnation == 2 for child in pool.snapshot().children)


class Turns(logging.Handler):
    """In which turn of the loop each crash was told."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "service crashed" in record.getMessage():
            self.seen.append(gevent.get_hub().loop.iteration)


@pytest.mark.parametrize("by", ["event", "emit", "timers"])
def test_crashes_that_come_faster_than_the_loop_turns_are_told_in_turns_of_their_own(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr("sprag_supervisor.loop.pool.HOLD", -1)
    monkeypatch.setattr("sprag_supervisor.loop.pace.HOLD", -1)
    go, told = Event(), Turns()
    ways: dict[str, Event | str | float] = {"event": go, "emit": "go", "timers": 0.0}
    logger.addHandler(told)
    try:
        with Supervisor(max_restarts=8) as root:
            for _ in range(8):
                root.adopt(Crashing(ways[by]))
            go.set()
            root.emit("go")
            with gevent.Timeout(30):
                while len(told.seen) < 8 or set(states(root).values()) != {"running"}:
                    gevent.sleep(0.001)
    finally:
        logger.removeHandler(told)
    assert len(told.seen) == 8
    assert len(set(told.seen)) >= 4  # at most two in one: it is asked after the first


def test_many_that_finish_in_one_callback_leave_timers_their_turn(burner: Burner) -> None:
    go, ended = Event(), list[str]()

    class Finishing(Service):
        def run(self) -> None:
            go.wait()

    def end(event: Lifecycle) -> None:
        if event.reason == "finished":
            ended.append(event.path)
            burner.burn()

    pool = DynamicSupervisor()
    with Supervisor(children=[pool, Ticker(burner)]) as root:
        tree_of(root).observers.append(end)
        for _ in range(MANY):
            pool.adopt(Finishing(), restart="temporary")
        turns(2)
        burner.begin()
        go.set()
        turns(MANY * 3)
        assert len(ended) == MANY
        assert burner.longest <= 2


@pytest.mark.usefixtures("costly", "burner")
@pytest.mark.parametrize("by", [GreenletExit, ValueError(), Crash])
def test_who_kills_a_greenlet_that_has_crashed_comes_too_late(
    by: BaseException | type[BaseException],
) -> None:
    go = Event()
    with Supervisor(children=[], max_restarts=2) as root:
        first, second = root.adopt(Service()), root.adopt(Service())
        first.spawn(fail_after, go)
        greenlet = second.spawn(fail_after, go)
        turns(2)
        go.set()
        gevent.sleep(0)
        assert second.snapshot().failures == ()  # the loop looks around first
        greenlet.kill(by)
        turns(2)
        assert second.snapshot().incarnation == 2
        assert "Crash" in str(second.snapshot().failures[-1])


@pytest.mark.usefixtures("costly", "burner")
def test_a_crash_that_waits_for_its_turn_is_told_by_a_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go = Event()
    with Supervisor(children=[], max_restarts=2) as root:
        first, second = root.adopt(Service()), root.adopt(Service())
        first.spawn(fail_after, go)
        second.spawn(fail_after, go)
        turns(2)
        go.set()
        gevent.sleep(0)
        second.stop()
        assert states(root) == {"Service": "running", "Service-2": "stopped"}
    assert "Service-2: service raised while stopping" in caplog.text


@pytest.mark.usefixtures("costly", "burner")
def test_an_emitter_that_waits_between_crashes_can_be_killed() -> None:
    heard: list[str] = []
    with Supervisor(children=[], max_restarts=3) as root:
        for _ in range(3):
            root.adopt(Crashing("go"))
        root.adopt(Service()).listen("go", heard.append)
        turns(2)
        emitter = spawn(root.emit, "go")
        gevent.sleep(0)
        emitter.kill()
        turns(4)
        assert heard == []
        assert states(root) == dict.fromkeys(states(root), "running")


@pytest.mark.parametrize("where", ["start", "stop"])
def test_a_large_group_restart_leaves_timers_their_turn(burner: Burner, where: str) -> None:
    group = Supervisor(
        children=[Burning(burner, where) for _ in range(MANY)], strategy="one_for_all"
    )
    with Supervisor(children=[Ticker(burner), group]):
        burner.begin()
        crash(all_of(group)[0])
        turns(MANY * 3)
        assert burner.pieces == MANY
        assert burner.longest <= 2


def test_the_start_of_many_children_leaves_timers_their_turn(burner: Burner) -> None:
    with Supervisor(children=[Ticker(burner)]) as top:
        burner.begin()
        top.start_child(Supervisor(children=[Burning(burner, "start") for _ in range(MANY)]))
        assert burner.pieces == MANY
        assert burner.longest <= 2


def test_the_stop_of_many_children_leaves_timers_their_turn(burner: Burner) -> None:
    many = Supervisor(children=[Burning(burner, "stop") for _ in range(MANY)])
    with Supervisor(children=[Ticker(burner), many]):
        burner.begin()
        many.stop()
        assert burner.pieces == MANY
        assert burner.longest <= 2


def test_many_clean_ups_leave_timers_their_turn(burner: Burner) -> None:
    service = Burning(burner, "clean-up")
    with Supervisor(children=[Ticker(burner), service]):
        burner.begin()
        service.stop()
        assert burner.pieces == MANY
        assert burner.longest <= 2


def test_children_that_stop_together_leave_timers_their_turn(burner: Burner) -> None:
    pool = DynamicSupervisor()
    with Supervisor(children=[Ticker(burner), pool]):
        for _ in range(MANY):
            pool.start_child(Burning(burner, "stop"))
        burner.begin()
        pool.stop()
        assert burner.pieces == MANY
        assert burner.longest <= 8


def test_a_fast_interval_ticks_while_a_dead_dependency_is_tried_again() -> None:
    """The same on a real clock: what a user sees."""
    ticks: list[float] = []

    class Interval(Service):
        def on_start(self) -> None:
            self.interval(lambda: ticks.append(time.monotonic()), 0.01)

    class Dead(Service):
        def on_start(self) -> None:
            until = time.process_time() + PIECE
            while time.process_time() < until:
                pass
            if self._incarnation_ > 1:
                raise Crash

    dead = Dead()
    limited = Supervisor(children=[dead], max_restarts=40, restart="temporary")
    with Supervisor(children=[Interval(), limited]):
        crash(dead)
        assert limited.wait(30) is not None
    assert len(ticks) >= 30, "some 40 of 10 ms each; without a turn of its own it had 1"


def test_a_stop_gets_through_while_a_batch_of_exits_is_worked_through(burner: Burner) -> None:
    busy = Supervisor(children=[Burning(burner, "start") for _ in range(MANY)], max_restarts=MANY)
    with Supervisor(children=[busy]):
        burner.begin()
        for each in all_of(busy):
            crash(each)
        spawn(busy.stop)
        turns(5)
        assert burner.pieces < 10


@pytest.mark.parametrize(("crashes", "looks"), [(1, 0), (5, 1)])
def test_one_crash_alone_is_not_worth_a_look_at_the_time(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, crashes: int, looks: int
) -> None:
    made: list[Pace] = []

    def pace(began: float) -> Pace:
        made.append(Pace(began=began))
        return made[-1]

    monkeypatch.setattr(supervising, "Pace", pace)
    services = [Service() for _ in range(5)]
    with Supervisor(children=services, max_restarts=9):
        for one in services[:crashes]:
            crash(one)
        clock.settle()
    assert len(made) == looks
