"""Readiness: does everything run that should?

A service that is stopped on purpose, ignored or finished is as it should be. One that
is new, starting, restarting or stopping is not there yet; one that failed stays a fault
until somebody acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_supervisor._node import name_of, path_of
from sprag_supervisor._states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor._node import Node

_AS_IT_SHOULD_BE: Final = (State.RUNNING, State.STOPPED, State.FINISHED)


def not_ready(root: Node, pause: Callable[[], None] | None = None) -> Iterator[tuple[str, State]]:
    """Yield path and state of every service at or below *root* that does not run but should.

    The root itself has to run. A tree is ready when this yields nothing.

    Args:
        root: Where to begin.
        pause: Called after every service whose children were looked at, to let others run.
    """
    if root._state_ is not State.RUNNING:
        yield path_of(root), root._state_
    stack = [(root, path_of(root))]
    while stack:
        node, path = stack.pop()
        if pause is not None:
            pause()
        for child in tuple((node._children_ or {}).values()):
            below = f"{path}/{name_of(child)}"
            if child._state_ not in _AS_IT_SHOULD_BE:
                yield below, child._state_
            stack.append((child, below))
