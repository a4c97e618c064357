"""Lines of a program: taken apart, cut, counted, and made text."""

from __future__ import annotations

import re
from typing import Any, Final

from sprag_supervisor import plain

KEPT: Final = 20
"""Lines that are remembered."""
LONGEST: Final = 4096
"""Bytes of one line."""
_SAMPLE: Final = 1 << 12
_SHORT: Final = 48
"""Bytes of a line, below which it is short, in so many bytes at the beginning."""
_SEQUENCES: Final = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)
"""What acts on a terminal: colours and the like, titles and links, all else."""


class Stream:
    """One pipe, and the beginning of the line that has not ended yet."""

    __slots__ = ("_cut", "_pending", "descriptor", "name", "unread", "watcher")

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.watcher: Any = None
        self.unread = b""
        """What was read, and whose turn has not come."""
        self._pending = b""
        self._cut = 0
        """Bytes of the pending line that were left out."""

    def split(self, data: bytes, most: int) -> tuple[list[bytes], bytes]:
        """Return the lines that end in *data*, at most so many, and what comes after them.

        The beginning of a line is kept for the next time.
        """
        first, *whole = data.split(b"\n", most)
        self._add(first)
        if not whole:
            return [], b""
        last = whole.pop()
        lines = [self.rest()]
        lines += map(bounded, whole)
        if len(lines) == most:
            return lines, last
        self._add(last)
        return lines, b""

    def skip(self, data: bytes) -> tuple[int, list[bytes]]:
        """Return how many lines end in *data*, and the last of them; it is as good as split."""
        number = newlines(data)
        if number <= KEPT:
            lines, rest = self.split(data, KEPT)
            self._add(rest)
            return number, lines
        self.rest()
        _before, *whole, last = data.rsplit(b"\n", KEPT + 1)
        lines = list(map(bounded, whole))
        self._add(last)
        return number, lines

    def rest(self) -> bytes:
        """Return what there is of the pending line, and begin a new one."""
        line = self._pending
        if self._cut:
            line = _cut(line, len(line) + self._cut)
        self._pending, self._cut = b"", 0
        return line

    def _add(self, data: bytes) -> None:
        room = LONGEST - len(self._pending)
        self._pending += data[:room]
        self._cut += max(len(data) - room, 0)


def newlines(data: bytes) -> int:
    """Return how many lines end in *data*.

    To count looks at each byte, and costs as much as to copy them; to take out looks for the next
    one in wide steps, and is four times as fast where lines are long.
    """
    if data.count(b"\n", 0, _SAMPLE) > _SAMPLE // _SHORT:
        return data.count(b"\n")
    return len(data) - len(data.replace(b"\n", b""))


def bounded(line: bytes) -> bytes:
    """Return *line*, cut if it is too long."""
    return line if len(line) <= LONGEST else _cut(line, len(line))


def _cut(line: bytes, size: int) -> bytes:
    return line[:LONGEST] + f" … and {size - LONGEST} bytes more".encode()


def as_text(line: bytes) -> str:
    """Return what is logged of a line; what is no text, or acts on a terminal, is escaped."""
    text = line.removesuffix(b"\r").decode(errors="backslashreplace")
    return text if text.isprintable() else plain(text.expandtabs())


def as_on_terminal(line: bytes) -> str:
    """Return what a terminal would show of it: without colours, and only what was written last.

    A program that believes to be at a terminal colours its lines, and writes one over another.
    """
    shown = _SEQUENCES.sub(b"", line.removesuffix(b"\r"))
    return as_text(shown.rpartition(b"\r")[2])
