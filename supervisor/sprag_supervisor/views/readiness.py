"""Readiness: does everything run that should?

A service that is stopped on purpose, ignored or finished is as it should be. One that
is new, starting, restarting or stopping is not there yet; one that failed stays a fault
until somebody acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_supervisor.rules.states import FINISHED, RUNNING, STOPPED, State
from sprag_supervisor.views.snapshot import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor.tree.node import Node

_AS_IT_SHOULD_BE: Final = (RUNNING, STOPPED, FINISHED)


def not_ready(root: Node, pause: Callable[[], None] | None = None) -> Iterator[tuple[str, State]]:
    """Yield path and state of every service at or below *root* that does not run but should.

    The root itself has to run. A tree is ready when this yields nothing.

    Args:
        root: Where to begin.
        pause: Called after every service, to let others run.
    """
    for depth, path, node in walk(root):
        state = node._state_
        if state not in _AS_IT_SHOULD_BE or (not depth and state is not RUNNING):
            yield path, state
        if pause is not None:
            pause()
