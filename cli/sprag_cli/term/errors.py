"""The error that ends a command, with what is said and an exit code."""

from __future__ import annotations

from sprag._exit_codes import ExitCode
from sprag_cli.term.plain import printable, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_LONGEST: Final = 2000


class CommandError(Exception):
    """A reason to end a command that its user can do something about.

    It is shown as one line on stderr, never as a traceback; a list may follow.
    """

    exit_code: int = ExitCode.USAGE

    def __init__(self, said: str, *rows: str) -> None:
        """Keep what is to be said: one line, and one for each of *rows*."""
        super().__init__("\n".join([said, *rows]))
        self._lines = (said, *rows)

    def in_short(self) -> str:
        """Return it in one line."""
        return shortened(printable(self._lines[0]), _LONGEST)

    def report(self) -> str:
        """Return what to write to stderr: no name or message in it can fake a line."""
        lines = [shortened(printable(line), _LONGEST) for line in self._lines]
        return "\n".join([f"sprag: {lines[0]}", *lines[1:]])
