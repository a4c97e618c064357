"""Exceptions that logging cannot show, and what is logged in their place.

Formatters, the standard library's first of all, look at an exception as if it were harmless: at
its notes, its cause, its class, and at the object in which a name was not found. Where one of
these raises, the record is lost, and with it the crash that it was about. So one that is not
plain (`crash.is_plain`) is tried before.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from sprag_supervisor.facts.crash import remember

if TYPE_CHECKING:
    from types import TracebackType

ExcInfo = tuple[type[BaseException], BaseException, "TracebackType | None"]


def shown_as(error: BaseException, place: TracebackType | None) -> ExcInfo:
    """Return the triple for logging that tells of *error*, raised at *place*.

    Runs code of the exception's own, but what that raises harms nobody.
    """
    if not _can_be_shown(error, place):
        error = stand_in(error)
    return type(error), error, place


def _can_be_shown(error: BaseException, place: TracebackType | None) -> bool:
    try:
        for _ in traceback.TracebackException(type(error), error, place, limit=0).format():
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
