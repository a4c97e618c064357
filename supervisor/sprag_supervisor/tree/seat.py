"""Whose code runs, and in which context."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Final

from sprag_supervisor.tree.holdings import Holdings, holdings_of

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


class Seat:
    """Whose code runs in one context.

    Emitting an event changes whose code runs, once per listener. Swapping the occupant of
    a seat costs a fifth of setting and resetting a context variable. So no two greenlets
    may share a seat: every context that is made for one gets its own.
    """

    __slots__ = ("node",)

    node: Node | None
    """Set at once by who makes it: a call for that costs as much as all the rest."""


seat: Final[contextvars.ContextVar[Seat | None]] = contextvars.ContextVar(
    "sprag.current_service", default=None
)


def current_node() -> Node | None:
    """Return the service whose code is running, or None outside of any."""
    here = seat.get()
    return None if here is None else here.node


def context_of(node: Node, base: contextvars.Context | None = None) -> contextvars.Context:
    """Return a context in which *node* is the current service.

    *base* itself, which must not be anybody else's; without it a fresh one that holds
    nothing else.
    """
    context = contextvars.Context() if base is None else base
    context.run(take_seat, node)
    return context


def take_seat(node: Node) -> None:
    """Make *node* the current service of the running context, which is nobody else's."""
    here = Seat()
    here.node = node
    seat.set(here)


def keep_context(node: Node, context: contextvars.Context) -> None:
    """Let hooks and clean-ups of this life run in *context*, if more than the seat is in it."""
    if len(context) > 1:
        holdings_of(node).context = context


def kept_context(node: Node) -> contextvars.Context:
    """Return what the hooks and clean-ups of this life share."""
    holdings = node._holdings_
    kept = holdings.context if type(holdings) is Holdings else None
    return context_of(node) if kept is None else kept
