"""What all nodes of one tree share."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from sprag_supervisor import _at_exit, _belonging, _clock, _forking
from sprag_supervisor._history import Memories
from sprag_supervisor._ledger import Ledger
from sprag_supervisor._log import logger
from sprag_supervisor._node import path_of
from sprag_supervisor._pool import join_pool, leave_pool
from sprag_supervisor._report import StopReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent.hub import Hub

    from sprag_supervisor._failure import Failure
    from sprag_supervisor._node import Node
    from sprag_supervisor._pending import PendingEnd
    from sprag_supervisor._pool import Pool
    from sprag_supervisor._starting import Starting


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Something that happened to a service.

    Every start is followed by exactly one end. Starts are ``started`` and
    ``restarted``; ends are ``crashed``, ``finished``, ``stopped`` and ``gave_up``. A
    start that failed is ``crashed`` with the context ``start_error``, and has no
    start of its own. A service that is stopped while it waits for its restart is
    ``stopped`` with the context ``restart_cancelled``: news of its state, and no second
    end of a life that has had its end before.

    Attributes:
        event: One of the six words above.
        path: Where in the tree.
        incarnation: Which life of the service, from 1.
        context: OTP's word for the occasion: ``started``, ``child_terminated``,
            ``start_error``, ``shutdown``, ``shutdown_error``; or ``restart_cancelled``.
        reason: Why it ended; None for a start.
        exception: Type of the exception, None without one.
        message: Its text.
        restarts: How often the service has been restarted so far.
        time: Seconds since the epoch.
    """

    event: str
    path: str
    incarnation: int
    context: str
    reason: str | None
    exception: str | None
    message: str | None
    restarts: int
    time: float


class Tree:
    """The root, the pool of engine greenlets, and who watches."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.thread = 0
        """The native thread it lives in; 0 while it does not live here."""
        self.process = 0
        """The process it was started in last."""
        self.is_copy = False
        """It was forked while it lived, and this is the child."""
        self.hub: Hub
        self.pool: Pool
        self.attend: Callable[[Node], None]
        """Works through the inbox of a node, in a greenlet of the pool."""
        self.observers: list[Callable[[Lifecycle], None]] = []
        """Called at once, in the engine's greenlet: they must not block."""
        self.exit_code: int | None = None
        """The code of a SystemExit that a service has raised."""
        self.awaits_ready = False
        """Services that have an `on_ready` have come up before the root has."""
        self.exit_seconds = math.inf
        """The budget of the stop that such a SystemExit begins."""
        self.starts: set[Starting] = set()
        """What is on its way up at this moment; one that the engine has lost may be left here."""
        self.pending_ends: dict[int, PendingEnd] = {}
        """By the identity of the service, which may be equal to others."""
        self.report = StopReport()
        """What the last end of the root was like."""
        self.memories = Memories()
        """How much its services remember of their failures."""
        self.ledger = Ledger()
        """Why services were restarted, or not."""
        self.bus: Any = None
        """Where its services meet; the engine has no use for it."""
        self.providers: dict[str, Node] = {}
        """Services that any other finds by a name without a path."""

    def enter(self, attend: Callable[[Node], None]) -> None:
        """Begin a life of the root, in the hub of the calling thread."""
        self.hub = get_hub()
        self.pool = join_pool(self.hub)
        _belonging.settle_here(self)
        _forking.prepare()
        _at_exit.prepare()
        self.attend = attend
        self.awaits_ready = False
        self.exit_code = None

    def leave(self) -> None:
        """End a life of the root: nothing runs any more."""
        if self.thread:
            _belonging.leave(self)
            leave_pool(self.pool)

    def announce(
        self,
        node: Node,
        event: str,
        context: str,
        reason: str | None = None,
        failure: Failure | None = None,
        *,
        told: list[object] | None = None,
    ) -> None:
        """Tell the observers what happened to *node*, but for those in *told*."""
        if not self.observers:
            return
        record = Lifecycle(
            event,
            path_of(node),
            node._incarnation_,
            context,
            reason,
            None if failure is None else failure.type,
            None if failure is None else failure.message,
            node._restarts_,
            _clock.wall(),
        )
        for observer in tuple(self.observers):
            if told is not None:
                if observer in told:
                    continue
                told.append(observer)
            try:
                observer(record)
            except Exception:  # noqa: BLE001 - whatever it is, it is not to be asked again
                self.observers.remove(observer)
                with suppress(Exception):  # it may be logging that is broken
                    logger.exception("an observer of the tree raised and was removed")
