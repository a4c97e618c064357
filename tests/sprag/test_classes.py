"""A class is accepted where a service is: it is called, without arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from scripted import crash
from sprag import App, DynamicSupervisor, Service, Supervisor
from sprag.exceptions import BadValue
from sprag.testing import VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


class Feed(Service):
    """Needs nothing."""

    def __init__(self, size: int = 3, *more: int, **others: int) -> None:
        self.size = size


class Poller(Service):
    """Needs a region, and a key."""

    def __init__(self, region: str, size: int = 3, *, key: str) -> None:
        self.region = region + key


def children_of(top: Supervisor) -> dict[str, type]:
    return {each.name: type(each.service) for each in top.which_children()}


def test_among_the_children_of_a_supervisor_alone_and_with_its_policy(clock: VirtualClock) -> None:
    assert clock.now == 0
    other = Feed, {"name": "other", "restart": "temporary"}
    with Supervisor([Feed, other, Poller("eu", key="x")]) as top:
        assert children_of(top) == {"Feed": Feed, "other": Feed, "Poller": Poller}
        assert top.service("Feed", Feed).size == 3
        assert top.service("other").snapshot().policy.restart == "temporary"


def test_among_the_providers_of_an_app(clock: VirtualClock) -> None:
    assert clock.now == 0
    with App(providers={"feed": Feed, "eu": Poller("eu", key="x")}) as app:
        assert children_of(app) == {"feed": Feed, "eu": Poller}


def test_adopt_and_start_child_return_what_they_have_made(clock: VirtualClock) -> None:
    assert clock.now == 0
    with Supervisor() as top:
        many = top.adopt(DynamicSupervisor)
        made = [top.adopt(Feed, name="a"), top.start_child(Feed, name="b"), many.start_child(Feed)]
        made += [many.adopt(Feed, name="d", restart="temporary")]
        assert [each.size for each in made] == [3] * 4
        assert [each.snapshot().path for each in made] == [
            "Supervisor/a",
            "Supervisor/b",
            "Supervisor/DynamicSupervisor/Feed",
            "Supervisor/DynamicSupervisor/d",
        ]


@pytest.mark.parametrize(
    "made",
    [
        lambda: Supervisor([Feed, Service()]),
        lambda: Supervisor(children=iter(cast("Any", [(Feed, {"name": "Feed"}), Service()]))),
        lambda: App(providers={"Feed": Feed, "Service": Service()}),
    ],
)
def test_each_life_of_the_supervisor_has_the_same_services(
    clock: VirtualClock, made: Callable[[], Supervisor]
) -> None:
    with Supervisor() as top:
        middle = top.adopt(made())
        before = [each.service for each in middle.which_children()]
        crash(middle)
        clock.settle()
        assert middle.snapshot().incarnation == 2
        assert [each.service for each in middle.which_children()] == before
        assert cast("Feed", before[0]).size == 3


def test_a_class_that_lists_classes_makes_them_in_each_life(clock: VirtualClock) -> None:
    class Fleet(Supervisor):
        def __init__(self) -> None:
            super().__init__([Feed, Feed])

    with Supervisor([Fleet]) as top:
        fleet = top.service("Fleet", Fleet)
        crash(fleet)
        clock.settle()
        assert children_of(fleet) == {"Feed": Feed, "Feed-2": Feed}


CALLS: list[tuple[Callable[[Any, Any], object], str]] = [
    (lambda _top, given: Supervisor([given]), "child"),
    (lambda _top, given: Supervisor([(given, {"restart": "transient"})]), "child"),
    (lambda _top, given: App(providers={"eu": given}), r"providers\['eu'\]"),
    (lambda top, given: top.adopt(given), "child"),
    (lambda top, given: top.start_child(given), "child"),
    (lambda top, given: top.adopt(DynamicSupervisor()).start_child(given), "child"),
]


@pytest.mark.parametrize(("call", "argument"), CALLS)
def test_a_class_that_needs_arguments_is_refused_at_once_and_they_are_named(
    call: Callable[[Any, Any], object], argument: str
) -> None:
    said = rf"{argument}=<class .*Poller\(...\): its __init__ needs region, key$"
    with Supervisor() as top, pytest.raises(BadValue, match=said):
        call(top, Poller)


def test_what_its_init_raises_is_raised_where_it_was_given() -> None:
    class Broken(Service):
        def __init__(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Supervisor([Broken])


@pytest.mark.parametrize("given", [int, type, dict, object])
def test_a_class_of_something_else_is_refused(given: Any) -> None:
    with pytest.raises(BadValue, match="use a service or its class"):
        Supervisor([given])
    with pytest.raises(BadValue, match="use a service or its class"):
        Supervisor([(given, {})])
    with pytest.raises(BadValue, match="use a service, or its class"):
        App(providers={"a": given})
