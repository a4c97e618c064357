"""The log of starts and ends that a host keeps: it holds up nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, Supervisor
from sprag._lifecycle_log import LifecycleLog
from sprag_supervisor._adopting import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


class Slow(logging.Handler):
    """Waits a second for its log server, and fails the first so many times."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.failures = 0

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        gevent.sleep(1.0)
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
