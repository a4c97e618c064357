"""What the tests of services share: virtual time, a leak check, and the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from sprag import Service, Supervisor
from sprag.testing import LeakCheck, VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    """Run the test in virtual time; whatever it starts must be gone at its end."""
    with virtual_time() as clock, LeakCheck():
        yield clock


class Log(logging.Handler):
    """Keeps what sprag logs.

    Attributes:
        records: All of it, in order.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def at_least(self, level: int) -> list[logging.LogRecord]:
        """Return the records of *level* and worse."""
        return [record for record in self.records if record.levelno >= level]


@pytest.fixture
def log() -> Iterator[Log]:
    """Return what is logged under ``sprag`` during the test."""
    logger = logging.getLogger("sprag")
    handler, level = Log(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def running(clock: VirtualClock) -> Iterator[Service]:
    """A service that runs."""
    with Supervisor(children=[one := Service()]):
        yield one
