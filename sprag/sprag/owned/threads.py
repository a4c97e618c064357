"""The way into a tree from a native thread that is not its own."""

from __future__ import annotations

import contextvars
import logging
from typing import TYPE_CHECKING, Any

from sprag_supervisor import (
    function_name,
    is_at_work,
    not_active,
    refuse,
    run_for_effect,
    say,
    spawn_managed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor import Node


def call(node: Node, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Have ``fn(*args)`` run in a greenlet of *node*, in the thread its tree lives in."""
    tree = node._tree_
    if tree is None and node._incarnation_ > 0:
        _drop(node, fn)
        return
    if tree is None:
        raise not_active(node, "call from a thread")
    if not tree.thread:
        refuse(node, tree)
        _drop(node, fn)
        return

    def arrived() -> None:
        # In the hub: no logging here (gevent-traps 18).
        if not is_at_work(node):
            tree.pool.launch(lambda: _drop(node, fn))
            return
        spawn_managed(
            node, contextvars.Context(), run_for_effect, ("call_from_thread", fn, *args), {}
        )

    tree.hub.loop.run_callback_threadsafe(arrived)


def _drop(node: Node, fn: Callable[..., object]) -> None:
    called = function_name(fn)
    state = node._state_.value
    say(logging.WARNING, node, "call from a thread dropped", function=called, state=state)
