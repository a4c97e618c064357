"""A timer that is started has an owner already, so what a signal handler raises then loses none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, Supervisor
from sprag.testing._timers import VirtualTimer
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
        self.probe(print, every=10.0)


class Beating(Service, heartbeat=10.0):
    """Has to beat."""


@pytest.mark.usefixtures("_interrupted")
@pytest.mark.parametrize("kind", [Slow, Warming, Ticking, Scheduled, Probed, Beating])
def test_a_start_that_is_cut_short_leaves_no_timer(kind: type[Service]) -> None:
    with pytest.raises(KeyboardInterrupt), Supervisor([kind()]):
        gevent.sleep(0)
