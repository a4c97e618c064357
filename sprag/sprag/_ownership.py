"""Greenlets that are born inside a service belong to it, whoever spawns them.

gevent lets a spawned greenlet outlive its spawner, so a library's bare
``gevent.spawn`` inside a service would leak at every restart. While `own_greenlets` is
in force, every Greenlet that is started by a service's code inherits its context
variables, ends with it, and its crash is the service's crash.

The hook is gevent's, and process-wide: `sprag run` installs it, a program that embeds
sprag does when it wants to. What gevent's hub itself spawns cannot be attributed: a
StreamServer accepts in the hub, so give it ``spawn=self.spawn``.
"""

from __future__ import annotations

import contextvars
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from gevent import Greenlet, get_hub

from sprag_supervisor._guard import Managed
from sprag_supervisor._holdings import Holdings
from sprag_supervisor._node import context_of, current_node
from sprag_supervisor._states import State

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag._service import Service
    from sprag_supervisor._node import Node
    from sprag_supervisor._tree import Tree

_OWNED = "_sprag_owned_"


@contextmanager
def own_greenlets() -> Generator[None]:
    """Let every greenlet that a service's code starts belong to that service.

    For instance::

        with own_greenlets(), Supervisor(children=[...]) as sup:
            ...

    Within the block a greenlet spawned by a service, or by a library on its behalf,
    sees the service's context variables (`current_service()` among them), is counted by
    ``sprag tree``, and is killed when the service ends. An exception in it is the
    service's crash, logged once; gevent does not print it. Greenlets that no service
    has started, and those started before, are left alone.

    Blocks nest; the process-wide hooks are removed at the end of the outermost.
    """
    hub: Any = get_hub()
    _depth.append(None)
    Greenlet.add_spawn_callback(_born)  # once, however often it is added
    outer = hub.__dict__.get("handle_error")
    hub.handle_error = _filter(hub.handle_error)
    try:
        yield
    finally:
        _depth.pop()
        if not _depth:
            Greenlet.remove_spawn_callback(_born)
        if outer is None:
            del hub.handle_error
        else:
            hub.handle_error = outer


_depth: list[None] = []
"""One for each block that is entered."""


def _filter(handle_error: Any) -> Any:
    """Keep gevent from reporting what the service's supervisor reports."""

    def handle(context: object, kind: Any, value: Any, traceback: Any) -> None:
        if not hasattr(context, _OWNED):
            handle_error(context, kind, value, traceback)

    return handle


def _born(greenlet: Greenlet[..., Any]) -> None:
    """Give a greenlet that is being started to the service whose code starts it."""
    node = current_node()
    if node is None or isinstance(greenlet, Managed) or hasattr(greenlet, _OWNED):
        return
    tree = node._tree_
    if tree is None or tree.is_copy or tree.hub is not greenlet.parent:
        return  # in a forked child, or in another thread that has copied the context
    if node._state_ not in (State.STARTING, State.RUNNING, State.STOPPING):
        return
    if node._holdings_ is None:
        node._holdings_ = Holdings()
    life = _Life(node, node._incarnation_, node._holdings_, tree)
    setattr(greenlet, _OWNED, life)
    greenlet.gr_context = context_of(node, contextvars.copy_context())
    node._holdings_.add_greenlet(greenlet)
    greenlet.rawlink(life.ended)


class _Life:
    """What is known of an owned greenlet while it lives."""

    __slots__ = ("_holdings", "_incarnation", "_node", "_tree")

    def __init__(self, node: Node, incarnation: int, holdings: Holdings, tree: Tree) -> None:
        self._node = node
        self._incarnation = incarnation
        self._holdings = holdings
        self._tree = tree

    def ended(self, greenlet: Greenlet[..., Any]) -> None:
        # In the hub: only hand over.
        self._holdings.drop_greenlet(greenlet)
        error = greenlet.exception
        if error is not None:
            node, incarnation = cast("Service", self._node), self._incarnation
            self._tree.pool.launch(lambda: node._greenlet_raised_(incarnation, error))
