"""Why a service is down: read from what is remembered anyway, when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from sprag_supervisor.facts.because import Because
from sprag_supervisor.facts.memory import History
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import DOWN, NEW, RESTARTING, RUNNING, STOPPED
from sprag_supervisor.tree.group import waits_because_of
from sprag_supervisor.tree.held import hold_of
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from sprag_supervisor.facts.because import By
    from sprag_supervisor.tree.node import Node

_NOBODY: Final = History()


def why_down(node: Node, path: str) -> Because | None:
    """Return why *node*, which is at *path*, is down; None: it is not, or was never started.

    Of one that is `restarting`, what it waits for; of one that waits for its own restart, what its
    last life has ended of.
    """
    state = node._state_
    if state not in DOWN or state is NEW:
        return None
    history = node._history_ or _NOBODY
    if state is STOPPED:
        return _why_stopped(node, history)
    if state is RESTARTING:
        if history.waits_for:
            above = path.rpartition("/")[0]
            return Because("needs", f"{above}/{next(iter(history.waits_for))}")
        if (other := waits_because_of(node)) is not None:
            return Because("group", path_of(other))
        hold = hold_of(node, path)
        if hold is not None and history.retry_timer is None:
            return Because("held", hold.path)
    if history.exit is None:
        return None if state is RESTARTING else Because("finished")
    return Because(cast("By", history.exit.reason.value))


def _why_stopped(node: Node, history: History) -> Because:
    noted = history.put_down
    if noted is not None and noted[0] == node._incarnation_:
        return noted[1]
    if not node._incarnation_ and not node._policy_.autostart:
        return Because("autostart")
    if history.exit is not None and history.exit.reason is Reason.IGNORED:
        return Because("ignored")
    parent = node._parent_
    if parent is not None and parent._state_ is not RUNNING:
        return Because("parent", path_of(parent))
    return Because("code")
