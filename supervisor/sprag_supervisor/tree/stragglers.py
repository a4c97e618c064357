"""What earlier lives have left behind, and who has to know.

A greenlet that swallows its kill cannot be got rid of; it goes on beside the next life of its
service and shares with it whatever the code shares: files, connections, module globals. It is
fenced (`pool.leave_behind`: it acquires nothing for the next life), shown in the tree as long
as it lives, and named in a warning when its service is started again over it. The start itself
is not refused: one stuck greenlet must not become an outage.

When a service leaves the tree while a straggler of it lives, its parent inherits that.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sprag_supervisor.facts.memory import History
from sprag_supervisor.facts.straggler import Straggler
from sprag_supervisor.tree.log import say
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sprag_supervisor.tree.node import Node


def keep(node: Node, step: str, is_over: Callable[[], bool]) -> None:
    """Remember what *node* has left behind, until *is_over*."""
    found = Straggler(path_of(node), node._incarnation_, step)
    _add(node, [(found, is_over)])


def _add(node: Node, found: Iterable[tuple[Straggler, Callable[[], bool]]]) -> None:
    history = node._history_
    if history is None:
        history = node._history_ = History()
    if history.stragglers is None:
        history.stragglers = []
    history.stragglers.extend(found)


def stragglers_of(node: Node) -> tuple[Straggler, ...]:
    """Return what earlier lives of *node* have left behind and still runs."""
    history = node._history_
    if history is None or not history.stragglers:
        return ()
    history.stragglers = left = [each for each in history.stragglers if not each[1]()]
    return tuple([found for found, _is_over in left])


def bequeath(child: Node, parent: Node) -> None:
    """Let the parent keep what a child that leaves the tree has left behind."""
    if stragglers_of(child):
        assert child._history_ is not None
        _add(parent, child._history_.stragglers or ())
        child._history_.stragglers = None


def warn_of_stragglers(node: Node) -> None:
    """Say that *node* is started beside what its earlier lives have left behind."""
    left = stragglers_of(node)
    if left:
        said = ", ".join(map(str, left))
        say(logging.WARNING, node, "service starts beside stragglers", stragglers=said)
