"""Writing to stdout, whoever reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sprag_cli._render import Line
    from sprag_cli._screen import Screen


def write(stream: TextIO, text: str) -> None:
    """Write all of *text*; a reader that has gone away (``| head``) is no error."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        discard(stream)


def discard(stream: TextIO) -> None:
    """Send the rest of a stream without a reader nowhere: it would raise when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def painted(lines: Iterable[Line], screen: Screen) -> str:
    """Return lines as one text for *screen*."""
    return "".join(f"{screen.painted(line)}\n" for line in lines)
