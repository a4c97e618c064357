"""``/v1/inspect``: the inside of a service, without running its code and without secrets."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from controlled import aside, ask, check, served
from sprag import App, Service, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Colour(enum.Enum):
    RED = 1


class Sly:
    """Its code must not run."""

    def __repr__(self) -> str:
        raise AssertionError("its repr has run")

    def __len__(self) -> int:
        raise AssertionError("its len has run")


class Name(str):
    __slots__ = ()

    def lower(self) -> str:
        raise AssertionError("its code has run")

    __getitem__ = __str__ = __len__ = lower  # type: ignore[assignment]


class Plain(Service):
    ran = False

    def __init__(self) -> None:
        self.port = 25
        self.colour = Colour.RED
        self.sly = Sly()
        self.url = "postgres://me:hunter2@db/shop"
        self.password = "hunter2"
        self.seen = {"token": "hunter2", "orders": [1, 2]}
        self.long = "x" * 100_000
        for number in range(120):
            self.__dict__[f"n{number}"] = number

    @property
    def trap(self) -> int:
        Plain.ran = True
        return 1

    def __getattr__(self, name: str) -> Any:
        Plain.ran = True
        raise AttributeError(name)


class Bare(Service):
    pass


class Slotted(Service):
    __slots__ = ("port", "unset")

    def on_start(self) -> None:
        self.port = 80


class Telling(Service):
    how = "dict"

    def on_inspect(self) -> object:
        if self.how == "raise":
            raise ValueError("token=hunter2")
        if self.how == "timeout":
            raise gevent.Timeout(3)
        if self.how == "block":
            gevent.sleep(3600)
        if self.how == "many":
            return dict.fromkeys(range(100_000), 1)
        if self.how == "names":
            return {"token" * 100_000: 1, "x" * 2000 + "password": "hunter2"}
        if self.how == "list":
            return [1, Sly()]
        return {"queue": 3, "api_key": "hunter2", 4: Sly(), "deep": {"a": [1, (2, 3)]}}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[App, Path]]:
    providers: dict[str, Service] = {"plain": Plain(), "slotted": Slotted(), "telling": Telling()}
    providers["bare"] = Bare()
    app = App(name="shop", providers=providers)
    with served(app, tmp_path) as path:
        yield app, path


@pytest.fixture
def get(shop: tuple[App, Path]) -> Callable[..., Any]:
    def get(target: str, *, status: int = 200) -> Any:
        found, answer = aside(ask, shop[1], "GET", f"/v1/inspect/{target}")
        assert found == status, answer
        check("inspect" if status == 200 else "error", answer)
        assert "hunter2" not in str(answer)
        return answer

    return get


def test_attributes_are_shown_and_none_of_the_service_s_code_runs(get: Callable[..., Any]) -> None:
    Plain.ran = False
    answer = get("plain")
    values = answer["values"]
    assert answer["source"] == "attributes"
    assert (values["port"], values["colour"], values["sly"]) == ("25", "Colour.RED", "<Sly>")
    assert (values["url"], values["password"]) == ("'postgres://***@db/shop'", "***")
    assert values["seen"] == "{'token': ***, 'orders': [1, 2]}"
    assert values["long"] == "<str of 100000 characters>"
    assert (len(values), answer["more"], "trap" in values) == (100, 27, False)
    assert not Plain.ran


def test_slots_are_attributes_too(get: Callable[..., Any]) -> None:
    assert get("slotted")["values"] == {"port": "80"}


def test_on_inspect_says_what_is_shown(shop: tuple[App, Path], get: Callable[..., Any]) -> None:
    answer = get("telling")
    assert answer["source"] == "on_inspect"
    assert answer["values"] == {
        "queue": "3",
        "api_key": "***",
        "4": "<Sly>",
        "deep": "{'a': [1, (2, 3)]}",
    }
    shop[0].service("telling", Telling).how = "list"
    assert get("telling")["values"] == {"result": "[1, <Sly>]"}


@pytest.mark.parametrize(
    ("how", "error"),
    [("raise", "ValueError"), ("timeout", "Timeout"), ("block", "TaskTimeout")],
)
def test_an_on_inspect_that_fails_is_no_crash_and_leaves_nothing(
    shop: tuple[App, Path], get: Callable[..., Any], how: str, error: str
) -> None:
    telling = shop[0].service("telling", Telling)
    telling.how = how
    answer = get("telling?timeout=0.1")
    assert answer["error"].startswith(error)
    assert answer["values"] == {}
    gevent.sleep(0.05)
    assert telling.snapshot().state is State.RUNNING
    assert not any(telling.snapshot().owned)


def test_names_may_be_anything(shop: tuple[App, Path], get: Callable[..., Any]) -> None:
    attributes: dict[Any, object] = shop[0].service("bare").__dict__
    attributes[Name("token")] = "hunter2"
    attributes[3] = 4
    assert get("bare")["values"] == {"token": "***", "3": "4"}
    telling = shop[0].service("telling", Telling)
    telling.how = "names"
    assert sorted(map(len, get("telling")["values"])) == [80, 80]
    telling.how = "many"
    answer = get("telling")
    assert (len(answer["values"]), answer["more"]) == (100, 99_900)


def test_an_on_inspect_that_is_hidden_by_an_attribute_is_told(
    shop: tuple[App, Path], get: Callable[..., Any]
) -> None:
    shop[0].service("telling", Telling).on_inspect = 3  # type: ignore[assignment,method-assign] # pyright: ignore[reportAttributeAccessIssue]
    assert get("telling")["error"].startswith("BadValue: fn=3 is not accepted")


def test_of_one_that_is_down_the_attributes_are_shown(
    shop: tuple[App, Path], get: Callable[..., Any]
) -> None:
    shop[0].service("telling", Telling).stop()
    assert (get("telling")["source"], get("telling")["state"]) == ("attributes", "stopped")
    get("nope", status=404)
    get("plain?timeout=x", status=400)
