"""What happens to one child costs the same beside few siblings and beside many.

Operations are counted, not seconds: the opcodes of Python, in all greenlets, and the most memory
that is needed at a time, which tells of a copy that is made in C. A search in C through all
siblings would ask their `__eq__`, which is Python here.
"""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from opcodes import counted
from scripted import Crash
from sprag import DynamicSupervisor, Service, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.skipif(
    sys.gettrace() is not None, reason="its trace function would take the place of coverage's"
)

FEW, MANY = 10, 5_000
COPY = MANY * 8
"""Bytes of the smallest copy of all siblings: a pointer each."""


class Cost(NamedTuple):
    opcodes: int
    bytes: int


class Child(Service):
    """Crashes in a listener, or in a greenlet."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 1

    def on_start(self) -> None:
        self.listen(f"crash:{self.number}", self.crash)

    def crash(self, _data: object = None) -> None:
        raise Crash


class Family:
    """A parent with children, and what may happen to one of them."""

    def __init__(self, parent: Any, siblings: int) -> None:
        self.parent = parent
        self.numbers = iter(range(10**9))
        self.children: list[Child] = []
        for _ in range(siblings):
            self.start()

    def start(self) -> None:
        child = Child(next(self.numbers))
        self.parent.start_child(child, name=str(child.number))
        self.children.append(child)

    def start_without_a_name(self) -> None:
        self.parent.start_child(Child(next(self.numbers)))

    def listener_crashes(self) -> None:
        child = self._one()
        child.emit(f"crash:{child.number}")

    def greenlet_crashes(self) -> None:
        child = self._one()
        child.spawn(child.crash)

    def stop(self) -> None:
        self._one().stop()

    def terminate(self) -> None:
        self.parent.terminate_child(str(self._one().number))

    def restart(self) -> None:
        name = str(self._one().number)
        self.parent.terminate_child(name)
        self.parent.restart_child(name)

    def delete(self) -> None:
        name = str(self._one().number)
        self.parent.terminate_child(name)
        self.parent.delete_child(name)

    def picture(self) -> None:
        self._one().snapshot()

    def _one(self) -> Child:
        """Return one from the midst, never the same twice."""
        return self.children.pop(len(self.children) // 2)


BOTH = [
    Family.start,
    Family.start_without_a_name,
    Family.listener_crashes,
    Family.greenlet_crashes,
    Family.stop,
    Family.terminate,
    Family.picture,
]
STEPS = [
    *((Supervisor, step) for step in (*BOTH, Family.restart, Family.delete)),
    *((DynamicSupervisor, step) for step in BOTH),
]


@pytest.mark.parametrize(
    ("kind", "step"), STEPS, ids=[f"{kind.__name__}-{step.__name__}" for kind, step in STEPS]
)
def test_a_step_costs_the_same_beside_few_and_many_siblings(
    clock: VirtualClock, kind: type[Service], step: Callable[[Family], None]
) -> None:
    few, many = (cost(clock, kind, step, siblings) for siblings in (FEW, MANY))

    assert few.opcodes == many.opcodes
    assert abs(few.bytes - many.bytes) < COPY / 2


def test_a_service_takes_no_more_than_160_bytes_for_the_engine() -> None:
    """Without what the allocator puts in front: one slot more is 16 bytes more for each."""
    head = 32

    assert Service.__basicsize__ + head <= 160


def cost(clock: VirtualClock, kind: Any, step: Callable[[Family], None], siblings: int) -> Cost:
    """Take the step until what is done at the first time only is done; then once more, counted."""
    with kind(max_restarts=100) as parent:
        family = Family(parent, siblings)

        def once() -> None:
            step(family)
            clock.settle()

        once()
        with counted():  # Python 3.12 misses some of the first that are counted in a process
            once()
        with counted() as opcodes:
            once()
        tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            once()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return Cost(opcodes[0], most - before)
