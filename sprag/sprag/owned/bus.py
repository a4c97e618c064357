"""The event bus of one tree.

The listeners are called in the emitter's greenlet, in order of subscription, by `Listener.hear`.
What one raises is its own service's crash, not the emitter's. What somebody has thrown into that
greenlet, to end it or to limit its time, is the emitter's; see `_concerns_emitter`.

Who has one `Listener`, as most events have, is found by `emit` in `topics` itself; for all else
it asks `publish`. Who emits in whose greenlet is kept nowhere: emitting would pay for it. The
frames of `hear` in the stack of a greenlet tell it to the few who ask (`_calls_in`).
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from gevent import GreenletExit, Timeout, getcurrent
from greenlet import greenlet

from sprag_supervisor import (
    Seat,
    all_of,
    attribute_of,
    check_result,
    current_node,
    has_room,
    is_within,
    let_go,
    logger,
    report_crash,
    say,
    seat,
    traceback_of,
    was_thrown_in,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from sprag_supervisor import Node, Parking


PREFIX: Final = "sprag:"
"""What the names of lifecycle events begin with: sprag tells them, and nobody else."""
_occupied: Final = seat.get
"""Bound once: to find the method costs as much as the call."""
_CLOSED: Final = Timeout(None).timer
"""What a Timeout has for a timer once it is closed; gevent has one such object."""


class Listener:
    """A subscription; `cancel()` ends it."""

    __slots__ = ("_bus", "_event", "_fn", "_incarnation", "_node", "awaited_by", "calls", "returns")

    missed: int = 0
    """Lifecycle events that it has not heard, because 10,000 others waited for it."""

    # Set by `EventBus.subscribe`.
    _bus: EventBus
    _event: str
    _fn: Callable[[Any], object]
    _node: Node | None
    _incarnation: int
    calls: int
    returns: int
    awaited_by: Parking | None

    @property
    def running(self) -> int:
        """How many of its calls are under way."""
        return self.calls - self.returns

    def is_idle(self) -> bool:
        """Whether no call of it is under way."""
        return self.calls == self.returns

    @property
    def active(self) -> bool:
        """Whether events still reach it."""
        return self._node is not None

    def cancel(self) -> None:
        """Stop listening. A call that is under way goes on; harmless a second time."""
        node = self._node
        if node is not None:
            # Who owns it forgets it last: what cuts this short is made good by a second call.
            self.release()
            if self.calls == self.returns:
                let_go(node, self)

    def release(self) -> None:
        """Do the same for the engine, which forgets it by itself."""
        self._bus.remove(self)
        self._node = None

    def hear(self, data: Any) -> int:
        """Call it, on behalf of its service, in the emitter's greenlet; return 1: it has heard."""
        here = _occupied()
        if here is None:  # the emitter is outside of any service
            here = Seat()
            here.node = None
            seat.set(here)
        node: Any = self._node  # who is cancelled is not called
        emitter = here.node
        here.node = node
        fn = self._fn  # called as a method it would be looked for in the class
        self.calls += 1
        try:
            try:
                if (result := fn(data)) is not None:
                    check_result("a listener", result)
            finally:
                self.returns += 1  # over, before its crash is reported
        except BaseException as error:  # sorted by whose it is
            if _concerns_emitter(self, node, error, emitter):
                raise
        finally:
            here.node = emitter
            if self._node is None and node._holdings_ is not None:
                self.returned(node)
        return 1

    def returned(self, node: Node) -> None:
        """Take note that a call of a listener that was cancelled meanwhile has returned."""
        if self.calls == self.returns:
            let_go(node, self)
        if self.awaited_by is not None:
            self.awaited_by.poke()

    def describe(self) -> str:
        """Name the listener and show where its unfinished calls are."""
        stacks = [
            "".join(traceback.format_stack(frame, _SHOWN_FRAMES))
            for frame in _frames_of_greenlets()
            if any(call.get("self") is self for call in _calls_in(frame))
        ]
        return f"listener for {self._event!r}\n" + "\n".join(stacks)


_SHOWN_FRAMES: Final = 50


def _frames_of_greenlets() -> Iterator[FrameType | None]:
    for each in all_of(greenlet):
        yield each.gr_frame


def _calls_in(frame: FrameType | None) -> Iterator[dict[str, Any]]:
    """Yield the variables of each `hear` under way in the stack that ends in *frame*."""
    while frame is not None:
        if frame.f_code is _HEARS:
            yield frame.f_locals
        frame = frame.f_back


def runs_within(root: Node) -> bool:
    """Whether the calling greenlet cannot go on when *root* and what is below it have ended.

    Its own service is among them, or one of those that emit here and wait for their listeners.
    """
    node = current_node()
    if node is None:
        return False
    return is_within(node, root) or any(
        is_within(call.get("emitter"), root) for call in _calls_in(sys._getframe())
    )


class _Topic:
    """The listeners of one event: a set in order, and the tuple that emitting walks."""

    __slots__ = ("frozen", "listeners")

    def __init__(self) -> None:
        self.listeners: dict[Listener, None] = {}
        self.frozen: tuple[Listener, ...] | None = None


class HasBus(Protocol):
    """What lifecycle events come from: a `Feed`."""

    @property
    def bus(self) -> EventBus:
        """Who listens to them."""
        ...


