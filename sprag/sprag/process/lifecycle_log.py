"""What happens to the services of a tree, in the log.

The engine tells its observers in the midst of its work, where nothing may block. A log
handler may: on its lock, or on a socket. So records are written a moment later, in order; a
service that logs something itself, or crashes, has them written first.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sprag.owned import log
from sprag_supervisor import backlogs, clock, listening

if TYPE_CHECKING:
    from sprag_supervisor import Lifecycle, Tree


_TOLD: Final = ("crashed", "gave_up", "moved")
"""By others."""
_HELP: Final = 0.05
"""Seconds that another's record waits for ours at most, but for one write that blocks."""


class LifecycleLog:
    """An observer of *tree* that logs starts and ends; crashes the engine has logged itself.

    And moves are logged by who has something come here.

    Args:
        tree: Whose.
        told_elsewhere: The path of the service whose starts and ends somebody else logs: a
            worker's own, which is its parent's child; empty: none.
    """

    def __init__(self, tree: Tree, told_elsewhere: str = "") -> None:
        self._tree = tree
        self._told_elsewhere = told_elsewhere
        self._records: deque[Lifecycle] = deque()
        self._is_launched = False  # Invariant: a greenlet writes, or is about to
        self._is_writing = False

    def __call__(self, record: Lifecycle) -> None:
        """Take note of *record*, to be written in the next turn."""
        if record.event in _TOLD or not listening(logging.INFO):
            return
        if record.path == self._told_elsewhere:
            return
        self._records.append(record)
        if not self._is_launched:
            self._is_launched = True
            backlogs.append(self.catch_up)
            self._tree.pool.launch(self.write)

    def write(self) -> None:
        """Log what has not been logged yet. As long as the handlers block, this does."""
        try:
            self._write_until(math.inf)
        finally:
            self._is_launched = False
            with suppress(ValueError):  # nothing was to be logged, or two of us were at it
                backlogs.remove(self.catch_up)

    def catch_up(self) -> None:
        """Log it now, for who has something to log that came later; not if a handler blocks."""
        if not self._is_writing:
            self._write_until(clock.now() + _HELP)

    def _write_until(self, end: float) -> None:
        self._is_writing = True
        try:
            while self._records and clock.now() < end:
                try:
                    _log(self._records.popleft())
                except Exception:  # noqa: BLE001 - a handler of the user's
                    traceback.print_exc()
        finally:
            self._is_writing = False


def _log(record: Lifecycle) -> None:
    log.record(
        logging.INFO,
        f"service {record.event}",
        service=record.path,
        incarnation=record.incarnation,
        **({"reason": record.reason} if record.event == "unready" and record.reason else {}),
    )
