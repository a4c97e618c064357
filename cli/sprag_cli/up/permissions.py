"""Who else may read or write the files that say what is run, and with which secrets."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag_cli.term.errors import CommandError
from sprag_cli.up.faults import shown_path

if TYPE_CHECKING:
    from pathlib import Path


class Untrusted(CommandError):
    """Raised when root is asked to run what anybody may have written."""

    exit_code = ExitCode.USAGE


def refuse_untrusted(file: Path) -> None:
    """Refuse, for root, a file that anybody may write: it says which programs root runs.

    Raises:
        Untrusted: It is such a file, or it lies in a folder where anybody may put another.
    """
    if os.geteuid() != 0:
        return
    try:
        file_mode = file.stat().st_mode
        folder_mode = file.absolute().parent.stat().st_mode
    except OSError:
        return  # who reads it says so
    if file_mode & stat.S_IWOTH and stat.S_ISREG(file_mode):
        remedy = f"chmod o-w {shown_path(file)}"
        raise Untrusted(
            f"{shown_path(file)}: anybody may write it, and root would run it: {remedy}"
        )
    if folder_mode & stat.S_IWOTH and not folder_mode & stat.S_ISVTX:
        folder = file.absolute().parent
        raise Untrusted(
            f"{shown_path(file)}: anybody may put another file there, and root would run it: "
            f"chmod o-w {folder}"
        )


def exposed(file: Path) -> str:
    """Say what others may do with a file of secrets; "" if nothing, or if it is not there."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return ""
    words = {stat.S_IROTH: "read", stat.S_IWOTH: "write"}
    return " and ".join(word for bit, word in words.items() if mode & bit)
