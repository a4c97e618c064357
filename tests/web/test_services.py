"""What a controller gets when it asks for a service."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, assert_type, cast

import gevent
import pytest
from gevent.event import Event

from sprag import Backoff, Controller, Service
from sprag.exceptions import BadValue, WrongKind
from sprag.web import _comeback
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Shop


class Metrics(Service):
    def count(self) -> int:
        return 3


class Fails(Service):
    """Runs until it is told to crash, and does not start again."""

    is_broken = False

    def on_start(self) -> None:
        if type(self).is_broken:
            raise ValueError("broken")

    def fail(self) -> None:
        type(self).is_broken = True
        raise ValueError("broken")


class Late(Service):
    def on_start(self) -> None:
        gevent.sleep(60)


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.DEBUG, "sprag")
    return lambda: [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_a_service_is_asked_for_with_its_class_and_typed_so() -> None:
    class App(Service):
        def on_start(self) -> None:
            self.adopt(Metrics(), name="metrics")

    class Page(Controller):
        def types(self) -> None:
            assert_type(self.service("metrics", Metrics), Metrics)

    with App() as app:
        found = assert_type(app.service("metrics", Metrics), Metrics)
        assert found.count() == 3
        assert app.service("metrics", Service) is found
        assert app.service("metrics") is found
        with pytest.raises(WrongKind, match="'metrics' is of Metrics, not of Late") as caught:
            app.service("metrics", Late)
        assert (caught.value.found, caught.value.kind) == (Metrics, Late)
        assert isinstance(caught.value, TypeError)
        unfit: Any
        for unfit in ("Metrics", list[int], Metrics(), (Metrics, Late)):
            with pytest.raises(BadValue, match="use a class"):
                app.service("metrics", unfit)
        for unfit in (Metrics, None, 5, b"metrics"):
            with pytest.raises(BadValue, match="the class second"):
                app.service(unfit)
    assert hasattr(Page, "types")


def test_a_controller_is_handed_no_service_that_is_down(shop: Callable[..., Shop]) -> None:
    one = shop(
        """
        class Tells(Controller):
            route = "/tells/<path:name>"
            def load(self, name):
                self.service(name)
                return {"running": name}
        """,
        providers={"metrics": Metrics(), "fleet": Metrics()},
    )
    assert one.ask("/tells/metrics").json == {"running": "metrics"}
    metrics, fleet = one.app.service("metrics"), one.app.service("fleet")
    fails = fleet.adopt(Fails(), name="fails", backoff=Backoff(initial=60.0, maximum=60.0))
    assert one.ask("/tells/fleet/fails").status_code == 200
    metrics.stop()
    fails.spawn(fails.fail)
    starting = cast("Any", gevent.spawn(fleet.adopt, Late(), name="late"))
    gevent.sleep(0.01)
    for name, state in [
        ("metrics", "stopped"),
        ("fleet/fails", "restarting"),
        ("fleet/late", "starting"),
    ]:
        answer = one.ask(f"/tells/{name}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json["message"] == f"the service {name!r} does not run: it is {state}"
    fleet.stop()
    starting.kill()
    assert one.ask("/tells/fleet").status_code == 503
    metrics.start()
    assert one.ask("/tells/metrics").status_code == 200


class Slow(Service):
    """Takes a moment to come up again, in which its gate is shut."""

    def __init__(self) -> None:
        self.gate = Event()

    def on_start(self) -> None:
        if self.snapshot().incarnation > 1:
            self.gate.wait()

    def fail(self) -> None:
        raise ValueError("as told")


LIFE = """
class Life(Controller):
    route = "/life"
    def load(self):
        return {"life": self.service("slow").snapshot().incarnation}
"""


@pytest.fixture
def _endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken by what happens, or not at all."""
    monkeypatch.setattr(_comeback, "WITHIN", 600.0)


@pytest.mark.usefixtures("_endless")
def test_a_request_amid_a_restart_waits_for_the_next_life(shop: Callable[..., Shop]) -> None:
    slow = Slow()
    one = shop(LIFE, providers={"slow": slow})
    assert one.ask("/life").json == {"life": 1}
    for life in (2, 3):
        slow.gate.clear()
        slow.spawn(slow.fail)
        gevent.sleep(0)
        gevent.sleep(0)
        asking: list[Any] = [gevent.spawn(one.ask, "/life") for _ in range(3)]
        gevent.sleep(0.01)
        assert not any(each.ready() for each in asking)
        slow.gate.set()
        assert [each.get(timeout=20).json for each in asking] == [{"life": life}] * 3
        assert len(tree_of(one.app).observers) == 0


@pytest.mark.usefixtures("_endless")
def test_a_request_amid_a_restart_that_fails_is_told_at_once(shop: Callable[..., Shop]) -> None:
    slow = Slow()
    one = shop(LIFE, providers={"slow": slow})
    assert one.ask("/life").json == {"life": 1}
    slow.spawn(slow.fail)
    gevent.sleep(0)
    gevent.sleep(0)
    asking = cast("Any", gevent.spawn(one.ask, "/life"))
    gevent.sleep(0.01)
    assert not asking.ready()
    stopping = cast("Any", gevent.spawn(slow.stop))
    answer = asking.get(timeout=20)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    stopping.join()


def test_a_controller_asks_for_a_service_by_its_class(
    shop: Callable[..., Shop], errors: Callable[[], list[Any]]
) -> None:
    one = shop(
        """
        from sprag import Service
        class Other(Service): pass
        class Typed(Controller):
            route = "/typed/<how>"
            def load(self, how):
                kind = {"right": Service, "wrong": Other, "none": "metrics"}[how]
                return {"state": self.service("metrics", kind).snapshot().state.value}
        """,
        providers={"metrics": Metrics()},
    )
    assert one.ask("/typed/right").json == {"state": "running"}
    assert one.ask("/typed/wrong").status_code == 500
    assert one.ask("/typed/none").status_code == 500
    wrong, none = (str(each.exc_info[1]) for each in errors())
    assert wrong == "the service 'metrics' is of Metrics, not of Other: ask for what it is"
    assert none.startswith("kind='metrics' is not accepted: use a class")
