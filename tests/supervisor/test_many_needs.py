"""With needs, too, a start, a crash and a stop cost each service the same, however many there are.

The opcodes of Python are counted, as in `test_cost`: for twice as many services twice as many.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from opcodes import counted
from scripted import crash
from sprag import Service, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.skipif(
    sys.gettrace() is not None, reason="its trace function would take the place of coverage's"
)

FEW = 50
TWICE = 2.12
"""What is done for each pair is noticed from a 780th on of what is done for each service."""


class Part(Service):
    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes

    def on_start(self) -> None:
        if self.takes:
            gevent.sleep(self.takes)


def named(number: int, needs: Any, takes: float = 0.0) -> Any:
    return Part(takes), {"name": f"c{number}", "needs": needs}


def side_by_side(many: int) -> list[Any]:
    return [named(at, (), 1 + at / 1000) for at in range(many)]


def all_after_one(many: int) -> list[Any]:
    return [named(0, ()), *(named(at, ("c0",), 1 + at / 1000) for at in range(1, many))]


def one_after_all(many: int) -> list[Any]:
    everyone = side_by_side(many)
    return [*everyone, named(many, tuple(each["name"] for _, each in everyone))]


def in_listed_order(many: int) -> list[Any]:
    return [named(0, ()), *(named(at, None) for at in range(1, many))]


def in_two_rows(many: int) -> list[Any]:
    firsts = [named(0, ()), named(1, ())]
    return [*firsts, *(named(at, (f"c{at % 2}",)) for at in range(2, many))]


def in_a_chain(many: int) -> list[Any]:
    return [named(0, ()), *(named(at, (f"c{at - 1}",)) for at in range(1, many))]


@pytest.mark.parametrize(
    "shape", [side_by_side, all_after_one, one_after_all, in_listed_order, in_two_rows, in_a_chain]
)
def test_twice_as_many_cost_twice_as_much(
    clock: VirtualClock, shape: Callable[[int], list[Any]]
) -> None:
    def life(many: int) -> int:
        children = shape(many)
        with counted() as opcodes:
            top = Supervisor(children, strategy="rest_for_one")
            top.start()
            crash(top.service("c1"))
            clock.advance(10 * many)
            top.stop()
        return opcodes[0]

    life(5)
    assert life(2 * FEW) < TWICE * life(FEW)


class Draining(Service):
    def on_drain(self) -> None:
        gevent.sleep(0.001)


@pytest.mark.parametrize(
    "shape", [side_by_side, all_after_one, one_after_all, in_two_rows, in_a_chain]
)
def test_twice_as_many_that_drain_cost_twice_as_much(
    clock: VirtualClock, shape: Callable[[int], list[Any]]
) -> None:
    del clock

    def stop(many: int) -> int:
        top = Supervisor([(Draining(), how) for _, how in shape(many)])
        top.start()
        with counted() as opcodes:
            assert top.stop().is_clean
        return opcodes[0]

    stop(5)
    assert stop(2 * FEW) < TWICE * stop(FEW)


@pytest.mark.parametrize("is_ready", [True, False])
def test_twice_as_many_that_are_adopted_in_a_chain_cost_twice_as_much(
    clock: VirtualClock, is_ready: bool
) -> None:
    class Warm(Service):
        def on_start(self) -> None:
            self.set_ready(is_ready)

    def adopt(many: int) -> int:
        with Supervisor([(Warm(), {"name": "c0"})]) as top, counted() as opcodes:
            for at in range(1, many):
                top.adopt(Part(), name=f"c{at}", needs=(f"c{at - 1}",))
            top.service("c0").set_ready()
            clock.settle()
            assert not top.not_ready()
        return opcodes[0]

    adopt(5)
    assert adopt(2 * FEW) < TWICE * adopt(FEW)
