"""Dataclasses as services: equal to others, without a hash. Nothing of the engine goes by ==."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent
import pytest

from scripted import crash, restarts, states
from sprag import DynamicSupervisor, Service, State, Supervisor

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


@dataclass
class Unhashable(Service):
    url: str = "same"


@dataclass(unsafe_hash=True)
class Equal(Service):
    url: str = "same"


def named(*services: Service) -> list[tuple[Service, dict[str, object]]]:
    return [(service, {"name": name}) for service, name in zip(services, "abc", strict=True)]


@pytest.mark.parametrize("kind", [Unhashable, Equal])
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", {"a": 0, "b": 1, "c": 0}),
        ("rest_for_one", {"a": 0, "b": 1, "c": 1}),
        ("one_for_all", {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_each_strategy_restarts_whom_it_should(
    clock: VirtualClock, kind: type[Service], strategy: str, expected: dict[str, int]
) -> None:
    group = [kind(), kind(), kind()]
    with Supervisor(children=named(*group), strategy=strategy) as top:
        crash(group[1])
        clock.settle()
        assert restarts(top) == expected
        group[1].stop()
        assert states(top) == {"a": "running", "b": "stopped", "c": "running"}


def test_the_same_instance_twice_is_still_refused() -> None:
    one = Equal()
    with pytest.raises(ValueError, match="each service once"):
        Supervisor(children=[one, one])


def test_a_dynamic_supervisor_stops_them_together(clock: VirtualClock) -> None:
    @dataclass
    class Slow(Service):
        url: str = "same"

        def on_stop(self) -> None:
            gevent.sleep(1.0)

    with DynamicSupervisor() as top:
        for _ in range(3):
            top.start_child(Slow())
        assert top.stop().clean == 4
    assert clock.now == 1.0


def test_significant_ones_shut_their_supervisor_down_when_the_last_has_ended(
    clock: VirtualClock,
) -> None:
    @dataclass
    class Job(Service, restart="transient", significant=True):
        seconds: float = 1.0

        def run(self) -> None:
            gevent.sleep(self.seconds)

    top = Supervisor(children=[Job(), Job()], auto_shutdown="all_significant")
    top.start()
    clock.advance(2.0)
    assert top.snapshot().state is State.FINISHED
