"""Readiness: does everything run that should, and is ready for others?

A service that is stopped on purpose, ignored or finished is as it should be. One that
is new, starting, restarting or stopping is not there yet; one that failed stays a fault
until somebody acts. One that runs is ready, unless it says otherwise. One that is held is not, for
nobody would bring it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sprag_supervisor.facts.failure import LEAST_TEXT, cut
from sprag_supervisor.rules.states import FAILED, FINISHED, RESTARTING, RUNNING, STOPPED, State
from sprag_supervisor.views.taking import unready, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor.tree.node import Node

_AS_IT_SHOULD_BE: Final = (STOPPED, FINISHED)
_AFTER_A_FAILURE: Final = (FAILED, RESTARTING)


class Lack(NamedTuple):
    """Why a service is not ready.

    Attributes:
        state: Where in its life it is.
        reason: What it says of that itself while it runs; whom it waits for (`needs`); of one
            that failed or is to be restarted its last failure, in a line; ``held`` of one that
            somebody holds; "" if there is nothing to say.
    """

    state: State
    reason: str


def not_ready(root: Node, pause: Callable[[], None] | None = None) -> Iterator[tuple[str, Lack]]:
    """Yield the path of every service at or below *root* that is not ready but should be, and why.

    The root itself has to run. A tree is ready when this yields nothing.

    Args:
        root: Where to begin.
        pause: Called after every service, to let others run.
    """
    for depth, path, node in walk(root):
        state = node._state_
        holds = None if node._tree_ is None else node._tree_.holds
        if holds is not None and path in holds.by_path:
            yield path, Lack(state, "held")
        elif state is RUNNING:
            if (reason := unready(node)) is not None:
                yield path, Lack(state, reason)
        elif state not in _AS_IT_SHOULD_BE or not depth:
            yield path, Lack(state, _why_down(node) if state in _AFTER_A_FAILURE else "")
        if pause is not None:
            pause()


def _why_down(node: Node) -> str:
    history = node._history_
    if history is not None and history.waits_for:
        return cut(f"waits for {', '.join(history.waits_for)}", LEAST_TEXT)
    if history is None or not history.failures:
        return ""
    return cut(" ".join(str(history.failures[-1]).split()), LEAST_TEXT)
