"""Writing to stdout and stderr, whoever reads it."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

from sprag._exit_codes import ExitCode
from sprag_cli.term.cells import cell_len
from sprag_cli.term.errors import CommandError
from sprag_cli.term.plain import printable, printable_lines
from sprag_cli.term.screen import size_of
from sprag_cli.term.words import wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final, TextIO

    from sprag_cli.term.screen import Screen
    from sprag_cli.term.style import Line

_INDENT: Final = 2


class OutputLost(CommandError):
    """Raised when the output cannot be written, to a full disk for instance."""

    exit_code = ExitCode.FAILED
    REASONS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

    def __init__(self, error: OSError) -> None:
        """Say why."""
        super().__init__(f"cannot write the output: {error.strerror or error}")


def write(stream: TextIO, text: str) -> None:
    """Write all of *text*; a reader that has gone away (``| head``) is no error.

    Raises:
        OutputLost: It cannot be written.
    """
    try:
        put(stream, text)
    except BrokenPipeError:
        discard(stream)


def put(stream: TextIO, text: str) -> None:
    """Write all of *text*, for those who go on as long as somebody reads.

    Raises:
        BrokenPipeError: Nobody reads any more.
        OutputLost: It cannot be written.
    """
    try:
        stream.write(_encodable(text, stream))
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(stream)
        raise OutputLost(error) from None


def tell(text: str) -> None:
    """Write *text*, whatever it names, to stdout as one line."""
    write(sys.stdout, f"{printable(text)}\n")


def complain(text: str) -> None:
    """Write *text*, whatever it names, to stderr as one line."""
    complain_at_length(printable(text))


def complain_at_length(text: str) -> None:
    """Write a text that has lines; a terminal does not get to break them within a word."""
    lines = printable_lines(text)
    if sys.stderr.isatty():
        width, _ = size_of(sys.stderr)
        lines = list(_broken(lines, width))
    with suppress(OSError, ValueError):  # there is nobody else to tell
        sys.stderr.write(_encodable("\n".join(lines), sys.stderr) + "\n")
        sys.stderr.flush()


def _encodable(text: str, stream: TextIO) -> str:
    """Return *text* without what the stream's encoding has no letters for."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("—", "-").encode(encoding, "replace").decode(encoding)
    return text


def _broken(lines: Iterable[str], width: int) -> Iterator[str]:
    for line in lines:
        if cell_len(line) <= width:
            yield line
        else:
            first, *rest = wrapped(line, width - _INDENT)
            yield first
            yield from (" " * _INDENT + more for more in rest)


def discard(stream: TextIO) -> None:
    """Send the rest of a stream without a reader nowhere: it would raise when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def discard_unwritten(stream: TextIO) -> None:
    """Send nowhere what cannot be written any more: Python would complain of it at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        discard(stream)


def painted(lines: Iterable[Line], screen: Screen) -> str:
    """Return lines as one text for *screen*."""
    return "".join(f"{screen.painted(line)}\n" for line in lines)
