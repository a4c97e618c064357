"""How long the starts of an app took, and which of them it has waited for.

The engine tells of each start how long it took; who took long is kept until the app is up, and
nothing is listened to from then on. What follows from them is worked out when somebody asks.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sprag_supervisor import Lifecycle, Node

LEAST: Final = 0.001
"""Seconds from which on a start is worth to be kept."""
MOST: Final = 1000
"""So many of them are kept, the longest."""
_STARTS: Final = ("started", "restarted")
_SLACK: Final = 1e-6
"""Seconds by which two ends may differ that are one moment."""


class Start(NamedTuple):
    """A start that is over; compared by how long it took.

    Attributes:
        seconds: How long it took.
        began: When it began, on the monotonic clock.
        path: Whose it was.
        incarnation: In which life.
    """

    seconds: float
    began: float
    path: str
    incarnation: int

    @property
    def ended(self) -> float:
        """When it was over, on the same clock."""
        return self.began + self.seconds


class StartTimes:
    """An observer that keeps the longest starts of a tree, until its root has started.

    Attributes:
        whole: The start of the root; None: it is not over.
        left_out: How many starts were over at once, or shorter than those that are kept.
    """

    def __init__(self, root: Node) -> None:
        self._root = root
        self._kept: list[Start] = []
        self.whole: Start | None = None
        self.left_out = 0

    def __call__(self, record: Lifecycle) -> None:
        """Take note of a start."""
        seconds = record.seconds
        if seconds is None or self.whole is not None or record.event not in _STARTS:
            return
        is_whole = "/" not in record.path
        if seconds < LEAST and not is_whole:
            self.left_out += 1
            return
        start = Start(seconds, clock.now() - seconds, record.path, record.incarnation)
        if is_whole:
            self.whole = start
            tree = self._root._tree_
            if tree is not None and self in tree.observers:
                tree.observers.remove(self)
        elif len(self._kept) < MOST:
            heapq.heappush(self._kept, start)
        else:
            heapq.heappushpop(self._kept, start)
            self.left_out += 1

    @property
    def starts(self) -> list[Start]:
        """Those that are kept, in the order in which they began."""
        whole = [] if self.whole is None else [self.whole]
        return sorted([*whole, *self._kept], key=lambda each: (each.began, -each.seconds))


def own_seconds(starts: Iterable[Start]) -> dict[Start, float]:
    """Return how long each took without the children that started meanwhile."""
    below = _children(starts)
    own: dict[Start, float] = {}
    for start in starts:
        left, until = start.seconds, start.began
        for child in sorted(below[start], key=lambda each: each.began):
            left -= max(child.ended - max(child.began, until), 0.0)
            until = max(until, child.ended)
        own[start] = max(left, 0.0)
    return own


def critical(starts: Iterable[Start], whole: Start) -> set[Start]:
    """Return those that *whole* has waited for: had they been faster, it had been up earlier.

    From the end backwards: the child that was up last; before that began, the one that was up
    last by then; and so on, and the same within each of them.
    """
    below = _children(starts)
    found: set[Start] = set()
    pending = [whole]
    while pending:
        start = pending.pop()
        found.add(start)
        until = start.ended
        for child in sorted(below[start], key=lambda each: each.ended, reverse=True):
            if child.ended <= until + _SLACK:
                pending.append(child)
                until = child.began
    return found


def _children(starts: Iterable[Start]) -> defaultdict[Start, list[Start]]:
    """Return, for each start, those of the children that lie within it."""
    by_path: defaultdict[str, list[Start]] = defaultdict(list)
    for start in starts:
        by_path[start.path].append(start)
    found: defaultdict[Start, list[Start]] = defaultdict(list)
    for start in starts:
        for above in by_path.get(start.path.rpartition("/")[0], ()):
            if above.began - _SLACK <= start.began and start.ended <= above.ended + _SLACK:
                found[above].append(start)
    return found
