"""The Supervisor beyond OTP's rules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Idle, Journal, Scripted, crash
from sprag import State, Supervisor, to_json

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Fleet(Supervisor):
    """Makes its children from arguments of its own."""

    def __init__(self, letters: str, journal: Journal, *, restart: str) -> None:
        children = [Scripted(letter, journal, restart=restart) for letter in letters]
        super().__init__(children, strategy="one_for_all")


def test_a_supervisor_with_arguments_of_its_own_is_restarted_with_them(
    clock: VirtualClock,
) -> None:
    journal = Journal()
    with Supervisor(children=[Fleet("ab", journal, restart="permanent")]) as top:
        journal.take()
        crash(top.which_children()[0].service)
        clock.settle()
        assert journal.take() == ["stop b", "stop a", "start a", "start b"]


class Wrapped(Supervisor):
    def __init__(self, services: Any) -> None:
        self.services = services
        super().__init__(services)


@pytest.mark.parametrize("kind", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_children_passed_on_by_a_subclass_survive_restarts(kind: Any, clock: VirtualClock) -> None:
    fleet = Wrapped(kind([Idle("a"), Idle("b")]))
    with Supervisor(children=[fleet]):
        for _ in range(2):
            crash(fleet)
            clock.settle()
            assert [child.name for child in fleet.which_children()] == ["a", "b"]
            assert kind is iter or isinstance(fleet.services, kind)


def test_a_significant_child_may_end_while_its_supervisor_still_starts(
    clock: VirtualClock,
) -> None:
    """OTP's supervisor finds the exit in its queue when it has started (otp-rules 65)."""

    class Slow(Supervisor, auto_shutdown="all_significant"):
        def on_start(self) -> None:
            job = self.adopt(Idle("job"), restart="transient", significant=True)
            job.finish()
            gevent.sleep(1)

    top = Slow()
    gevent.spawn(top.start)
    clock.advance(2)
    assert top.snapshot().state is State.FINISHED


def test_a_supervisor_without_a_limit_never_gives_up(clock: VirtualClock) -> None:
    journal = Journal()
    child = Scripted("a", journal)
    with Supervisor(children=[child], max_restarts=math.inf) as top:
        for _ in range(50):
            crash(child)
            clock.settle()
        told = to_json(top.snapshot())

    assert journal.take().count("start a") == 51
    assert told["policy"]["max_restarts"] is None
