"""Numbers that nobody can reckon with are refused wherever one is taken, in sprag's own words."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

from scripted import crash
from sprag import App, Backoff, DynamicSupervisor, Service, Supervisor
from sprag.exceptions import BadPolicy, BadValue
from sprag.testing import RunningTree
from sprag.testing.strategies import trees
from sprag.web import Controller, Limits
from sprag_supervisor import LEAST, Policy, as_count, as_number, in_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


class Scalar:
    """What some library for arrays has instead of a number."""

    def __float__(self) -> float:
        return 1.0

    def __index__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return True

    __le__ = __gt__ = __ge__ = __lt__
    __hash__ = None  # type: ignore[assignment]


def _raise(*_args: object) -> NoReturn:
    raise ZeroDivisionError


_OPERATORS: Final = (
    *("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__bool__", "__float__", "__int__"),
    *("__index__", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__neg__"),
    *("__truediv__", "__rtruediv__", "__round__", "__format__", "__repr__", "__str__"),
)
HostileFloat: Any = type("HostileFloat", (float,), dict.fromkeys(_OPERATORS, _raise))
HostileInt: Any = type("HostileInt", (int,), dict.fromkeys(_OPERATORS, _raise))

NONE: Final[dict[str, Any]] = {
    "too large for a float": 10**400,
    "too large a negative": -(10**400),
    "too long to be shown": 10**5000,
    "NaN": math.nan,
    "NaN of a class": HostileFloat("nan"),
    "a hostile one too large": HostileInt(10**400),
    "True": True,
    "False": False,
    "a fraction": Fraction(1, 2),
    "a decimal": Decimal("1.5"),
    "a complex number": 1 + 0j,
    "a text": "5",
    "bytes": b"5",
    "a scalar": Scalar(),
    "a list": [5],
}
NO_COUNT: Final[dict[str, Any]] = {
    **NONE,
    "a float": 2.0,
    "more than there can be": sys.maxsize + 1,
    "below 0": -1,
}

Use = tuple[str, "Callable[[Service, Any], object]"]

FRACTIONS: Final[list[Use]] = [
    ("jitter", lambda one, given: one.interval(int, 5, jitter=given)),
    ("backoff.factor", lambda _one, given: Backoff(factor=given)),
    ("backoff.jitter", lambda _one, given: Backoff(jitter=given)),
]
COUNTS: Final[list[Use]] = [
    ("max_restarts", lambda one, given: one.adopt(Service(), max_restarts=given)),
    ("max_restarts", lambda _one, given: App(max_restarts=given)),
    ("max_children", lambda _one, given: DynamicSupervisor(max_children=given)),
    ("max_connections", lambda _one, given: Limits(max_connections=given)),
    ("max_head", lambda _one, given: Limits(max_head=given)),
    ("max_body", lambda _one, given: Limits(max_body=given)),
    ("max_body", lambda _one, given: type("Page", (Controller,), {"max_body": given})),
    ("max_depth", lambda _one, given: trees(max_depth=given)),
    ("max_children", lambda _one, given: trees(max_children=given)),
    ("serve", lambda _one, given: setattr(App(), "serve", ("localhost", given))),
]


def refused(argument: str, call: Callable[[], object]) -> None:
    with pytest.raises((BadValue, BadPolicy)) as caught:
        call()
    said = str(caught.value)
    assert argument in said
    assert " is not accepted: use " in said
    assert len(said) < 400


def test_what_is_no_number_is_no_fraction(running: Service) -> None:
    for argument, use in FRACTIONS:
        for given in NONE.values():
            refused(argument, partial(use, running, given))


@pytest.mark.parametrize("given", [name for name in NONE if name != "a text"])
def test_nor_is_it_a_shutdown_time(given: str) -> None:
    refused("shutdown", lambda: Policy(shutdown=NONE[given]))


@pytest.mark.parametrize(("argument", "use"), COUNTS)
@pytest.mark.parametrize("given", NO_COUNT)
def test_what_is_no_whole_number_is_no_count(
    running: Service, argument: str, use: Callable[[Service, Any], object], given: str
) -> None:
    refused(argument, lambda: use(running, NO_COUNT[given]))


@pytest.mark.parametrize("given", NONE)
def test_no_virtual_time_passes_for_what_is_no_number(clock: VirtualClock, given: str) -> None:
    refused("seconds", lambda: clock.advance(NONE[given]))
    assert clock.now == 0.0


@pytest.mark.parametrize("given", NO_COUNT)
def test_no_number_of_starts_is_made_to_fail(clock: VirtualClock, given: str) -> None:
    with RunningTree(Supervisor([Service()])) as tree:
        refused("times", lambda: tree.fail_next_start("Service", times=NO_COUNT[given]))
        refused("timeout", lambda: tree.stop(NO_COUNT["too large for a float"]))


def test_what_is_said_about_a_misplaced_argument_can_be_shown() -> None:
    a_backoff: Any = Backoff
    refused("backoff", lambda: a_backoff(10**5000, 30))


# -- what is kept ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [int, float, HostileInt, HostileFloat])
def test_a_number_of_any_class_is_kept_plain(kind: Any) -> None:
    given = kind(2)
    backoff = Backoff(given, maximum=given, factor=given, reset_after=given)
    policy = Policy(shutdown=given, start_timeout=given, max_seconds=given, backoff=backoff)
    limits = Limits(head_timeout=given, keep_alive=given)
    kept = [policy.shutdown, policy.start_timeout, policy.max_seconds, limits.keep_alive]
    kept += [backoff.initial, backoff.maximum, backoff.factor, backoff.reset_after]
    assert kept == [2.0] * 8
    assert {type(each) for each in kept} == {float}


def test_a_count_of_any_class_is_kept_plain() -> None:
    count = HostileInt(2)
    kept = [Policy(max_restarts=count).max_restarts, Limits(max_head=count).max_head]
    kept.append(DynamicSupervisor(max_children=count).max_children)  # type: ignore[arg-type]
    assert kept == [2, 2, 2]
    assert {type(each) for each in kept} == {int}


def test_timers_reckon_with_numbers_of_any_class(running: Service, clock: VirtualClock) -> None:
    heard: list[str] = []
    running.interval(heard.append, HostileInt(2), "tick", jitter=HostileFloat(0.0))
    running.timeout(heard.append, HostileFloat(1.5), "once")
    clock.advance(HostileInt(4))
    assert heard == ["once", "tick", "tick"]
    assert running.wait(HostileFloat(1.0)) is None
    assert clock.now == 5.0
    assert running.stop(HostileInt(3)).clean == 1


# -- the largest, and the least --------------------------------------------------------

LARGEST: Final = sys.float_info.max


def test_the_largest_of_all_times_is_one(running: Service, clock: VirtualClock) -> None:
    ticks: list[int] = []
    running.interval(ticks.append, LARGEST, 1, jitter=1.0)
    running.timeout(ticks.append, LARGEST, 1)
    other = running.adopt(Service(), shutdown=LARGEST, start_timeout=LARGEST, max_seconds=LARGEST)
    clock.advance(1e300)
    assert clock.now == 1e300
    assert other.stop(LARGEST).clean == 1
    assert ticks == []
    clock.advance(LARGEST / 2)
    with pytest.raises(BadValue):
        clock.advance(LARGEST)


def test_jitter_does_not_make_the_longest_backoff_endless() -> None:
    class Dice:
        def random(self) -> float:
            return 0.999

    dice: Any = Dice()
    assert Backoff(LARGEST, maximum=LARGEST, jitter=1.0).delay(5, dice) == LARGEST


def test_the_log_tells_a_backoff_to_the_millisecond(clock: VirtualClock, log: Any) -> None:
    one = Service()
    with Supervisor([(one, {"backoff": Backoff(1.23456789, jitter=0)})]):
        crash(one)
        clock.settle()
        said = [each.sprag for each in log.records]
    assert [each["seconds"] for each in said if "waits" in each["event"]] == [1.235]


def test_the_shortest_interval_ticks(running: Service, clock: VirtualClock) -> None:
    handle = running.interval(int, LEAST)
    clock.advance(5 * LEAST)
    assert handle.ticks + handle.missed == 5


# -- the readers -----------------------------------------------------------------------


@pytest.mark.parametrize("given", NONE)
def test_what_is_no_number_reads_as_none(given: str) -> None:
    number = in_seconds(NONE[given])
    assert type(number) is float
    assert math.isnan(number)
    assert as_count(NONE[given]) == -1


def test_numbers_read_as_they_are() -> None:
    assert [as_number(each) for each in (0, -1, 2.5, math.inf, 2**1000)] == [
        *(0.0, -1.0, 2.5, math.inf, 2.0**1000)
    ]
    assert [as_count(each) for each in (0, 7, sys.maxsize)] == [0, 7, sys.maxsize]
