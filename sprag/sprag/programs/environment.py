"""What a program finds in its environment: ours, its file's, its own; not what is meant for us."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from sprag.programs.env_file import read_env_file
from sprag.programs.exceptions import CannotRun
from sprag.programs.proc import MARK, with_mark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NOT_INHERITED: Final = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_NO_PREFIXES: Final = ("SPRAG_", "WATCHDOG_")


def inherited(ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what a program has of *ours*: all but what is said to this process alone."""
    return {
        name: value
        for name, value in ours.items()
        if name not in _NOT_INHERITED and not name.startswith(_NO_PREFIXES)
    }


def environment(
    program: str,
    file: Path | None,
    own: Mapping[str, str],
    more: Mapping[str, str],
    mark: str,
) -> dict[str, str]:
    """Return all variables of a program, the later over the earlier.

    Args:
        program: What is run, for errors.
        file: Its env file, read now.
        own: What was given for it.
        more: What sprag says to it, unless *own* or the file says otherwise.
        mark: By which all that it starts is found.

    Raises:
        CannotRun: The file cannot be read.
        BadEnvFile: A line of the file is none.
    """
    found = inherited()
    found.setdefault("PYTHONUNBUFFERED", "1")
    found.update(more)
    if file is not None:
        try:
            found.update(read_env_file(file))
        except OSError as error:
            why = f"its env_file, {file}: {error.strerror or error}"
            raise CannotRun(program, why) from None
    found.update(own)
    found[MARK] = with_mark(os.environ.get(MARK), mark)
    return found
