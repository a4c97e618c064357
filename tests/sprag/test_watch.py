"""`watch`: told once of each life of another service that ends, as OTP's monitor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest

from scripted import Crash, crash, spawn
from sprag import Backoff, DynamicSupervisor, Exit, Ignore, Service, StartFailed, Supervisor
from sprag.exceptions import BadValue, NotRunning
from sprag.testing import VirtualClock, check_invariants, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


Told = list[tuple[str, int]]


def noted(told: Told) -> Any:
    def note(how: Exit) -> None:
        told.append((how.reason.value, how.incarnation))

    return note


class Other(Service):
    """Whoever is watched."""


def ends_of(
    clock: VirtualClock, other: Service, *ends: Any, **policy: Any
) -> tuple[Told, Service, Supervisor]:
    """Watch *other* below a supervisor while it goes through its *ends*."""
    told: Told = []
    top = Supervisor(max_restarts=9)
    top.start()
    watcher = top.adopt(Service(), name="watcher")
    top.adopt(other, name="other", **policy)
    watcher.watch(other, noted(told))
    for end in ends:
        end()
        clock.settle()
    return told, watcher, top


@pytest.mark.parametrize(
    ("restart", "end", "told"),
    [
        ("permanent", crash, [("crashed", 1)]),
        ("transient", crash, [("crashed", 1)]),
        ("temporary", crash, [("crashed", 1)]),
        ("permanent", Service.finish, [("finished", 1)]),
        ("transient", Service.finish, [("finished", 1)]),
        ("temporary", Service.finish, [("finished", 1)]),
        ("permanent", Service.stop, [("stopped", 1)]),
        ("temporary", Service.stop, [("stopped", 1)]),
    ],
)
def test_each_end_is_told_whatever_follows(
    clock: VirtualClock, restart: str, end: Any, told: Told
) -> None:
    other = Other()
    got, _watcher, top = ends_of(clock, other, partial(end, other), restart=restart)
    top.stop()
    assert got == told


def test_each_life_is_told_once(clock: VirtualClock) -> None:
    other = Other()
    die = partial(crash, other)
    got, _, top = ends_of(clock, other, die, die, die, other.stop, other.stop, other.start, die)
    assert got == [(kind, life) for life, kind in enumerate(
        ["crashed", "crashed", "crashed", "stopped", "crashed"], 1
    )]  # fmt: skip
    top.stop()


def test_it_is_told_what_the_life_ended_of(clock: VirtualClock) -> None:
    heard: list[Exit] = []
    with Supervisor() as top:
        watcher, other = top.adopt(Service()), top.adopt(Other())
        watcher.watch(other, heard.append)
        crash(other, Crash("disk is full"))
        clock.settle()
    (how, *_rest) = heard
    assert how.failure is not None
    assert how.failure.message == "disk is full"
    assert not how.is_clean


@pytest.mark.parametrize(
    ("end", "reason"), [(Service.stop, "stopped"), (Service.finish, "finished"), (crash, "crashed")]
)
def test_who_is_down_is_told_of_at_once_and_of_later_lives_too(
    clock: VirtualClock, end: Any, reason: str
) -> None:
    told: Told = []
    with Supervisor() as top:
        watcher, other = top.adopt(Service()), top.adopt(Other(), restart="transient")
        crash(other)
        clock.settle()
        other._policy_ = other._policy_.with_({"on_failure": {Crash: "stop"}})
        end(other)
        clock.settle()
        watcher.watch(other, noted(told))
        assert told == []  # never within the call
        clock.settle()
        assert told == [(reason, 2)]
        other.start()
        other.stop()
        clock.settle()
        assert told == [(reason, 2), ("stopped", 3)]


def test_who_waits_for_its_restart_is_down_and_told_of_once(clock: VirtualClock) -> None:
    told: Told = []
    with Supervisor() as top:
        watcher = top.adopt(Service())
        other = top.adopt(Other(), backoff=Backoff(1.0))
        crash(other)
        clock.settle()
        watcher.watch(other, noted(told))
        clock.settle()
        assert told == [("crashed", 1)]
        other.stop()  # calls the restart off, and ends no life
        clock.settle()
        assert told == [("crashed", 1)]


def test_who_has_never_lived_is_told_of_when_it_has(clock: VirtualClock) -> None:
    told: Told = []
    other = Other()
    with Supervisor() as top:
        handle = top.adopt(Service()).watch(other, noted(told))
        clock.settle()
        assert told == []
        assert handle.active
        top.adopt(other)
        crash(other)
        clock.settle()
        assert told == [("crashed", 1)]


def test_starts_that_fail_and_are_ignored_are_lives(clock: VirtualClock) -> None:
    class Moody(Service):
        moods = iter([None, Crash(), Ignore(), Crash()])

        def on_start(self) -> None:
            if (mood := next(self.moods)) is not None:
                raise mood

    other = Moody()
    got, _, top = ends_of(clock, other, partial(crash, other))
    assert got == [("crashed", 1), ("start_failed", 2), ("ignored", 3)]
    with pytest.raises(StartFailed):
        other.start()
    clock.settle()
    assert got[3:] == [("start_failed", 4)]
    top.stop()


def test_calls_come_one_at_a_time_in_order_and_hold_up_nobody(clock: VirtualClock) -> None:
    told: list[str] = []

    def slowly(how: Exit) -> None:
        told.append(f"{how.incarnation} begins")
        gevent.sleep(5.0)
        told.append(f"{how.incarnation} ends")

    with Supervisor(max_restarts=9) as top:
        watcher, other = top.adopt(Service()), top.adopt(Other())
        watcher.watch(other, slowly)
        for _ in range(3):
            crash(other)
            clock.settle()
        assert other.snapshot().incarnation == 4
        clock.advance(20.0)
    assert told == [f"{life} {what}" for life in (1, 2, 3) for what in ("begins", "ends")]


def test_of_more_ends_than_anybody_hears_the_oldest_are_missed_and_that_is_told(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    def slowly(how: Exit) -> None:
        told.append(how.incarnation)
        gevent.sleep(0.0 if len(told) > 1 else 100.0)

    with Supervisor(max_restarts=1000) as top:
        watcher, other = top.adopt(Service()), top.adopt(Other())
        handle = watcher.watch(other, slowly)
        for _ in range(151):
            crash(other)
            clock.settle()
        clock.advance(200.0)
        assert told == [1, *range(52, 152)]
        assert handle.missed == 50
    said = [each.getMessage() for each in caplog.records if "missed" in each.getMessage()]
    assert said == ["Supervisor/Service: a watch has missed ends (missed=50)"]


def test_what_it_raises_is_the_watchers_crash(clock: VirtualClock) -> None:
    def fail(_how: Exit) -> None:
        raise Crash("no")

    with Supervisor() as top:
        watcher, other = top.adopt(Service(), restart="transient"), top.adopt(Other())
        watcher.watch(other, fail)
        crash(other)
        clock.settle()
        assert watcher.snapshot().incarnation == 2
        assert other.snapshot().incarnation == 2
        crash(other)  # it went with the life
        clock.settle()
        assert watcher.snapshot().incarnation == 2
        check_invariants(top)


@pytest.mark.parametrize("end", [Service.stop, crash, Service.finish])
def test_it_ends_with_the_watcher_and_leaves_nothing_behind(clock: VirtualClock, end: Any) -> None:
    told: Told = []
    with Supervisor() as top:
        watcher, other = top.adopt(Service(), restart="temporary"), top.adopt(Other())
        handle = watcher.watch(other, noted(told))
        assert watcher.snapshot().owned.timers == 1
        crash(other)
        end(watcher)  # before it could be told
        clock.settle()
        assert not handle.active
        assert other._history_ is not None
        assert other._history_.waiters == []
        crash(other)
        clock.settle()
        handle.cancel()
    assert told == []


def test_it_can_be_cancelled_also_by_itself(clock: VirtualClock) -> None:
    told: Told = []
    with Supervisor() as top:
        watcher, other = top.adopt(Service()), top.adopt(Other())

        def once(how: Exit) -> None:
            noted(told)(how)
            handle.cancel()

        handle = watcher.watch(other, once)
        for _ in range(2):
            crash(other)
            clock.settle()
        assert told == [("crashed", 1)]
        assert not handle.active
        handle.cancel()
        assert watcher.snapshot().owned.timers == 0


def test_waiting_and_watching_do_not_disturb_each_other(clock: VirtualClock) -> None:
    told: Told = []
    with Supervisor() as top:
        watcher, other = top.adopt(Service()), top.adopt(Other())
        first = watcher.watch(other, noted(told))
        waits = spawn(other.wait, 50.0)
        second = watcher.watch(other, noted(told))
        clock.settle()
        first.cancel()
        crash(other)
        clock.settle()
        assert not waits.ready()
        other.stop()
        clock.settle()
        ending = waits.get()
        assert ending is not None
        assert ending.reason.value == "stopped"
        assert told == [("crashed", 1), ("stopped", 2)]
        assert other._history_ is not None
        assert other._history_.waiters == [second]


def test_who_has_left_the_tree_is_watched_no_more(clock: VirtualClock) -> None:
    told: Told = []
    with Supervisor() as top:
        many = top.adopt(DynamicSupervisor())
        watcher = top.adopt(Service())
        for number in range(5):
            child = many.start_child(Other(), restart="permanent" if number else "temporary")
            watcher.watch(child, noted(told))
        for each in many.which_children():
            many.terminate_child(cast("Service", each.service))
        clock.settle()
        assert told == [("stopped", 1)] * 5
        assert watcher.snapshot().owned.timers == 0


def test_another_tree_of_the_thread_can_be_watched(clock: VirtualClock) -> None:
    told: Told = []
    other = Supervisor(name="another")
    with Supervisor() as top, other:
        top.adopt(Service()).watch(other, noted(told))
        other.stop()
        clock.settle()
        assert told == [("stopped", 1)]


def test_children_that_end_with_their_supervisor_are_told_of_to_who_outlives_them(
    clock: VirtualClock,
) -> None:
    told: Told = []
    with Supervisor() as top:
        watcher = top.adopt(Service())
        pool = top.adopt(DynamicSupervisor())
        children = [pool.start_child(Other()) for _ in range(300)]
        watcher.watch(children[150], noted(told))
        pool.stop()
        clock.settle()
        assert told == [("stopped", 1)]


def test_it_sees_the_watcher_as_current_and_the_context_it_was_made_in(
    clock: VirtualClock,
) -> None:
    from contextvars import ContextVar

    from sprag import current_service

    colour: ContextVar[str] = ContextVar("colour", default="none")
    seen: list[object] = []
    with Supervisor() as top:
        watcher, other = top.adopt(Service()), top.adopt(Other())
        colour.set("red")
        watcher.watch(other, lambda _how: seen.extend([current_service(), colour.get()]))
        colour.set("none")
        crash(other)
        clock.settle()
        assert seen == [watcher, "red"]


@pytest.mark.parametrize("given", [None, "other", Other, 3])
def test_what_is_no_service_cannot_be_watched(given: Any) -> None:
    with Supervisor() as top, pytest.raises(BadValue, match="use a service"):
        top.watch(given, print)


def test_neither_oneself_nor_those_above_can_be_watched() -> None:
    with Supervisor() as top:
        child = top.adopt(Supervisor()).adopt(Service())
        for other in (child, child._parent_, top):
            with pytest.raises(BadValue, match="can end before I do"):
                child.watch(cast("Any", other), print)


def test_who_is_down_watches_nobody() -> None:
    with Supervisor() as top, pytest.raises(NotRunning, match="watch a service"):
        Service().watch(top, print)


@pytest.mark.parametrize("fn", [None, 3])
def test_only_functions_are_called(fn: Any) -> None:
    with Supervisor() as top, pytest.raises(BadValue, match="fn="):
        top.watch(top.adopt(Other()), fn)


def test_what_a_user_calls_watch_is_the_users(clock: VirtualClock) -> None:
    class Own(Service):
        watch = 3  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    told: Told = []
    with Supervisor() as top:
        own, other = top.adopt(Own()), top.adopt(Other())
        Service.watch(own, other, noted(told))
        crash(other)
        clock.settle()
    assert told == [("crashed", 1)]


def test_who_is_not_watched_goes_the_quick_way_and_keeps_nothing(clock: VirtualClock) -> None:
    with Supervisor() as top:
        watcher, other, beside = (top.adopt(Service()) for _ in range(3))
        watcher.watch(other, print)
        assert beside._history_ is None
        beside.stop()
        assert beside._history_ is None
        assert clock.now == 0
