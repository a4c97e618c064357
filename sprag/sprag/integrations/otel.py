"""Spans of OpenTelemetry for what happens to services, and for events: ``otel.trace(app)``.

The API alone: which SDK there is, and where spans go, is the program's affair. The hard part is
that the engine tells what happens in the midst of its work, where nothing may block; a span that
ends is handed to a processor, which takes locks. So spans are made a moment later, in a greenlet
that belongs to nobody, with the times of what they tell.
"""

from __future__ import annotations

import contextvars
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet

from sprag.owned.bus import EventBus, Listener
from sprag_supervisor import Lifecycle, Node, Pace, is_a, path_of
from sprag_supervisor.exceptions import AlreadyStarted, BadValue

try:
    from opentelemetry import trace as _api
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode
except ImportError as error:
    raise ImportError("sprag.integrations.otel needs: pip install 'sprag-otp[otel]'") from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext, Tracer, TracerProvider

    from sprag_supervisor import Tree

WAITING: Final = 10_000
"""Spans that are to be made; of more the oldest are dropped, and counted."""
_NAMES: Final = {
    "started": "start",
    "restarted": "restart",
    "crashed": "crash",
    "gave_up": "crash",
    "finished": "stop",
    "stopped": "stop",
}
_NANO: Final = 1_000_000_000


def trace(root: Node, *, tracer_provider: TracerProvider | None = None) -> Tracing:
    """Make spans of what happens in the tree of *root*; before it is started.

    Each start, restart and end of a service is a span as long as that took; a restart is linked to
    the crash before it. ``emit`` of an event that somebody hears is
    a span, and each call of a listener one within it, linked to it: what a service emits or does
    there belongs to the trace of whoever has emitted.

    Args:
        root: An app, or another root.
        tracer_provider: Whose tracer; None: the global one.

    Returns:
        What can be asked to `stop`.

    Raises:
        BadValue: *root* is no service, or not the root of its tree.
        AlreadyStarted: It runs: who listens already would not be seen.
    """
    from sprag.services.service import Service
    from sprag_supervisor import DOWN, tree_of

    if not is_a(root, Service) or root._parent_ is not None:
        raise BadValue("root", root, "a service that has no parent, as an App")
    if root._state_ not in DOWN:
        raise AlreadyStarted(path_of(root))
    return Tracing(tree_of(root), _api.get_tracer("sprag", tracer_provider=tracer_provider))


class Tracing:
    """Makes the spans of one tree.

    Attributes:
        dropped: Spans that were not made, as 10,000 others were waiting.
    """

    def __init__(self, tree: Tree, tracer: Tracer) -> None:
        self._tree = tree
        self._tracer = tracer
        self._records: deque[Lifecycle] = deque()
        self._ends: dict[str, SpanContext] = {}
        """The last end of each service that may come back."""
        self._maker: Greenlet[[], None] | None = None
        self.dropped = 0
        tree.observers.append(self._note)
        if type(tree.bus) is EventBus:
            tree.bus = _TracedBus(tracer)

    def stop(self) -> None:
        """Make no more spans of what happens to services."""
        with suppress(ValueError):
            self._tree.observers.remove(self._note)

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until the spans of what has happened are made, for so long at most."""
        if self._maker is not None:
            self._maker.join(seconds)

    def _note(self, record: Lifecycle) -> None:
        """Take note; the engine calls this in the midst of its work."""
        if record.event not in _NAMES:
            return
        if len(self._records) >= WAITING:
            self._records.popleft()
            self.dropped += 1
        self._records.append(record)
        if self._maker is None:
            maker = self._maker = _Maker(self._make_all)
            maker.gr_context = contextvars.Context()
            self._tree.hub.loop.run_callback(maker.start)

    def _make_all(self) -> None:
        pace = Pace()
        try:
            while self._records:
                with suppress(Exception):  # of an SDK's: no reason to tell nothing any more
                    self._make(self._records.popleft())
                pace()
        finally:
            self._maker = None

    def _make(self, record: Lifecycle) -> None:
        word = _NAMES[record.event]
        before = self._ends.pop(record.path, None) if word == "restart" else None
        end = int(record.time * _NANO)
        span = self._tracer.start_span(
            f"sprag {word} {record.path}",
            links=[] if before is None else [Link(before)],
            start_time=end - int((record.seconds or 0.0) * _NANO),
            attributes={
                "sprag.path": record.path,
                "sprag.incarnation": record.incarnation,
                "sprag.restarts": record.restarts,
                **({} if record.reason is None else {"sprag.reason": record.reason}),
            },
        )
        if word == "crash":
            span.set_status(Status(StatusCode.ERROR, record.message or record.reason))
            if record.exception is not None:
                told = {
                    "exception.type": record.exception,
                    "exception.message": record.message or "",
                }
                span.add_event("exception", told, timestamp=end)
            if len(self._ends) >= WAITING:
                self._ends.pop(next(iter(self._ends)))
            self._ends[record.path] = span.get_span_context()
        span.end(end_time=end)


class _Maker(Greenlet):  # type: ignore[type-arg]
    """Makes spans."""

    spawning_stack_limit = 0


class _TracedListener(Listener):
    """One that is only called by `publish`."""

    __slots__ = ()


class _TracedBus(EventBus):
    """A bus whose events are spans."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def subscribe(
        self,
        event: str,
        fn: Callable[[Any], object],
        node: Node,
        listener: Listener | None = None,
    ) -> Listener:
        """Call *fn* as ever, within a span."""
        traced = self._traced(event, fn, node)
        return super().subscribe(event, traced, node, listener or _TracedListener())

    def publish(self, event: str, data: Any) -> int:
        """Publish within a span, if anybody listens."""
        if type(event) is not str or event not in self.topics:
            return super().publish(event, data)
        with self._tracer.start_as_current_span(f"emit {event}", kind=SpanKind.PRODUCER) as span:
            heard = super().publish(event, data)
            span.set_attribute("sprag.listeners", heard)
            return heard

    def _traced(
        self, event: str, fn: Callable[[Any], object], node: Node
    ) -> Callable[[Any], object]:
        name = f"{event} {path_of(node)}"
        said: dict[str, str | int] = {
            "sprag.path": path_of(node),
            "sprag.incarnation": node._incarnation_,
        }

        def call(data: Any) -> object:
            emitter = _api.get_current_span().get_span_context()
            with self._tracer.start_as_current_span(
                name, kind=SpanKind.CONSUMER, links=[Link(emitter)], attributes=said
            ):
                return fn(data)

        return call
