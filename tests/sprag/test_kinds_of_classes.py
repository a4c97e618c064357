"""Frozen dataclasses, attrs classes, singletons: what may be a service."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast
from unittest import mock

import attrs
import pytest

from scripted import crash, states
from sprag import Service, Supervisor
from sprag.exceptions import (
    BadValue,
)

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


@dataclasses.dataclass(frozen=True)
class Frozen(Service):
    url: str
    starts: list[str] = dataclasses.field(default_factory=list[str])

    def on_start(self) -> None:
        self.starts.append(self.url)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Service):
    url: str

    def on_start(self) -> None:
        pass


@attrs.define
class Defined(Service, restart="transient"):
    url: str = attrs.field(validator=attrs.validators.instance_of(str))

    def on_start(self) -> None:
        self.url += "!"


@attrs.frozen
class DefinedFrozen(Service):
    url: str


@attrs.define(slots=False)
class DefinedOpen(Service):
    url: str


class Watched(Service):
    """Refuses what it does not know, as some validating base classes do."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __setattr__(self, name: str, value: object) -> None:
        if name != "url":
            raise TypeError(name)
        super().__setattr__(name, value)


class Once(Service):
    """A singleton, whose __new__ passes nothing on."""

    made: ClassVar[dict[type, Any]] = {}

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        if cls not in cls.made:
            cls.made[cls] = super().__new__(cls)
        return cast("Self", cls.made[cls])

    def __init__(self, url: str) -> None:
        self.url = url


class OnceMore(Once):
    pass


class OnceByObject(Service):
    """A singleton as many write it: past every other ``__new__``."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        return object.__new__(cls)

    def __init__(self, url: str) -> None:
        self.url = url


@dataclasses.dataclass(frozen=True)
class FrozenByObject(Service):
    url: str

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        return object.__new__(cls)


class Single:
    """The same as a mixin."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        return super().__new__(cls)


class Mixed(Single, Service):
    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.parametrize(
    "kind",
    [
        Frozen,
        FrozenSlots,
        Defined,
        DefinedFrozen,
        DefinedOpen,
        Watched,
        Once,
        OnceMore,
        OnceByObject,
        FrozenByObject,
        Mixed,
    ],
)
def test_a_class_of_whatever_make_lives_and_is_restarted(clock: VirtualClock, kind: Any) -> None:
    one = kind("amqp://")
    with Supervisor(children=[one]) as top:
        before = one.url
        crash(one)
        clock.settle()
        assert states(top) == {kind.__name__: "running"}
        assert Service.snapshot(one).restarts == 1
        assert one.url == before


def test_a_frozen_service_stays_frozen_for_its_own_fields() -> None:
    one: Any = Frozen("amqp://")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.url = "http://"
    assert Defined._class_policy_.restart == "transient"


def test_a_new_that_would_not_be_called_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(BadValue, match=r"it in front of Service, 'class Late\(Single, Service\)'"):
        type("Late", (Service, Single), {})


def test_keywords_of_the_engines_names_are_passed_on(clock: VirtualClock) -> None:
    said: list[dict[str, Any]] = []

    def take(**given: Any) -> None:
        said.append(given)

    words = {"fn": 1, "self": 2, "run": 3, "node": 4, "args": 5, "kwargs": 6}
    with Service() as one:
        one.spawn(take, **words)
        one.spawn(take, self=1)
        one.add_cleanup(take, **words)
        clock.settle()
    assert said == [words, {"self": 1}, words]


class Quiet(Service):
    """Has no hooks of its own."""


@pytest.mark.parametrize("hook", ["on_start", "on_drain", "on_stop"])
def test_a_hook_that_is_patched_into_a_class_is_called_though_it_had_none(hook: str) -> None:
    called: list[object] = []

    def note(self: Quiet) -> None:
        called.append(self)

    with Supervisor([Quiet()]):
        pass  # the class has made a service
    with (
        mock.patch.object(Quiet, hook, note),
        Supervisor([quiet := Quiet()]),
    ):
        pass
    assert called == [quiet]
    with Supervisor([Quiet()]):
        pass
    assert called == [quiet]


def test_a_guard_of_the_users_is_set_aside_once_however_long_the_line_of_classes() -> None:
    classes: list[type[Watched]] = [Watched]
    for _ in range(30):
        classes.append(type("Further", (classes[-1],), {}))
    assert all("__setattr__" not in vars(each) for each in classes[1:])
    assert classes[-1]("x").url == "x"


def test_nor_is_one_that_reads_or_makes() -> None:
    asked: list[str] = []

    class Proxy(Service):
        def __new__(cls) -> Self:
            return super().__new__(cls)

        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

    with Supervisor([Proxy()]) as top:
        crash(top.service("Proxy"))
    assert "name" in asked
    assert [name for name in asked if name[0] == name[-1] == "_" != name[1]] == []
    further = type("Further", (Proxy,), {})
    assert not {"__new__", "__getattribute__"} & vars(further).keys()
