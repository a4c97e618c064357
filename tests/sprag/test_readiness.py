"""Ready is the tree in which everything runs that should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from scripted import spawn
from sprag import Backoff, DynamicSupervisor, Ignore, Service, State, Supervisor
from sprag.web import _health

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Plain(Service):
    pass


class Slow(Service):
    def on_start(self) -> None:
        gevent.sleep(10)


class Absent(Service):
    def on_start(self) -> None:
        raise Ignore


class Once(Service, restart="transient"):
    def run(self) -> None:
        """Finish at once."""


def boom() -> None:
    raise ValueError


def test_a_tree_is_ready_when_its_slowest_service_has_started(clock: VirtualClock) -> None:
    top = Supervisor([Plain(), Slow()], name="top")
    assert top.not_ready() == {"top": State.NEW}
    starting = spawn(top.start)
    clock.advance(9)
    assert top.not_ready() == {"top": State.STARTING, "top/Slow": State.STARTING}
    clock.advance(1)
    starting.get()
    assert top.not_ready() == {}
    top.stop()


def test_stopped_ignored_and_finished_services_do_not_matter(clock: VirtualClock) -> None:
    with Supervisor([Plain(), Absent(), Once()], name="top") as top:
        clock.settle()
        top.terminate_child("Plain")
        assert top.not_ready() == {}


def test_waiting_for_a_restart_and_failed_are_not_ready(clock: VirtualClock) -> None:
    class Stays(Service, on_failure={ValueError: "stop"}):
        pass

    with Supervisor(name="top") as top:
        waits = top.adopt(Plain(), backoff=Backoff(initial=5, jitter=0))
        stays = top.adopt(Stays())
        waits.spawn(boom)
        stays.spawn(boom)
        clock.settle()
        assert top.not_ready() == {
            "top/Plain": State.RESTARTING,
            "top/Stays": State.FAILED,
        }
        clock.advance(5)
        assert waits.not_ready() == {}


def test_the_answer_about_a_large_tree_lets_others_run() -> None:
    """With the real clock: a walk that holds the loop for long holds it for everybody."""
    top = DynamicSupervisor(name="top")
    with top:
        for number in range(100_000):
            top.start_child(Service(), name=str(number))
        turns = 0

        def others() -> None:
            nonlocal turns
            while True:
                gevent.sleep(0.0001)
                turns += 1

        other = gevent.Greenlet(others)
        other.start()
        gevent.sleep(0.001)
        before = turns
        status, body = _health.answer(_health.READY, top)
        assert (status, body) == (200, b'{"ready": true}')
        assert turns > before
        other.kill()
