"""A crash as it is remembered: flat, without live tracebacks.

A kept exception would pin every frame and local of the crash (gevent-traps 24), and
`traceback.format_exception` costs more than a whole restart. So a crash keeps
(code, line) pairs and is formatted only when somebody looks.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sprag_supervisor import _clock
from sprag_supervisor.exceptions import SpragError

if TYPE_CHECKING:
    from types import CodeType, TracebackType

    from sprag_supervisor._policy import OnFailure

_OURS: Final = ("sprag.", "sprag_supervisor.")
_MAX_FRAMES: Final = 50
_MAX_CHAIN: Final = 10
_RAISED_FROM: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_WHILE_HANDLING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


@dataclass(frozen=True, slots=True)
class Failure:
    """One exception, remembered.

    Attributes:
        type: The exception's class name, qualified unless it is a builtin or sprag's own.
        message: Its text.
        at: Seconds since the epoch.
        incarnation: Which life of the service it ended.
        frames: The innermost (code, line) pairs, outermost first.
        cause: What it was raised from, or while handling it, if anything.
        is_chained: It was not raised *from* the cause on purpose, but while handling it.
        notes: What was added to it with `add_note`.
        action: What the service's `on_failure` says about it; None for what its restart
            type says.
    """

    type: str
    message: str
    at: float
    incarnation: int
    frames: tuple[tuple[CodeType, int], ...]
    cause: Failure | None = None
    is_chained: bool = False
    notes: tuple[str, ...] = ()
    action: OnFailure | None = None

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def format(self) -> str:
        """Return the traceback as Python prints it, the causes first."""
        chain: list[Failure] = [self]
        while (cause := chain[-1].cause) is not None:
            chain.append(cause)
        return "".join(failure._format_one() for failure in reversed(chain))

    def _format_one(self) -> str:
        lines: list[str] = []
        if self.cause is not None:
            lines.append(_WHILE_HANDLING if self.is_chained else _RAISED_FROM)
        if self.frames:
            lines.append("Traceback (most recent call last):\n")
        for code, line_number in self.frames:
            lines.append(f'  File "{code.co_filename}", line {line_number}, in {code.co_name}\n')
            source = linecache.getline(code.co_filename, line_number).strip()
            if source:
                lines.append(f"    {source}\n")
        lines.extend(f"{line}\n" for line in (str(self), *self.notes))
        return "".join(lines)


def remember(
    exception: BaseException,
    incarnation: int,
    *,
    cause: Failure | None = None,
    action: OnFailure | None = None,
) -> Failure:
    """Make the record of *exception*, following its chain unless *cause* is given."""
    chain = [exception]
    if cause is None:
        while len(chain) < _MAX_CHAIN:
            last = chain[-1]
            earlier = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
            if earlier is None or earlier in chain:
                break
            chain.append(earlier)
    at = _clock.wall()
    record = cause
    for link in reversed(chain):
        kind = type(link)
        name = kind.__qualname__
        if kind.__module__ not in ("builtins", "__main__") and not issubclass(kind, SpragError):
            name = f"{kind.__module__}.{name}"
        frames = _frames(link.__traceback__)
        is_chained = link.__cause__ is None and record is not None and cause is None
        notes = tuple(map(str, getattr(link, "__notes__", ())))
        record = Failure(name, _text(link), at, incarnation, frames, record, is_chained, notes)
    assert record is not None
    return record if action is None else replace(record, action=action)


def passed_on(
    exception: BaseException, cause: Failure, incarnation: int, action: OnFailure | None
) -> Failure:
    """Make the record of *exception*, which only reports *cause* to the next level."""
    name = type(exception).__qualname__
    return Failure(name, _text(exception), _clock.wall(), incarnation, (), cause, action=action)


def _text(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ must not end the supervisor
        return f"<its __str__ raised {type(broken).__name__}>"


def without_engine(traceback: TracebackType | None) -> TracebackType | None:
    """Return the part of *traceback* that is the user's: how the engine got there helps nobody."""
    inner = traceback
    while inner is not None:
        if not inner.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
            return inner
        inner = inner.tb_next
    return traceback


def _frames(traceback: TracebackType | None) -> tuple[tuple[CodeType, int], ...]:
    frames: list[tuple[CodeType, int]] = []
    traceback = without_engine(traceback)
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return tuple(frames[-_MAX_FRAMES:])
