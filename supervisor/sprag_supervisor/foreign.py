"""How to look at what is not sprag's own without running its code.

`isinstance` asks an object for its ``__class__`` where its type does not fit, `hasattr` asks its
``__getattr__``, and ``a or b`` asks whether it is true. Each may raise anything, block or lie, for
a user's exception as for a dead `weakref.proxy`; in the midst of the engine's work nobody
expects that. What these functions read lies in the interpreter's own structures.

The classes they compare with are sprag's, gevent's and Python's: those have no say in it.
"""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType, TracebackType

T = TypeVar("T")


def is_a(thing: object, kind: type[T]) -> TypeGuard[T]:
    """Whether *thing* is of *kind*, whatever it says of itself."""
    return issubclass(type(thing), kind)


# -- classes ---------------------------------------------------------------------------

class_name: Final[Callable[[type], str]] = type.__dict__["__name__"].__get__
"""Return the name of a class, past its metaclass."""
qualified_name: Final[Callable[[type], str]] = type.__dict__["__qualname__"].__get__
"""Return the name of a class within its module."""
ancestors: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
"""Return the method resolution order of a class, itself first."""
where_made: Final[Callable[[type], object]] = type.__dict__["__module__"].__get__
"""Return what a class says of where it was made, whatever that is; AttributeError: nothing."""
dict_of: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
"""Return what a class itself has, past its metaclass."""


def member_of(kind: type, name: str) -> Any:
    """Return what instances of *kind* find under *name* in it, itself; None: nothing."""
    for base in ancestors(kind):
        own = dict_of(base)
        if name in own:
            return own[name]
    return None


def module_name(kind: type) -> str:
    """Return where a class was made, "" if it does not say that in words."""
    try:
        name: object = where_made(kind)
    except AttributeError:
        return ""
    return str.__str__(name) if is_a(name, str) else ""


# -- exceptions ------------------------------------------------------------------------

traceback_of: Final[Callable[[BaseException], TracebackType | None]] = BaseException.__dict__[
    "__traceback__"
].__get__
"""Return where an exception was raised."""
cause_of: Final[Callable[[BaseException], BaseException | None]] = BaseException.__dict__[
    "__cause__"
].__get__
"""Return what an exception was raised from."""
context_of: Final[Callable[[BaseException], BaseException | None]] = BaseException.__dict__[
    "__context__"
].__get__
"""Return what was being handled when an exception was raised."""
own_attributes_of: Final[Callable[[BaseException], dict[str, object]]] = BaseException.__dict__[
    "__dict__"
].__get__
"""Return what was set on an exception, its notes among it."""
_suppresses: Final[Any] = BaseException.__dict__["__suppress_context__"].__get__
_code: Final[Any] = SystemExit.__dict__["code"].__get__
_members: Final[Any] = BaseExceptionGroup.__dict__["exceptions"].__get__


def origin_of(error: BaseException) -> BaseException | None:
    """Return what *error* was raised from, or while handling it, if that is to be told."""
    found = cause_of(error)
    if found is None and not _suppresses(error):
        found = context_of(error)
    return found


def members_of(group: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group; none if it is no group."""
    found: tuple[BaseException, ...] = _members(group) if is_a(group, BaseExceptionGroup) else ()
    return found


def exit_code_of(error: BaseException) -> tuple[int, object]:
    """Return the code of a SystemExit, and what it has said instead of a number."""
    code: object = _code(error)
    if code is None:
        return 0, None
    return (int.__int__(code), None) if is_a(code, int) else (1, code)


# -- anything --------------------------------------------------------------------------


def attribute_of(thing: object, name: str) -> Any:
    """Return an attribute that *thing* itself holds, None if it has none or will not say.

    A property of its class runs, but raises nothing.
    """
    try:
        return object.__getattribute__(thing, name)
    except BaseException:  # noqa: BLE001 - the code of somebody else
        return None


def module_of(frame: FrameType) -> str:
    """Return the module that the code of a frame says it belongs to; "" if that is no name."""
    name: object = frame.f_globals.get("__name__")
    return name if type(name) is str else ""


def function_name(fn: object) -> str:
    """Return what people call a function, or the class of another callable."""
    if type(fn) is MethodType:
        fn = fn.__func__
    if type(fn) is BuiltinFunctionType:
        return fn.__name__
    return fn.__qualname__ if type(fn) is FunctionType else class_name(type(fn))
