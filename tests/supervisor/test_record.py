"""Records: to who uses them frozen dataclasses, and quick to load."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pprint
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from sprag_supervisor import (
    KEYWORDS,
    Backoff,
    ExitApp,
    Lifecycle,
    Move,
    Outcome,
    Policy,
    Record,
    StopEntry,
)

ENTRY = StopEntry("app/one", 1, Outcome.ERROR, "on_stop", "boom")
RECORDS = (
    ENTRY,
    Move("moved", "app/one", 1, "ownership", "failed", None, None, 0, 1.0, origin="a", node="b"),
    Backoff(2, maximum=timedelta(minutes=1), tries=5),
    ExitApp(3),
    Policy(restart="transient", on_failure={ValueError: "stop"}),
)


class Pair(Record):
    """Two numbers."""

    first: int
    second: int = 2


class Other(Record):
    """The same two."""

    first: int
    second: int = 2


def test_values_are_given_by_place_or_by_name() -> None:
    assert Pair(1) == Pair(1, 2) == Pair(first=1, second=2) == Pair(1, second=2)
    assert (Pair(1).first, Pair(1).second) == (1, 2)
    assert repr(Pair(1)) == "Pair(first=1, second=2)"
    assert hash(Pair(1)) == hash(Pair(1, 2))


def test_records_of_two_kinds_are_never_equal() -> None:
    mine: object = Pair(1)
    assert mine != Other(1)
    assert mine != (1, 2)
    assert Pair(1) != Pair(2)


def test_a_pattern_takes_a_record_apart() -> None:
    match Pair(3, 4):
        case Pair(first, second):
            assert (first, second) == (3, 4)


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ((), {}),
        ((1, 2, 3), {}),
        ((1,), {"first": 1}),
        ((1,), {"third": 3}),
        ((), {"first": 1, "third": 3}),
        ((), {"second": 2}),
        ((), {"second": 2, "third": 3}),
    ],
)
def test_each_name_has_one_value(values: tuple[int, ...], given: dict[str, int]) -> None:
    kind: Any = Pair
    with pytest.raises(TypeError, match=r"^Pair is made of: first, second$"):
        kind(*values, **given)


def test_a_policy_is_given_by_name_only() -> None:
    kind: Any = Policy
    with pytest.raises(TypeError):
        kind("transient")
    with pytest.raises(TypeError):
        kind(restarts="transient")


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: type(each).__name__)
def test_a_record_is_what_a_frozen_dataclass_is(record: Any) -> None:
    is_dataclass: Any = dataclasses.is_dataclass  # for a checker, it would tell what *record* is
    assert is_dataclass(record)
    names = [field.name for field in dataclasses.fields(record)]
    for name in [*names, "new"]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(record, name)
    assert list(dataclasses.asdict(record)) == names
    assert dataclasses.replace(record) == record
    assert pickle.loads(pickle.dumps(record)) == record
    assert copy.copy(record) == copy.deepcopy(record) == record
    assert type(record).__name__ in pprint.pformat(record)


def test_dataclasses_see_types_and_defaults() -> None:
    first, second = dataclasses.fields(Pair)
    assert (first.type, first.default) == ("int", dataclasses.MISSING)
    assert (second.type, second.default) == ("int", 2)
    replace: Any = dataclasses.replace
    assert replace(Pair(1), second=5) == Pair(1, 5)
    with pytest.raises(TypeError):
        replace(Pair(1), third=5)


def test_what_it_is_made_of_can_be_asked_for() -> None:
    assert str(inspect.signature(Pair)) == "(first: 'int', second: 'int' = 2) -> None"
    assert set(inspect.signature(Policy).parameters) == set(KEYWORDS)
    assert list(inspect.signature(ExitApp).parameters) == ["code"]
    assert get_type_hints(Backoff)["tries"] == int | None


def test_a_record_of_a_record_has_the_names_of_both() -> None:
    shared = {field.name for field in dataclasses.fields(Lifecycle)}
    assert {field.name for field in dataclasses.fields(Move)} == shared | {
        "origin",
        "node",
        "token",
    }


def test_what_a_subclass_adds_to_a_backoff_is_its_own() -> None:
    class Steady(Backoff):
        pause: float = 3.0

        def __init__(self, extra: float) -> None:
            super().__init__(1.0)
            mine: Any = self  # to a checker, all of it is frozen
            mine.extra = extra

    steady: Any = Steady(0.5)
    steady.extra += 1
    assert (steady.pause, steady.extra, steady.initial) == (3.0, 1.5, 1.0)
    assert steady.as_dict() == Backoff(1.0).as_dict()
    with pytest.raises(dataclasses.FrozenInstanceError):
        steady.initial = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        del steady.initial
    del steady.extra
    assert not hasattr(steady, "extra")


def test_a_class_beside_it_hears_of_its_subclasses() -> None:
    seen: list[tuple[type, str]] = []

    class Noted:
        def __init_subclass__(cls, tag: str, **more: Any) -> None:
            super().__init_subclass__(**more)
            seen.append((cls, tag))

    class Slow(Backoff, Noted, tag="slow"):
        pass

    assert seen == [(Slow, "slow")]
    assert Slow(2.0) != Backoff(2.0)


def test_a_dataclass_may_be_made_of_a_record() -> None:
    @dataclasses.dataclass(frozen=True)
    class Named(Backoff):
        label: str = "slow"

    assert (Named(2.0).initial, Named(label="quick").label) == (2.0, "quick")
