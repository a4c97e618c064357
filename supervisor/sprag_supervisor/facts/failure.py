"""A crash as it is remembered: flat, without live tracebacks.

A kept exception would pin every frame and local of the crash (gevent-traps 24), and
`traceback.format_exception` costs more than a whole restart. So a crash keeps
(code, line) pairs and is formatted only when somebody looks.
"""

from __future__ import annotations

import dataclasses
import linecache
import textwrap
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from gevent import GreenletExit

from sprag_supervisor.exceptions import SpragError
from sprag_supervisor.facts.folding import folded, said_of
from sprag_supervisor.foreign import (
    attribute_of,
    cause_of,
    class_name,
    is_a,
    members_of,
    module_name,
    origin_of,
    qualified_name,
    traceback_of,
)
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pool import Pool
from sprag_supervisor.rules.groups import leaves_of

if TYPE_CHECKING:
    from types import CodeType

    from sprag_supervisor.rules.policy import OnFailure

_BEFORE_USERS: Final = (
    "sprag.",
    "sprag_supervisor.",
    "gevent.greenlet",
    "gevent._gevent_cgreenlet",
)
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
_MAX_NOTES: Final = 20
_MAX_RECORDS: Final = 60
"""Of one crash: its chain, its groups, and the chains of what is in them."""
_MAX_TEXT: Final = 4096
"""Characters of one text, …"""
_MAX_TEXTS: Final = 16_384
"""… of all texts of one crash, …"""
_LEAST_TEXT: Final = 200
"""… and of a text for which these leave nothing."""
_BYTES: Final = 400
_BYTES_OF_FRAME: Final = 100
_UNNAMED: Final = ("builtins", "__main__")
_RAISED_FROM: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_WHILE_HANDLING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


