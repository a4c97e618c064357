"""Plant one error at one place of the engine: at the k-th call, return or line of a function.

No product code takes part: a trace function raises, once. It is set anew in every greenlet, by
greenlet's own trace. Functions are found by walking the package.
"""

from __future__ import annotations

import dis
import importlib
import pkgutil
import sys
from collections import Counter
from contextlib import contextmanager
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import greenlet

import sprag_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import FrameType

EVENTS = ("call", "return", "line")
OF_THE_LIBRARY = ("sprag.services.reloading",)
"""Modules of the library that have to be as sound: others wait for what they do."""


class Planted(Exception):
    """The error that is planted."""


class Place(NamedTuple):
    """Where in the engine: the *nth* time that *event* happens in *code*, from 1.

    Of lines, the *nth* time that *line* is reached; it is 0 for the others.
    """

    code: CodeType
    event: str
    line: int
    nth: int

    def __str__(self) -> str:
        file = self.code.co_filename.rpartition("/")[2]
        line = self.line or self.code.co_firstlineno
        return f"{file}:{line} {self.code.co_qualname} {self.event} #{self.nth}"


def functions() -> dict[CodeType, str]:
    """Return the code of every function of the engine and its like, with its qualified name."""
    found: dict[CodeType, str] = {}
    package = sprag_supervisor
    names = [each.name for each in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    for name in (*names, *OF_THE_LIBRARY):
        module = importlib.import_module(name)
        for code in _codes_of(module):
            found[code] = f"{name.removeprefix('sprag_supervisor.')}.{code.co_qualname}"
    return found


def _codes_of(module: ModuleType) -> Iterator[CodeType]:
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, type):
            for member in list[Any](vars(value).values()):
                yield from _within(member, module)
        else:
            yield from _within(value, module)


def _within(member: Any, module: ModuleType) -> Iterator[CodeType]:
    for one in (member, *(getattr(member, each, None) for each in ("fget", "fset", "__func__"))):
        function = getattr(one, "__wrapped__", one)
        if isinstance(function, FunctionType) and function.__code__.co_filename == module.__file__:
            pending = [function.__code__]
            while pending:
                code = pending.pop()
                yield code
                pending.extend(each for each in code.co_consts if isinstance(each, CodeType))


@contextmanager
def counted(codes: dict[CodeType, str]) -> Generator[Counter[tuple[CodeType, str, int]]]:
    """Count what happens in *codes* during the block, by code, event and line (see `Place`).

    It is there when the block is over. Meanwhile codes go by their ids: to hash one takes longer
    than most lines do.
    """
    known = {id(code): code for code in codes}
    found: Counter[tuple[int, str, int]] = Counter()
    counts: Counter[tuple[CodeType, str, int]] = Counter()

    def local(frame: FrameType, event: str, _argument: object) -> Any:
        if event in EVENTS:
            found[id(frame.f_code), event, frame.f_lineno if event == "line" else 0] += 1
        return local

    def everywhere(frame: FrameType, event: str, _argument: object) -> Any:
        if (place := id(frame.f_code)) in known:
            found[place, event, 0] += 1
            return local
        return None

    with _traced(everywhere):
        yield counts
    for (place, event, line), count in found.items():
        if line not in idle_lines(known[place]):
            counts[known[place], event, line] = count


@cache
def idle_lines(code: CodeType) -> frozenset[int]:
    """Return the lines of *code* that do nothing, as a ``try:`` does: nothing can be raised there.

    But by a trace function, and that of an inner ``try`` is then, as Python compiles it, within
    none at all.
    """
    busy: set[int | None] = set()
    idle: set[int] = set()
    for each in dis.get_instructions(code):
        line = None if each.positions is None else each.positions.lineno
        if each.opname != "NOP":
            busy.add(line)
        elif line is not None:
            idle.add(line)
    return frozenset(idle - busy)


class Plant:
    """One planted error, and what has become of it."""

    def __init__(self, place: Place, error: type[BaseException]) -> None:
        self.place = place
        self.error = error
        self.line = 0
        """Where it has hit; 0 if it has not been reached."""


@contextmanager
def planted(place: Place, error: type[BaseException] = Planted) -> Generator[Plant]:
    """Raise *error* at *place*, once, if the block gets there."""
    plant = Plant(place, error)
    code, wanted, left = place.code, place.event, place.nth

    def strikes(frame: FrameType, event: str) -> None:
        nonlocal left
        if event != wanted or plant.line or (place.line and frame.f_lineno != place.line):
            return
        left -= 1
        if not left:
            plant.line = frame.f_lineno
            raise error(f"planted: {place}")

    def local(frame: FrameType, event: str, _argument: object) -> Any:
        strikes(frame, event)
        return local

    def everywhere(frame: FrameType, event: str, _argument: object) -> Any:
        if plant.line:
            sys.settrace(None)  # most of a run's time would go into what nobody looks at any more
        elif frame.f_code is code:
            strikes(frame, event)
            return local
        return None

    with _traced(everywhere, lambda: not plant.line):
        yield plant


@contextmanager
def _traced(trace: Any, goes_on: Callable[[], bool] = lambda: True) -> Generator[None]:
    def switched(_event: str, _greenlets: object) -> None:
        sys.settrace(trace if goes_on() else None)

    before = sys.gettrace()
    outer = greenlet.settrace(switched)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
        greenlet.settrace(outer)
        sys.settrace(before)
