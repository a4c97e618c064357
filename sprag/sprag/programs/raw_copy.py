"""Files to which what programs write is appended as it is: without bounds, and held by nothing.

A full disk, or a named pipe that nobody reads, is told once; what does not go in is lost.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from sprag.programs.popen import close

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MODE: Final = 0o644


class RawCopy:
    """A file to which all output of a program is appended as it is.

    Args:
        path: The file; it is made if need be.
        tell: Says once that it cannot be written, and why.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, tell: Callable[[OSError], object]) -> None:
        self._path = path
        self._tell = tell
        self._is_told = False
        self._descriptor = self._open()
        _copies.add(self)

    def _open(self) -> int:
        # A named pipe that nobody reads must hold nobody.
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, how, _MODE)

    def write(self, data: bytes) -> None:
        """Append *data*; what does not go in is lost."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                self._tell(error)
        else:
            self._is_told = False

    def reopen(self) -> None:
        """Go on in a new file of that name: the old one was moved away."""
        if self._descriptor < 0:
            return
        try:
            new = self._open()
        except OSError as error:
            self._tell(error)
            return
        self._descriptor, old = new, self._descriptor
        close(old)

    def close(self) -> None:
        """Write no more. Harmless a second time."""
        _copies.discard(self)
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                close(descriptor)


_copies: Final[WeakSet[RawCopy]] = WeakSet()


def reopen_files() -> None:
    """Reopen all files that programs' output is copied to, after they were rotated."""
    for copy in tuple(_copies):
        copy.reopen()
