"""Exceptions that logging cannot show, and what is logged in their place.

Formatters, the standard library's first of all, look at an exception as if it were harmless:
at its notes, its cause, its class. Where one of these raises, the record is lost, and with it
the crash that it was about. The few classes that could do so are tried before; for all others
nothing is done but to look at their names.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor.facts.failure import remember
from sprag_supervisor.foreign import (
    ancestors,
    attribute_of,
    has_plain_module,
    is_a,
    members_of,
    origin_of,
)

if TYPE_CHECKING:
    from types import TracebackType

_LOOKED_AT: Final = frozenset(
    {
        *("__getattribute__", "__getattr__", "__class__", "__bool__", "__len__", "exceptions"),
        *("__cause__", "__context__", "__suppress_context__", "__traceback__", "__notes__"),
    }
)
"""What a class may define that formatters ask for."""
_MOST: Final = 30
"""Exceptions that are looked at, of one chain and its groups."""
_HEAP_TYPE: Final = 1 << 9
"""The flag of classes that were made by a class statement."""
_flags_of: Final[Any] = type.__dict__["__flags__"].__get__
_dict_of: Final[Any] = type.__dict__["__dict__"].__get__

ExcInfo = tuple[type[BaseException], BaseException, "TracebackType | None"]


def shown_as(error: BaseException, place: TracebackType | None) -> ExcInfo:
    """Return the triple for logging that tells of *error*, raised at *place*.

    Runs code of the exception's own, but what that raises harms nobody.
    """
    if _may_be_odd(error) and not _can_be_shown(error):
        error = stand_in(error)
    return type(error), error, place


def _may_be_odd(error: BaseException) -> bool:
    """Whether *error*, or one that it comes with, is of a class that can do as it likes."""
    pending = [error]
    for _ in range(_MOST):
        if not pending:
            break
        one = pending.pop()
        kind = type(one)
        if type(kind) is not type or not has_plain_module(kind) or is_a(one, SyntaxError):
            return True
        for base in ancestors(kind):
            if _flags_of(base) & _HEAP_TYPE and not _LOOKED_AT.isdisjoint(_dict_of(base)):
                return True
        if attribute_of(one, "__notes__") is not None:
            return True
        pending.extend(members_of(one)[:_MOST])
        if (earlier := origin_of(one)) is not None:
            pending.append(earlier)
    return False


def _can_be_shown(error: BaseException) -> bool:
    try:
        for _ in traceback.TracebackException(type(error), error, None, limit=0).format():
            pass
    except BaseException:  # noqa: BLE001 - the code of somebody else
        return False
    return True


def stand_in(error: BaseException) -> Exception:
    """Return an exception that looks like *error*, and has in its notes what led to that."""
    failure = remember(error, 0)
    kind = type("StandIn", (Exception,), {"__module__": "builtins", "__qualname__": failure.type})
    told: Exception = kind(failure.message)
    for note in failure.notes:
        told.add_note(note)
    for number, member in enumerate(failure.members, 1):
        told.add_note(f"{number}. of its exceptions:\n{member.format()}")
    if failure.cause is not None:
        told.add_note(f"It came of:\n{failure.cause.format()}")
    return told
