"""Log handlers that block or raise: what they are told has been acted on already."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gevent
import pytest

from scripted import Crash, crash, states
from sprag import Service, StartFailed, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.testing import VirtualClock


@contextmanager
def handled_by(emit: Callable[[logging.LogRecord], object]) -> Generator[None]:
    handler, logger = logging.Handler(), logging.getLogger("sprag")
    handler.handle = emit  # type: ignore[assignment, method-assign]  # without the lock
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def raise_something(record: logging.LogRecord) -> None:
    raise RuntimeError("a handler without a try")


def block(record: logging.LogRecord) -> None:
    gevent.sleep(1.0)


def fail() -> None:
    raise Crash


class Saying(Service):
    """Takes a moment to stop, so that it cannot end on the spot."""

    def on_stop(self) -> None:
        gevent.sleep(0.1)


def test_a_handler_that_raises_does_not_swallow_the_crash(clock: VirtualClock) -> None:
    with handled_by(raise_something), Supervisor(children=[a := Saying()]) as top:
        crash(a)
        clock.advance(1.0)
        assert a.snapshot().restarts == 1
        assert states(top) == {"Saying": "running"}


def test_a_handler_that_raises_does_not_keep_a_stop_from_its_end(clock: VirtualClock) -> None:
    class Bad(Service):
        def on_stop(self) -> None:
            raise Crash

    with handled_by(raise_something):
        top = Supervisor(children=[Bad()])
        top.start()
        assert top.stop().errors == 1


def test_a_crash_that_is_still_being_logged_does_not_end_the_next_life(
    clock: VirtualClock,
) -> None:
    with handled_by(block), Supervisor(children=[a := Saying()]) as top:
        a.spawn(fail)
        clock.settle()
        a.stop()
        a.start()
        clock.advance(5.0)
        assert a.snapshot().incarnation == 2
        assert states(top) == {"Saying": "running"}
        clock.advance(5.0)


def test_a_second_crash_while_the_first_is_being_logged_is_one_restart(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    with handled_by(block), Supervisor(children=[a := Saying()]):
        a.spawn(fail)
        a.spawn(fail)
        clock.advance(10.0)
        assert a.snapshot().restarts == 1
    assert "AssertionError" not in capfd.readouterr().err


def test_a_timeout_while_a_failed_start_is_being_logged_leaves_nothing_half_done(
    clock: VirtualClock,
) -> None:
    class Bad(Service):
        def on_start(self) -> None:
            raise Crash

    with handled_by(block), Supervisor() as top:
        bad = Bad()
        with pytest.raises((gevent.Timeout, StartFailed)), gevent.Timeout(0.5):
            top.adopt(bad)
        clock.advance(5.0)
        assert bad.snapshot().state.value == "failed"
        assert states(top) == {}
