"""Bare greenlets born inside a service belong to it while `own_greenlets` is in force."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import gevent
import gevent.monkey
import pytest

from sprag import Service, State, Supervisor, current_service, own_greenlets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


class Library:
    """Spawns by itself, as libraries do."""

    def __init__(self) -> None:
        self.seen: list[Service | None] = []
        self.greenlets: list[Any] = []

    def work(self, seconds: float = 1000.0) -> None:
        def body() -> None:
            self.seen.append(current_service())
            gevent.sleep(seconds)

        self.greenlets.append(gevent.spawn(body))

    def crash(self) -> None:
        def body() -> None:
            raise OSError("line is dead")

        self.greenlets.append(gevent.spawn(body))


class User(Service):
    def __init__(self, library: Library) -> None:
        self.library = library

    def on_start(self) -> None:
        self.library.work()


@pytest.fixture
def library(clock: VirtualClock) -> Iterator[Library]:
    assert clock.now == 0
    with own_greenlets():
        yield Library()


def test_a_librarys_greenlet_knows_its_service_and_ends_with_it(
    library: Library, clock: VirtualClock
) -> None:
    with Supervisor() as top:
        user = top.adopt(User(library))
        clock.settle()
        assert library.seen == [user]
        assert user.snapshot().owned.greenlets == 1
        user.stop()
        assert library.greenlets[0].dead


def test_its_crash_is_the_services_crash_and_is_reported_once(
    library: Library, clock: VirtualClock, log: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Supervisor() as top:
        user = top.adopt(User(library))
        user.timeout(library.crash, 1)
        clock.advance(2)
        assert user.snapshot().incarnation == 2
        assert [record.sprag["event"] for record in log.at_least(40)] == ["service crashed"]
    assert capfd.readouterr() == ("", "")


def test_restarts_leave_no_greenlets_of_earlier_lives(
    library: Library, clock: VirtualClock
) -> None:
    with Supervisor(max_restarts=100) as top:
        user = top.adopt(User(library))
        for _ in range(5):
            user.timeout(library.crash, 1)
            clock.advance(2)
        assert sum(not each.dead for each in library.greenlets) == 1
        assert user.snapshot().state is State.RUNNING


def test_a_greenlet_that_a_greenlet_of_the_service_spawns_is_the_services_too(
    library: Library, clock: VirtualClock
) -> None:
    with Supervisor() as top:
        user = top.adopt(User(library))
        gevent.spawn(gevent.sleep, 5)  # nobody's
        user.spawn(gevent.spawn, lambda: library.work(3))
        clock.advance(1)
        assert library.seen == [user, user]
        assert user.snapshot().owned.greenlets == 2
        clock.advance(5)
        assert user.snapshot().owned.greenlets == 1


def test_outside_the_block_nothing_is_touched(clock: VirtualClock) -> None:
    hub = gevent.get_hub()
    before = dict(hub.__dict__)
    with own_greenlets(), own_greenlets():
        pass
    assert hub.__dict__ == before
    library = Library()
    with Supervisor() as top:
        top.adopt(User(library))
        clock.settle()
        assert library.seen == [None]
    gevent.killall(library.greenlets)


def test_the_end_of_an_inner_block_is_not_that_of_the_outer(
    library: Library, clock: VirtualClock
) -> None:
    with own_greenlets():
        pass
    with Supervisor() as top:
        user = top.adopt(User(library))
        clock.settle()
        assert library.seen == [user]


def test_another_thread_that_has_copied_the_context_is_not_the_services(
    library: Library, clock: VirtualClock
) -> None:
    foreign: list[Any] = []

    def work() -> None:
        context = contextvars.copy_context()

        def elsewhere() -> None:
            foreign.append(context.run(gevent.spawn, int))
            foreign[0].join()
            gevent.get_hub().destroy(destroy_loop=True)

        start = gevent.monkey.get_original("threading", "Thread")(target=elsewhere)
        start.start()
        start.join()

    with Supervisor() as top:
        user = top.adopt(User(library))
        user.spawn(work)
        clock.settle()
        assert user.snapshot().owned.greenlets == 1
        assert user.snapshot().incarnation == 1
        assert foreign[0].successful()
