"""What is said about sprag's own bugs, and the last resort when nothing else works.

See `net` for the whole.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from sprag_supervisor.exceptions import EngineError
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.resting import hold_back
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import DOWN, FAILED
from sprag_supervisor.tree.drainers import forget
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.living import announce, leave, let_hear
from sprag_supervisor.tree.log import say

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node


def interrupt_main(error: BaseException) -> None:
    """Raise *error* in the main greenlet, from the hub, as gevent itself does."""
    hub: Any = get_hub()
    hub.loop.run_callback(hub.handle_system_error, type(error), error)


def report_bug(node: Node | None, step: str, error: BaseException) -> EngineError | None:
    """Say that sprag itself has raised *error*; a KeyboardInterrupt is main's. Never raises."""
    try:
        if is_a(error, KeyboardInterrupt):
            interrupt_main(error)
            return None
        bug = EngineError(step)
        bug.__cause__ = error
        if node is None:
            logging.getLogger("sprag").error("%s", bug, exc_info=bug)
        else:
            let_hear(node, step, bug)
            say(logging.ERROR, node, "a bug in sprag", bug, step=step)
        return bug
    except BaseException:  # noqa: BLE001 - the last resort
        with suppress(BaseException):
            traceback.print_exc(file=sys.stderr)
        return None


def give_in(node: Node) -> None:
    """Let everything at and below *node* be over, by nothing but assignments. Never raises."""
    with suppress(BaseException):
        below = [node]
        for one in below:
            below.extend((one._children_ or {}).values())
        for one in reversed(below):
            with suppress(BaseException):
                hold_back(one)
            if one is node or one._state_ not in DOWN:
                _let_go(one)
    with suppress(BaseException):
        _let_go(node)
    with suppress(BaseException):
        parent = node._parent_
        if parent is None and node._tree_ is not None:
            leave(node._tree_)


def _let_go(node: Node) -> None:
    with suppress(BaseException):
        if node._tree_ is not None:
            forget(node, node._tree_)
    operation, holdings, history = node._op_, node._holdings_, node._history_
    supervision = node._supervision_
    node._op_ = node._holdings_ = node._supervision_ = None
    node._state_ = FAILED
    waiting: list[Any] = []
    with suppress(BaseException):
        waiting.extend(getattr(operation, "joiners", None) or ())
        operation.done = True  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    with suppress(BaseException):
        waiting.extend(() if history is None else history.waiters or ())
    with suppress(BaseException):
        if supervision is not None:
            supervision.turn.holder = None
            supervision.turn.give()  # woken without it, who waits would only wait again
    held: list[Any] = []
    with suppress(BaseException):
        if holdings is not None and type(holdings) is not Holdings:
            held = [holdings]
        elif holdings is not None:
            held = [*(holdings.timers or ()), *(holdings.subscriptions or ())]
            for greenlet in tuple((holdings.greenlets or {}).values()):
                with suppress(BaseException):
                    greenlet.kill(block=False)
    for one in held:
        with suppress(BaseException):
            one.release()
    for parking in waiting:
        with suppress(BaseException):
            parking.poke()
    with suppress(BaseException):
        announce(node, "crashed", "child_terminated", Reason.CRASHED.value)
