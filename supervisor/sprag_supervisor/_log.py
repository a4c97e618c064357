"""What the engine says, through stdlib logging under ``sprag``.

Silent until the application configures logging, and then each record carries the
service's path and incarnation as ``record.sprag``. While only NullHandlers listen
no record is made.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sprag_supervisor._failure import without_engine
from sprag_supervisor._node import path_of
from sprag_supervisor._tree import logger

if TYPE_CHECKING:
    from sprag_supervisor._node import Node


def listening(level: int) -> bool:
    """Whether anybody would see a record of this level."""
    if not logger.isEnabledFor(level):
        return False
    source: logging.Logger | None = logger
    while source is not None:
        for handler in source.handlers:
            if not isinstance(handler, logging.NullHandler):
                return True
        source = source.parent if source.propagate else None
    return False


def say(
    level: int,
    node: Node,
    event: str,
    error: BaseException | None = None,
    **fields: Any,
) -> None:
    """Log *event* about *node*, with the traceback of *error* if there is one."""
    if listening(level):
        extra = {"service": path_of(node), "incarnation": node._incarnation_, **fields}
        exc_info = None
        if error is not None:
            exc_info = type(error), error, without_engine(error.__traceback__)
        logger.log(level, event, exc_info=exc_info, extra={"sprag": extra})
