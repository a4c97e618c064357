"""A log that several processes write to the same place: one at a time.

A pipe takes 4,096 bytes as a whole, and more in pieces, between which others may write. Among
workers and their parent each takes a lock while it writes, so that no record lies within another.
It is that of the file itself, by process, which the kernel lets go of when one is killed.
"""

from __future__ import annotations

import errno
import fcntl
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from sprag._native import sleep_thread

if TYPE_CHECKING:
    from collections.abc import Generator

_PATIENCE: Final = 1.0
"""Seconds that one waits for another, who may have been stopped in the midst of a record."""
_LOOK: Final = 0.0005
_TAKEN: Final = (errno.EACCES, errno.EAGAIN)
_shared: Final[list[bool]] = []


def share() -> None:
    """From now on take turns with others."""
    _shared[:] = [True]


def is_shared() -> bool:
    """Whether others write there, too."""
    return bool(_shared)


@contextmanager
def turn(descriptor: int) -> Generator[None]:
    """Be the only one who writes to *descriptor*, if the others ask, too. Blocks the thread.

    Not for ever: from then on it is better to be read with difficulty than not at all.
    """
    is_mine = _take(descriptor)
    try:
        yield
    finally:
        if is_mine:
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _take(descriptor: int) -> bool:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _TAKEN or time.monotonic() >= until:
                return False
        else:
            return True
        sleep_thread(_LOOK)
