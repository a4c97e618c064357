"""Services that have lived long enough: their life ends, well, and another one follows.

A recycled service ends as by a stop, outside its parent's turn, and its parent restarts it as after
a crash: at once, with those who are restarted with it. That counts toward no limit and no backoff;
if the new life fails to start, that counts as ever.

Of all who are recycled below one parent one is on its way at a time, until it is ready again. Whose
time comes meanwhile looks again every second; so does who is held, or whose parent is busy coming
up. Several that were started together do not come to their ends together: the time of each is drawn
anew in each life.
"""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor.facts.memory import History
from sprag_supervisor.life.stopping import end_soon
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.decide import RECYCLED
from sprag_supervisor.rules.states import FINISHED, RUNNING, STOPPED
from sprag_supervisor.tree.held import is_held
from sprag_supervisor.tree.holdings import Holdings, holdings_of
from sprag_supervisor.tree.log import saying

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node

JITTER: Final = 0.1
"""So much of its time a life may be longer, or shorter."""
_AGAIN: Final = 1.0
_random = random.Random()  # noqa: S311 - jitter, not secrets


def recycle_after(node: Node, seconds: float) -> None:
    """Recycle *node*, as it lives now, about so many seconds from now.

    A root, which nobody restarts, is not recycled.
    """
    if node._parent_ is None:
        return
    holdings = holdings_of(node)
    if holdings.timers is None:
        holdings.timers = set()
    lifetime = Lifetime(node, seconds)
    holdings.timers.add(lifetime)
    lifetime.begin()  # only now: an error between would leave its timer to nobody


class Lifetime:
    """How long one life of a service is to last.

    Attributes:
        due: The monotonic time of its end.
        waits_for: What keeps it alive beyond that: a sibling that is on its way, or itself as long
            as it is held; None: nothing.
    """

    __slots__ = ("_incarnation", "_node", "_timer", "due", "waits_for")

    def __init__(self, node: Node, seconds: float) -> None:
        self._node = node
        self._incarnation = node._incarnation_
        drawn = seconds * _random.uniform(1 - JITTER, 1 + JITTER)
        self.due = clock.now() + drawn
        self.waits_for: Node | None = None
        self._timer: Any = clock.new_timer(drawn, _AGAIN)

    def begin(self) -> None:
        """Let the time run."""
        self._timer.start(self._look, update=True)

    def release(self) -> None:
        """End nothing any more. Harmless a second time."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _look(self) -> None:
        # In the hub.
        node, tree = self._node, self._node._tree_
        if tree is not None:
            tree.pool.launch(partial(self._begin), node, "recycle")

    def _may_begin(self) -> bool:
        node, parent = self._node, self._node._parent_
        if (
            parent is None
            or parent._state_ is not RUNNING
            or node._state_ is not RUNNING
            or node._incarnation_ != self._incarnation
            or self._timer is None
        ):
            return False
        self.waits_for = node if is_held(node) else _on_its_way(parent)
        return self.waits_for is None

    def _begin(self) -> None:
        node, parent, tree = self._node, self._node._parent_, self._node._tree_
        if not self._may_begin() or parent is None or tree is None:
            return
        age = round(clock.now() - node._since_, 3)
        tell = saying(logging.INFO, node, "service is recycled", seconds=age)
        end_soon(node, RECYCLED)
        tree.recycled[id(parent)] = node, self._incarnation
        history = node._history_
        if history is None:
            history = node._history_ = History()
        history.recycled += 1
        tell()


def _on_its_way(parent: Node) -> Node | None:
    """Return who was recycled below *parent* and is not ready again; None: nobody.

    Who was stopped by hand since, or has finished, or left, is waited for by nobody.
    """
    tree = parent._tree_
    found = None if tree is None else tree.recycled.get(id(parent))
    if tree is None or found is None:
        return None
    node, ended = found
    if (
        node._parent_ is not parent
        or node._state_ in (STOPPED, FINISHED)
        or (node._state_ is RUNNING and node._incarnation_ > ended and _is_ready(node))
    ):
        del tree.recycled[id(parent)]
        return None
    return node


def _is_ready(node: Node) -> bool:
    held = node._holdings_
    return type(held) is not Holdings or held.unready is None
