"""How much a tool is told of what may come in storms: so much a minute, in all and of each kind.

Pure: the time comes in as an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_GROUPS: Final = 1000
"""Kinds that are remembered; of more the one that came last longest ago is forgotten."""
_MINUTE: Final = 60.0


class _Bucket:
    """So many at once, which come back evenly over a minute."""

    __slots__ = ("at", "left", "size", "untold")

    def __init__(self, size: float, now: float) -> None:
        self.size = size
        self.left = size
        self.at = now
        self.untold = 0

    def fill(self, now: float) -> None:
        self.left = min(self.size, self.left + (now - self.at) * self.size / _MINUTE)
        self.at = now


class Limits:
    """Says whether one more is told.

    Args:
        in_all: So many a minute.
        of_each: So many of one kind.
    """

    def __init__(self, in_all: float, of_each: float) -> None:
        self._in_all = in_all
        self._of_each = of_each
        self._whole: _Bucket | None = None
        self._groups: OrderedDict[object, _Bucket] = OrderedDict()
        self.untold = 0
        """How many were not told so far."""

    def admit(self, group: object, now: float) -> int | None:
        """Return how many of this kind were not told since the last one; None: nor is this one."""
        whole = self._whole
        if whole is None:
            whole = self._whole = _Bucket(self._in_all, now)
        bucket = self._groups.get(group)
        if bucket is None:
            bucket = self._groups[group] = _Bucket(self._of_each, now)
            if len(self._groups) > _GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        whole.fill(now)
        bucket.fill(now)
        if whole.left < 1 or bucket.left < 1:
            bucket.untold += 1
            self.untold += 1
            return None
        whole.left -= 1
        bucket.left -= 1
        untold, bucket.untold = bucket.untold, 0
        return untold
