"""A dynamic supervisor's stop and a child that is on its way up meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import spawn
from sprag import DynamicSupervisor, Service, StartFailed, State, Supervisor
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")


class Slow(Service):
    def on_stop(self) -> None:
        gevent.sleep(2.0)


class Late(Service):
    def on_start(self) -> None:
        gevent.sleep(1.0)


def test_a_child_that_would_be_up_before_the_others_are_down_is_called_off(
    clock: VirtualClock,
) -> None:
    top = DynamicSupervisor()
    top.start()
    top.start_child(Slow())
    late = Late()
    starting = spawn(top.start_child, late)
    clock.settle()
    top.stop()
    assert late.snapshot().state is not State.RUNNING
    with pytest.raises(StartFailed, match="its parent is stopping"):
        starting.get()


def test_children_keep_their_places_until_all_are_down(clock: VirtualClock) -> None:
    class Quick(Service):
        def on_stop(self) -> None:
            gevent.sleep(0.5)

    top = DynamicSupervisor()
    top.start()
    top.start_child(Quick())
    top.start_child(Slow())
    stopping = spawn(top.stop)
    clock.advance(1.0)
    check_invariants(top)
    assert [child.path for child in top.snapshot().children] == [
        "DynamicSupervisor/Quick",
        "DynamicSupervisor/Slow",
    ]
    stopping.join()


class Plain(Service):
    """Is down at once."""


def test_those_that_are_down_at_once_keep_their_places_as_well(clock: VirtualClock) -> None:
    top = DynamicSupervisor()
    top.start()
    top.start_child(Slow())
    top.start_child(Plain())
    stopping = spawn(top.stop)
    clock.advance(1.0)
    check_invariants(top)
    assert [(child.path, child.state) for child in top.snapshot().children] == [
        ("DynamicSupervisor/Slow", State.STOPPING),
        ("DynamicSupervisor/Plain", State.STOPPED),
    ]
    stopping.join()
    assert stopping.get().clean == 3


class SlowOnce(Service):
    """Its first start takes long."""

    starts = 0

    def on_start(self) -> None:
        type(self).starts += 1
        if self.starts == 1:
            gevent.sleep(10.0)


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
def test_who_is_adopted_elsewhere_as_soon_as_its_start_was_called_off_is_left_alone(
    clock: VirtualClock, kind: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowOnce, "starts", 0)
    wanderer = SlowOnce()
    with Supervisor(name="other") as other:
        top = kind()
        top.start()

        def finds_a_place() -> None:
            with pytest.raises(StartFailed, match="its parent is stopping"):
                top.start_child(wanderer)
            other.start_child(wanderer)

        finding = spawn(finds_a_place)
        clock.settle()
        top.stop()
        finding.get()
        assert (wanderer.snapshot().path, wanderer.snapshot().state) == (
            "other/SlowOnce",
            State.RUNNING,
        )
        check_invariants(other)


class MovesIt(Service):
    """Moves a sibling that was stopped before to another supervisor, when it says goodbye."""

    def __init__(self, here: Supervisor, moved: Service, there: Supervisor) -> None:
        self.here, self.moved, self.there = here, moved, there

    def on_stop(self) -> None:
        self.here.delete_child("moved")
        self.there.start_child(self.moved)


def test_who_is_moved_elsewhere_during_a_stop_is_left_alone(clock: VirtualClock) -> None:
    del clock
    with Supervisor(name="other") as other:
        top = Supervisor()
        top.start()
        moved = top.start_child(Plain(), name="moved")
        top.terminate_child("moved")
        for _ in range(255):  # together with the one that moves it, as many as end at a time
            top.start_child(Plain())
        top.start_child(MovesIt(top, moved, other))
        report = top.stop()
        assert (report.clean, report.errors) == (257, 0)
        assert (moved.snapshot().path, moved.snapshot().state) == ("other/Plain", State.RUNNING)
        check_invariants(other)
