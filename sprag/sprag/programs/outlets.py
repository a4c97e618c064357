"""What a program writes to, and we read from: two pipes, or a terminal of its own.

The terminal is nobody's controlling one: no signal comes from it, and it harms nobody to be closed.
It leaves line ends as they were written. At the end of the program, and of all that have it open,
reading from it fails where a pipe is empty.
"""

from __future__ import annotations

import fcntl
import os
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sprag.programs.settings import Outlet

PIECE: Final = 1 << 18
"""Bytes that are read at once."""
COLUMNS: Final = 80
ROWS: Final = 24


def open_outlet(
    outlet: Outlet,
    ends: dict[str, tuple[int, int]],
    *,
    is_copied: bool = False,
    owner: int | None = None,
) -> None:
    """Open what a program writes to.

    Args:
        outlet: What that is.
        ends: Gets the end that is read and the other one for each stream, as they are opened; for a
            terminal there is "stdout" only.
        is_copied: Whether nobody looks at lines, so that much can be taken at once.
        owner: Whose a terminal is to be; None: ours.

    Raises:
        OSError: There are no more of them.
    """
    if outlet == "ours":
        return
    if outlet == "terminal":
        ends["stdout"] = reading, terminal = os.openpty()
        os.set_blocking(reading, False)
        _set_up(terminal, owner)
        return
    for name in ("stdout", "stderr"):
        ends[name] = reading, _writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        if is_copied:  # so that both sides take fewer turns
            with suppress(OSError):  # it is the users' as a whole, and may be used up
                fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIECE)


def _set_up(terminal: int, owner: int | None) -> None:
    if owner is not None:
        with suppress(OSError):  # it has it open all the same
            os.fchown(terminal, owner, -1)
    modes = termios.tcgetattr(terminal)
    modes[1] &= ~termios.ONLCR
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, modes)
    termios.tcsetwinsize(terminal, _size())


def _size() -> tuple[int, int]:
    """Return the rows and columns of our own terminal, or the usual ones."""
    for descriptor in (1, 2, 0):
        with suppress(OSError):
            columns, rows = os.get_terminal_size(descriptor)
            if columns and rows:
                return rows, columns
    return ROWS, COLUMNS
