"""`heartbeat` and `beat`: a service that runs and does nothing any more has crashed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest
from gevent.event import Event

from sprag import DynamicSupervisor, Service, Supervisor
from sprag.exceptions import BadPolicy, Unresponsive
from sprag.testing import VirtualClock, check_invariants, record_events, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("no_bugs")


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


class Worker(Service, heartbeat=10.0):
    """Beats every 3 seconds, until it hangs."""

    def __init__(self) -> None:
        self.hangs = Event()

    def run(self) -> None:
        while not self.hangs.is_set():
            self.beat()
            gevent.sleep(3.0)
        wait_for_ever()


def wait_for_ever() -> None:
    Event().wait()


def test_who_beats_lives(clock: VirtualClock) -> None:
    with Supervisor([Worker()]) as top:
        clock.advance(1000.0)
        assert top.service("Worker").snapshot().incarnation == 1


def test_who_does_not_has_crashed_and_is_told_where_its_greenlets_were(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor([Worker()]) as top:
        worker = top.service("Worker", Worker)
        for _ in range(2):
            worker.spawn(wait_for_ever)
        worker.hangs.set()
        clock.advance(9.0)
        assert worker.snapshot().incarnation == 1
        clock.advance(1.0)
        picture = worker.snapshot()
    assert picture.incarnation == 2
    failure = picture.last_failure
    assert failure is not None
    assert str(failure) == "Unresponsive: no beat() within 10 s (heartbeat)"
    assert [note.splitlines()[0] for note in failure.notes] == [
        "run was at:",
        "greenlet (2 of them) was at:",
    ]
    assert "in wait_for_ever" in failure.notes[0]
    assert "Event().wait()" in failure.notes[0]
    assert "guard.py" not in failure.notes[0]
    (said,) = [each for each in caplog.records if "service crashed" in each.getMessage()]
    assert said.exc_info is not None
    assert "wait_for_ever" in failure.format()


def notes_of_unresponsive(clock: VirtualClock, work: Callable[[Service], object]) -> list[str]:
    """Return what is told of a service that does *work* and does not beat."""
    with Supervisor() as top:
        child = top.adopt(Service(), heartbeat=1.0)
        work(child)
        clock.advance(1.0)
        failure = child.snapshot().last_failure
        assert failure is not None
        return list(failure.notes)


def test_of_who_does_nothing_at_all_that_is_told(clock: VirtualClock) -> None:
    assert notes_of_unresponsive(clock, repr) == ["no greenlet of it was under way"]


def test_where_a_task_is_is_told_as_well(clock: VirtualClock) -> None:
    (note,) = notes_of_unresponsive(clock, lambda child: child.task(wait_for_ever))
    assert note.startswith("task was at:\n")
    assert "in wait_for_ever" in note


def test_ten_places_are_told_and_of_each_ten_frames(clock: VirtualClock) -> None:
    def nested(calls: int) -> None:
        if calls:
            nested(calls - 1)
        wait_for_ever()

    def work(child: Service) -> None:
        child.spawn(nested, 20)
        for number in range(11):
            code = compile("wait()", f"place {number}", "eval")
            child.spawn(eval, code, {"wait": wait_for_ever})

    *places, more = notes_of_unresponsive(clock, work)
    assert len(places) == 10
    assert more == "and 2 more places"
    assert [places[0].count("in nested"), places[0].count("in wait_for_ever")] == [9, 1]
    assert 'File "place 8"' in places[-1]


def test_each_life_has_to_beat_anew_and_that_counts_toward_the_limit(clock: VirtualClock) -> None:
    class Never(Service, heartbeat=1.0):
        pass

    with Supervisor(max_restarts=2, max_seconds=100.0) as top:
        top.adopt(Never())
        clock.advance(2.9)
        assert top.service("Never").snapshot().incarnation == 3
        clock.advance(0.1)
        ending = top.wait(0)
        assert ending is not None
        assert ending.reason.value == "gave_up"


@pytest.mark.parametrize("beaten", [0.1, 2.4, 2.6, 7.0])
def test_it_is_found_between_a_period_and_a_quarter_more_after_the_last_beat(
    clock: VirtualClock, beaten: float
) -> None:
    with Supervisor() as top:
        child = top.adopt(Service(), heartbeat=10.0)
        clock.advance(beaten)
        child.beat()
        clock.advance(9.8)
        assert child.snapshot().incarnation == 1
        clock.advance(2.7)
        assert child.snapshot().incarnation == 2


def test_it_is_asked_of_who_is_ready_only(clock: VirtualClock) -> None:
    class Warm(Service, heartbeat=2.0):
        def on_start(self) -> None:
            gevent.sleep(5.0)
            self.set_ready(False, "warming up")

    with Supervisor() as top:
        child = top.adopt(Warm())
        clock.advance(50.0)
        assert child.snapshot().incarnation == 1
        child.set_ready()
        clock.advance(1.9)
        child.set_ready(False, "cold again")  # a flag only
        assert child.snapshot().incarnation == 1
        clock.advance(0.2)
        gevent.sleep(5.0)
        assert child.snapshot().incarnation == 2


def test_it_is_asked_no_more_once_a_stop_has_begun(clock: VirtualClock) -> None:
    class Slow(Service, heartbeat=1.0, shutdown=100.0):
        def on_drain(self) -> None:
            gevent.sleep(20.0)

        def on_stop(self) -> None:
            gevent.sleep(20.0)
            self.beat()

    with Supervisor([Slow()]) as top:
        report = top.stop()
    assert report.is_clean
    assert clock.now == 40.0


def test_whoever_starts_it_and_however_it_is_given_it_has_to_beat(clock: VirtualClock) -> None:
    class Plain(Service):
        pass

    class Root(Service, heartbeat=1.0):
        pass

    root = Root()
    many = DynamicSupervisor(heartbeat=1.0, name="many")
    with Supervisor([(Plain(), {"heartbeat": timedelta(seconds=1)}), many], max_restarts=9) as top:
        many.start_child(Plain(), heartbeat=0.5)
        beside = top.adopt(Plain(), name="beside")
        clock.advance(0.6)
        assert [each.service.snapshot().incarnation for each in many.which_children()] == [2]  # type: ignore[attr-defined]
        clock.advance(0.5)
        lives = {each.name: each.service.snapshot().incarnation for each in top.which_children()}  # type: ignore[attr-defined]
        assert lives == {"Plain": 2, "many": 2, "beside": 1}
        assert beside._holdings_ is None
    with root:
        clock.advance(1.0)
        ending = root.wait(0)
        assert ending is not None
        assert ending.reason.value == "crashed"


def test_a_supervisor_at_the_root_has_to_beat_as_well(clock: VirtualClock) -> None:
    with Supervisor(heartbeat=1.0) as top:
        clock.advance(0.9)
        top.beat()
        clock.advance(0.9)
        assert top.snapshot().state.value == "running"
        clock.advance(0.5)
        assert top.snapshot().state.value == "failed"


def test_a_beat_without_a_heartbeat_does_nothing_in_any_state(clock: VirtualClock) -> None:
    assert clock.now == 0
    service = Service()
    service.beat()
    with service:
        service.beat()
        assert service._holdings_ is None
    service.beat()


@pytest.mark.parametrize("given", [0, -1.0, "10", float("nan"), True, timedelta(0)])
def test_what_is_no_time_is_no_heartbeat(given: Any) -> None:
    with pytest.raises(BadPolicy, match=r"a finite number of seconds, 0\.001 or more, or None"):
        type("Wrong", (Service,), {}, heartbeat=given)


def test_what_a_user_calls_beat_is_the_users(clock: VirtualClock) -> None:
    class Drummer(Service, heartbeat=1.0):
        beat = cast("Any", 3)

        def run(self) -> None:
            self.heartbeat = 4
            for _ in range(10):
                Service.beat(self)
                gevent.sleep(0.5)
            wait_for_ever()

    with Supervisor([Drummer()]) as top:
        clock.advance(5.0)
        assert top.service("Drummer").snapshot().incarnation == 1
        clock.advance(1.5)
        assert top.service("Drummer").snapshot().incarnation == 2
        check_invariants(top)


def test_nothing_is_left_of_it(clock: VirtualClock) -> None:
    with Supervisor() as top, record_events(top):
        child = top.adopt(Worker())
        tree = top._tree_
        assert tree is not None
        assert len(tree.heartbeats) == 1
        child.hangs.set()
        clock.advance(11.0)
        assert len(tree.heartbeats) == 1
        child.stop()
        assert not tree.heartbeats
        child.start()
        top.stop()
        assert not tree.heartbeats


@pytest.mark.parametrize("path", ["", "inner", "inner/child"])
def test_who_is_held_need_not_beat_and_has_its_whole_time_afterwards(
    clock: VirtualClock, path: str
) -> None:
    with Supervisor() as top:
        inner = top.adopt(Supervisor(), name="inner")
        child = inner.adopt(Service(), name="child", heartbeat=1.0)
        held = top.service(path) if path else top
        held.hold_exits()
        clock.advance(50.0)
        held.release_exits()
        clock.advance(0.7)
        assert child.snapshot().incarnation == 1
        clock.advance(0.6)
        assert child.snapshot().incarnation == 2


def test_on_failure_knows_what_unresponsive_means(clock: VirtualClock) -> None:
    with Supervisor() as top:
        child = top.adopt(Service(), heartbeat=1.0, on_failure={Unresponsive: "stop"})
        clock.advance(1.0)
        assert child.snapshot().state.value == "failed"


# -- against a model: who is alive when, to the moment --------------------------------


class Warm(Service):
    """Says in each life whether it is ready from the beginning."""

    def __init__(self, *, ready: bool) -> None:
        self.ready = ready

    def on_start(self) -> None:
        if not self.ready:
            self.set_ready(False, "warming up")


class Model:
    """One service that has to beat within *period*, and what it is asked; times are exact."""

    def __init__(self, period: float, *, ready: bool) -> None:
        self.period, self.ready = period, ready
        self.life, self.up = 0, False
        self.start(0.0)

    def start(self, now: float) -> None:
        self.life, self.up = self.life + 1, True
        self.looks = now if self.ready else None
        self.beaten = now

    def stop(self) -> None:
        self.up, self.looks = False, None

    def get_ready(self, now: float) -> None:
        if self.up and self.looks is None:
            self.looks = self.beaten = now

    def beat(self, now: float) -> None:
        self.beaten = now

    def pass_time(self, until: float, *, held: bool) -> None:
        while self.looks is not None and (look := self.looks + self.period / 4) <= until:
            self.looks = look
            if held:
                self.beaten = look
            elif look - self.beaten >= self.period:
                self.start(look)


@pytest.mark.parametrize("seed", range(40))
def test_random_stories_agree_with_a_model_of_them(clock: VirtualClock, seed: int) -> None:
    draw = random.Random(seed)
    periods = [draw.choice([0.5, 1.0, 4.0]) for _ in range(6)]
    kinds = [draw.random() < 0.7 for _ in periods]
    models = [Model(period, ready=kind) for period, kind in zip(periods, kinds, strict=True)]
    real = [Warm(ready=kind) for kind in kinds]
    given: list[Any] = [
        (one, {"heartbeat": period}) for one, period in zip(real, periods, strict=True)
    ]
    held = False
    with Supervisor(given, max_restarts=10_000) as top:
        for _ in range(150):
            now, place = clock.now, draw.randrange(len(real))
            one, model = real[place], models[place]
            what = draw.choice(
                ["beat", "beat", "time", "time", "time", "ready", "unready", "life", "hold"]
            )
            if what == "beat":
                one.beat()
                model.beat(now)
            elif what == "ready" and model.up:
                one.set_ready()
                model.get_ready(now)
            elif what == "unready" and model.up:
                one.set_ready(False)
            elif what == "life" and not held:
                if model.up:
                    one.stop()
                    model.stop()
                else:
                    one.start()
                    model.start(now)
            elif what == "hold":
                (top.release_exits if held else top.hold_exits)()
                held = not held
            elif what == "time":
                seconds = draw.choice([1 / 16, 0.25, 1.0])
                clock.advance(seconds)
                for each in models:
                    each.pass_time(now + seconds, held=held)
            clock.settle()
            lives = [
                (each.snapshot().incarnation, each.snapshot().uptime is not None) for each in real
            ]
            assert lives == [(each.life, each.up) for each in models]
        tree = top._tree_
        assert tree is not None
        assert len(tree.heartbeats) == sum(each.looks is not None for each in models)
        check_invariants(top)


# -- in real time: who is late is not unresponsive --------------------------------

SCRIPT = """
import sys, time, gevent
from sprag import Service, Supervisor

