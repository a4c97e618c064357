"""How timers are started.

Each has an owner already, so what a signal handler raises then loses none; and it counts from now,
and not from when the loop's turn began, which may be long ago (gevent-traps 20).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import crash, spawn
from sprag import Backoff, Service, Supervisor
from sprag.testing._timers import VirtualTimer
from sprag_supervisor import recycle_after
from sprag_supervisor.loop import clock as _clock
from sprag_supervisor.loop.parking import Parking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


@pytest.fixture
def _interrupted(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Ctrl-C come as soon as the next timer is started."""
    start = VirtualTimer.start
    left = [KeyboardInterrupt()]

    def starts(timer: VirtualTimer, *args: Any, **kwargs: Any) -> None:
        start(timer, *args, **kwargs)
        if left:
            raise left.pop()

    monkeypatch.setattr(VirtualTimer, "start", starts)
    yield
    assert not left
    # And the clock's LeakCheck.


@pytest.mark.usefixtures("_interrupted")
def test_who_begins_to_wait_is_not_woken_later() -> None:
    with pytest.raises(KeyboardInterrupt):
        Parking().park(_clock.now() + 10.0)


class Slow(Service, start_timeout=10.0):
    """Has to come up in time."""

    def on_start(self) -> None:
        gevent.sleep(1.0)


class Warming(Service, start_timeout=10.0):
    """Has to get ready in time."""

    def on_start(self) -> None:
        self.set_ready(False, "warming up")


class Ticking(Service):
    """Has an interval."""

    def on_start(self) -> None:
        self.interval(print, 10.0)


class Scheduled(Service):
    """Has a cron."""

    def on_start(self) -> None:
        self.cron("5 3 * * *", print)


class Probed(Service):
    """Is asked how it is."""

    def on_start(self) -> None:
        self.probe(print, every=5.0)


class Beating(Service, heartbeat=10.0):
    """Has to beat."""


@pytest.mark.usefixtures("_interrupted")
@pytest.mark.parametrize("kind", [Slow, Warming, Ticking, Scheduled, Probed, Beating])
def test_a_start_that_is_cut_short_leaves_no_timer(kind: type[Service]) -> None:
    with pytest.raises(KeyboardInterrupt), Supervisor([kind()]):
        gevent.sleep(0)


class Recycled(Service, backoff=Backoff(1.0, jitter=0.0)):
    """Ends now and then."""

    def on_start(self) -> None:
        recycle_after(self, 10.0)


class Working(Service):
    """Has a task with a deadline."""

    def on_start(self) -> None:
        self.map(str, [1], item_timeout=5.0)


def test_every_timer_counts_from_now(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    start = VirtualTimer.start
    asked: defaultdict[str, set[object]] = defaultdict(set)

    def starts(timer: VirtualTimer, *args: Any, **kwargs: Any) -> None:
        where = sys._getframe(1).f_globals["__name__"]
        asked[where].add(kwargs.get("update"))
        start(timer, *args, **kwargs)

    monkeypatch.setattr(VirtualTimer, "start", starts)
    kinds = (Slow, Warming, Ticking, Scheduled, Probed, Beating, Recycled, Working)
    with Supervisor([kind() for kind in kinds]) as top:
        crash(top.service("Recycled"))
        spawn(top.wait, 5.0)
        clock.advance(9.0)
    asked.pop("sprag_supervisor.loop.pace", None)  # of no seconds at all
    ours = {where: told for where, told in asked.items() if where.startswith("sprag")}
    assert [where for where, told in ours.items() if told != {True}] == []
    assert ours.keys() >= {
        "sprag.owned.crons",
        "sprag.owned.probes",
        "sprag.owned.running",
        "sprag.owned.timers",
        "sprag_supervisor.life.beating",
        "sprag_supervisor.life.declaring",
        "sprag_supervisor.life.recycling",
        "sprag_supervisor.life.supervising",
        "sprag_supervisor.loop.clock",
        "sprag_supervisor.loop.parking",
        "sprag_supervisor.loop.pool",
    }
