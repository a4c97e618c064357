"""What a user's class may do to the making of its services, and still be restarted.

A restart runs ``__init__`` again with the arguments of the construction, so the node has to
know them, whatever a ``__new__`` of the user's passes on; and the engine writes its slots,
even where ``frozen=True`` or a ``__setattr__`` of the user's is in the way.
"""

from __future__ import annotations

import functools
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.foreign import attribute_of, is_a

if TYPE_CHECKING:
    from collections.abc import Iterator

_DONE: Final = "_knows_the_engine_"


class Arguments(NamedTuple):
    """What a service was made with, if keywords are among that; else it is a plain tuple."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def arguments_of(node: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments, and the keyword arguments, that each life of *node* is made with."""
    given: Any = node._arguments_
    return given if type(given) is Arguments else (given, {})


def remember_arguments(node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Let the next lives of *node* be made with these."""
    node._arguments_ = Arguments(args, kwargs) if kwargs else args


def record_arguments(cls: type[Any], node: type[Any]) -> None:
    """See to it that a ``__new__`` of the user's, as for a singleton, loses no arguments.

    Raises:
        BadValue: It belongs to a class that comes after `Service`, and would not be called.
    """
    behind = cls.__mro__[cls.__mro__.index(node) + 1 : -1]
    for base in behind:
        if "__new__" in vars(base):
            raise BadValue(
                f"class {cls.__name__}",
                base,
                f"it in front of Service, 'class {cls.__name__}({base.__name__}, Service)': "
                f"its __new__ must come first",
            )
    new: Any = cls.__new__
    if new is node.__new__ or _is_done(new):
        return

    @functools.wraps(new)
    def recording(kind: type[Any], *args: Any, **kwargs: Any) -> Any:
        made = new(kind, *args, **kwargs)
        if is_a(made, kind):  # so its __init__ is about to run with these
            if attribute_of(made, "_policy_") is None:  # object.__new__ has made it
                _furnish(made, node)
            remember_arguments(made, args, kwargs)
        return made

    setattr(recording, _DONE, True)
    type.__setattr__(cls, "__new__", staticmethod(recording))


def _furnish(made: Any, node: type[Any]) -> None:
    """Let *made*, which has nothing in its slots yet, be a node like any other."""
    new: Any = node.__new__
    plain: object = new(type(made))
    for name in node.__slots__:
        if name != "__weakref__":
            object.__setattr__(made, name, object.__getattribute__(plain, name))


def _is_done(function: object) -> bool:
    return type(function) is FunctionType and _DONE in function.__dict__


def _is_engines(name: str) -> bool:
    return name[:1] == "_" == name[-1:] and name[1:2] != "_"


def let_engine_read(cls: type[Any]) -> None:
    """Keep a ``__getattribute__`` of the user's, that of a lazy proxy say, off engine slots."""
    users: Any = cls.__getattribute__
    if _is_done(users):
        return
    plain: Any = object.__getattribute__

    @functools.wraps(users)
    def reading(self: object, name: str) -> Any:
        return plain(self, name) if _is_engines(name) else users(self, name)

    setattr(reading, _DONE, True)
    type.__setattr__(cls, "__getattribute__", reading)


def let_engine_write(cls: type[Any]) -> None:
    """Keep a ``__setattr__`` of the user's, that of a frozen dataclass say, off engine slots."""
    users: Any = cls.__setattr__
    if _is_done(users):
        return
    plain: Any = object.__setattr__

    @functools.wraps(users)
    def writing(self: object, name: str, value: object) -> None:
        if _is_engines(name):
            plain(self, name, value)
        else:
            users(self, name, value)

    setattr(writing, _DONE, True)
    type.__setattr__(cls, "__setattr__", writing)


def slots_of(cls: type) -> Iterator[Any]:
    """Yield the descriptors of the slots that users' classes have added."""
    for base in cls.__mro__:
        if "__slots__" in base.__dict__ and "_keeps_slots_" not in base.__dict__:
            for each in base.__dict__.values():
                if is_a(each, MemberDescriptorType):
                    yield each
