"""What a service may be given to run: something callable whose body runs when it is called.

An `async def` or a function with a yield only makes an object when it is called, which
nobody would ever run: the mistake is silent. Where it can be seen it is refused before
anything happens; where it cannot (a lambda, a decorator around it) the object that comes
back is told as an error of the call.
"""

from __future__ import annotations

import functools
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import TYPE_CHECKING, Any, Final, cast

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.foreign import member_of

if TYPE_CHECKING:
    from collections.abc import Callable

# As `inspect` has them, which takes a tenth of what importing the library does.
TAKES_ANY: Final = 0x04
_GENERATOR: Final = 0x20
_COROUTINE: Final = 0x80
_ASYNC_GENERATOR: Final = 0x200
NEVER_RUNS: Final = _COROUTINE | _GENERATOR | _ASYNC_GENERATOR
_WRAPPERS: Final[tuple[type, ...]] = (
    functools.partial,
    functools.partialmethod,
    staticmethod,
    classmethod,
    MethodType,
)
_MAX_WRAPPERS: Final = 20
_UNRUN: Final[dict[type, str]] = {
    CoroutineType: "a coroutine",
    GeneratorType: "a generator",
    AsyncGeneratorType: "an async generator",
}
PLAIN: Final = "a plain function: under gevent it may block, and needs neither async nor yield"


def never_runs(fn: object) -> bool:
    """Whether calling *fn* would run nothing of its body, as far as can be seen.

    Sees through partials, bound methods and objects with a ``__call__``. What a decorator
    has put in front of an async function may well run it, and is not looked through.
    """
    for _ in range(_MAX_WRAPPERS):
        kind = type(fn)
        if kind is FunctionType:
            return bool(cast("FunctionType", fn).__code__.co_flags & NEVER_RUNS)
        if issubclass(kind, _WRAPPERS):
            fn = _inside(fn)
        elif issubclass(kind, type):
            return False  # it makes an instance
        else:
            # As Python does for a call: by the type. A foreign object's own code is not run.
            fn = member_of(kind, "__call__")
            if not issubclass(type(fn), (FunctionType, *_WRAPPERS)):
                return False
    return False


def _inside(wrapper: Any) -> object:
    for name in ("func", "__func__"):
        try:
            found: object = object.__getattribute__(wrapper, name)
        except AttributeError:
            continue
        return found
    return None


def check_callable(argument: str, fn: Callable[..., object]) -> None:
    """Refuse what is not callable, and what would never run.

    Raises:
        BadValue: It says which of the two.
    """
    kind = type(fn)
    given: Any = fn
    if (what := _UNRUN.get(kind)) is not None or given is None:
        _drop(given)
        call = "what a call has returned" if what is None else f"{what}, which never runs"
        accepted = f"something callable, not {call}: did you call it? Leave out the brackets"
        raise BadValue(argument, given, accepted)
    if not callable(fn):
        raise BadValue(argument, fn, "something callable, as in self.method, without brackets")
    if never_runs(fn):
        raise BadValue(argument, fn, PLAIN)


def check_result(argument: str, result: object) -> None:
    """Tell of a call that has only made an object whose body nobody runs.

    Raises:
        BadValue: *result* is a coroutine or a generator.
    """
    what = _UNRUN.get(type(result))
    if what is not None:
        _drop(result)
        raise BadValue(f"the result of {argument}", result, f"{PLAIN}; {what} never runs by itself")


def check_asked_result(argument: str, result: object) -> None:
    """Do the same for what somebody may ask for, as for a greenlet's: a generator is of use."""
    if type(result) is not GeneratorType:
        check_result(argument, result)


def run_for_effect(argument: str, fn: Callable[..., object], *args: object) -> None:
    """Call *fn*, whose result nobody sees."""
    check_result(argument, fn(*args))


def kind_of(given: object) -> type[object]:
    """Return the type of *given*, for type checkers too."""
    return type(given)


def _drop(given: Any) -> None:
    """Let a coroutine that has not begun go, without Python's warning on top of our error."""
    if kind_of(given) is not CoroutineType or given.cr_frame is None:
        return
    if not given.cr_running and not given.cr_suspended:
        given.close()
