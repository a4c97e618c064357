"""How much a service holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.views.snapshot import Owned

if TYPE_CHECKING:
    from sprag_supervisor.loop.calls import Work
    from sprag_supervisor.tree.node import Node

_NOTHING: Final = Owned()
_ONE_LISTENER: Final = Owned(listeners=1)


def owned_by(node: Node) -> Owned:
    """Count what the node holds."""
    holdings = node._holdings_
    if holdings is None:
        return _NOTHING
    if type(holdings) is not Holdings:
        return _ONE_LISTENER
    calls = tasks = 0
    for call in holdings.calls or ():
        if call.is_work:
            tasks += cast("Work", call).tasks
        else:
            calls += 1
    return Owned(
        len(holdings.greenlets or ()) + calls,
        len(holdings.timers or ()),
        len(holdings.subscriptions or ()),
        len(holdings.cleanups or ()),
        tasks,
    )
