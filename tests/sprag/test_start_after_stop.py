"""A start that comes after a stop, which may be pending: it waits, or says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import DynamicSupervisor, Service, StopReport, Supervisor
from sprag.control.acting import _start  # pyright: ignore[reportPrivateUsage]
from sprag.exceptions import AlreadyStarted, ChildRunning, NotRunning, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


class Counted(Service):
    """Stops itself, or finishes, when it is told to."""

    def on_start(self) -> None:
        self.reports: list[StopReport] = []
        self.listen("stop", lambda _: self.reports.append(self.stop()))
        self.listen("finish", lambda _: self.finish())

    def on_stop(self) -> None:
        gevent.sleep(1.0)


class Brief(Service):
    """Ends on the spot: it has nothing that could block."""

    def on_start(self) -> None:
        self.listen("stop", lambda _: self.stop())
        self.listen("finish", lambda _: self.finish())


STARTS: dict[str, Callable[[Supervisor, Service], object]] = {
    "start": lambda _top, one: one.start(),
    "restart_child": lambda top, _one: top.restart_child("one"),
    "the control socket": lambda _top, one: _start(one),
}


def state_of(one: Service) -> str:
    return one.snapshot().state.value


@pytest.mark.parametrize("kind", [Counted, Brief])
@pytest.mark.parametrize("start", STARTS)
def test_a_start_from_outside_waits_for_a_stop_that_is_pending(
    start: str, kind: type[Service], clock: VirtualClock
) -> None:
    with Supervisor() as top:
        one = top.adopt(kind(), name="one")
        top.emit("stop")
        assert state_of(one) == "running"
        STARTS[start](top, one)
        clock.advance(5.0)
        assert (state_of(one), one.snapshot().incarnation) == ("running", 2)


@pytest.mark.parametrize("kind", [Counted, Brief])
def test_a_root_is_started_again_after_a_stop_that_is_pending(
    kind: type[Service], clock: VirtualClock
) -> None:
    root = kind()
    root.start()
    root.emit("stop")
    root.start()
    clock.advance(5.0)
    assert (state_of(root), root.snapshot().incarnation) == ("running", 2)
    root.stop()


def test_a_stop_from_the_hub_is_waited_for_as_well(clock: VirtualClock) -> None:
    one = Counted()
    one.start()
    gevent.get_hub().loop.run_callback(one.stop)
    gevent.sleep(0)
    one.start()
    clock.advance(5.0)
    assert (state_of(one), one.snapshot().incarnation) == ("running", 2)
    one.stop()


@pytest.mark.parametrize("start", STARTS)
def test_a_start_waits_for_a_pending_end_by_itself_too(start: str, clock: VirtualClock) -> None:
    with Supervisor() as top:
        one = top.adopt(Brief(), name="one", restart="transient")
        top.emit("finish")
        STARTS[start](top, one)
        clock.advance(5.0)
        assert (state_of(one), one.snapshot().incarnation) == ("running", 2)


def test_a_pending_stop_that_another_was_faster_than_does_not_hit_the_next_life(
    clock: VirtualClock,
) -> None:
    one = Brief()
    one.start()
    one.emit("stop")
    one.stop()
    assert state_of(one) == "stopped"
    one.start()
    clock.advance(5.0)
    assert (state_of(one), one.snapshot().incarnation) == ("running", 2)
    one.stop()


def test_nor_a_life_in_another_tree(clock: VirtualClock) -> None:
    with Supervisor() as top, Supervisor() as other:
        one = top.adopt(Brief(), restart="temporary", name="one")
        top.emit("stop")
        top.terminate_child("one")
        other.adopt(one, name="there")
        clock.advance(5.0)
        assert state_of(one) == "running"


def test_a_start_waits_until_a_first_start_that_is_called_off_is_undone(
    clock: VirtualClock,
) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            try:
                gevent.sleep(1000.0 if self.snapshot().incarnation == 1 else 0)
            finally:
                gevent.sleep(1.0)

    slow = Slow()
    spawn: Any = gevent.spawn
    first = spawn(slow.start)
    clock.settle()
    stopping = spawn(slow.stop)
    clock.settle()
    slow.start()
    assert (state_of(slow), slow.snapshot().incarnation) == ("running", 2)
    assert isinstance(first.exception, StartFailed)
    stopping.join()
    slow.stop()


def test_several_stops_that_are_pending_are_one_and_the_nearest_deadline_counts(
    clock: VirtualClock,
) -> None:
    class Slow(Service, shutdown="infinity"):
        def on_start(self) -> None:
            self.listen("stop", lambda seconds: self.stop(seconds))

        def on_stop(self) -> None:
            gevent.sleep(1000.0)

    slow = Slow()
    slow.start()
    for seconds in (None, 2.0, 50.0):
        slow.emit("stop", seconds)
    slow.start()
    assert 2.0 <= clock.now < 3.0
    spawn: Any = gevent.spawn
    spawn(slow.stop, 1.0).join()


@pytest.mark.parametrize("start", ["start", "restart_child"])
def test_in_the_stopping_service_itself_a_start_says_that_it_is_still_stopping(
    start: str, clock: VirtualClock
) -> None:
    top = Supervisor()
    calls: dict[str, Callable[[Service], object]] = {
        "start": lambda one: one.start(),
        "restart_child": lambda _one: top.restart_child("one"),
    }
    answers: list[str] = []

    class Eager(Service):
        def on_start(self) -> None:
            self.spawn(self.again)

        def again(self) -> None:
            gevent.sleep(1.0)
            assert self.stop().is_pending
            with pytest.raises(AlreadyStarted) as caught:
                calls[start](self)
            answers.append(str(caught.value))

        def on_stop(self) -> None:
            with pytest.raises(AlreadyStarted) as caught:
                calls[start](self)
            answers.append(str(caught.value))

    with top:
        eager = top.adopt(Eager(), name="one")
        clock.advance(5.0)
        assert state_of(eager) == "stopped"
    assert len(answers) == 2
    for answer in answers:
        assert answer.startswith("Supervisor/one is still stopping: start it when it is down")


def test_in_the_last_hook_after_a_crash_a_start_says_that_it_is_still_stopping(
    clock: VirtualClock,
) -> None:
    answers: list[str] = []

    class Eager(Service, restart="temporary"):
        def on_start(self) -> None:
            self.timeout(self.fail, 1.0)

        def fail(self) -> None:
            raise OSError("no more")

        def on_stop(self) -> None:
            with pytest.raises(AlreadyStarted) as caught:
                self.start()
            answers.append(str(caught.value))

    with Supervisor([Eager()]):
        clock.advance(5.0)
    assert ["still stopping" in each for each in answers] == [True]


def test_a_listener_that_stops_its_emitter_cannot_start_it_before_it_is_down(
    clock: VirtualClock,
) -> None:
    answers: list[str] = []

    class Feed(Service):
        def run(self) -> None:
            gevent.sleep(1.0)
            self.emit("tick")
            gevent.sleep(1000.0)

    class Guard(Service):
        def __init__(self, feed: Feed) -> None:
            self.feed = feed

        def on_start(self) -> None:
            self.listen("tick", self.again)

        def again(self, _data: object) -> None:
            assert self.feed.stop().is_pending
            with pytest.raises(AlreadyStarted, match="still stopping") as caught:
                self.feed.start()
            answers.append(str(caught.value))
            self.spawn(self.feed.start)  # not in the emitter's greenlet: it waits

    with Supervisor() as top:
        feed = top.adopt(Feed())
        top.adopt(Guard(feed))
        clock.advance(1.5)
        assert len(answers) == 1
        assert (state_of(feed), feed.snapshot().incarnation) == ("running", 2)


def test_a_service_that_swallows_its_kill_is_not_started_by_what_it_has_left_behind(
    clock: VirtualClock,
) -> None:
    answers: list[str] = []

    class Stubborn(Service, shutdown=0.5):
        def run(self) -> None:
            try:
                gevent.sleep(1000.0)
            except gevent.GreenletExit:
                with pytest.raises(AlreadyStarted) as caught:
                    self.start()
                answers.append(str(caught.value))

    with Supervisor() as top:
        stubborn = top.adopt(Stubborn())
        clock.settle()
        assert top.terminate_child("Stubborn").is_clean
        assert state_of(stubborn) == "stopped"
    assert "still stopping" in answers[0]


def test_a_child_that_leaves_its_tree_while_a_start_waits_for_it_is_told_as_what_it_is(
    clock: VirtualClock,
) -> None:
    class Slow(Service):
        def on_stop(self) -> None:
            gevent.sleep(1.0)

    spawn: Any = gevent.spawn
    with DynamicSupervisor() as top:
        slow = top.start_child(Slow(), name="slow")
        spawn(slow.stop)
        clock.advance(0.5)
        with pytest.raises(NotRunning) as caught:
            slow.start()
    assert str(caught.value) == (
        "slow is stopped: cannot start; it has left its tree: adopt it again first"
    )


def test_a_child_that_is_stopping_is_not_said_to_run(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_stop(self) -> None:
            gevent.sleep(1.0)

    spawn: Any = gevent.spawn
    with Supervisor() as top:
        slow = top.start_child(Slow(), name="slow")
        spawn(slow.stop)
        clock.advance(0.5)
        with pytest.raises(ChildRunning, match="slow is stopping: stop it first"):
            top.delete_child("slow")
        slow.stop()
        top.delete_child("slow")
