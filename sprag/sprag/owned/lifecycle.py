"""The lifecycle events of a tree on its bus: ``sprag:started`` and the like.

The engine tells its observers what happens in the midst of its work, where nothing may
block; listeners may. So every listener has a mailbox, emptied in a pooled greenlet that
belongs to its service: it hears of everything, in order, one event at a time; if it is
slow it holds up itself and nobody else; and it ends with its service. A mailbox holds so many
events: whoever falls further behind hears of the latest, and how many it has missed.

The tree is observed only while somebody listens. Otherwise no record is even made.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import GreenletExit

from sprag.owned.bus import PREFIX, EventBus, Listener
from sprag_supervisor import (
    Call,
    check_result,
    choices,
    holdings_of,
    is_at_work,
    report_crash,
    say,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag_supervisor import Lifecycle, Node, Tree

EVENTS: Final = tuple(
    PREFIX + word
    for word in (
        *("started", "ready", "unready", "crashed"),
        *("restarted", "stopped", "finished", "gave_up", "moved"),
    )
)


_MOST: Final = 10_000
"""Events that wait for one listener: more than happen before it gets its turn."""


class Feed:
    """Passes what a tree's engine tells on to those who listen to it."""

    __slots__ = ("_listeners", "_tree", "bus")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.bus: Final = EventBus()
        """Apart from the tree's own: nobody but the engine tells what happens in it."""
        self._listeners = 0  # Invariant: the tree is observed exactly while it is above 0

    def join(self) -> None:
        """Count one more listener."""
        self._listeners += 1
        if self._listeners == 1:
            self._tree.observers.append(self)

    def leave(self) -> None:
        """Count one less."""
        self._listeners -= 1
        if self._listeners == 0 and self in self._tree.observers:
            self._tree.observers.remove(self)

    def __call__(self, record: Lifecycle) -> None:
        """Hand *record* to who listens; the engine calls this as an observer."""
        for listener in self.bus.listeners(PREFIX + record.event):
            cast("LifecycleListener", listener).put(record)


class LifecycleListener(Listener):
    """A subscription to a lifecycle event; `cancel()` ends it."""

    __slots__ = ("_call", "_context", "_feed", "_is_behind", "_mailbox", "missed")

    def __init__(
        self,
        feed: Feed,
        context: contextvars.Context,
    ) -> None:
        self._feed = feed
        self._context = context
        self._mailbox: deque[Lifecycle] = deque()
        self._call: Delivery | None = None  # Invariant: set exactly while the node owns it
        self._is_behind = False
        self.missed = 0

    def put(self, record: Lifecycle) -> None:
        """Tell the listener in the next turn of the loop, after all it has not heard yet."""
        node = self._node
        if len(self._mailbox) >= _MOST:
            self._mailbox.popleft()
            self._fall_behind(node)
        self._mailbox.append(record)
        if self._call is not None or node is None:
            return
        tree = node._tree_
        assert tree is not None
        call = Delivery(lambda: self._deliver(node, call))
        self._call = call
        holdings_of(node).add_call(call)
        tree.hub.loop.run_callback(tree.pool.enter, call)

    def _fall_behind(self, node: Node | None) -> None:
        self.missed += 1
        if not self._is_behind and node is not None and node._tree_ is not None:
            self._is_behind = True
            waiting, event = len(self._mailbox) + 1, self._event
            text = "a listener is behind with lifecycle events, and misses the oldest"
            # Not here, where the engine tells of one while it does its work.
            node._tree_.pool.launch(
                lambda: say(logging.WARNING, node, text, name=event, waiting=waiting)
            )

    def _deliver(self, node: Node, call: Delivery) -> None:
        holdings = holdings_of(node)
        if not is_at_work(node):
            # The kill of the stop under way came too early for this greenlet. What is in
            # the mailbox is still told, like clean-ups after a deadline: up to where one blocks.
            call.kill()
        failure: BaseException | None = None
        while self._mailbox and failure is None:
            record = self._mailbox.popleft()
            try:
                check_result("a listener", self._context.copy().run(self._fn, record))
            except GreenletExit:
                if not is_at_work(node):
                    break
            except BaseException as error:  # noqa: BLE001 - this is where crashes are caught
                failure = error
        if failure is not None or not is_at_work(node):
            self._mailbox.clear()
        self._call = None
        self._is_behind = False
        holdings.drop_call(call)
        if failure is not None:
            report_crash(node, self._incarnation, "listener", failure)

    def release(self) -> None:
        """Stop listening. A call that is under way goes on; harmless a second time."""
        node = self._node
        if node is None:
            return
        if is_at_work(node):
            self._mailbox.clear()
        super().release()
        self._feed.leave()


class Delivery(Call):
    """The call that empties a mailbox."""

    step = "listener"


def listen(
    tree: Tree,
    bus: EventBus,
    event: str,
    fn: Callable[[Any], object],
    *,
    node: Node,
    context: contextvars.Context,
) -> LifecycleListener:
    """Call ``fn(record)`` in *context* on behalf of *node* whenever *event* happens in *tree*.

    Raises:
        BadValue: There is no such event.
    """
    if event not in EVENTS:
        raise BadValue("event", event, choices(event, EVENTS))
    feed = cast("Feed | None", bus.feed)
    if feed is None:
        feed = bus.feed = Feed(tree)
    listener = LifecycleListener(feed, context)
    feed.bus.subscribe(event, fn, node, listener)
    feed.join()
    return listener
