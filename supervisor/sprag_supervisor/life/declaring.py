"""What a service says of itself: whether it is ready for others, and how far it is.

Started and ready are two things. A service is started when its `on_start` has returned; parents,
turns and siblings wait for that and nothing else. Whether it can do its work is for those outside:
`not_ready`, ``sprag wait``, ``/readyz``, systemd. It can, unless it says otherwise.

What it has said goes with the life, like all that it holds. Nothing is kept for who says nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sprag_supervisor.exceptions import StartTimeout
from sprag_supervisor.facts.failure import LEAST_TEXT, cut
from sprag_supervisor.life.beating import begin_to_listen
from sprag_supervisor.life.guard import report_crash
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.holdings import Holdings, holdings_of
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.moves import is_draining

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def set_ready(node: Node, *, ready: bool, reason: str) -> None:
    """Take note that *node*, which starts or runs, is ready for others, or is not.

    One that is not ready when it starts has its ``start_timeout``, from the start on, to become so;
    else it crashes. Later it may be unready for as long as it likes.
    """
    holdings = holdings_of(node)
    was_ready = holdings.unready is None
    holdings.unready = None if ready else cut(reason, LEAST_TEXT)
    operation = node._op_
    if ready:
        for timer in tuple(holdings.timers or ()):
            if type(timer) is FirstReady:
                timer.release()
                holdings.drop_timer(timer)
    elif was_ready and isinstance(operation, Starting):
        seconds = node._policy_.start_timeout
        if seconds is not None:
            FirstReady(node, holdings, seconds, operation.began + seconds)
    if ready != was_ready and node._state_ is RUNNING:
        if ready and node._policy_.heartbeat is not None:
            begin_to_listen(node)
        announce(node, "ready" if ready else "unready", "readiness", holdings.unready)


def set_status(node: Node, text: str) -> None:
    """Take note of what *node*, which starts or runs, is at."""
    holdings_of(node).status = cut(text, LEAST_TEXT) or None


class FirstReady:
    """The time within which a life has to become ready, once it has said that it is not yet.

    It is in *holdings* as soon as it is made.
    """

    __slots__ = ("_holdings", "_incarnation", "_node", "_seconds", "_timer")

    def __init__(self, node: Node, holdings: Holdings, seconds: float, until: float) -> None:
        self._node = node
        self._incarnation = node._incarnation_
        self._holdings = holdings
        self._seconds = seconds
        timer = clock.new_timer(until - clock.now())
        self._timer: clock.Timer | None = timer
        if holdings.timers is None:
            holdings.timers = set()
        holdings.timers.add(self)
        timer.start(self._in_hub, update=True)

    def release(self) -> None:
        """Wait no longer: it is ready, or its life is over. Harmless a second time."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _in_hub(self) -> None:
        node = self._node
        tree = node._tree_
        if self._timer is not None and tree is not None:
            tree.pool.launch(partial(self._is_over), node, "readiness")

    def _is_over(self) -> None:
        node = self._node
        if self._timer is None or is_draining(node):
            return  # it has become ready in the last moment, or need not any more
        self.release()
        self._holdings.drop_timer(self)
        error = StartTimeout(self._seconds, waits_for=self._holdings.unready)
        report_crash(node, self._incarnation, "on_start", error)
