"""What each of several workers runs for itself is said once, at the start."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from sprag import App, DynamicSupervisor, Service, Singleton, Supervisor, Worker, WorkerPool
from sprag.process.in_each import say_what_each_runs
from sprag.testing import as_workers, virtual_time
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Poller(Service):
    def run(self) -> None:
        import gevent

        gevent.sleep(1000)


class Timed(Service):
    def on_start(self) -> None:
        self.interval(print, 1000)


class Nightly(Service):
    def on_start(self) -> None:
        self.cron("5 3 * * *", print)


class Once(Service):
    def on_start(self) -> None:
        self.timeout(print, 1000)
        self.listen("x", print)


class Packer(Worker):
    def handle(self, item: object) -> None:
        pass


@pytest.fixture
def _virtual() -> Iterator[None]:
    with virtual_time():
        yield


@pytest.mark.usefixtures("_virtual")
def test_it_names_bodies_intervals_and_crons_but_what_is_a_singleton_s(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def made() -> App:
        return App(
            providers={
                "poller": Poller(),
                "inner": Supervisor([Timed(), Once()]),
                "nightly": Nightly(),
                "pool": WorkerPool(Packer, size=2),
                "some": DynamicSupervisor(),
                "billing": Singleton(Poller()),
            }
        )

    first, second = made(), made()
    caplog.set_level(logging.INFO, "sprag")
    with as_workers(first, second), first, second:
        for root in (first, second):
            say_what_each_runs(root, tree_of(root).cluster, 2)
        said = [each.getMessage() for each in caplog.records if "each of" in each.getMessage()]
    (text,) = said
    wanted = "each of 2 workers runs: poller, inner/Timed, nightly; Singleton(…) makes it one"
    assert wanted in text


@pytest.mark.usefixtures("_virtual")
def test_where_there_is_nothing_to_say_nothing_is(caplog: pytest.LogCaptureFixture) -> None:
    root = App(providers={"once": Once(), "billing": Singleton(Poller())})
    caplog.set_level(logging.INFO, "sprag")
    with as_workers(root), root:
        say_what_each_runs(root, tree_of(root).cluster, 2)
        say_what_each_runs(root, tree_of(root).cluster, 1)
    assert not [each for each in caplog.records if "each of" in each.getMessage()]
