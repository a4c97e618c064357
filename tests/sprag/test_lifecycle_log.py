"""The log of starts and ends that a host keeps: it holds up nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, Supervisor
from sprag.process.lifecycle_log import LifecycleLog
from sprag_supervisor.life.by_hand import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


class Slow(logging.Handler):
    """Waits a second for its log server, and fails the first so many times."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.seconds = 1.0
        self.failures = 0

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)  # without the lock
        return True

    def emit(self, record: logging.LogRecord) -> None:
        if self.seconds:
            gevent.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        said: dict[str, Any] = vars(record)["sprag"]
        self.lines.append(f"{said['event']} {said['service']}")


@pytest.fixture
def slow() -> Iterator[Slow]:
    logger, handler = logging.getLogger("sprag"), Slow()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_of_a_worker_its_parent_logs_starts_and_ends(clock: VirtualClock, slow: Slow) -> None:
    slow.seconds = 0
    top = Supervisor(children=[Service()])
    top._name_ = "shop/worker-2"  # as its host calls it
    tree_of(top).observers.append(LifecycleLog(tree_of(top), "shop/worker-2"))
    top.start()
    clock.settle()
    top.stop()
    clock.settle()
    assert slow.lines == [
        "service started shop/worker-2/Service",
        "service stopped shop/worker-2/Service",
    ]


def test_a_handler_that_blocks_holds_up_neither_start_nor_stop(
    clock: VirtualClock, slow: Slow
) -> None:
    top = Supervisor(children=[Service()], name="top")
    tree_of(top).observers.append(LifecycleLog(tree_of(top)))
    top.start()
    top.stop()
    assert clock.now == 0.0
    clock.advance(10.0)
    assert slow.lines == [
        "service started top/Service",
        "service started top",
        "service stopped top/Service",
        "service stopped top",
    ]


def test_what_a_handler_fails_to_write_is_not_in_the_way_of_the_rest(
    clock: VirtualClock, slow: Slow, capfd: pytest.CaptureFixture[str]
) -> None:
    slow.failures = 1
    top = Supervisor(children=[Service()], name="top")
    tree_of(top).observers.append(LifecycleLog(tree_of(top)))
    with top:
        clock.advance(5.0)
        assert slow.lines == ["service started top"]
    clock.advance(5.0)
    assert "ConnectionError" in capfd.readouterr().err


def test_the_log_is_in_the_order_of_events_from_the_first_start_on(
    clock: VirtualClock, slow: Slow
) -> None:
    class Eager(Service):
        lives = 0

        def on_start(self) -> None:
            self.log.info("starting")
            Eager.lives += 1

        def run(self) -> None:
            self.log.info("running")
            if Eager.lives == 1:
                raise ValueError("bad order")
            gevent.sleep(3600)

    slow.seconds = 0.0
    top = Supervisor(children=[Eager(), Service()], name="top")
    tree_of(top).observers.append(LifecycleLog(tree_of(top)))
    with top:
        clock.advance(1.0)
    clock.advance(1.0)
    eager = [line.rpartition(" top/Eager")[0] for line in slow.lines if "Eager" in line]
    assert eager == [
        "starting",
        "service started",
        "running",
        "service crashed",
        "starting",
        "service restarted",
        "running",
        "service stopped",
    ]


def test_who_logs_something_waits_for_one_slow_write_of_others_and_not_for_all(
    clock: VirtualClock, slow: Slow
) -> None:
    logged: list[float] = []

    class Last(Service):
        def on_start(self) -> None:
            self.log.info("mine")
            logged.append(clock.now)

    children = [(Service(), {"name": f"n{number}"}) for number in range(20)]
    top = Supervisor(children=[*children, Last()], name="top")
    tree_of(top).observers.append(LifecycleLog(tree_of(top)))
    with top:
        assert logged[0] <= 2.0
    clock.advance(60.0)
    assert len(slow.lines) == 2 * 22 + 1
