"""The states of a service and the only moves between them.

`MOVES` is data: the diagram in the docs and the test that takes every edge are
made from it. An illegal request from outside is a public error; an illegal move
is a bug of sprag and asserts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(enum.Enum):
    """Where a service is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    """Down, and waits to be started: for its turn, its backoff, or what it needs."""
    STOPPED = "stopped"
    """On purpose, with its group, or ignored; kept."""
    FINISHED = "finished"
    """Ended by itself, cleanly; kept."""
    FAILED = "failed"
    """Crashed and not restarted; kept."""

    # Members are singletons, so identity hashing is right, and twice as fast as Enum's own.
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]


# The engine says RUNNING: to look up `State.RUNNING` costs four times as much.
NEW, STARTING, RUNNING, STOPPING, RESTARTING, STOPPED, FINISHED, FAILED = State

MOVES: Final[Mapping[State, frozenset[State]]] = {
    NEW: frozenset({STARTING, RESTARTING, STOPPED}),
    STARTING: frozenset({RUNNING, STOPPING}),
    RUNNING: frozenset({STOPPING}),
    STOPPING: frozenset({STOPPED, FINISHED, FAILED, RESTARTING}),
    RESTARTING: frozenset({STARTING, STOPPED, FAILED}),
    STOPPED: frozenset({STARTING, RESTARTING}),
    FINISHED: frozenset({STARTING, RESTARTING, STOPPED}),
    FAILED: frozenset({STARTING, RESTARTING, STOPPED}),
}

ACTIVE: Final = frozenset({STARTING, RUNNING})
"""Something may be acquired for a service in these states."""

DOWN: Final = frozenset({NEW, RESTARTING, STOPPED, FINISHED, FAILED})
"""Nothing of the service runs in these states."""

SETTLED: Final = frozenset({STOPPED, FINISHED, FAILED})
"""The service has ended and will not come back by itself."""