class Innocent(Service, heartbeat=0.8):
    def run(self):
        while True:
            self.beat()
            for _ in range(3):  # when the loop is free again it is not done yet
                gevent.sleep(0.2)

class Hangs(Service, heartbeat=0.8, restart="temporary"):
    def run(self):
        gevent.sleep(60)

class Holder(Service, heartbeat=0.8):
    def hold(self):
        time.sleep(1.5)

many = [(Innocent(), {"name": f"i{number}"}) for number in range(10)]
with Supervisor([*many, Holder(), Hangs()]) as top:
    holder = top.service("Holder")
    tick = holder.interval(holder.beat, 0.1)
    gevent.sleep(0.2)
    print("up", flush=True)
    for _ in range(2):
        %s
        gevent.sleep(0.7)
    gevent.sleep(2.0)
    lives = {each.name: each.service.snapshot().incarnation for each in top.which_children()}
    print(sorted(lives.values()), "Hangs" in lives, flush=True)
"""


def run(while_up: str, *, stopped: int = 0) -> str:
    """Run the script, stopping its process so many times; return what it says last."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT % while_up], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        for _ in range(stopped):
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.2)
        return process.stdout.readline().strip()


@pytest.mark.slow
def test_of_who_waits_while_the_loop_is_held_nobody_crashes_but_who_hangs() -> None:
    assert run("holder.hold()") == f"{[1] * 11} False"


@pytest.mark.slow
def test_of_a_process_that_is_stopped_and_goes_on_nobody_crashes_but_who_hangs() -> None:
    assert run("gevent.sleep(1.0)", stopped=2) == f"{[1] * 11} False"
