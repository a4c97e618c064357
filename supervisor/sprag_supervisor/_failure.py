"""A crash as it is remembered: flat, without live tracebacks.

A kept exception would pin every frame and local of the crash (gevent-traps 24), and
`traceback.format_exception` costs more than a whole restart. So a crash keeps
(code, line) pairs and is formatted only when somebody looks.
"""

from __future__ import annotations

import linecache
import textwrap
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from gevent import GreenletExit

from sprag_supervisor import _clock
from sprag_supervisor._folding import folded, said_of
from sprag_supervisor._groups import leaves_of
from sprag_supervisor._pool import Pool
from sprag_supervisor.exceptions import SpragError

if TYPE_CHECKING:
    from types import CodeType

    from sprag_supervisor._policy import OnFailure

_OURS: Final = ("sprag.", "sprag_supervisor.")
_MAX_FRAMES: Final = 50
_MAX_SHOWN: Final = 60
"""Frames of a traceback in a log record, and how many of them are the outermost …"""
_SHOWN_OUTER: Final = 15
_FOLDED_FROM: Final = 3
"""… not counting those that are the same line again, from the fourth on."""
_MAX_CHAIN: Final = 10
_MAX_MEMBERS: Final = 15
_MAX_DEPTH: Final = 3
"""Of groups in groups; one deeper is remembered without its members."""
_UNNAMED: Final = ("builtins", "__main__")
_RAISED_FROM: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_WHILE_HANDLING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


class Failure(NamedTuple):
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
        members: The exceptions of an exception group.
    """

    type: str
    message: str
    at: float
    incarnation: int
    frames: tuple[tuple[CodeType, int], ...] = ()
    cause: Failure | None = None
    is_chained: bool = False
    notes: tuple[str, ...] = ()
    action: OnFailure | None = None
    members: tuple[Failure, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def __repr__(self) -> str:
        """Return what it says, without the code objects of its frames."""
        said = [f"type={self.type!r}", f"message={self.message!r:.300}", f"at={self.at!r}"]
        said += [f"incarnation={self.incarnation!r}", f"frames=<{len(self.frames)}>"]
        more: dict[str, object] = {"cause": self.cause, "notes": self.notes}
        more |= {"action": self.action, "members": self.members}
        said += [f"{name}={value!r}" for name, value in more.items() if value]
        return f"Failure({', '.join(said)})"

    def format(self) -> str:
        """Return the traceback as Python prints it, the causes first.

        Rounds of a recursion are told once, also where several functions call each other. No more
        than the innermost 50 frames are kept.
        """
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
        for frames, more in folded(self.frames):
            for code, number in frames:
                lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_name}\n')
                if source := linecache.getline(code.co_filename, number).strip():
                    lines.append(f"    {source}\n")
            if more:
                lines.append(f"  {said_of(len(frames), more)}\n")
        lines.extend(f"{line}\n" for line in (str(self), *self.notes))
        for number, member in enumerate(self.members, 1):
            lines.append(f"  +---------------- {number} ----------------\n")
            lines.append(textwrap.indent(member.format(), "  | ", lambda _line: True))
        return "".join(lines)


def remember(
    exception: BaseException,
    incarnation: int,
    *,
    cause: Failure | None = None,
    action: OnFailure | None = None,
    depth: int = 0,
) -> Failure:
    """Make the record of *exception*, following its chain unless *cause* is given.

    *depth* is how many exception groups it is nested in.
    """
    at = _clock.wall()
    if cause is not None or _earlier(exception) is None:
        return _record(exception, at, incarnation, cause, action=action, depth=depth)
    chain = [exception]
    while (earlier := _earlier(chain[-1])) is not None:
        if any(one is earlier for one in chain) or len(chain) == _MAX_CHAIN:
            break
        chain.append(earlier)
    for link in reversed(chain[1:]):
        is_chained = link.__cause__ is None and cause is not None
        cause = _record(link, at, incarnation, cause, is_chained=is_chained, depth=depth)
    is_chained = exception.__cause__ is None
    return _record(
        exception, at, incarnation, cause, is_chained=is_chained, action=action, depth=depth
    )


def _earlier(exception: BaseException) -> BaseException | None:
    """Return what *exception* was raised from, or while handling it."""
    if exception.__cause__ is not None:
        return exception.__cause__
    return None if exception.__suppress_context__ else exception.__context__


def _record(
    exception: BaseException,
    at: float,
    incarnation: int,
    cause: Failure | None,
    *,
    is_chained: bool = False,
    action: OnFailure | None = None,
    depth: int,
) -> Failure:
    return Failure(
        _name_of(type(exception)),
        as_text(exception),
        at,
        incarnation,
        _frames(exception),
        cause,
        is_chained,
        _notes_of(exception) if hasattr(exception, "__notes__") else (),
        action,
        _members_of(exception, incarnation, depth),
    )


def _members_of(exception: BaseException, incarnation: int, depth: int) -> tuple[Failure, ...]:
    if depth == _MAX_DEPTH or not isinstance(exception, BaseExceptionGroup):
        return ()
    group = cast("BaseExceptionGroup[BaseException]", exception)
    below = group.exceptions[:_MAX_MEMBERS]
    return tuple([remember(one, incarnation, depth=depth + 1) for one in below])


def _name_of(kind: type[BaseException]) -> str:
    name, module = kind.__qualname__, kind.__module__
    if module in _UNNAMED or issubclass(kind, SpragError):
        return name
    return f"{module}.{name}"


def passed_on(
    exception: BaseException, cause: Failure, incarnation: int, action: OnFailure | None
) -> Failure:
    """Make the record of *exception*, which only reports *cause* to the next level."""
    name = type(exception).__qualname__
    return Failure(name, as_text(exception), _clock.wall(), incarnation, (), cause, action=action)


def as_text(given: object) -> str:
    """Return *given* as text; whatever a user's ``__str__`` raises must not end the supervisor."""
    try:
        return str(given)
    except BaseException as broken:  # noqa: BLE001 - in an engine greenlet it would be the engine's
        return f"<its __str__ raised {type(broken).__name__}>"


