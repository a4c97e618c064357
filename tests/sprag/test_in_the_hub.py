"""Calls from gevent's hub: a callback of the loop, a rawlink, a signal handler.

What may have to wait is refused before it changes anything; a stop and a finish are handed over.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import App, DynamicSupervisor, Service, Supervisor
from sprag import host as process
from sprag.exceptions import CalledInHub
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.testing import VirtualClock


class Slow(Service):
    """One whose start blocks: entered from the hub, it would come straight back."""

    def on_start(self) -> None:
        gevent.sleep(1)


class Worker(Service):
    pass


def by_callback(call: Callable[[], object]) -> object:
    return _caught_in(gevent.get_hub().loop.run_callback, call)


def by_timer(call: Callable[[], object]) -> object:
    timer = gevent.get_hub().loop.timer(0.01)
    try:
        return _caught_in(timer.start, call)
    finally:
        timer.close()


def by_link(call: Callable[[], object]) -> object:
    def link(run: Callable[[], object]) -> None:
        spawn: Any = gevent.spawn

        def told(_one: object) -> None:
            run()

        spawn(int).rawlink(told)

    return _caught_in(link, call)


def by_signal(call: Callable[[], object]) -> object:
    """Call it in a handler that Python runs in the hub, as it does while all wait."""

    def link(run: Callable[[], object]) -> None:
        before = signal.signal(signal.SIGUSR2, lambda _signal, _frame: run())

        def raise_it() -> None:
            signal.raise_signal(signal.SIGUSR2)
            signal.signal(signal.SIGUSR2, before)

        gevent.get_hub().loop.run_callback(raise_it)

    return _caught_in(link, call)


def _caught_in(
    arrange: Callable[[Callable[[], object]], object], call: Callable[[], object]
) -> object:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            outcome.append(error)

    arrange(run)
    gevent.sleep(0.1)
    assert len(outcome) == 1
    return outcome[0]


ways = pytest.mark.parametrize("way", [by_callback, by_timer, by_link, by_signal])


@pytest.fixture
def top(clock: VirtualClock) -> Iterator[Supervisor]:
    with Supervisor([Worker(), (Slow(), {"name": "down"})], name="top") as top:
        top.terminate_child("down")
        yield top
        clock.settle()
        check_invariants(top)


CALLS: dict[str, Callable[[Supervisor], object]] = {
    "adopt": lambda top: top.adopt(Slow()),
    "adopt by a service": lambda top: top.service("Worker").adopt(Slow()),
    "start_child": lambda top: top.start_child(Slow()),
    "restart_child": lambda top: top.restart_child("down"),
    "start below a parent": lambda top: top.service("down").start(),
    "delete_child": lambda top: top.delete_child("down"),
    "start of a root": lambda _top: Slow().start(),
    "start of an app": lambda _top: App(providers={"slow": Slow()}).start(),
    "a with block": lambda _top: Supervisor([Slow()]).__enter__(),
    "a dynamic supervisor": lambda _top: DynamicSupervisor().__enter__(),
    "wait": lambda top: top.wait(),
    "wait with a timeout": lambda top: top.wait(1),
    "run": lambda _top: process.run(Slow()),
}


@ways
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_may_have_to_wait_is_refused_in_the_hub_and_changes_nothing(
    top: Supervisor, way: Any, call: Callable[[Supervisor], object]
) -> None:
    before = [child._replace(uptime=None, ended_at=None) for child in top.snapshot().children]
    error = way(lambda: call(top))
    assert isinstance(error, CalledInHub)
    assert "gevent.spawn" in str(error)
    after = [child._replace(uptime=None, ended_at=None) for child in top.snapshot().children]
    assert after == before
    assert top.restart_child("down").snapshot().state.value == "running"  # and the turn is free


@ways
def test_a_stop_in_the_hub_is_handed_over(top: Supervisor, way: Any) -> None:
    worker = top.service("Worker")
    report = way(worker.stop)
    assert report.is_pending
    assert worker.snapshot().state.value == "stopped"


@ways
def test_a_child_terminated_in_the_hub_is_handed_over(top: Supervisor, way: Any) -> None:
    assert way(lambda: top.terminate_child("Worker")).is_pending
    assert top.service("Worker").snapshot().state.value == "stopped"


class Loud(Service, restart="transient"):
    def on_stop(self) -> None:
        gevent.sleep(1)


@ways
def test_a_finish_in_the_hub_is_handed_over(top: Supervisor, way: Any) -> None:
    loud = top.adopt(Loud())
    assert way(loud.finish) is None
    gevent.sleep(2)
    assert loud.snapshot().state.value == "finished"


@ways
def test_the_end_of_a_with_block_in_the_hub_is_handed_over(clock: VirtualClock, way: Any) -> None:
    top = Supervisor([Loud()])
    top.start()
    assert way(lambda: top.__exit__(None, None, None)) is None
    gevent.sleep(2)
    assert top.snapshot().state.value == "stopped"
    assert clock.now > 0


@ways
def test_what_never_waits_is_allowed_in_the_hub(top: Supervisor, way: Any) -> None:
    worker = top.service("Worker")
    assert way(worker.snapshot).name == "Worker"
    assert way(lambda: top.wait(0)) is None
    assert way(top.not_ready) == {}
    assert way(lambda: worker.spawn(int)) is not None
    assert way(lambda: worker.timeout(int, 1)) is not None


def test_a_root_that_has_its_tree_but_is_not_started_stops_at_once(clock: VirtualClock) -> None:
    from sprag_supervisor.life.by_hand import tree_of

    root = Worker()
    tree_of(root)
    assert by_callback(root.stop) == root.stop()
    root.start()
    root.stop()
    assert not by_callback(root.stop).is_pending  # type: ignore[attr-defined]
    assert clock.now >= 0
