"""A singleton on nodes that share an engine: who runs it, and when it moves; in virtual time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from gevent import sleep

from places import Line
from sprag import App, Cluster, Service, Singleton
from sprag.cluster import joining
from sprag.cluster.engines import open_engine
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag.testing import VirtualClock

WORK: list[int] = []
"""The tokens of those at work."""
MOST = [0]
URL = ["memory://nodes"]
TTL = 10.0
WAIT = TTL + 1.1
"""Until something may be taken from an engine that nobody knows."""


class Billing(Service):
    def on_start(self) -> None:
        assert self.lease is not None
        WORK.append(self.lease.token)
        MOST[0] = max(MOST[0], len(WORK))

    def run(self) -> None:
        while True:
            sleep(1)

    def on_stop(self) -> None:
        sleep(0.5)
        WORK.pop(0)


def node(name: str, **policy: Any) -> App:
    return App(
        name="shop",
        cluster=Cluster(URL[0], ttl=TTL, node=name),
        providers={"billing": Singleton(Billing, **policy)},
    )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """Return the lines of the nodes, in the order of their start."""
    found: list[Line] = []

    def opened(url: str, *, app: str, timeout: float) -> Any:
        line = Line(open_engine(url, app=app, timeout=timeout))
        found.append(line)
        return line

    monkeypatch.setattr(joining, "open_engine", opened)
    return found


@contextmanager
def nodes(*apps: App) -> Generator[Any]:
    """Start the apps as nodes of a cluster of their own; give the engine."""
    WORK.clear()
    MOST[0] = 0
    engine = open_engine(URL[0], app="shop")
    for each in apps:
        each.start()
    try:
        yield engine
    finally:
        for each in apps:
            each.stop()
        URL[0] += "x"  # the next test has another
        assert WORK == []


def status(root: App) -> str:
    return root.snapshot().children[0].status or ""


def test_one_runs_it_once_nobody_else_can(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second):
        assert WORK == []
        assert status(first) == (
            "standby: the engine is new, or has forgotten something: nothing moves for 11 s"
        )
        clock.advance(WAIT)
        assert len(WORK) == 1
        assert sorted([status(first), status(second)])[1] == "standby: runs in n1"
    clock.settle()


def test_a_worker_is_a_node_of_the_app_whatever_its_parent_is_called(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    tree_of(second).also_called = ("shop", "main")
    second._name_ = "main/worker-1"  # as its host calls it
    with nodes(first, second):
        clock.advance(WAIT)
        assert len(WORK) == 1
    clock.settle()


def test_a_node_that_is_cut_off_stops_it_and_another_takes_over(
    clock: VirtualClock, lines: list[Line]
) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second):
        clock.advance(WAIT)
        began = clock.now
        lines[0].is_cut = True
        while not status(second).startswith("runs here"):
            clock.advance(0.1)
            assert clock.now - began < TTL + 1.5
        assert MOST == [1]
        assert len(WORK) == 1
        assert status(second) == f"runs here: n1 was silent for {TTL} s"
        assert "the line is cut" in status(first)
        moves = tree_of(first).ledger.moves
        assert [each.what for each in moves] == ["begins", "ends"]
        assert moves[-1].because == "the engine is away: the line is cut"
        lines[0].is_cut = False
        clock.advance(5)
        assert status(first) == "standby: runs in n2"
    clock.settle()


def test_a_stop_hands_it_over_at_once(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second):
        clock.advance(WAIT)
        began = clock.now
        first.stop()
        clock.settle()
        assert clock.now - began <= 0.5 + 0.5
        assert len(WORK) == 1
        assert status(second) == "runs here: n1 has stopped it"