def _notes_of(exception: BaseException) -> tuple[str, ...]:
    notes: object = exception.__notes__  # a user may have put anything there
    return tuple(map(as_text, notes if isinstance(notes, list | tuple) else (notes,)))


_traceback_of: Final = BaseException.__dict__["__traceback__"].__get__
_SWITCHES: Final = ("gevent._gevent_c_greenlet_primitives", "gevent._greenlet_primitives")


def meaning_of(error: BaseException) -> BaseException:
    """Return what *error* comes to: a group means the KeyboardInterrupt or SystemExit in it.

    A group of nothing but kills is a kill. Any other exception means itself.
    """
    kind = type(error)
    if issubclass(kind, Exception) or not issubclass(kind, BaseExceptionGroup):
        return error
    leaves = list(leaves_of(error))
    for special in (KeyboardInterrupt, SystemExit):
        for leaf in leaves:
            if issubclass(type(leaf), special):
                return leaf
    if all(issubclass(type(leaf), GreenletExit) for leaf in leaves):
        return leaves[0]
    return error


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of *error*, past whatever its class makes of that attribute."""
    traceback: TracebackType | None = _traceback_of(error)
    return traceback


def was_thrown_in(error: BaseException) -> bool:
    """Whether *error* was thrown into a greenlet that waited, and not raised by what it ran.

    A kill and a Timeout do so. The innermost frame is then the one that had switched away.
    """
    inner = traceback_of(error)
    if inner is None:
        return False
    while (deeper := inner.tb_next) is not None:
        inner = deeper
    frame = inner.tb_frame
    module = frame.f_globals.get("__name__")
    if module in _SWITCHES:
        return frame.f_code.co_name.endswith("switch")  # gevent's own, compiled or not
    return frame.f_code is Pool.enter_and_wait.__code__ and not isinstance(error, RecursionError)


def users_part(error: BaseException) -> TracebackType | None:
    """Return the user's part of the error's traceback: how the engine got there helps nobody.

    Where no code of the user's has a part in it: all of it, for a bug of the engine; nothing,
    for an error of sprag's own, whose text says what is wrong.
    """
    inner = error.__traceback__
    while inner is not None:
        if not inner.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
            return inner
        inner = inner.tb_next
    return None if isinstance(error, SpragError) else error.__traceback__


def shortened(traceback: TracebackType | None) -> tuple[TracebackType | None, int]:
    """Return *traceback* without its middle if it is too long to be read, and what is missing.

    Frames that repeat do not count: whoever prints it folds them.
    """
    entries: list[TracebackType] = []
    lines = run = 0
    while traceback is not None:
        repeats = bool(entries) and _is_same_line(entries[-1], traceback)
        run = run + 1 if repeats else 0
        lines += run < _FOLDED_FROM
        entries.append(traceback)
        traceback = traceback.tb_next
    if not entries:
        return None, 0
    if lines <= _MAX_SHOWN:
        return entries[0], 0
    kept = [*entries[:_SHOWN_OUTER], *entries[_SHOWN_OUTER - _MAX_SHOWN :]]
    short: TracebackType | None = None
    for each in reversed(kept):
        short = TracebackType(short, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return short, len(entries) - len(kept)


def _is_same_line(one: TracebackType, other: TracebackType) -> bool:
    return one.tb_frame.f_code is other.tb_frame.f_code and one.tb_lineno == other.tb_lineno


def _frames(error: BaseException) -> tuple[tuple[CodeType, int], ...]:
    traceback = users_part(error)
    frames: list[tuple[CodeType, int]] = []
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return tuple(frames[-_MAX_FRAMES:])
