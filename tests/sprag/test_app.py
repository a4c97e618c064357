"""The App, and supervisors with a fixed list of children."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import App, Service, StartFailed, State, Supervisor
from sprag.control.desk import Desk
from sprag.control.http import Refused
from sprag.exceptions import (
    AlreadyAdopted,
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    BadValue,
    UnknownService,
)
from sprag_supervisor import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Plain(Service):
    """Does nothing."""


class Told(Service):
    """Notes its hooks."""

    def __init__(self, journal: list[str], name: str, *, fails: bool = False) -> None:
        self.journal = journal
        self.called = name
        self.fails = fails

    def on_start(self) -> None:
        self.journal.append(f"{self.called} starts")
        if self.fails:
            boom()

    def on_stop(self) -> None:
        self.journal.append(f"{self.called} stops")


def boom() -> None:
    raise ValueError("boom")


# -- providers -------------------------------------------------------------------------


def test_providers_start_in_order_under_their_keys_and_stop_in_reverse() -> None:
    journal: list[str] = []
    app = App(providers={name: Told(journal, name) for name in ("metrics", "email", "store")})
    assert journal == []
    app.start()
    assert [child.path for child in app.snapshot().children] == [
        "app/metrics",
        "app/email",
        "app/store",
    ]
    report = app.stop()
    assert report.clean == 4
    names = ["metrics", "email", "store"]
    assert journal == [
        *(f"{name} starts" for name in names),
        *(f"{name} stops" for name in reversed(names)),
    ]


def test_every_service_finds_the_providers() -> None:
    found: list[object] = []

    class Asks(Service):
        def on_start(self) -> None:
            found.append(self.service("metrics"))

    class Boss(Service):
        def on_start(self) -> None:
            self.adopt(Asks())

    metrics = Plain()
    app = App(providers={"metrics": metrics, "boss": Boss()})
    app.start()
    assert found == [metrics]
    assert app.service("metrics") is metrics
    assert app.service("boss/Asks").service("metrics") is metrics
    app.stop()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("till", "shop/till"),
        ("/till", "shop/till"),
        ("shop/till", "shop/till"),
        ("shop/x", "shop/shop/x"),
        ("till/x", "shop/till/x"),
        ("shop/shop", "shop/shop"),
        ("/shop", "shop/shop"),
        ("shop/shop/x", "shop/shop/x"),
        ("shop/none", None),
        ("x", None),
    ],
)
def test_services_and_operators_find_the_same_by_a_path(path: str, found: str | None) -> None:
    """In an app that is called like one of its own services."""
    shop = Supervisor([(Plain(), {"name": "x"})])
    till = Supervisor([(Plain(), {"name": "x"})])
    with App(name="shop", providers={"till": till, "shop": shop}) as app:
        if found is None:
            with pytest.raises(UnknownService):
                till.service(path)
            with pytest.raises(Refused):
                Desk(app).find(path)
        else:
            assert till.service(path).snapshot().path == found
            assert Desk(app).find(path) is till.service(path)


def test_a_provider_is_found_by_its_name_even_if_the_app_has_the_same() -> None:
    shop = Plain()
    with App(name="shop", providers={"till": Plain(), "shop": shop}) as app:
        assert app.service("till").service("shop") is shop
        with pytest.raises(Refused, match="can mean"):
            Desk(app).find("shop")  # to stop it, say: an operator is asked which


def test_an_unknown_provider_is_an_error_that_lists_them() -> None:
    with App(providers={"metrics": Plain(), "email": Plain()}) as app:
        with pytest.raises(UnknownService, match=r"did you mean 'metrics'\?") as caught:
            app.service("metric")
        assert set(caught.value.names) >= {"metrics", "email"}


def test_a_provider_that_was_restarted_is_still_the_same_object(clock: VirtualClock) -> None:
    metrics = Plain()
    with App(providers={"metrics": metrics}) as app:
        metrics.spawn(boom)
        clock.settle()
        assert app.service("metrics") is metrics
        assert metrics.snapshot().incarnation == 2


def test_a_provider_that_fails_to_start_takes_the_others_down_again() -> None:
    journal: list[str] = []
    app = App(
        providers={
            "first": Told(journal, "first"),
            "second": Told(journal, "second"),
            "bad": Told(journal, "bad", fails=True),
            "never": Told(journal, "never"),
        }
    )
    with pytest.raises(StartFailed, match="app/bad failed to start: ValueError: boom"):
        app.start()
    assert journal == [
        *("first starts", "second starts", "bad starts"),
        *("second stops", "first stops"),
    ]
    assert app.snapshot().state is State.FAILED
    assert app.snapshot().children == ()


def test_an_app_gives_up_when_its_providers_crash_too_often(clock: VirtualClock) -> None:
    metrics = Plain()
    app = App(providers={"metrics": metrics, "other": Plain()}, max_restarts=2, max_seconds=10)
    app.start()
    for _ in range(3):
        assert app.snapshot().state is State.RUNNING
        metrics.spawn(boom)
        clock.settle()
    ended = app.wait(0)
    assert ended is not None
    assert ended.reason is Reason.GAVE_UP
    assert "app gave up: more than 2 restarts within 10 s" in str(ended.failure)
    assert app.snapshot().state is State.FAILED


def test_the_strategy_of_an_app_is_its_own(clock: VirtualClock) -> None:
    first, second = Plain(), Plain()
    with App(providers={"first": first, "second": second}, strategy="one_for_all"):
        first.spawn(boom)
        clock.settle()
        assert (first.snapshot().incarnation, second.snapshot().incarnation) == (2, 2)
        assert second.snapshot().restarts == 1


@pytest.mark.parametrize("key", ["", "a/b", 3, None])
def test_a_key_is_a_name(key: Any) -> None:
    with pytest.raises(BadValue, match="provider="):
        App(providers={key: Plain()})


@pytest.mark.parametrize("provider", [dict, "metrics", None])
def test_a_provider_is_a_service(provider: Any) -> None:
    with pytest.raises(BadValue, match=r"providers\['metrics'\]="):
        App(providers={"metrics": provider})


def test_a_service_is_provided_once() -> None:
    service = Plain()
    with pytest.raises(BadValue, match="each service once"):
        App(providers={"a": service, "b": service})


def test_wrong_policy_is_refused_when_the_app_is_made() -> None:
    with pytest.raises(BadPolicy, match="strategy"):
        App(strategy="one_for_two")
    with pytest.raises(BadPolicy, match="max_restarts"):
        App(max_restarts=-1)


def test_an_app_has_a_name_and_is_a_supervisor() -> None:
    with App() as app:
        assert app.snapshot().name == "app"
        assert app.snapshot().kind == "supervisor"
    with App(name="shop", providers={"till": Plain()}) as app:
        assert app.service("till").snapshot().path == "shop/till"


# -- its life --------------------------------------------------------------------------


def test_with_an_app_means_start_and_stop() -> None:
    journal: list[str] = []
    app = App(providers={"a": Told(journal, "a")})
    with app as entered:
        assert entered is app
        assert journal == ["a starts"]
        with pytest.raises(AlreadyStarted):
            app.start()
    assert journal == ["a starts", "a stops"]
    with pytest.raises(ZeroDivisionError), app:
        raise ZeroDivisionError
    assert journal == ["a starts", "a stops"] * 2
    assert app.snapshot().state is State.STOPPED


def test_an_app_stops_within_thirty_seconds_by_default(clock: VirtualClock) -> None:
    class Slow(Service, shutdown="infinity"):
        def on_stop(self) -> None:
            gevent.sleep(1000)

    app = App(providers={"slow": Slow()})
    app.start()
    report = app.stop()
    assert clock.now == pytest.approx(30.0, abs=0.6)
    assert report.killed == 1
    app.start()
    app.stop(2)
    assert clock.now == pytest.approx(32.0, abs=1.2)


def test_an_app_can_be_started_again_with_the_same_providers() -> None:
    metrics = Plain()
    app = App(providers={"metrics": metrics})
    for life in (1, 2, 3):
        with app:
            assert app.service("metrics") is metrics
            assert metrics.snapshot().incarnation == life


def test_two_apps_do_not_meet() -> None:
    heard: list[tuple[str, object]] = []

    def hear(name: str) -> Callable[[object], None]:
        return lambda data: heard.append((name, data))

    one = App(name="one", providers={"a": Plain(), "mine": Plain()})
    two = App(name="two", providers={"a": Plain()})
    with one, two:
        one.service("a").listen("event", hear("one"))
        two.service("a").listen("event", hear("two"))
        one.emit("event", 1)
        assert heard == [("one", 1)]
        assert one.service("a") is not two.service("a")
        with pytest.raises(UnknownService):
            two.service("mine")
        one.stop()
        two.emit("event", 2)
        assert heard == [("one", 1), ("two", 2)]
        assert two.snapshot().state is State.RUNNING


def test_a_service_cannot_be_provided_to_two_running_apps() -> None:
    service = Plain()
    one, two = App(providers={"a": service}), App(providers={"a": service})
    with one, pytest.raises(StartFailed, match="AlreadyAdopted"):
        two.start()
    with two:
        assert two.service("a") is service


def test_an_app_below_another_keeps_its_children_to_itself() -> None:
    inner = App(name="inner", providers={"a": Plain()})
    outer = App(name="outer", providers={"a": Plain(), "inner": inner})
    with outer:
        assert outer.service("inner/a").snapshot().path == "outer/inner/a"
        assert inner.service("a") is outer.service("a")  # names are the tree's


# -- Supervisor(children=...) ----------------------------------------------------------


def test_children_are_services_or_pairs_with_policy() -> None:
    children: list[Any] = [
        Plain(),
        (Plain(), {"restart": "transient", "shutdown": 1.0}),
        (Plain(), {"name": "named"}),
        Plain(),
    ]
    with Supervisor(children=children) as supervisor:
        pictures = supervisor.snapshot().children
        assert [picture.name for picture in pictures] == ["Plain", "Plain-2", "named", "Plain-3"]
        assert [picture.policy.restart for picture in pictures] == [
            *("permanent", "transient", "permanent", "permanent")
        ]
        assert pictures[1].policy.shutdown == 1.0


def test_no_children_are_fine() -> None:
    with Supervisor() as supervisor:
        assert supervisor.snapshot().children == ()
        assert supervisor.snapshot().kind == "supervisor"


@pytest.mark.parametrize(
    "child",
    [
        "Plain",
        None,
        (Plain,),
        ("Plain", {}),
        (Plain(), "transient"),
        (Plain(), {}, 3),
    ],
)
def test_anything_else_is_refused_when_the_supervisor_is_made(child: Any) -> None:
    with pytest.raises(BadValue, match="child="):
        Supervisor(children=[child])


def test_the_policy_of_all_children_is_checked_before_any_is_started() -> None:
    with pytest.raises(BadPolicy, match="restart"):
        Supervisor(children=[Plain(), (Plain(), {"restart": "never"})])
    with pytest.raises(BadPolicy, match="unknown policy keyword"):
        Supervisor(children=[(Plain(), {"retsart": "temporary"})])
    with pytest.raises(BadPolicy, match="strategy"):
        Supervisor(strategy="one_for_two")
    with pytest.raises(BadPolicy, match="unknown policy keyword"):
        Supervisor(stratgy="one_for_all")


def test_a_child_or_a_name_given_twice_is_refused() -> None:
    service = Plain()
    with pytest.raises(BadValue, match="each service once"):
        Supervisor(children=[service, service])
    with pytest.raises(AlreadyPresent, match="supervisor/a"):
        Supervisor(children=[(Plain(), {"name": "a"}), (Plain(), {"name": "a"})])


def test_children_may_come_from_an_iterator_and_survive_restarts(clock: VirtualClock) -> None:
    def children() -> Iterator[Service]:
        yield Plain()
        yield Plain()

    with Supervisor(name="root", max_restarts=100) as root:
        for middle in (Supervisor(children()), Supervisor(children=children())):
            root.adopt(middle)
            for _ in range(3):
                middle.spawn(boom)
                clock.settle()
            assert middle.snapshot().incarnation == 4
            assert len(middle.snapshot().children) == 2


def test_a_subclass_may_have_a_constructor_of_its_own(clock: VirtualClock) -> None:
    class Pool(Supervisor):
        def __init__(self, size: int, *, name: str = "pool") -> None:
            super().__init__([Plain() for _ in range(size)], name=name, strategy="one_for_all")
            self.size = size

    with Supervisor(name="root") as root:
        pool = root.adopt(Pool(3))
        pool.spawn(boom)
        clock.settle()
        assert pool.snapshot().incarnation == 2
        assert pool.snapshot().state is State.RUNNING
        assert pool.snapshot().policy.strategy == "one_for_all"
        assert (pool.size, len(pool.snapshot().children)) == (3, 3)


def test_a_supervisor_may_have_on_start_too(clock: VirtualClock) -> None:
    class More(Supervisor):
        def on_start(self) -> None:
            self.adopt(Plain(), name="more")

    with More([(Plain(), {"name": "static"})]) as supervisor:
        assert [child.name for child in supervisor.snapshot().children] == ["static", "more"]
    clock.settle()


def test_a_child_that_lives_elsewhere_makes_the_start_fail() -> None:
    service = Plain()
    with Supervisor([service]):
        other = Supervisor([service])
        with pytest.raises(StartFailed) as caught:
            other.start()
        assert isinstance(caught.value.__cause__, AlreadyAdopted)


def test_an_embedded_supervisor_touches_no_signal_handler() -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with Supervisor([Plain()]):
        assert {number: signal.getsignal(number) for number in before} == before
    assert {number: signal.getsignal(number) for number in before} == before
