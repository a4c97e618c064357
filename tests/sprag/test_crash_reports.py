"""`App(on_crash=…)`: told of each crash, with the exception itself, and harms nobody."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any

import gevent
import pytest

import sprag
from scripted import Crash as Boom
from scripted import Journal, Scripted, crash
from sprag import App, Backoff, Crash, DynamicSupervisor, Service, StartFailed, Supervisor
from sprag.exceptions import BadValue
from sprag.services import crashes as _crashes
from sprag.testing import VirtualClock, virtual_time
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


def told_of(crash: Crash) -> tuple[str, int, str, str | None, str]:
    return crash.path, crash.incarnation, crash.step, crash.decision, str(crash.exception)


def app_of(fn: Callable[[Crash], object], **providers: Any) -> App:
    return App(on_crash=fn, providers=providers, name="shop", max_restarts=100)


class Frail(Service):
    def on_start(self) -> None:
        self.listen("go", self.boom)

    def boom(self, data: object = None) -> None:
        if data in {None, self}:
            raise Boom("x")


def test_it_is_told_the_exception_itself_where_and_what_is_done(clock: VirtualClock) -> None:
    told: list[Crash] = []
    with app_of(told.append, frail=Frail()) as app:
        app.emit("go")
        clock.settle()
        (first,) = told
        assert type(first.exception) is Boom
        traceback = first.exception.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        assert traceback is not None
        assert traceback.tb_frame.f_code.co_name == "boom"
        assert told_of(first) == ("shop/frail", 1, "listener", "restart", "x")
        assert first.at == pytest.approx(clock.wall, abs=2)


@pytest.mark.parametrize(
    ("policy", "decision"),
    [
        ({}, "restart"),
        ({"backoff": Backoff()}, "back_off"),
        ({"on_failure": {Boom: sprag.Backoff(1)}}, "back_off"),
        ({"restart": "temporary"}, "keep"),
        ({"on_failure": {Boom: "stop"}}, "keep"),
        ({"on_failure": {Boom: "escalate"}}, "escalate"),
        ({"on_failure": {Boom: sprag.ExitApp(7)}}, "exit"),
    ],
)
def test_what_is_done_is_what_the_supervisor_decides(
    clock: VirtualClock, policy: dict[str, Any], decision: str | None
) -> None:
    told: list[Crash] = []
    app = app_of(told.append, frail=(Frail(), policy))
    app.start()
    app.emit("go")
    clock.advance(1.5)
    app.stop()
    assert [each.decision for each in told] == [decision]


def test_a_failed_start_an_on_stop_and_a_late_crash_are_told_without_a_decision(
    clock: VirtualClock,
) -> None:
    told: list[Crash] = []
    journal = Journal()
    with app_of(told.append) as app:
        with pytest.raises(StartFailed):
            app.adopt(Scripted("bad", journal, fail_starts=1))
        app.adopt(Scripted("rude", journal, stop_raises=True), name="rude")
        app.service("rude").stop()
        clock.advance(1.0)
    assert [told_of(each)[1:4] for each in told] == [
        (1, "on_start", None),
        (1, "on_stop", None),
    ]


def test_a_restart_that_fails_is_told_with_what_follows(clock: VirtualClock) -> None:
    told: list[Crash] = []
    poor = Scripted("poor", Journal())
    with app_of(told.append, poor=poor):
        poor.script.fail_starts = 1
        crash(poor)
        clock.advance(1.0)
    assert [told_of(each)[1:4] for each in told] == [
        (1, "test", "restart"),
        (2, "on_start", "restart"),
    ]


def test_what_is_no_crash_is_not_told(clock: VirtualClock) -> None:
    told: list[Crash] = []

    class Done(Service, on_failure={Boom: "finish"}, restart="temporary"):
        pass

    with app_of(told.append) as app:
        done, killed, other = (app.adopt(each) for each in (Done(), Service(), Service()))
        done.spawn(raising, Boom("it is over"))
        greenlet = killed.spawn(gevent.sleep, 9)
        clock.settle()
        greenlet.kill()
        other.task(raising, Boom("for who asks"))
        clock.advance(2)
    assert told == []


def raising(error: BaseException) -> None:
    raise error


def test_a_function_that_raises_harms_nobody_and_is_said_once_a_minute(
    clock: VirtualClock, log: Any
) -> None:
    def bad(_crash: Crash) -> None:
        raise SystemExit(3)

    frail = Frail()
    with app_of(bad, frail=frail) as app:
        for _ in range(5):
            app.emit("go")
            clock.settle()
        assert frail.snapshot().restarts == 5
        assert app._reports_.counts() == {"told": 0, "failed": 5, "dropped": 0, "waiting": 0}
        said = [each for each in log.records if "on_crash has raised" in each.getMessage()]
        assert len(said) == 1
        clock.advance(61)
        app.emit("go")
        clock.settle()
        assert "not_said=4" in log.records[-1].getMessage() or any(
            "not_said=4" in each.getMessage() for each in log.records
        )


def test_a_function_that_hangs_is_cut_off_and_the_next_crash_is_told(
    clock: VirtualClock, log: Any
) -> None:
    seen: list[int] = []

    def slow(crash: Crash) -> None:
        seen.append(crash.incarnation)
        if crash.incarnation == 1:
            gevent.sleep(1e6)

    frail = Frail()
    with app_of(slow, frail=frail) as app:
        app.emit("go")
        clock.settle()
        app.emit("go")
        clock.settle()
        assert frail.snapshot().restarts == 2
        assert seen == [1]
        clock.advance(_crashes.LONGEST)
        assert seen == [1, 2]
    assert any("took too long" in each.getMessage() for each in log.records)


def test_a_storm_blocks_nobody_and_what_is_not_told_is_counted(clock: VirtualClock) -> None:
    told: list[Crash] = []
    with app_of(told.append) as app:
        pool = app.adopt(DynamicSupervisor(max_restarts=float("inf")), name="pool")
        for _ in range(1000):
            pool.adopt(Frail())
        app.emit("go")
        clock.advance(2)
        assert app.not_ready() == {}
        counts = app._reports_.counts()
        assert counts["told"] + counts["dropped"] == 1000
        assert counts["waiting"] == 0
        assert 0 < counts["told"] < 1000
        app.emit("go", pool.which_children()[0].service)
        clock.advance(2)
        assert sum(each.missed for each in told) == counts["dropped"]


def test_nothing_of_a_crash_is_kept_once_it_was_told(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "sprag")  # pytest keeps records, with what was raised

    class Held:
        pass

    told: list[str] = []
    held: list[weakref.ref[Held]] = []

    def boom() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        raise Boom("x")

    with app_of(lambda crash: told.append(crash.path)) as app:
        app.adopt(Service()).spawn(boom)
        clock.advance(2)
        gc.collect()
        assert told
        assert held[0]() is None


def test_it_goes_on_over_restarts_of_the_app_and_after_its_stop(clock: VirtualClock) -> None:
    told: list[Crash] = []
    app = app_of(told.append, frail=Frail())
    for _ in range(2):
        app.start()
        app.emit("go")
        app.stop()
    clock.advance(1)
    assert len(told) == 2


def waiting(_crash: Crash) -> Iterator[None]:
    yield


@pytest.mark.parametrize("given", [3, "print", waiting])
def test_what_is_no_function_is_refused(given: Any) -> None:
    with pytest.raises(BadValue, match="on_crash"):
        App(on_crash=given)


def test_only_the_root_of_a_tree_hears_of_crashes(clock: VirtualClock) -> None:
    with pytest.raises(StartFailed, match="at the root of the tree"):
        Supervisor([app_of(print)]).start()


def test_in_a_worker_the_place_of_a_crash_is_the_same_as_in_all_others(
    clock: VirtualClock,
) -> None:
    told: list[Crash] = []
    app = app_of(told.append, frail=Frail(), pool=DynamicSupervisor())
    tree_of(app).also_called = "shop", "shop"
    app._name_ = "shop/worker-2"
    with app:
        app.service("pool", DynamicSupervisor).start_child(Frail())
        app.emit("go")
        clock.settle()
    assert [(each.path, each.group) for each in told] == [
        ("shop/worker-2/frail", "shop/frail"),
        ("shop/worker-2/pool/Frail", "shop/pool/*"),
    ]


def test_flush_waits_for_no_decision_and_not_for_ever(clock: VirtualClock) -> None:
    told: list[Crash] = []
    app = app_of(told.append)
    app.start()
    with pytest.raises(StartFailed):
        app.adopt(Scripted("bad", Journal(), fail_starts=1))
    before = clock.now
    app._reports_.flush(0.5)
    assert clock.now == before
    assert len(told) == 1
    app._reports_.flush(0.5)  # there is nothing more
    app.stop()


def test_the_log_says_how_many_were_not_told(
    clock: VirtualClock, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_crashes, "WAITING", 1)
    with app_of(lambda _crash: None) as app:
        first, second = app.adopt(Frail()), app.adopt(Frail())
        first.spawn(first.boom)
        second.spawn(second.boom)
        clock.settle()
        app.emit("go", first)
        clock.settle()
    warnings = [each.getMessage() for each in log.at_least(logging.WARNING)]
    assert any("not told to on_crash" in each for each in warnings)
