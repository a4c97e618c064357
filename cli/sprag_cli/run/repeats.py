"""Equal records of one service, told once: the first few, then how many there were. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN: Final = 1.0
"""Seconds that equal records have to come in."""
KEPT: Final = 3
"""As many are written as they come: as of the lines of a recursion."""
_MOST: Final = 100
"""Different records that are remembered."""
_LONGEST: Final = 4096
"""Characters of one that is remembered."""


class _Run:
    """Records that say the same."""

    __slots__ = ("end", "last", "more", "written")

    def __init__(self, end: float) -> None:
        self.end = end
        self.written = 1
        self.more = 0
        self.last = ""


class Repeats:
    """Decides which records are written.

    Args:
        again: Returns the line that says of the last of several equal ones, given as text, how
            many were left out.
    """

    def __init__(self, again: Callable[[str, int], str]) -> None:
        self._again = again
        self._runs: dict[str, _Run] = {}
        self._open = 0  # runs of which something is left out

    def written(self, text: str, same: str, now: float) -> list[str]:
        """Return the lines to be written now that *text* was to be.

        Args:
            text: The record.
            same: What makes it equal to others: the text without its time.
            now: Seconds, on any clock that only goes forward.
        """
        run = self._runs.get(same)
        if run is None:
            return self._first(text, same, now)
        if now >= run.end:
            return [*self._end(same), *self._first(text, same, now)]
        if run.written < KEPT:
            run.written += 1
            return [text]
        self._open += not run.more
        run.more += 1
        run.last = text
        return []

    def _first(self, text: str, same: str, now: float) -> list[str]:
        """Remember what may come again, in place of what has not for longest."""
        if len(text) > _LONGEST:
            return [text]
        self._runs[same] = _Run(now + WITHIN)
        if len(self._runs) <= _MOST:
            return [text]
        return [*self._end(next(iter(self._runs))), text]

    def due(self, now: float) -> list[str]:
        """Return the lines about runs that are over."""
        # In the order of their beginnings, and so of their ends.
        over: list[str] = []
        for same, run in self._runs.items():
            if now < run.end:
                break
            over.append(same)
        return [line for same in over for line in self._end(same)]

    @property
    def is_open(self) -> bool:
        """Whether something was left out that is still to be told."""
        return self._open > 0

    @property
    def next_due(self) -> float | None:
        """When something is to be told although nothing is written; None for never."""
        if not self._open:
            return None
        return min((run.end for run in self._runs.values() if run.more), default=None)

    def _end(self, same: str) -> Iterator[str]:
        run = self._runs.pop(same, None)
        if run is not None and run.more:
            self._open -= 1
            yield self._again(run.last, run.more)