class EventBus:
    """Who listens to what in one tree.

    Most events have one listener. It lies in the bus's own dict; a second one makes a `_Topic`.
    """

    __slots__ = ("_telling", "feed", "topics")

    def __init__(self) -> None:
        self.topics: dict[str, Listener | _Topic] = {}
        self._telling: set[greenlet] = set()
        """Who logs that nobody has heard an event: a log handler may emit again."""
        self.feed: HasBus | None = None
        """Where lifecycle events come from, once somebody has listened to them."""

    def subscribe(
        self,
        event: str,
        fn: Callable[[Any], object],
        node: Node,
        listener: Listener | None = None,
    ) -> Listener:
        """Call ``fn(data)`` on behalf of *node* whenever *event* is published.

        Return *listener*, or a plain one.
        """
        if listener is None:
            listener = Listener()
        listener._bus = self
        listener._event = event
        listener._fn = fn
        listener._node = node
        listener._incarnation = node._incarnation_
        listener.calls = listener.returns = 0
        listener.awaited_by = None
        if self.topics.setdefault(event, listener) is not listener:
            self._add(listener)
        return listener

    def _add(self, listener: Listener) -> None:
        """Make *listener* the last of its event's."""
        found = self.topics.setdefault(listener._event, listener)
        if found is listener:
            return
        if type(found) is not _Topic:
            topic = _Topic()
            topic.listeners[cast("Listener", found)] = None
            self.topics[listener._event] = found = topic
        found.listeners[listener] = None
        found.frozen = None

    def remove(self, listener: Listener) -> None:
        """Let *listener* hear no more; harmless a second time."""
        topics, event = self.topics, listener._event
        found = topics.get(event)
        if found is listener:
            del topics[event]
        elif type(found) is _Topic:
            found.listeners.pop(listener, None)
            found.frozen = None
            if not found.listeners:
                del topics[event]

    def listeners(self, event: str) -> tuple[Listener, ...]:
        """Return who listens to *event* now, in order of subscription."""
        found = self.topics.get(event)
        if found is None:
            return ()
        return tuple(found.listeners) if type(found) is _Topic else (cast("Listener", found),)

    def publish(self, event: str, data: Any) -> int:
        """Call every listener of *event* and return how many there were.

        Those who come or go meanwhile do not matter.

        Raises:
            BadValue: *event* is no str, or begins with ``sprag:``.
        """
        try:
            found = self.topics.get(event)
        except TypeError:
            found = None  # has no hash, and is no text
        if found is None:
            if type(event) is str and event[: len(PREFIX)] != PREFIX:
                return 0
            return self._publish_unusual(event, data)
        if type(found) is not _Topic:
            return cast("Listener", found).hear(data)
        listeners = found.frozen
        if listeners is None:
            listeners = found.frozen = tuple(found.listeners)
        heard = 0
        for listener in listeners:
            if listener._node is not None:  # else an earlier one has cancelled it
                heard += listener.hear(data)
        return heard

    def _publish_unusual(self, event: object, data: Any) -> int:
        """Publish what has no topic, and is no plain text or no name that may be emitted."""
        plain = name_of_event(event)
        if plain.startswith(PREFIX):
            raise BadValue("event", plain, f"another name: {PREFIX}… is told by sprag alone")
        # A member of an Enum has the hash of its name, not of its value.
        return self.publish(plain, data) if plain in self.topics else 0

    def unheard(self, node: Node, event: str) -> int:
        """Log that nobody has heard what *node* emits, if anybody wants to know; return 0."""
        if logger.isEnabledFor(logging.DEBUG) and has_room():
            current = getcurrent()
            if current not in self._telling:
                self._telling.add(current)
                try:
                    say(logging.DEBUG, node, "nobody listens to the event", name=event)
                finally:
                    self._telling.discard(current)
        return 0


_HEARS: Final = Listener.hear.__code__


def name_of_event(given: object) -> str:
    """Return the name of an event as plain text.

    Raises:
        BadValue: *given* is no str.
    """
    kind = type(given)
    if kind is str:
        return cast("str", given)
    if not issubclass(kind, str):
        raise BadValue("event", given, "a str: of an Enum's member that is none, its .value")
    return str.__str__(cast("str", given))


def _concerns_emitter(  # noqa: C901 - a call costs
    listener: Listener, node: Node, error: BaseException, emitter: Node | None
) -> bool:
    """Report what is *listener*'s own crash; return whether *error* may be the emitter's.

    The emitter's is what was thrown into its greenlet while the listener waited: a kill, or
    a Timeout that is still open. One that its own `with` has closed is the listener's and has
    leaked. Of another exception that was thrown in nobody can tell: ``kill(error)`` and a
    socket's own timeout look alike, so both hear of it.

    Where the stack has no room even for the report, a RecursionError goes on to the next listener
    further out, until one has: it is one crash, of the innermost service that can report it.
    """
    kind = type(error)
    if issubclass(kind, KeyboardInterrupt):
        return True  # the program's, whosever code it has hit
    try:
        if issubclass(kind, RecursionError):
            entered = traceback_of(error)
            if entered is None or entered.tb_next is None:
                return True  # the emitter's stack has no room even to call the listener
        is_thrown_in = was_thrown_in(error)
        is_kill = issubclass(kind, GreenletExit)
        if is_thrown_in:
            if is_kill:
                return True
            if issubclass(kind, Timeout):
                if attribute_of(error, "timer") is not _CLOSED:
                    return True
                is_thrown_in = False
        tree = node._tree_
        report_crash(node, listener._incarnation, "listener", error)
    except RecursionError:
        if issubclass(kind, RecursionError):
            return True
        raise
    try:
        if not is_kill:
            listener.cancel()  # its service ends; and what emits to itself does not do so for ever
        waits = tree is not None and tree.thread and not is_thrown_in and tree.pool.is_held()
        waits = waits and has_room()
    except RecursionError:  # the crash has been reported, and nobody else's is this
        return is_thrown_in
    if waits and tree is not None:
        # What is thrown in here is the emitter's. A hook has a deadline, and does not wait behind
        # others.
        tree.pool.gate.wait(first=emitter is not None and emitter._op_ is not None)
    return is_thrown_in
