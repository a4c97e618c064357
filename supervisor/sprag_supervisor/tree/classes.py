"""A class in the place of a service: it is called, without arguments."""

from __future__ import annotations

from types import FunctionType
from typing import Any, cast

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.foreign import class_name, is_a, member_of
from sprag_supervisor.tree.node import Node


def is_class(given: object) -> bool:
    """Whether *given* is a class of services."""
    return is_a(given, type) and issubclass(cast("type[object]", given), Node)


def made_of(given: Any, argument: str, accepted: str) -> Node:
    """Return the service that is meant by *given*, which is no service: one of that class.

    What its ``__init__`` raises is raised here.

    Raises:
        BadValue: It is no class of services, or its ``__init__`` needs arguments.
    """
    if not is_class(given):
        raise BadValue(argument, given, accepted)
    kind: type[Node] = given
    if needed := _needed_by(kind):
        name = class_name(kind)
        accepted = f"a service made by you, {name}(...): its __init__ needs {', '.join(needed)}"
        raise BadValue(argument, given, accepted)
    return kind()


def _needed_by(kind: type[Node]) -> list[str]:
    """Return the arguments without which a service of *kind* cannot be made."""
    function = member_of(kind, "__init__")
    if type(function) is FunctionType and not function.__dict__:
        code, defaults = function.__code__, len(function.__defaults__ or ())
        count = code.co_argcount
        by_name = code.co_varnames[count : count + code.co_kwonlyargcount]
        needed = {*by_name} - (function.__kwdefaults__ or {}).keys()
        return [*code.co_varnames[1 : count - defaults], *filter(needed.__contains__, by_name)]
    return _needed_as_shown(kind)


def _needed_as_shown(kind: type[Node]) -> list[str]:
    """Return the same of what is decorated, or no function: as others show it."""
    import inspect

    try:
        _self, *parameters = inspect.signature(kind.__init__).parameters.values()
    except Exception:  # noqa: BLE001 - whatever a user's descriptor raises; the call will tell
        return []
    return [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
