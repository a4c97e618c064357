"""A listener that ends those who wait for it: the services that emit in its greenlet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, State, StopReport, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Feed(Service):
    """Emits once a second, and notes what it got done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def run(self) -> None:
        while True:
            gevent.sleep(1)
            self.emit("tick")
            self.done.append("emitted")


class Ears(Service):
    """Does something when it hears."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.got: list[object] = []

    def on_start(self) -> None:
        self.listen("tick", self.hear)

    def hear(self, _data: object) -> None:
        self.got.append(self.act())


@pytest.fixture
def root(clock: VirtualClock) -> Any:
    """Return the running root of a tree that ends with the test."""
    del clock
    root = Supervisor(name="root", max_restarts=1000)
    root.start()
    yield root
    root.stop()


PENDING = StopReport(is_pending=True)


def test_a_listener_that_stops_the_emitter_gets_a_pending_report(
    root: Supervisor, clock: VirtualClock
) -> None:
    feed = root.adopt(Feed())
    ears = root.adopt(Ears(lambda: feed.stop()))
    clock.advance(1)
    assert ears.got == [PENDING]
    assert feed.done == ["emitted"]  # it was not cut off
    assert feed.snapshot().state is State.STOPPED
    assert ears.snapshot().state is State.RUNNING
    feed.start()
    clock.advance(1)
    assert len(ears.got) == 2
    assert feed.snapshot().incarnation == 2


@pytest.mark.parametrize("how", ["parent", "root", "terminate", "twice", "with a limit"])
def test_so_does_one_that_stops_something_above_it(
    root: Supervisor, clock: VirtualClock, how: str
) -> None:
    boss = root.adopt(Supervisor(name="boss"))
    feed = boss.adopt(Feed())
    act: dict[str, Callable[[], object]] = {
        "parent": boss.stop,
        "root": root.stop,
        "terminate": lambda: boss.terminate_child("Feed"),
        "twice": lambda: (feed.stop(), feed.stop())[1],
        "with a limit": lambda: feed.stop(0),
    }
    ears = root.adopt(Ears(act[how]))
    clock.advance(1)
    assert ears.got == [PENDING]
    assert feed.done == ["emitted"]
    assert feed.snapshot().state is State.STOPPED


def test_a_listener_in_the_middle_is_waited_for_too(root: Supervisor, clock: VirtualClock) -> None:
    """The feed emits to the relay, which emits to the ears, which stop the relay."""
    done: list[str] = []

    class Relay(Service):
        def on_start(self) -> None:
            self.listen("tick", self.hear)

        def hear(self, _data: object) -> None:
            self.emit("tock")
            done.append("relayed")

    feed = root.adopt(Feed())
    relay = root.adopt(Relay())
    got: list[object] = []
    last = root.adopt(Ears(lambda: None))
    last.listen("tock", lambda _data: got.append(relay.stop()))
    clock.advance(1)
    assert got == [PENDING]
    assert done == ["relayed"]
    assert relay.snapshot().state is State.STOPPED
    assert clock.now == 1.0  # nobody has waited for its own end
    assert feed.done == ["emitted"]


def test_a_service_hears_itself_and_stops_the_emitter_in_between(
    root: Supervisor, clock: VirtualClock
) -> None:
    got: list[object] = []
    feed = root.adopt(Feed())
    relay = root.adopt(Ears(lambda: None))
    relay.act = lambda: relay.emit("tock")
    feed.listen("tock", lambda _data: got.append(relay.stop()))
    clock.advance(1)
    assert got == [PENDING]
    assert relay.snapshot().state is State.STOPPED
    assert feed.done == ["emitted"]


def test_a_listener_may_say_that_the_emitter_is_done(root: Supervisor, clock: VirtualClock) -> None:
    feed = root.adopt(Feed(), restart="transient")
    ears = root.adopt(Ears(lambda: feed.finish()))
    clock.advance(1)
    assert feed.done == ["emitted"]
    assert feed.snapshot().state is State.FINISHED
    assert ears.snapshot().incarnation == 1


@pytest.mark.parametrize("place", ["on_start", "timer", "greenlet"])
def test_wherever_the_emitter_emits(root: Supervisor, clock: VirtualClock, place: str) -> None:
    class Emitter(Service):
        def __init__(self) -> None:
            self.done: list[str] = []

        def on_start(self) -> None:
            if place == "on_start":
                self.tell()
            elif place == "timer":
                self.interval(self.tell, 1)
            else:
                self.spawn(self.tell)

        def tell(self) -> None:
            self.emit("tick")
            self.done.append(place)

    emitter = Emitter()
    ears = root.adopt(Ears(lambda: emitter.stop()))
    root.adopt(emitter)
    clock.advance(1)
    assert ears.got == [PENDING]
    assert emitter.done == [place]
    assert emitter.snapshot().state is State.STOPPED


def test_a_listener_that_blocks_after_the_stop_is_cut_off_with_the_emitter(
    root: Supervisor, clock: VirtualClock
) -> None:
    feed = root.adopt(Feed())

    def stop_and_dawdle() -> object:
        report = feed.stop()
        gevent.sleep(100)
        return report

    ears = root.adopt(Ears(stop_and_dawdle))
    clock.advance(1)
    assert ears.got == []
    assert feed.snapshot().state is State.STOPPED
    assert ears.snapshot().incarnation == 1


def test_somebody_else_may_stop_the_emitter_while_a_listener_blocks(
    root: Supervisor, clock: VirtualClock
) -> None:
    feed = root.adopt(Feed())
    ears = root.adopt(Ears(lambda: gevent.sleep(100)))
    clock.advance(1)
    report = feed.stop()
    assert report.is_clean
    assert (clock.now, ears.got) == (1.0, [])
    assert ears.snapshot().incarnation == 1
    feed.start()
    clock.advance(1)
    assert ears.stop(timeout=1).stragglers == 1  # it holds the feed's greenlet


def test_who_emits_from_outside_is_stopped_at_once(root: Supervisor, clock: VirtualClock) -> None:
    """The greenlet that emits is nobody's: it can wait for the end of the service."""
    feed = root.adopt(Feed())
    ears = root.adopt(Ears(lambda: feed.stop()))
    feed.emit("tick")
    (report,) = ears.got
    assert isinstance(report, StopReport)
    assert (report.is_pending, report.is_clean) == (False, True)
    assert feed.snapshot().state is State.STOPPED
    clock.settle()


def test_a_greenlet_that_a_listener_spawns_waits_for_nobody(
    root: Supervisor, clock: VirtualClock
) -> None:
    feed = root.adopt(Feed())
    reports: list[StopReport] = []
    ears = root.adopt(Ears(lambda: None))
    ears.act = lambda: ears.spawn(lambda: reports.append(feed.stop()))
    clock.advance(1)
    assert [report.is_pending for report in reports] == [False]
    assert feed.snapshot().state is State.STOPPED
