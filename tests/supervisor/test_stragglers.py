"""What swallows its kill is fenced: shown while it lives, and named when it is started over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

from sprag import Service, State, Supervisor, to_json
from sprag.testing import VirtualClock, virtual_time


class Stubborn(Service, shutdown=0.2):
    """Its greenlet swallows kills until it is told to go."""

    leave = False

    def on_start(self) -> None:
        self.spawn(self.swallow)

    def swallow(self) -> None:
        while not type(self).leave:
            try:
                gevent.sleep(1)
            except BaseException:  # noqa: BLE001 - that is the point
                continue


@pytest.fixture
def clock() -> Any:
    Stubborn.leave = False
    with virtual_time() as clock:
        yield clock
        Stubborn.leave = True
        clock.advance(5)


def boom() -> None:
    raise ValueError("boom")


class Log:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Log:
    from sprag_supervisor.tree import stragglers as _stragglers

    log = Log()

    def say(_level: int, _node: object, event: str, **fields: Any) -> None:
        log.said.append((event, fields["stragglers"]))

    monkeypatch.setattr(_stragglers, "say", say)
    return log


def test_a_restart_over_a_straggler_names_it(clock: VirtualClock, warnings: Log) -> None:
    child = Stubborn()
    with Supervisor([child], name="top"):
        clock.settle()
        child.spawn(boom)
        clock.advance(1)
        snapshot = child.snapshot()
        assert (snapshot.state, snapshot.incarnation) == (State.RUNNING, 2)
        assert snapshot.stragglers == (("top/Stubborn", 1, "greenlet"),)
        assert to_json(snapshot)["stragglers"] == [
            {"path": "top/Stubborn", "incarnation": 1, "step": "greenlet"}
        ]
        assert warnings.said == [
            ("service starts beside stragglers", "greenlet of incarnation 1 of top/Stubborn")
        ]


def test_one_that_has_gone_is_not_shown_any_more(clock: VirtualClock, warnings: Log) -> None:
    child = Stubborn()
    with Supervisor([child], name="top"):
        clock.settle()
        child.stop()
        assert len(child.snapshot().stragglers) == 1
        Stubborn.leave = True
        clock.advance(3)
        assert child.snapshot().stragglers == ()
        child.start()
        assert warnings.said == []


def test_a_parent_inherits_what_a_child_that_leaves_has_left(
    clock: VirtualClock, warnings: Log
) -> None:
    class Parent(Service):
        def on_start(self) -> None:
            self.adopt(Stubborn())

    parent = Parent()
    with Supervisor([parent], name="top"):
        clock.settle()
        parent.spawn(boom)
        clock.advance(1)
        assert parent.snapshot().stragglers == (("top/Parent/Stubborn", 1, "greenlet"),)
        assert warnings.said == [
            ("service starts beside stragglers", "greenlet of incarnation 1 of top/Parent/Stubborn")
        ]


def test_a_hook_that_swallows_is_a_straggler_too(clock: VirtualClock, warnings: Log) -> None:
    class Hook(Stubborn):
        def on_start(self) -> None:
            pass

        on_stop = Stubborn.swallow

    child = Hook()
    Hook.leave = Stubborn.leave = False
    with Supervisor([child], name="top"):
        child.stop()
        assert child.snapshot().stragglers == (("top/Hook", 1, "on_stop"),)
        Hook.leave = True
        clock.advance(2)
        assert child.snapshot().stragglers == ()


def test_thousands_are_counted_and_few_named(clock: VirtualClock) -> None:
    class Crowd(Stubborn):
        def on_start(self) -> None:
            for _ in range(100):
                self.spawn(self.swallow)

    Crowd.leave = False
    child = Crowd()
    with Supervisor([child], name="top"):
        clock.settle()
        report = child.stop()
        assert report.stragglers == 1
        assert len(report.entries) == 21
        assert report.entries[-1].detail == "and 80 more"
    Crowd.leave = True
    assert Path(sys.modules[Crowd.__module__].__file__ or "").exists()


def test_where_all_are_named_there_are_no_more(clock: VirtualClock) -> None:
    class Crowd(Stubborn):
        def on_start(self) -> None:
            for _ in range(20):
                self.spawn(self.swallow)

    Crowd.leave = False
    child = Crowd()
    with Supervisor([child], name="top"):
        clock.settle()
        entries = child.stop().entries
        assert ["swallow" in each.detail for each in entries] == [True] * 20
    Crowd.leave = True


class Many(Service, shutdown=0.0):
    """So many greenlets that the loop takes several turns to kill them; all go at the second."""

    def on_start(self) -> None:
        for _ in range(8000):
            self.spawn(self.swallow_one)

    def swallow_one(self) -> None:
        try:
            gevent.sleep(1000)
        except gevent.GreenletExit:
            gevent.sleep(1000)


def test_thousands_that_go_at_the_second_kill_are_not_taken_for_stragglers() -> None:
    top = Supervisor(children=[Many()])  # on the real loop, which runs so many callbacks in a turn
    top.start()
    gevent.sleep(0)
    report = top.stop()
    assert (report.killed, report.stragglers) == (1, 0)
