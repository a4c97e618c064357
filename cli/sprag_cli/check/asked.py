"""Whom services and controllers ask for by name, ``self.service("stock")``, and who that would be.

Read from the source: nothing of the user's runs. What is not plain text there is not looked at.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from difflib import get_close_matches
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sprag import Program
from sprag_cli.check.lint import Finding, Plan
from sprag_supervisor import is_ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNKNOWN: Final = "unknown-service"
_NAMED: Final = 6


class Asked(NamedTuple):
    """One call of `service`.

    Attributes:
        where: The method, as in ``shop.main.Till.on_start``.
        name: Who is asked for.
        kind: Of which class it is to be; None: of any.
    """

    where: str
    name: str
    kind: type[object] | None


def unknown(top: Plan, classes: Iterable[type]) -> Iterator[Finding]:
    """Yield whom *classes* ask for and will not find, or will find to be something else.

    Args:
        top: The tree.
        classes: Of its services and controllers.
    """
    seen: set[tuple[str, str]] = set()
    for cls in classes:
        for asked in asked_by(cls):
            if (asked.where, asked.name) in seen:
                continue
            seen.add((asked.where, asked.name))
            found = _found(top, asked.name)
            if found is None:
                yield _missing(top, asked)
            elif isinstance(found, Plan) and not _fits(found, asked.kind):
                fault = f"asks for {asked.name!r} as {asked.kind.__name__}" if asked.kind else ""
                other = "" if found.cls is None else found.cls.__name__
                remedy = f"name its class, {other}, or none"
                yield Finding(UNKNOWN, asked.where, f"{fault}, and it is a {other}", remedy)


def asked_by(cls: type) -> Iterator[Asked]:
    """Yield whom the methods of *cls* ask for, those of its bases included."""
    for base in cls.__mro__:
        if is_ours(base):
            break
        for name, value in vars(base).items():
            function: Any = getattr(value, "__func__", value)
            if type(function) is FunctionType:
                where = f"{base.__module__}.{base.__qualname__}.{name}"
                yield from _asked_in(function, where)


def _asked_in(function: FunctionType, where: str) -> Iterator[Asked]:
    code = function.__code__
    if "service" not in _names(code) or not code.co_argcount:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return  # made by a program, or in an interpreter
    me = code.co_varnames[0]
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="service"),
                args=[ast.Constant(value=str(name)), *more],
            ) if owner == me:
                kind = more[0] if more else None
                given = function.__globals__.get(kind.id) if isinstance(kind, ast.Name) else None
                yield Asked(where, name, given if type(given) is type else None)
            case _:
                pass


def _names(code: Any) -> set[str]:
    """Return the attributes that *code*, and what is defined in it, mentions."""
    found = set(code.co_names)
    for each in code.co_consts:
        if type(each) is type(code):
            found |= _names(each)
    return found


def _found(top: Plan, name: str) -> Plan | bool | None:
    """Return who is meant; True: somebody who comes when the app runs, maybe; None: nobody."""
    parts = [part for part in name.split("/") if part]
    ways = [parts]
    if parts[:1] == [top.name] and not name.startswith("/"):
        ways.append(parts[1:])
    answers = [_descend(top, way) for way in ways]
    return next((each for each in answers if isinstance(each, Plan)), None) or (
        True if True in answers else None
    )


def _descend(plan: Plan, way: list[str]) -> Plan | bool:
    for part in way:
        child = next((each for each in plan.children if each.name == part), None)
        if child is None:
            is_program = plan.cls is not None and issubclass(plan.cls, Program)
            return plan.may_adopt or is_program  # replicas
        plan = child
    return plan


def _missing(top: Plan, asked: Asked) -> Finding:
    names = [child.name for child in top.children]
    near = get_close_matches(asked.name, names, n=1)
    listed = ", ".join(names[:_NAMED]) or "none"
    fault = f"asks for the service {asked.name!r}, and there is none: {top.path} has {listed}"
    remedy = f"did you mean {near[0]!r}?" if near else "give it to the app, or name another"
    return Finding(UNKNOWN, asked.where, fault, remedy)


def _fits(plan: Plan, kind: type[object] | None) -> bool:
    return kind is None or plan.cls is None or kind in plan.cls.__mro__
