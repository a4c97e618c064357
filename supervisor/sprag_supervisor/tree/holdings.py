"""What a service holds: greenlets, running calls, timers, listeners, clean-ups.

Made when the service acquires its first resource, dropped with the end of the life.
Each kind is made on first use too: most services hold one or two kinds. Many hold one
listener and nothing else: that lies in the node itself, until something is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from gevent import Greenlet

    from sprag_supervisor.loop.calls import Call
    from sprag_supervisor.loop.parking import Parking


class Cancellable(Protocol):
    """A timer."""

    def release(self) -> None:
        """Never fire again. Who holds it forgets it by itself; harmless a second time."""


class Subscription(Protocol):
    """A listener on some bus."""

    calls: int
    """How often it was called; the calls run in their emitters' greenlets."""
    returns: int
    """How many of these have returned."""
    awaited_by: Parking | None
    """Poked whenever a call returns."""

    @property
    def running(self) -> int:
        """How many are under way."""
        ...

    def is_idle(self) -> bool:
        """Whether none is."""
        ...

    def release(self) -> None:
        """Never be called again. Who holds it forgets it by itself; harmless a second time."""

    def describe(self) -> str:
        """Name it for people, with the stacks of the calls that still run."""
        ...


@final
class Holdings:
    """The resources of one incarnation of one service."""

    __slots__ = (
        "awaited_by",
        "calls",
        "cleanups",
        "context",
        "greenlets",
        "status",
        "subscriptions",
        "timers",
        "unready",
    )

    greenlets: dict[int, Greenlet[..., Any]] | None
    """By id: a user's own kind may have no hash."""
    calls: set[Call] | None
    timers: set[Cancellable] | None
    subscriptions: set[Subscription] | None
    cleanups: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] | None
    awaited_by: Parking | None
    context: Context | None
    """What hooks and clean-ups share, one after another; None: nothing has been set there."""
    unready: str | None
    """Why others are not to count on the service yet, "" for no reason given; None: they may."""
    status: str | None
    """What it is at, in its own words."""

    def is_idle(self) -> bool:
        """Whether nothing of it can block: timers, and listeners that are not being called."""
        if self.greenlets or self.calls or self.cleanups:
            return False
        if self.subscriptions:
            for each in self.subscriptions:
                if each.calls != each.returns:
                    return False
        return True

    def release(self) -> None:
        """Cancel timers and listeners: nothing new begins after this."""
        timers, subscriptions = self.timers, self.subscriptions
        if timers:
            for timer in tuple(timers):
                timer.release()
                timers.discard(timer)
        if subscriptions:
            for subscription in tuple(subscriptions):
                subscription.release()
                if subscription.calls == subscription.returns:  # else it is waited for
                    subscriptions.discard(subscription)

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

    def drop_timer(self, timer: Cancellable) -> None:
        """Forget a timer that has fired for the last time or was cancelled."""
        if self.timers is not None:
            self.timers.discard(timer)

    def add_cleanup(
        self, fn: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Call *fn* when everything else is released."""
        if self.cleanups is None:
            self.cleanups = []
        self.cleanups.append((fn, args, kwargs))


class Holder(Protocol):
    """A node, as far as it matters here."""

    _holdings_: Holdings | Subscription | None


def holdings_of(node: Holder) -> Holdings:
    """Return what *node* holds, for something to be added; made on first use."""
    held = node._holdings_
    if type(held) is not Holdings:
        node._holdings_ = held = _with(held)
    return held


def held_by(node: Holder) -> Holdings | None:
    """Return what *node* holds, to be looked at."""
    held = node._holdings_
    return held if held is None or type(held) is Holdings else _with(held)


def _with(lone: Holdings | Subscription | None) -> Holdings:
    holdings = Holdings()  # an `__init__` would cost four times the rest
    holdings.greenlets = holdings.calls = holdings.timers = holdings.cleanups = None
    holdings.awaited_by = holdings.context = holdings.unready = holdings.status = None
    holdings.subscriptions = None if lone is None else {cast("Subscription", lone)}
    return holdings


def hold(node: Holder, subscription: Subscription) -> None:
    """Let *node* hold a listener, beside whatever else; one that is alone lies in the node."""
    holdings = holdings_of(node)
    if holdings.subscriptions is None:
        holdings.subscriptions = {subscription}
    else:
        holdings.subscriptions.add(subscription)


def let_go(node: Holder, subscription: Subscription) -> None:
    """Forget a listener that was removed."""
    held = node._holdings_
    if held is subscription:
        node._holdings_ = None
    elif type(held) is Holdings and held.subscriptions is not None:
        held.subscriptions.discard(subscription)
