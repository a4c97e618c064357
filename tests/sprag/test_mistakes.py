"""What newcomers write in the place of a function, and what they are told."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

import pytest

from scripted import states
from sprag import Service, Supervisor
from sprag.exceptions import (
    BadValue,
)
from taking import NEVER_RUN, PLAIN, TAKING, coroutine_function, generator_function

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.testing import VirtualClock


@pytest.mark.parametrize("fn", NEVER_RUN)
@pytest.mark.parametrize("taking", TAKING)
def test_what_would_never_run_is_refused_wherever_a_function_is_taken(
    running: Service, taking: str, fn: Callable[..., Any]
) -> None:
    with pytest.raises(BadValue, match=f"^fn=.* is not accepted: use {PLAIN}$"):
        TAKING[taking](running, fn)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "something callable, not what a call has returned: did you call it?"),
        (generator_function(), "not a generator, which never runs: did you call it?"),
        ("self.poll", "something callable, as in self.method, without brackets"),
        (5, "something callable, as in self.method, without brackets"),
    ],
)
@pytest.mark.parametrize("taking", TAKING)
def test_a_function_that_was_called_instead_of_passed_is_told(
    running: Service, taking: str, given: object, message: str
) -> None:
    with pytest.raises(BadValue) as caught:
        TAKING[taking](running, given)
    assert message in str(caught.value)


def test_a_coroutine_that_was_made_by_calling_is_told_without_a_warning_of_pythons(
    running: Service,
) -> None:
    with pytest.raises(BadValue, match="not a coroutine, which never runs: did you call"):
        running.interval(coroutine_function(), 1.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("fn", NEVER_RUN)
@pytest.mark.parametrize("taking", TAKING)
def test_what_could_not_be_seen_beforehand_is_a_crash_that_says_so(
    clock: VirtualClock, log: Any, taking: str, fn: Callable[..., Any]
) -> None:
    if taking == "spawn" and inspect.isgeneratorfunction(fn):
        pytest.skip("who asks for the greenlet's value may want that: see below")
    with Supervisor(children=[one := Service()]):
        TAKING[taking](one, forwarding(fn))
        if taking == "listen to sprag":
            Service.adopt(one, Service())
        one.emit("order")
        clock.advance(1.5)
        one.stop()
    told = [str(record.exc_info[1]) for record in log.records if record.exc_info]
    assert len(told) == 1
    assert f"is not accepted: use {PLAIN}" in told[0]
    assert "never runs by itself" in told[0]


class _Pause:
    def __await__(self) -> Generator[None]:
        yield


def test_a_coroutine_that_somebody_else_has_begun_is_not_ended(clock: VirtualClock) -> None:
    async def somebody_s() -> str:
        await _Pause()
        return "is done"

    begun = somebody_s()
    begun.send(None)
    with Supervisor(children=[one := Service()]):
        with pytest.raises(BadValue, match="never runs by itself"):
            one.task(lambda: cast("object", begun)).get()
        with pytest.raises(StopIteration, match="is done"):
            begun.send(None)


def forwarding(fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return fn(*args)

    return call


def test_a_greenlet_may_hand_out_a_generator(running: Service) -> None:
    made = running.spawn(lambda: (n for n in range(3))).get()
    assert list(made) == [0, 1, 2]


def test_a_listener_that_returns_a_coroutine_is_its_own_services_crash(clock: VirtualClock) -> None:
    class Deaf(Service):
        def on_start(self) -> None:
            self.listen("order", lambda data: coroutine_function(data))

    with Supervisor(children=[deaf := Deaf(), shop := Service()]) as top:
        shop.emit("order", 1)
        clock.settle()
        assert states(top) == {"Deaf": "running", "Service": "running"}
        assert deaf.snapshot().restarts == 1


def bridged(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Run an async function to its end, as a bridge to asyncio does."""

    @functools.wraps(fn)
    def run(*args: Any) -> Any:
        return asyncio.run(fn(*args))

    return run


def test_a_decorator_that_runs_an_async_function_is_left_alone(running: Service) -> None:
    class Bridged(Service):
        @bridged
        async def on_start(self) -> None:
            self.started = True

    assert running.adopt(Bridged()).started
    running.spawn(bridged(coroutine_function)).get()
