"""The event bus of one tree.

`publish` calls the listeners in the emitter's greenlet, in order of subscription,
and returns when the last has returned. What a listener raises is its own service's
crash, not the emitter's.
"""

from __future__ import annotations

import gc
import traceback
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, Timeout
from greenlet import greenlet

from sprag_supervisor._guard import report
from sprag_supervisor._node import Seat, seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag._lifecycle import Feed
    from sprag_supervisor._node import Node
    from sprag_supervisor._parking import Parking


_CLOSED: Final = Timeout(None).timer
"""What a Timeout has for a timer once it is closed; gevent has one such object."""


class Listener:
    """A subscription; `cancel()` ends it."""

    __slots__ = ("_bus", "_event", "_fn", "_incarnation", "_node", "awaited_by", "running")

    def __init__(self, bus: EventBus, event: str, fn: Callable[[Any], object], node: Node) -> None:
        self._bus = bus
        self._event = event
        self._fn = fn
        self._node: Node | None = node
        self._incarnation = node._incarnation_
        self.running = 0
        self.awaited_by: Parking | None = None

    @property
    def active(self) -> bool:
        """Whether events still reach it."""
        return self._node is not None

    def cancel(self) -> None:
        """Stop listening. A call that is under way goes on; harmless a second time."""
        node = self._node
        if node is not None:
            self._node = None
            self._bus._remove(self._event, self)
            if not self.running:
                self._forget(node)

    def returned(self, node: Node) -> None:
        """Take note that a call of a listener that was cancelled meanwhile has returned."""
        if not self.running:
            self._forget(node)
        if self.awaited_by is not None:
            self.awaited_by.poke()

    def _forget(self, node: Node) -> None:
        if node._holdings_ is not None:
            node._holdings_.drop_subscription(self)

    def describe(self) -> str:
        """Name the listener and show where its unfinished calls are."""
        code = getattr(self._fn, "__code__", None)
        stacks = [
            "".join(traceback.format_stack(each.gr_frame))
            for each in gc.get_objects()
            if isinstance(each, greenlet | Greenlet) and _runs(each, code)
        ]
        return f"listener for {self._event!r}\n" + "\n".join(stacks)


def _runs(one: Any, code: object) -> bool:
    frame = one.gr_frame
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


class _Topic:
    """The listeners of one event: a set in order, and the tuple that emitting walks."""

    __slots__ = ("frozen", "listeners")

    def __init__(self) -> None:
        self.listeners: dict[Listener, None] = {}
        self.frozen: tuple[Listener, ...] | None = None


class EventBus:
    """Who listens to what in one tree."""

    __slots__ = ("_topics", "feed")

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self.feed: Feed | None = None
        """Where lifecycle events come from, once somebody has listened to them."""

    def subscribe(self, event: str, fn: Callable[[Any], object], node: Node) -> Listener:
        """Call ``fn(data)`` on behalf of *node* whenever *event* is published."""
        listener = Listener(self, event, fn, node)
        self.add(listener)
        return listener

    def add(self, listener: Listener) -> None:
        """Make *listener* the last of its event's."""
        topic = self._topics.get(listener._event)
        if topic is None:
            topic = self._topics[listener._event] = _Topic()
        topic.listeners[listener] = None
        topic.frozen = None

    def _remove(self, event: str, listener: Listener) -> None:
        topic = self._topics[event]
        topic.listeners.pop(listener, None)
        topic.frozen = None
        if not topic.listeners:
            del self._topics[event]

    def listeners(self, event: str) -> tuple[Listener, ...]:
        """Return who listens to *event* now, in order of subscription."""
        topic = self._topics.get(event)
        return () if topic is None else tuple(topic.listeners)

    def publish(self, event: str, data: Any) -> None:
        """Call every listener of *event*; those who come or go meanwhile do not matter."""
        topic = self._topics.get(event)
        if topic is None:
            return
        listeners = topic.frozen
        if listeners is None:
            listeners = topic.frozen = tuple(topic.listeners)
        here = seat.get()
        if here is None:  # the emitter is outside of any service
            here = Seat(None)
            seat.set(here)
        emitter = here.node
        for listener in listeners:
            node = listener._node
            if node is None:
                continue  # cancelled by an earlier listener
            here.node = node
            listener.running += 1
            try:
                listener._fn(data)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the listener's crash
                report(node, listener._incarnation, "listener", error)
            except Timeout as timeout:
                # One that its `with` has closed was the listener's own and has leaked;
                # one still open belongs to the emitter, further up.
                if timeout.timer is not _CLOSED:
                    raise
                report(node, listener._incarnation, "listener", timeout)
            finally:
                listener.running -= 1
                here.node = emitter
                if listener._node is None:
                    listener.returned(node)
