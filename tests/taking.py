"""Where a service takes a function, and functions that would never run there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sprag import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


PLAIN = "a plain function: under gevent it may block, and needs neither async nor yield"


async def coroutine_function(*_: Any) -> None:
    pass


def generator_function(*_: Any) -> Iterator[None]:
    yield


async def async_generator_function(*_: Any) -> AsyncIterator[None]:
    yield


class AsyncCallable:
    async def __call__(self, *_: Any) -> None:
        pass

    async def method(self, *_: Any) -> None:
        pass

    @staticmethod
    async def static(*_: Any) -> None:
        pass

    @classmethod
    async def of_class(cls, *_: Any) -> None:
        pass


NEVER_RUN: list[Callable[..., Any]] = [
    coroutine_function,
    generator_function,
    async_generator_function,
    functools.partial(coroutine_function, 1),
    functools.partial(functools.partial(generator_function, 1), 2),
    AsyncCallable(),
    AsyncCallable().method,
    AsyncCallable.static,
    AsyncCallable.of_class,
    functools.partial(AsyncCallable()),
    functools.partial(AsyncCallable().method, 1),
]


def _watch_one_that_is_down(one: Service, fn: Any) -> object:
    """Watch what has ended, of which *fn* is told at once."""
    other = Service.adopt(one, Service())
    other.stop()
    return one.watch(other, fn)


TAKING: dict[str, Callable[[Service, Any], object]] = {
    "listen": lambda one, fn: one.listen("order", fn),
    "listen to sprag": lambda one, fn: one.listen("sprag:started", fn),
    "spawn": lambda one, fn: one.spawn(fn),
    "interval": lambda one, fn: one.interval(fn, 1.0),
    "timeout": lambda one, fn: one.timeout(fn, 1.0),
    "add_cleanup": lambda one, fn: one.add_cleanup(fn),
    "watch": _watch_one_that_is_down,
    "call_from_thread": lambda one, fn: one.call_from_thread(fn),
}
