"""Classes and exceptions that users write: flags called run, proxies, texts that raise."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import crash, states
from sprag import App, Service, StartFailed, State, Supervisor

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Flagged(Service):
    def __init__(self) -> None:
        self.run = True


class Proxy(Service):
    """Passes on what it does not have to what it wraps, which has a `run` of its own."""

    def __init__(self) -> None:
        self.client = gevent.Greenlet(lambda: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["client"], name)


@pytest.mark.parametrize("kind", [Flagged, Proxy])
def test_only_a_method_called_run_is_a_body(clock: VirtualClock, kind: type[Service]) -> None:
    with Supervisor() as top:
        top.adopt(kind(), name="one")
        clock.advance(1.0)
        assert states(top) == {"one": "running"}
        assert top.snapshot().children[0].restarts == 0


class Wordless(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Deadly(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Noted(Exception):
    def __init__(self) -> None:
        self.__notes__ = 5  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("error", [Wordless, Deadly, Noted])
def test_an_exception_that_cannot_be_told_is_a_failed_start_like_any_other(
    clock: VirtualClock, error: type[Exception]
) -> None:
    class Odd(Service):
        def on_start(self) -> None:
            raise error

    with Supervisor() as top, pytest.raises(StartFailed, match=f"Odd failed .*{error.__name__}"):
        top.adopt(Odd())


@pytest.mark.parametrize("error", [Wordless, Deadly, Noted])
def test_an_exception_that_cannot_be_told_is_a_crash_like_any_other(
    clock: VirtualClock, error: type[Exception]
) -> None:
    with Supervisor(children=[one := Service()]) as top:
        crash(one)
        clock.settle()
        one.spawn(_raise, error())
        clock.settle()
        assert top.snapshot().children[0].restarts == 2


def _raise(error: Exception) -> None:
    raise error


@dataclass
class Coded(Exception):
    code: int


def test_causes_that_are_equal_are_not_taken_for_one(clock: VirtualClock) -> None:
    def fail() -> None:
        try:
            raise Coded(1)
        except Coded as inner:
            raise Coded(1) from inner

    with Supervisor(children=[one := Service()]):
        one.spawn(fail)
        clock.settle()
        failure = one.snapshot().last_failure
        assert failure is not None
        assert failure.cause is not None


def test_a_stop_asked_for_in_the_hub_is_carried_out_afterwards(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_stop(self) -> None:
            gevent.sleep(1.0)

    top = Supervisor(children=[Slow()])
    top.start()
    reports: list[Any] = []
    # As a handler of Python's own, signal.signal(SIGTERM, ...), while everybody waits.
    gevent.get_hub().loop.run_callback(lambda: reports.append(top.stop()))
    clock.advance(2.0)
    assert reports[0].is_pending
    assert top.snapshot().state.value == "stopped"


def test_a_copy_is_a_service_of_its_own(clock: VirtualClock) -> None:
    class Meter(Service):
        def __init__(self, unit: str, *, step: float = 1.0) -> None:
            self.unit, self.step = unit, step

        def on_start(self) -> None:
            self.tick = self.interval(list, self.step)

    with Supervisor() as top:
        meter = top.adopt(Meter("volt", step=2.0))
        for copied in (copy.copy(meter), copy.deepcopy(meter)):
            assert copied.snapshot().state is State.NEW
            assert (copied.unit, copied.step) == ("volt", 2.0)
            copied.start()
            copied.stop()
        assert meter.tick.active


def test_an_app_need_not_call_the_constructor_it_inherits(clock: VirtualClock) -> None:
    class Shop(App):
        def __init__(self, town: str) -> None:
            self.town = town

    with Shop("Basel") as shop:
        assert shop.snapshot().state is State.RUNNING


def test_what_a_class_reads_and_writes_by_is_not_wrapped_anew_by_those_below_it() -> None:
    class Lazy(Service):
        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)

    class Below(Lazy):
        pass

    assert vars(Below).keys().isdisjoint({"__getattribute__", "__setattr__"})
