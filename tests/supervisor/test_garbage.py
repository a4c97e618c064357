"""What ends is gone with its last reference: a busy tree makes no work for the cycle collector."""

from __future__ import annotations

import gc
import io
import logging
from collections import Counter
from typing import TYPE_CHECKING

import gevent
import pytest
from gevent.event import Event

from sprag import DynamicSupervisor, Service, StartFailed, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Patient(Supervisor, max_restarts=10**9, max_seconds=1.0):
    pass


class Phoenix(Service):
    """Tells when it is up, and listens for what it dies of."""

    def __init__(self, up: Event) -> None:
        self.up = up

    def on_start(self) -> None:
        self.listen("crash", crash)
        self.up.set()


class Mortal(Service):
    def __init__(self, up: Event) -> None:
        self.up = up

    def on_start(self) -> None:
        self.up.set()

    def run(self) -> None:
        gevent.sleep(0)
        raise ValueError("mortal")


class Busy(Service, restart="temporary"):
    def on_start(self) -> None:
        self.interval(list, 10)
        self.spawn(gevent.sleep, 10)
        self.add_cleanup(list)

    def on_stop(self) -> None:
        pass


class Stillborn(Service, restart="temporary"):
    def on_start(self) -> None:
        raise ValueError("stillborn")


def crash(*_: object) -> None:
    raise ValueError("crash")


class Stage:
    """A tree and the things that happen in it, each until all is quiet again."""

    def __init__(self, top: Supervisor) -> None:
        self.top = top
        self.up = Event()
        self.phoenix = top.adopt(Phoenix(self.up))
        self.pool = top.adopt(DynamicSupervisor())

    def greenlet_crashes(self) -> None:
        self.up.clear()
        self.phoenix.spawn(crash)
        self.up.wait()

    def listener_crashes(self) -> None:
        self.up.clear()
        self.top.emit("crash")
        self.up.wait()

    def timer_crashes(self) -> None:
        self.up.clear()
        self.phoenix.timeout(crash, 0)
        self.up.wait()

    def run_crashes(self) -> None:
        self.up.clear()
        mortal = self.top.adopt(Mortal(self.up))
        self.up.clear()
        self.up.wait()
        mortal.stop()
        self.top.delete_child("Mortal")

    def start_fails(self) -> None:
        with pytest.raises(StartFailed):
            self.top.adopt(Stillborn())

    def child_stops(self) -> None:
        self.top.adopt(Busy()).stop()

    def dynamic_child_stops(self) -> None:
        self.pool.terminate_child(self.pool.start_child(Busy()))


HAPPENINGS = [
    Stage.greenlet_crashes,
    Stage.listener_crashes,
    Stage.timer_crashes,
    Stage.run_crashes,
    Stage.start_fails,
    Stage.child_stops,
    Stage.dynamic_child_stops,
]


@pytest.fixture
def stage(caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    caplog.set_level(logging.CRITICAL, "sprag")  # a captured record would keep its traceback
    with Patient() as top:
        yield Stage(top)
    gc.enable()


@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda each: each.__name__)
def test_what_happens_over_and_over_leaves_no_reference_cycles(
    stage: Stage, happens: Callable[[Stage], None]
) -> None:
    leaves_no_cycles(stage, happens)


@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda each: each.__name__)
def test_nor_does_it_where_it_is_logged(
    stage: Stage, happens: Callable[[Stage], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("sprag")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(io.StringIO())])
    monkeypatch.setattr(logger, "level", logging.ERROR)
    leaves_no_cycles(stage, happens)


def leaves_no_cycles(stage: Stage, happens: Callable[[Stage], None]) -> None:
    for _ in range(5):
        happens(stage)
    gevent.sleep(0)
    gc.collect()
    gc.disable()
    for _ in range(20):
        happens(stage)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(type(each).__name__ for each in gc.garbage)
    gc.garbage.clear()
    ours = {kind: count for kind, count in found.items() if count >= 10}
    assert ours == {}
