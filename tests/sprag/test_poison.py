"""An item that is poison is told of once, when it becomes that, whoever asks for its result."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit, sleep

from sprag import Supervisor, Worker, WorkerPool
from sprag.exceptions import PoisonItem

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

POISON = "an item is poison, and is not tried again"


class Bad(Exception):
    pass


class Packer(Worker):
    def handle(self, item: Any) -> None:
        sleep(1.0)
        raise Bad("no good")


def pool_of(worker: type[Worker] = Packer, **given: Any) -> WorkerPool:
    return WorkerPool(worker, size=2, name="pool", **given)


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == level]


def test_it_is_an_error_of_the_pool_at_the_moment_it_becomes_poison(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor([pool_of(retries=2)], name="top") as top:
        task = top.service("pool").submit(-7)
        clock.advance(2.5)
        crashed = "service crashed (step='handle')"
        assert lines(caplog, logging.ERROR) == []
        assert lines(caplog, logging.WARNING) == [
            f"top/pool/worker-1: {crashed}",
            f"top/pool/worker-2: {crashed}",
        ]
        clock.advance(0.5)
        assert lines(caplog, logging.ERROR) == [f"top/pool: {POISON} (item='-7', tries=3)"]
        assert [e.exc_info[0] for e in caplog.records if e.exc_info] == [Bad] * 3
        assert task.done


@pytest.mark.parametrize("asks", ["never", "before", "after"])
def test_it_is_told_once_whoever_asks(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, asks: str
) -> None:
    with Supervisor([pool_of()], name="top") as top:
        task = top.service("pool").submit(1)
        if asks != "before":
            clock.advance(2.0)
        if asks != "never":
            with pytest.raises(PoisonItem, match="2 workers, the last with Bad: no good"):
                task.get()
        del task
        gc.collect()
        clock.advance(2.0)
    assert len(lines(caplog, logging.ERROR)) == 1


def test_of_the_item_no_more_is_told_than_of_an_argument(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Card:
        def __repr__(self) -> str:
            raise AssertionError("nobody's code runs for the log")

    with Supervisor([pool_of(retries=0)], name="top") as top:
        for item in ("4111 1111", {"password": "hunter2"}, Card(), True):
            top.service("pool").submit(item)
        clock.advance(3.0)
    said = [line.partition("item=")[2].partition(",")[0] for line in lines(caplog, logging.ERROR)]
    assert sorted(said) == ["'<Card>'", "'<dict>'", "'<str>'", "'True'"]
    assert "hunter2" not in caplog.text
    assert "4111" not in caplog.text


def test_an_item_that_ends_its_worker_in_another_way_is_told_likewise(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Leaves(Worker):
        def handle(self, item: Any) -> None:
            del item
            raise GreenletExit

    class Ticks(Worker):
        def handle(self, item: Any) -> None:
            self.timeout(self.fail, 1.0)
            sleep(item)

        def fail(self) -> None:
            raise Bad("beside it")

    for worker in (Leaves, Ticks):
        with Supervisor([pool_of(worker, retries=0)], name="top") as top:
            top.service("pool").submit(9)
            clock.advance(2.0)
            assert lines(caplog, logging.ERROR)[-1].startswith(f"top/pool: {POISON} (item='9', tr")
    assert "Bad: beside it')" in caplog.text


def test_while_the_pool_drains_it_is_one_error_too_and_one_of_the_stop(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor([pool_of()], name="top") as top:
        top.service("pool").submit(1)
        clock.advance(0.5)
        report = top.stop()
    assert lines(caplog, logging.ERROR) == [f"top/pool: {POISON} (item='1', tries=2)"]
    assert [each.step for each in report.entries] == ["handle", "handle"]
