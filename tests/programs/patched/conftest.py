"""A tree that must leave nothing behind: no process, descriptor or greenlet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import gevent
import pytest

from programmed import Log
from sprag import Supervisor
from sprag.testing import LeakCheck

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log() -> Iterator[Log]:
    logger, handler = logging.getLogger("sprag"), Log()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def top(log: Log) -> Iterator[Supervisor]:
    """A tree that runs."""
    del log
    gevent.sleep(0)
    with LeakCheck(), Supervisor(name="top", max_restarts=1000) as top:
        yield top
