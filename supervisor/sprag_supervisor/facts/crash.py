"""What is taken of an exception: flat, without live tracebacks.

A kept exception would pin every frame and local of the crash (gevent-traps 24), and
`traceback.format_exception` costs more than a whole restart. So a crash keeps
(code, line) pairs and is formatted only when somebody looks.
"""

from __future__ import annotations

from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

from sprag_supervisor.exceptions import SpragError
from sprag_supervisor.facts.failure import (
    BYTES,
    BYTES_OF_FRAME,
    LEAST_TEXT,
    MAX_TEXT,
    Failure,
    as_text,
    cut,
    record,
    sized,
)
from sprag_supervisor.foreign import (
    ancestors,
    attribute_of,
    cause_of,
    context_of,
    dict_of,
    members_of,
    module_name,
    module_of,
    origin_of,
    own_attributes_of,
    qualified_name,
    traceback_of,
    where_made,
)
from sprag_supervisor.loop import clock

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
_MAX_TEXTS: Final = 16_384
"""Characters of all texts of one crash; of a text for which these leave nothing `LEAST_TEXT`."""
_UNNAMED: Final = ("builtins", "__main__")
_LOOKED_AT: Final = frozenset(
    {
        *("__getattribute__", "__getattr__", "__class__", "__bool__", "__len__", "exceptions"),
        *("__cause__", "__context__", "__suppress_context__", "__traceback__", "__notes__"),
    }
)
"""What a class may define that formatters ask for."""
_LOOKED_INTO: Final = (BaseExceptionGroup, SyntaxError, AttributeError, NameError, ImportError)
"""Formatters show what they hold. From Python 3.12 on they also look for the name that was meant:
in the object of an AttributeError, in the module of an ImportError, and for a NameError in the
`self` of the method that raised it."""
_HEAP_TYPE: Final = 1 << 9
"""The flag of classes that were made by a class statement."""
_contains: Final[Any] = cast("Any", dict).__contains__
_flags_of: Final[Any] = type.__dict__["__flags__"].__get__


class _Allowance:
    """What may be kept of one crash in all: of its chain, notes and groups."""

    __slots__ = ("records", "text")

    def __init__(self) -> None:
        self.records = _MAX_RECORDS
        self.text = _MAX_TEXTS

    def text_of(self, given: object) -> str:
        """Return *given* as text, cut to what is left; a beginning of each is kept."""
        text = as_text(given, max(LEAST_TEXT, min(MAX_TEXT, self.text)))
        self.text -= len(text)
        return text


def remember(
    exception: BaseException,
    incarnation: int,
    action: OnFailure | None = None,
    cause: Failure | None = None,
) -> Failure:
    """Make the record of *exception*, following its chain unless *cause* is given."""
    name = None if cause is not None else _name_if_plain(exception)
    if name is None:
        return _remember(exception, incarnation, _Allowance(), cause, action=action)
    # Nearly every crash: one exception, of a plain class.
    try:
        text = str(exception)
    except BaseException:  # noqa: BLE001 - whatever a user's __str__ raises
        text = as_text(exception)
    if type(text) is not str or len(text) > MAX_TEXT:
        text = cut(text)
    shown = _frames(exception)
    made: Failure = record(
        Failure,
        (
            name,
            text,
            clock.wall(),
            incarnation,
            shown,
            None,
            False,
            (),
            action,
            (),
            BYTES + len(text) + BYTES_OF_FRAME * len(shown),
        ),
    )
    return made


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
        cause = sized(
            Failure(
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


def is_plain(exception: BaseException) -> bool:
    """Whether *exception* stands alone, and looking at it runs no code of anybody's."""
    return _name_if_plain(exception) is not None


def _name_if_plain(exception: BaseException) -> str | None:
    """Return the name of the class of an exception that `is_plain`, None for others."""
    kind: Any = type(exception)
    if (
        type(kind) is type  # else its hash is somebody's, too
        and cause_of(exception) is None
        and context_of(exception) is None
        and not _contains(own_attributes_of(exception), "__notes__")
    ):
        name: str | None = _name_of_plain(kind)
        return name
    return None


@lru_cache(maxsize=256)
def _name_of_plain(kind: type[BaseException]) -> str | None:
    return _name_of(kind) if _is_plain_class(kind) else None


def _is_plain_class(kind: type[BaseException]) -> bool:
    try:
        if type(where_made(kind)) is not str:
            return False
    except AttributeError:
        return False
    for base in ancestors(kind):
        if _flags_of(base) & _HEAP_TYPE and not _LOOKED_AT.isdisjoint(dict_of(base)):
            return False
    return not issubclass(kind, _LOOKED_INTO)


def _name_of(kind: type[BaseException]) -> str:
    name = qualified_name(kind)
    try:
        module = where_made(kind)
    except AttributeError:
        module = ""
    if type(module) is not str:
        module = module_name(kind)
    if module and module not in _UNNAMED and not issubclass(kind, SpragError):
        name = f"{module}.{name}"
    return cut(name, LEAST_TEXT) if len(name) > LEAST_TEXT or type(name) is not str else name


def passed_on(
    exception: BaseException, cause: Failure, incarnation: int, action: OnFailure | None
) -> Failure:
    """Make the record of *exception*, which only reports *cause* to the next level."""
    name, text = _name_of(type(exception)), as_text(exception)
    return sized(Failure(name, text, clock.wall(), incarnation, (), cause, action=action))


def users_part(error: BaseException) -> TracebackType | None:
    """Return the user's part of the error's traceback: how the engine got there helps nobody.

    Where no code of the user's has a part in it: all of it, for a bug of the engine; nothing,
    for an error of sprag's own, whose text says what is wrong.
    """
    inner = traceback = traceback_of(error)
    while inner is not None:
        module = inner.tb_frame.f_globals.get("__name__")
        if type(module) is not str or not module.startswith(_BEFORE_USERS):
            break
        inner = inner.tb_next
    if issubclass(type(error), SpragError):
        return _without_tail(inner)
    return traceback if inner is None else inner


_BETWEEN: Final = "dataclasses"
"""Module of Python's own through whose `replace` one reaches sprag's checks."""


def _is_ours(traceback: TracebackType) -> bool:
    """Whether the code is sprag's, or comes before a user's; as `users_part` asks."""
    module = traceback.tb_frame.f_globals.get("__name__")
    return type(module) is str and module.startswith(_BEFORE_USERS)


def _without_tail(traceback: TracebackType | None) -> TracebackType | None:
    """Return *traceback* up to the last line of the user's: where sprag has said no is no news."""
    links: list[TracebackType] = []
    while traceback is not None:
        links.append(traceback)
        traceback = traceback.tb_next
    while links and (_is_ours(links[-1]) or module_of(links[-1].tb_frame) == _BETWEEN):
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
    return tuple(frames if len(frames) <= _MAX_FRAMES else frames[-_MAX_FRAMES:])
