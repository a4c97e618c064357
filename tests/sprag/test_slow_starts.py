"""A start that does not return is named: rarer and rarer, and with its stack in the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent

from sprag import App, Service, host
from sprag.process.slow_starts import SlowStarts
from sprag_supervisor.life.by_hand import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag.testing import VirtualClock


class Hangs(Service):
    """Its start takes so many seconds."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds

    def on_start(self) -> None:
        self.wait_for_a_broker()

    def wait_for_a_broker(self) -> None:
        gevent.sleep(self.seconds[0])


def told(log: Any) -> list[dict[str, Any]]:
    return [
        each
        for record in log.records
        if (each := getattr(record, "sprag", {})).get("event") == "still starting"
    ]


@contextmanager
def watched(root: Service) -> Generator[None]:
    with SlowStarts(tree_of(root)).told():
        yield


def test_a_hanging_start_is_named_after_5_seconds_then_rarer_with_its_stack(
    clock: VirtualClock, log: Any
) -> None:
    app = App(name="shop", providers={"quick": Service(), "broker": Hangs(1000)})
    with watched(app):
        starting = gevent.Greenlet(app.start)
        starting.start()
        clock.advance(4.9)
        assert told(log) == []
        clock.advance(1000)
        starting.get()
        said = told(log)
        assert [each["service"] for each in said] == ["shop/broker"] * 5
        assert [each["seconds"] for each in said] == [5.0, 20.0, 65.0, 200.0, 605.0]
        assert ["stack" in each for each in said] == [False, False, True, True, True]
        assert "in wait_for_a_broker" in said[2]["stack"]
        app.stop()


def test_a_start_that_is_quick_enough_is_not_named(clock: VirtualClock, log: Any) -> None:
    app = App(name="shop", providers={"a": Hangs(4.5), "b": Hangs(4.5)})
    with watched(app):
        app.start()
        clock.advance(60)
        app.stop()
    assert told(log) == []


def test_a_restart_and_a_late_adoption_that_hang_are_named_too(
    clock: VirtualClock, log: Any
) -> None:
    class Flaky(Service):
        lives = 0

        def on_start(self) -> None:
            type(self).lives += 1
            if self.lives > 1:
                gevent.sleep(30)

        def fail(self) -> None:
            self.spawn(int, "two")

    app = App(name="shop", providers={"flaky": (flaky := Flaky()), "host": (late := Service())})
    with watched(app):
        app.start()
        clock.advance(100)
        flaky.fail()
        gevent.spawn(late.adopt, Hangs(30), name="late")
        clock.advance(40)
        named = [(each["service"], each["incarnation"]) for each in told(log)]
        assert sorted(set(named)) == [("shop/flaky", 2), ("shop/host/late", 1)]
        app.stop()


def test_a_stop_ends_the_talk_about_a_start(clock: VirtualClock, log: Any) -> None:
    app = App(name="shop", providers={"broker": Hangs(1000)})
    with watched(app):
        starting = gevent.Greenlet(app.start)
        starting.start()
        clock.advance(6)
        app.stop()
        starting.join()
        assert starting.exception is not None
        clock.advance(1000)
    assert len(told(log)) == 1


def test_the_host_watches_starts(clock: VirtualClock, log: Any) -> None:
    class Ends(Hangs, restart="transient"):
        def run(self) -> None:
            return

    assert host.run(Ends(7), control=False) == 0
    assert [each["seconds"] for each in told(log)] == [5.0]
    assert clock.now >= 7
