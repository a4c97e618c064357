"""Where the process begins: patch first, if it will run an app; only then load anything.

Nothing but ``sys`` is imported here at the top. click loads threading, structlog loads ssl and
socket: what they take from those modules before they are patched stays unpatched for ever. The
other commands are clients and must start fast: they never load gevent.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the ``sprag`` command line and leave the process with its exit code."""
    _open_streams()
    if _command(sys.argv[1:]) in ("run", "up", "check"):
        from gevent.monkey import patch_all

        _asking_once(patch_all)

        from sprag_cli.run.unhandled import escape_what_is_printed

        escape_what_is_printed()

    from sprag_cli.commands.group import commands

    try:
        commands(prog_name="sprag")
    finally:
        from sprag_cli.term.output import discard_unwritten

        discard_unwritten(sys.stderr)  # or Python would end with a code of its own, 120


def _asking_once(patch: Callable[[], object]) -> None:
    """Let gevent *patch*, with one look at what is installed.

    Before and after each module it asks for plugins of its own, and for each answer reads the
    metadata of every package: 25 times, two thirds of what patching takes.
    """
    from importlib import metadata

    ask, found = metadata.entry_points, metadata.entry_points()
    metadata.entry_points = found.select
    try:
        patch()
    finally:
        metadata.entry_points = ask


def _command(arguments: list[str]) -> str | None:
    return next((each for each in arguments if not each.startswith("-")), None)


def _open_streams() -> None:
    """Give whoever was started without stdout or stderr the null device, not ``None``."""
    import os

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
