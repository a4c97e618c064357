"""Whether the caller's stack has room for the engine's work.

The engine is entered from wherever users call it, also with the last frames that Python's
recursion limit leaves. There nothing may be half done: a state that has moved and the record
that goes with it not made. So a call that changes the tree asks for room before it changes
anything, and the report of a crash is carried to a greenlet that has a stack of its own.

What nests only a few calls needs no question: it does the deepest of them first.
"""

from __future__ import annotations

import sys
from typing import Final

_SHALLOW: Final = 100
"""A stack of fewer frames has room; but for a recursion limit with which little else would run."""
_NEEDED: Final = 80
"""Calls that the engine nests, log handlers with their tracebacks included."""


def need_room() -> None:
    """Raise RecursionError if the engine might, later on.

    Only a stack that is deep already is measured, which takes a while.
    """
    try:
        sys._getframe(_SHALLOW)
    except ValueError:
        return
    _nest(_NEEDED)


def has_room() -> bool:
    """Whether the engine can do here whatever it has to."""
    try:
        sys._getframe(_SHALLOW)
    except ValueError:
        return True
    try:
        need_room()
    except RecursionError:
        return False
    return True


def _nest(calls: int) -> None:
    if calls:
        _nest(calls - 1)
