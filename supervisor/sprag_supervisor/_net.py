"""The net under the engine: what escapes sprag's own code.

A user's code runs in three places only: the body of a hook, the call of a listener, the run of an
owned greenlet. Each catches what it raises, and that is a crash of the service. Whatever arrives
elsewhere is a bug of sprag, or a KeyboardInterrupt that Python has raised wherever it happened to
be. It must not leave a service `stopping` for ever, a turn taken, or anybody waiting. So it is
caught where the engine's work begins: in `drive` for each service, in `attend` for each item, in
`_guard.report`, in `start`, and in the pool's run. All come here.

Tier 1, `engine_error`: the bug is reported, and the service goes down by the general path.
Tier 2, `give_in`, if that fails as well: plain assignments, each in a `try` of its own, that call
nothing of the engine.

What makes tier 1 possible: work that is done again goes on where it stopped. A state changes in
one assignment, made before anything is called and after all records are made; an `Ending` knows
which of its steps have begun; the news of an end knows who has been told.

Guarded by tests/faults, which raises at every call, return and line of every function.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from sprag_supervisor._decide import Reason
from sprag_supervisor._failure import remember
from sprag_supervisor._foreign import is_a
from sprag_supervisor._log import say
from sprag_supervisor._states import DOWN, FAILED, RUNNING, STARTING, STOPPING
from sprag_supervisor.exceptions import EngineError

if TYPE_CHECKING:
    from sprag_supervisor._node import Node


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
            say(logging.ERROR, node, "a bug in sprag", bug, step=step)
        return bug
    except BaseException:  # noqa: BLE001 - the last resort
        with suppress(BaseException):
            traceback.print_exc(file=sys.stderr)
        return None


def engine_error(
    node: Node | None,
    step: str,
    error: BaseException,
    crash: BaseException | None = None,
    incarnation: int = 0,
) -> None:
    """Report what escaped the engine's code and bring *node* down. Never raises.

    Args:
        node: Whose affairs were in hand; None: nobody's.
        step: Which they were.
        error: What escaped.
        crash: What the service itself has raised, if that was being dealt with.
        incarnation: Which life of it; 0: the present one.
    """
    bug = report_bug(node, step, error)
    if node is None or incarnation not in (0, node._incarnation_):
        return
    try:
        bring_down(node, next(each for each in (crash, bug, error) if each is not None))
    except BaseException as second:  # noqa: BLE001 - tier 2 is for this
        report_bug(node, "bringing it down after a bug in sprag", second)
        give_in(node)


def bring_down(node: Node, error: BaseException, *, on_purpose: bool = False) -> None:
    """Let *node* end by the general path, whatever it is in the midst of.

    An end that is under way but in nobody's hands is taken up again; see `_ending.drive`.
    """
    from sprag_supervisor import _ending

    operation = node._op_
    if isinstance(operation, _ending.Ending):
        if operation.walk is None or not operation.walk.is_under_way:
            _ending.launch(operation)
    elif operation is not None:
        operation.crashed("start", error)
    elif node._state_ in (RUNNING, STARTING, STOPPING):
        ending = _ending.force(
            node,
            Reason.STOPPED if on_purpose else Reason.CRASHED,
            None if on_purpose else remember(error, node._incarnation_),
            had_started=node._state_ is not STARTING,
        )
        _ending.launch(ending)


def give_in(node: Node) -> None:
    """Let everything at and below *node* be over, by nothing but assignments. Never raises."""
    with suppress(BaseException):
        below = [node]
        for one in below:
            below.extend((one._children_ or {}).values())
        for one in reversed(below):
            if one is node or one._state_ not in DOWN:
                _let_go(one)
    with suppress(BaseException):
        _let_go(node)
    with suppress(BaseException):
        parent = node._parent_
        if parent is None and node._tree_ is not None:
            node._tree_.leave()


def _let_go(node: Node) -> None:
    operation, holdings, history = node._op_, node._holdings_, node._history_
    supervision = node._supervision_
    node._op_ = node._holdings_ = node._supervision_ = node._children_ = None
    node._state_ = FAILED
    waiting: list[Any] = []
    with suppress(BaseException):
        waiting.extend(getattr(operation, "joiners", None) or ())
        operation.done = True  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    with suppress(BaseException):
        waiting.extend(() if history is None else history.waiters)
    with suppress(BaseException):
        if supervision is not None:
            supervision.turn.holder = None
            waiting.extend(supervision.turn.queue or ())
    held: list[Any] = []
    with suppress(BaseException):
        if holdings is not None:
            held = [*(holdings.timers or ()), *(holdings.subscriptions or ())]
            for greenlet in tuple((holdings.greenlets or {}).values()):
                with suppress(BaseException):
                    greenlet.kill(block=False)
    for one in held:
        with suppress(BaseException):
            one.cancel()
    for parking in waiting:
        with suppress(BaseException):
            parking.poke()
    tree = node._tree_
    with suppress(BaseException):
        if tree is not None:
            tree.announce(node, "crashed", "child_terminated", Reason.CRASHED.value)
