"""Hooks: what a class may define for the engine to call, checked when the class is made.

A hook belongs to the class: the engine asks the class which ones there are, so that a
service without any costs nothing. One that is set on an instance would be overlooked, and
one that is an `async def` would never run; both are refused where they are written.
"""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.foreign import attribute_of, is_a, member_of
from sprag_supervisor.tree.callables import PLAIN, TAKES_ANY, never_runs

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")

BODY: Final = "run"
"""The one hook that no class of the engine's has: an attribute of that name may be a flag."""


_FUNCTIONS: Final[tuple[type, ...]] = (FunctionType, MethodType, functools.partial)


def hook(fn: F) -> F:
    """Make *fn* a hook: a method for subclasses to define, and nobody to set on an instance."""
    return cast("F", Hook(fn))


class Hook(property):
    """A method that an instance has, and cannot be given another one for.

    A property, because only a data descriptor hears of ``self.on_stop = f``, and because
    looking one up on the class costs no more than a function.
    """

    def __init__(self, fn: Callable[[Any], object]) -> None:
        def bound(node: object) -> object:
            return MethodType(fn, node)

        def refuse(node: object, given: object) -> NoReturn:
            _refuse_on_instance(node, fn.__name__, given)

        super().__init__(bound, refuse, doc=fn.__doc__)
        self._fn = fn

    def __call__(self, node: object) -> object:
        """Do what the hook does by default, for those who write ``Service.on_start(self)``."""
        return self._fn(node)


class Body:
    """Stands where a class has no `run`, and refuses a function that an instance is given for it.

    Anything else may bear that name: a flag, a number, a record of a user's own.
    """

    def __get__(self, node: Any, owner: type) -> Any:
        attributes: dict[str, Any] = {} if node is None else attribute_of(node, "__dict__") or {}
        if BODY in attributes:
            return attributes[BODY]
        raise AttributeError(f"{owner.__name__!r} object has no attribute {BODY!r}")

    def __set__(self, node: Any, given: Any) -> None:
        if issubclass(type(given), _FUNCTIONS):
            _refuse_on_instance(node, BODY, given)
        node.__dict__[BODY] = given

    def __delete__(self, node: Any) -> None:
        try:
            del node.__dict__[BODY]
        except KeyError:
            raise AttributeError(BODY) from None


def _refuse_on_instance(node: object, name: str, given: object) -> NoReturn:
    raise BadValue(
        f"self.{name}",
        given,
        f"a method of the class, 'def {name}(self)', which may call it: sprag looks for hooks "
        f"in {type(node).__name__} only, and would not see this one",
    )


def hooks_of(cls: type) -> dict[str, type]:
    """Return the names of the hooks that *cls* may define, and who has said so."""
    found: dict[str, type] = {}
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if is_a(value, Hook):
                found[name] = base
            elif is_a(value, Body):
                found[BODY] = base
    return found


def check_hooks(cls: type, names: tuple[str, ...]) -> None:
    """Refuse a hook that could not run, wherever *cls* has it from.

    Raises:
        BadValue: It is an `async def`, has a yield, needs arguments or is no function.
    """
    for name in names:
        value = member_of(cls, name)
        where = f"{cls.__name__}.{name}"
        if is_a(value, Hook) or is_a(value, Body):
            continue
        if name == BODY and not callable(getattr(cls, name, None)):
            continue  # a flag
        if never_runs(value):
            raise BadValue(where, value, PLAIN)
        if value is None or type(value) in (bool, int, float, str):
            accepted = f"a method, 'def {name}(self)', or leave it out"
            raise BadValue(where, value, accepted)
        if is_a(value, FunctionType) and _needs_arguments(value):
            accepted = f"'def {name}(self)': a hook is called without arguments"
            raise BadValue(where, value, accepted)


def _needs_arguments(function: FunctionType) -> bool:
    if "__wrapped__" in function.__dict__:
        return False  # its signature is another function's
    code = function.__code__
    required = code.co_argcount - len(function.__defaults__ or ())
    keywords = set(code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount])
    takes_self = code.co_argcount > 0 or bool(code.co_flags & TAKES_ANY)
    return required > 1 or not takes_self or not keywords <= set(function.__kwdefaults__ or ())
