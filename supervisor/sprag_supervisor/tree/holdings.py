"""What a service holds: greenlets, running calls, timers, listeners, clean-ups.

Made when the service acquires its first resource, dropped when the last is
released. Each kind is made on first use too: most services hold one or two kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from gevent import Greenlet

    from sprag_supervisor.loop.parking import Parking
    from sprag_supervisor.loop.pool import Call


class Cancellable(Protocol):
    """A timer."""

    def cancel(self) -> None:
        """Never fire again."""


class Subscription(Protocol):
    """A listener on some bus."""

    running: int
    """Calls of it that have not returned; they run in their emitters' greenlets."""
    awaited_by: Parking | None
    """Poked whenever such a call returns."""

    def cancel(self) -> None:
        """Never be called again."""

    def describe(self) -> str:
        """Name it for people, with the stacks of the calls that still run."""
        ...


class Holdings:
    """The resources of one incarnation of one service."""

    __slots__ = (
        "awaited_by",
        "calls",
        "cleanups",
        "context",
        "greenlets",
        "subscriptions",
        "timers",
    )

    def __init__(self) -> None:
        self.greenlets: dict[int, Greenlet[..., Any]] | None = None
        """By id: a user's own kind may have no hash."""
        self.calls: set[Call] | None = None
        self.timers: set[Cancellable] | None = None
        self.subscriptions: set[Subscription] | None = None
        self.cleanups: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] | None
        self.cleanups = None
        self.awaited_by: Parking | None = None
        self.context: Context | None = None
        """What hooks and clean-ups share, one after another; None: nothing has been set there."""

    def add_greenlet(self, greenlet: Greenlet[..., Any]) -> None:
        """Own *greenlet* until it ends or the service does."""
        if self.greenlets is None:
            self.greenlets = {}
        self.greenlets[id(greenlet)] = greenlet

    def drop_greenlet(self, greenlet: Greenlet[..., Any]) -> None:
        """Forget a greenlet that has ended."""
        if self.greenlets is not None:
            self.greenlets.pop(id(greenlet), None)
            if self.awaited_by is not None:
                self.awaited_by.poke()

    def add_call(self, call: Call) -> None:
        """Own a call that runs in a pooled greenlet."""
        if self.calls is None:
            self.calls = set()
        self.calls.add(call)

    def drop_call(self, call: Call) -> None:
        """Forget a call that has returned."""
        if self.calls is not None:
            self.calls.discard(call)
            if self.awaited_by is not None:
                self.awaited_by.poke()

    def add_timer(self, timer: Cancellable) -> None:
        """Own a timer."""
        if self.timers is None:
            self.timers = set()
        self.timers.add(timer)

    def drop_timer(self, timer: Cancellable) -> None:
        """Forget a timer that has fired for the last time or was cancelled."""
        if self.timers is not None:
            self.timers.discard(timer)

    def add_subscription(self, subscription: Subscription) -> None:
        """Own a listener."""
        if self.subscriptions is None:
            self.subscriptions = set()
        self.subscriptions.add(subscription)

    def drop_subscription(self, subscription: Subscription) -> None:
        """Forget a listener that was removed."""
        if self.subscriptions is not None:
            self.subscriptions.discard(subscription)

    def add_cleanup(
        self, fn: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Call *fn* when everything else is released."""
        if self.cleanups is None:
            self.cleanups = []
        self.cleanups.append((fn, args, kwargs))

    def needs_waiting(self) -> bool:
        """Whether releasing it can block: anything but idle timers and listeners."""
        return bool(
            self.greenlets
            or self.calls
            or self.cleanups
            or (self.subscriptions and any(each.running for each in self.subscriptions))
        )

    def cancel_passive(self) -> None:
        """Cancel timers and listeners: nothing new begins after this."""
        for timer in tuple(self.timers or ()):
            timer.cancel()
        for subscription in tuple(self.subscriptions or ()):
            subscription.cancel()