class Failure(NamedTuple):
    """One exception, remembered.

    Attributes:
        type: The exception's class name, qualified unless it is a builtin or sprag's own.
        message: Its text; of a very long one the beginning, and how much was cut.
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


class _Allowance:
    """What may be kept of one crash in all: of its chain, notes and groups."""

    __slots__ = ("records", "text")

    def __init__(self) -> None:
        self.records = _MAX_RECORDS
        self.text = _MAX_TEXTS

    def text_of(self, given: object) -> str:
        """Return *given* as text, cut to what is left; a beginning of each is kept."""
        text = as_text(given, max(_LEAST_TEXT, min(_MAX_TEXT, self.text)))
        self.text -= len(text)
        return text


def remember(
    exception: BaseException,
    incarnation: int,
    *,
    cause: Failure | None = None,
    action: OnFailure | None = None,
) -> Failure:
    """Make the record of *exception*, following its chain unless *cause* is given."""
    return _remember(exception, incarnation, _Allowance(), cause, action=action)


def _remember(
    exception: BaseException,
    incarnation: int,
    allowance: _Allowance,
    cause: Failure | None = None,
    *,
    action: OnFailure | None = None,
    depth: int = 0,
) -> Failure:
    """*depth* is how many exception groups it is nested in."""
    at = clock.wall()
    chain = [exception]
    while cause is None and (earlier := origin_of(chain[-1])) is not None:
        if any(one is earlier for one in chain) or len(chain) == _MAX_CHAIN:
            break
        chain.append(earlier)
    allowance.records -= len(chain)
    texts = [allowance.text_of(link) for link in chain]  # the outermost is the first to be told
    is_first = cause is None
    for link, text in zip(reversed(chain), reversed(texts), strict=True):
        is_chained = is_first and cause is not None and cause_of(link) is None
        cause = Failure(
            _name_of(type(link)),
            text,
            at,
            incarnation,
            _frames(link),
            cause,
            is_chained,
            _notes_of(link, allowance),
            action if link is exception else None,
            _members_of(link, incarnation, allowance, depth),
        )
    assert cause is not None
    return cause


def _members_of(
    exception: BaseException, incarnation: int, allowance: _Allowance, depth: int
) -> tuple[Failure, ...]:
    if depth == _MAX_DEPTH:
        return ()
    members = members_of(exception)[: min(_MAX_MEMBERS, allowance.records)]
    allowance.records -= len(members)
    return tuple([_remember(one, incarnation, allowance, depth=depth + 1) for one in members])


def _notes_of(exception: BaseException, allowance: _Allowance) -> tuple[str, ...]:
    notes = attribute_of(exception, "__notes__")
    if notes is None:
        return ()
    kind = cast("type[object]", type(notes))  # a user may have put anything there
    plain: type[Any] | None = next((one for one in (list, tuple) if issubclass(kind, one)), None)
    if plain is None:
        return (allowance.text_of(notes),)
    count: int = plain.__len__(notes)
    some: list[Any] = plain.__getitem__(notes, slice(_MAX_NOTES))
    texts = tuple([allowance.text_of(note) for note in some])
    return texts if count <= _MAX_NOTES else (*texts, f"… and {count - _MAX_NOTES} more notes")


def _name_of(kind: type[BaseException]) -> str:
    name, module = qualified_name(kind), module_name(kind)
    if module and module not in _UNNAMED and not issubclass(kind, SpragError):
        name = f"{module}.{name}"
    return cut(name, _LEAST_TEXT)


def passed_on(
    exception: BaseException, cause: Failure, incarnation: int, action: OnFailure | None
) -> Failure:
    """Make the record of *exception*, which only reports *cause* to the next level."""
    name = _name_of(type(exception))
    return Failure(name, as_text(exception), clock.wall(), incarnation, (), cause, action=action)


def as_text(given: object, longest: int = _MAX_TEXT) -> str:
    """Return *given* as text, cut to *longest* characters.

    Whatever a user's ``__str__`` raises must not end the supervisor.
    """
    try:
        return cut(str(given), longest)
    except BaseException as broken:  # noqa: BLE001 - in an engine greenlet it would be the engine's
        return f"<its __str__ raised {class_name(type(broken))}>"


def cut(text: str, longest: int = _MAX_TEXT) -> str:
    """Return at most *longest* characters of *text*, as a plain str, and how many more there were.

    What is remembered must not grow with what users put into their exceptions.
    """
    text = str.__str__(text)  # of a class of its own it would bring its object along
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters)"


def size_of(failure: Failure) -> int:
    """Return about how many bytes *failure* keeps in memory."""
    size = 0
    pending = [failure]
    while pending:
        one = pending.pop()
        size += _BYTES + len(one.message) + _BYTES_OF_FRAME * len(one.frames)
        for note in one.notes:
            size += _BYTES_OF_FRAME + len(note)
        if one.cause is not None:
            pending.append(one.cause)
        pending.extend(one.members)
    return size


def in_brief(failure: Failure) -> Failure:
    """Return *failure* without what is large: where it was raised, why, and most of its text."""
    text = cut(failure.message, _LEAST_TEXT)
    return Failure(failure.type, text, failure.at, failure.incarnation, action=failure.action)


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
            if is_a(leaf, special):
                return leaf
    if all(is_a(leaf, GreenletExit) for leaf in leaves):
        return leaves[0]
    return error


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
    return frame.f_code is Pool.enter_and_wait.__code__ and not is_a(error, RecursionError)


def users_part(error: BaseException) -> TracebackType | None:
    """Return the user's part of the error's traceback: how the engine got there helps nobody.

    Where no code of the user's has a part in it: all of it, for a bug of the engine; nothing,
    for an error of sprag's own, whose text says what is wrong.
    """
    inner = traceback = traceback_of(error)
    while inner is not None and _is_ours(inner):
        inner = inner.tb_next
    if is_a(error, SpragError):
        return _without_tail(inner)
    return traceback if inner is None else inner


_BETWEEN: Final = (dataclasses.replace.__code__,)
"""Code of Python's own through which sprag reaches its own checks."""


def _is_ours(traceback: TracebackType) -> bool:
    module = traceback.tb_frame.f_globals.get("__name__")
    return type(module) is str and module.startswith(_BEFORE_USERS)


def _without_tail(traceback: TracebackType | None) -> TracebackType | None:
    """Return *traceback* up to the last line of the user's: where sprag has said no is no news."""
    links: list[TracebackType] = []
    while traceback is not None:
        links.append(traceback)
        traceback = traceback.tb_next
    while links and (_is_ours(links[-1]) or links[-1].tb_frame.f_code in _BETWEEN):
        links.pop()
    for link in reversed(links):
        traceback = TracebackType(traceback, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return traceback


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
