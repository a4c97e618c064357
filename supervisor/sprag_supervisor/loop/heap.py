"""What there is in this process, as far as Python's garbage collector knows; and how to spare it.

A full run of the collector looks at everything there is, and holds the loop for that time. What is
frozen it neither looks at nor tells of. So the greenlets among that are remembered: where
they are is asked for when something is wrong.
"""

from __future__ import annotations

import gc
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import ref

from greenlet import greenlet

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_frozen: Final[list[ref[greenlet]]] = []


def all_of(kind: type[T]) -> list[T]:
    """Return all there is of *kind*; of what is frozen, greenlets only.

    It looks at each object there is: 20 ms and more for 100,000 of them.
    """
    return [thing for thing in everything() if issubclass(type(thing), kind)]


def everything() -> Iterable[Any]:
    """Return all there is; of what is frozen, greenlets only."""
    # None are remembered, or they were unfrozen by somebody else: they would be there twice.
    if not _frozen or not gc.get_freeze_count():  # which is counted by a look at each
        return gc.get_objects()
    frozen = [each() for each in _frozen]
    return chain([each for each in frozen if each is not None], gc.get_objects())


def freeze() -> None:
    """Spare the garbage collector all there is now, until `unfreeze`.

    What becomes cyclic garbage meanwhile is not found.
    """
    gc.collect()
    _frozen.extend(map(ref, all_of(greenlet)))
    gc.freeze()


def unfreeze() -> None:
    """Let the garbage collector look at everything again."""
    gc.unfreeze()
    _frozen.clear()
