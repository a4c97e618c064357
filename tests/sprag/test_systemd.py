"""What a service manager hears of a tree, from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from sprag import Service, Supervisor
from sprag.process.systemd import Status
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from sprag.process.sd_notify import Notifier
    from sprag.testing import VirtualClock


class Manager:
    """Notes what it is told, but for the signs of life, which it counts."""

    def __init__(self, *, is_wanted: bool = True, watchdog_seconds: float | None = None) -> None:
        self.is_wanted = is_wanted
        self.watchdog_seconds = watchdog_seconds
        self.heard: list[str] = []
        self.lives = 0

    def catch_up(self) -> None:
        pass

    def ready(self) -> None:
        self.heard.append("READY")

    def stopping(self) -> None:
        self.heard.append("STOPPING")

    def give_time(self, seconds: float) -> None:
        self.heard.append(f"EXTEND {seconds:.1f}")

    def alive(self) -> None:
        self.lives += 1

    def status(self, text: str) -> None:
        self.heard.append(text)


class Courier(Service):
    def crash(self) -> None:
        raise ValueError("bad order 17")

    def crash_quietly(self) -> None:
        raise ValueError


def telling(manager: Manager, root: Service) -> Status:
    return Status(cast("Notifier", manager), tree_of(root))


def test_a_unit_is_starting_then_ready_then_stopping_then_over(clock: VirtualClock) -> None:
    manager, root = Manager(), Supervisor([Courier()], name="shop")
    status = telling(manager, root)
    with status.told():
        root.start()
        status.up()
        status.stopping("shop/Courier", 2.6)
        status.stopping("shop/Courier", 0.0)
        status.stopping("shop/Courier", None)
        root.stop()
        status.ended("stopped")
    assert manager.heard == [
        "starting",
        "READY",
        "running",
        "STOPPING",
        "EXTEND 3.4",
        "stopping: waits for shop/Courier, 3 s left",
        "STOPPING",
        "stopping: waits for shop/Courier, 0 s left",
        "STOPPING",
        "EXTEND 30.0",
        "stopping: waits for shop/Courier",
        "stopped",
    ]


def test_crashes_are_told_once_a_second_and_not_before_the_tree_is_up(clock: VirtualClock) -> None:
    courier = Courier()
    manager, root = Manager(), Supervisor([courier], name="shop", max_restarts=9)
    status = telling(manager, root)
    with status.told():
        root.start()
        courier.spawn(courier.crash)
        clock.advance(2)
        assert manager.heard == ["starting"]
        status.up()
        for crash in (courier.crash, courier.crash, courier.crash_quietly):
            courier.spawn(crash)
            clock.advance(0.1)
        clock.advance(2)
        root.stop()
    first, last = [each for each in manager.heard if each.startswith("running")]
    assert first == "running; 1 restarts; last crash: shop/Courier: ValueError: bad order 17"
    assert last == "running; 4 restarts; last crash: shop/Courier: ValueError"


def test_a_unit_is_ready_when_the_tree_is(clock: VirtualClock) -> None:
    courier = Courier()
    manager, root = Manager(), Supervisor([courier], name="shop")
    status = telling(manager, root)
    with status.told():
        root.start()
        courier.set_ready(False, "warming up")
        status.up()
        clock.advance(5)
        assert set(manager.heard) == {
            "starting",
            "up, waits for shop/Courier (running: warming up)",
        }
        courier.set_ready()
        clock.advance(1.1)
        assert manager.heard[-2:] == ["READY", "running"]
        courier.set_ready(False)
        clock.advance(5)
        root.stop()
    assert manager.heard.count("READY") == 1


def test_a_unit_is_ready_as_soon_as_the_last_one_is(clock: VirtualClock) -> None:
    courier = Courier()
    manager, root = Manager(), Supervisor([courier], name="shop")
    status = telling(manager, root)
    with status.told():
        root.start()
        courier.set_ready(False)
        status.up()
        clock.advance(0.3)
        assert not status.was_ready
        courier.set_ready()
        clock.settle()
        assert "READY" in manager.heard
        courier.spawn(courier.crash)
        clock.advance(1)
        assert status.was_ready
        root.stop()


def test_more_time_is_asked_for_as_long_as_a_start_is_tried_again(clock: VirtualClock) -> None:
    class Away(Service, retry_start=True):
        tries = 0

        def on_start(self) -> None:
            Away.tries += 1
            if Away.tries < 6:
                raise ConnectionError("not yet")

    manager, root = Manager(), Supervisor([Away()], name="shop")
    status = telling(manager, root)
    with status.told():
        root.start()
        status.up()
        clock.advance(2)
        assert manager.heard.count("EXTEND 30.0") in {2, 3}
        clock.advance(10)
        asked = manager.heard.count("EXTEND 30.0")
        assert manager.heard.count("READY") == 1
        clock.advance(60)
        assert manager.heard.count("EXTEND 30.0") == asked
        root.stop()


def test_whether_all_was_ready_once_is_known_where_nobody_asks_too(clock: VirtualClock) -> None:
    courier = Courier()
    root = Supervisor([courier], name="shop")
    status = telling(Manager(is_wanted=False), root)
    with status.told():
        root.start()
        courier.set_ready(False)
        status.up()
        clock.advance(3)
        assert not status.was_ready
        courier.set_ready()
        clock.settle()
        assert status.was_ready
        assert not tree_of(root).observers
        root.stop()


def test_later_crashes_are_told_once_a_second_too(clock: VirtualClock) -> None:
    courier = Courier()
    manager, root = Manager(), Supervisor([courier], name="shop", max_restarts=99)
    status = telling(manager, root)
    with status.told():
        root.start()
        status.up()
        for _ in range(20):
            courier.spawn(courier.crash)
            clock.advance(0.1)
        clock.advance(2)
        root.stop()
    assert len([each for each in manager.heard if each.startswith("running;")]) == 2


def test_what_the_root_is_at_is_told_too(clock: VirtualClock) -> None:
    manager, root = Manager(), Supervisor([], name="shop")
    status = telling(manager, root)
    with status.told():
        root.start()
        status.up()
        root.set_status("3 of 10 files")
        clock.advance(2)
        assert manager.heard[-1] == "running: 3 of 10 files"
        told = len(manager.heard)
        clock.advance(5)
        assert len(manager.heard) == told
        root.set_status("")
        clock.advance(2)
        assert manager.heard[-1] == "running"
        root.stop()


@pytest.mark.parametrize(("seconds", "lives"), [(0.5, 21), (None, 0)])
def test_signs_of_life_are_given_as_long_as_the_loop_turns(
    clock: VirtualClock, seconds: float | None, lives: int
) -> None:
    manager, root = Manager(watchdog_seconds=seconds), Supervisor([])
    with telling(manager, root).told():
        clock.advance(10)
    assert manager.lives == lives
    clock.advance(10)
    assert manager.lives == lives


def test_where_nobody_asks_nothing_is_set_up(clock: VirtualClock) -> None:
    manager, root = Manager(is_wanted=False), Supervisor([])
    with telling(manager, root).told():
        assert tree_of(root).observers == []
    assert manager.heard == []
