"""What a service is still to hear of broadcasts: its listeners' calls, one after another.

Each service has its own, emptied in a pooled greenlet that belongs to it, as lifecycle events are:
one that blocks holds up nobody else, and what it still has to hear ends with its life.
"""

from __future__ import annotations

import contextvars
import json
from collections import deque
from typing import TYPE_CHECKING, Final

from gevent import GreenletExit

from sprag_supervisor import Call, Seat, check_result, holdings_of, is_at_work, report_crash, seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.owned.bus import Listener
    from sprag_supervisor import Node

MOST: Final = 1000
"""Broadcasts that wait for one service; of more it misses the oldest."""
MOST_BYTES: Final = 4_000_000
"""Their bytes."""


class Mail:
    """What one life of a service is still to hear.

    Args:
        node: The service.
        is_empty: Called with this when there is nothing more.
    """

    def __init__(self, node: Node, is_empty: Callable[[Mail], object]) -> None:
        self.node = node
        self._incarnation = node._incarnation_
        self._is_empty = is_empty
        self._waiting: deque[tuple[Listener, bytes]] = deque()
        self._size = 0  # Invariant: their bytes
        self._call: Call | None = None  # Invariant: set exactly while the node owns it

    @property
    def is_of_the_past(self) -> bool:
        """Whether another life has begun: what is left of this one may never come back."""
        return self._incarnation != self.node._incarnation_

    def put(self, listener: Listener, data: bytes) -> int:
        """Let *listener* hear *data* after all before it; return how many it misses for that."""
        waiting, missed = self._waiting, 0
        waiting.append((listener, data))
        self._size += len(data)
        while len(waiting) > MOST or self._size > MOST_BYTES:
            self._size -= len(waiting.popleft()[1])
            missed += 1
        tree = self.node._tree_
        if self._call is None and tree is not None:
            call = self._call = Call(self._deliver)
            call.step = "listener"
            holdings_of(self.node).add_call(call)
            tree.hub.loop.run_callback(tree.pool.enter, call)
        return missed

    def _deliver(self) -> None:
        node, call = self.node, self._call
        assert call is not None
        holdings = holdings_of(node)
        failure: BaseException | None = None
        try:
            while self._waiting and failure is None and is_at_work(node):
                listener, data = self._waiting.popleft()
                self._size -= len(data)
                if listener._node is not node:
                    continue  # it was cancelled, or its life is over
                try:
                    _context(node).run(_hear, listener, data)
                except GreenletExit:
                    if not is_at_work(node):
                        break
                except BaseException as error:  # noqa: BLE001 - this is where crashes are caught
                    failure = error
        finally:
            self._waiting.clear()
            self._size = 0
            self._call = None
            self._is_empty(self)
            holdings.drop_call(call)
        if failure is not None:
            report_crash(node, self._incarnation, "listener", failure)


def _hear(listener: Listener, data: bytes) -> None:
    check_result("a listener", listener._fn(json.loads(data)))


def _context(node: Node) -> contextvars.Context:
    context = contextvars.Context()
    here = Seat()
    here.node = node
    context.run(seat.set, here)
    return context
