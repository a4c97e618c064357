"""What happens to the services of a tree, in the log.

The engine tells its observers in the midst of its work, where nothing may block. A log
handler may: on its lock, or on a socket. So records are written a moment later, in order.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from typing import TYPE_CHECKING

from sprag_supervisor._log import listening, text_of
from sprag_supervisor._tree import logger

if TYPE_CHECKING:
    from sprag_supervisor import Lifecycle, Tree


class LifecycleLog:
    """An observer of *tree* that logs starts and ends; crashes the engine has logged itself."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._records: deque[Lifecycle] = deque()
        self._is_writing = False  # Invariant: a greenlet writes, or is about to

    def __call__(self, record: Lifecycle) -> None:
        if record.event in ("crashed", "gave_up") or not listening(logging.INFO):
            return
        self._records.append(record)
        if not self._is_writing:
            self._is_writing = True
            self._tree.pool.launch(self.write)

    def write(self) -> None:
        """Log what has not been logged yet. As long as the handlers block, this does."""
        try:
            while self._records:
                try:
                    _log(self._records.popleft())
                except Exception:  # noqa: BLE001 - a handler of the user's
                    traceback.print_exc()
        finally:
            self._is_writing = False


def _log(record: Lifecycle) -> None:
    fields: dict[str, object] = {
        "event": f"service {record.event}",
        "service": record.path,
        "incarnation": record.incarnation,
    }
    message, values = text_of(fields)
    logger.info(message, *values, extra={"sprag": fields})
