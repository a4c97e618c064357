"""How an end begins: at once where nothing can block, else in an engine greenlet.

Any other end than a quick one is carried out by `life.walking`, which `Tree.drive` points to: an
end's last step may start a service again, and that start may fail, and end it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from sprag_supervisor.exceptions import EngineError
from sprag_supervisor.facts.crash import remember
from sprag_supervisor.facts.failure import as_text
from sprag_supervisor.facts.memory import Ruling
from sprag_supervisor.foreign import exit_code_of
from sprag_supervisor.life import quick
from sprag_supervisor.life.ending import Ending
from sprag_supervisor.life.resting import call_off_restart, detach
from sprag_supervisor.life.settling import End
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import RESTARTING, RUNNING, STARTING, STOPPING
from sprag_supervisor.tree.group import take_out
from sprag_supervisor.tree.log import say
from sprag_supervisor.tree.moves import must_be_legal
from sprag_supervisor.tree.names import name_of, path_of

if TYPE_CHECKING:
    from greenlet import greenlet

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.rules.backoff import ExitApp
    from sprag_supervisor.tree.node import Node
    from sprag_supervisor.tree.operation import Operation


def begin(
    end: End, deadline: float = math.inf, left_behind: greenlet | None = None
) -> Ending | None:
    """Take a service out of running; return the `Ending` to carry out.

    None means that it is over: nothing in it could block.

    Args:
        end: What it dies of.
        deadline: Monotonic time by which it must be down.
        left_behind: The greenlet of an `on_start` that swallowed its kill.
    """
    node = end.node
    if left_behind is None and quick.end(end):
        return None
    # First the record, then the state: whatever making it may raise has changed nothing.
    ending = Ending(end, deadline)
    must_be_legal(node, STOPPING)
    node._op_, node._state_ = ending, STOPPING
    if left_behind is not None:
        ending.leave_behind("on_start", left_behind)
    return ending


def force(end: End, left_behind: greenlet | None = None) -> Ending:
    """Let a service be stopping, whatever it was in the midst of; for the net (`net`)."""
    node = end.node
    ending = Ending(end, math.inf)
    node._op_, node._state_ = ending, STOPPING
    if left_behind is not None:
        ending.leave_behind("on_start", left_behind)
    return ending


def end_soon(
    node: Node, reason: Reason, failure: Failure | None = None, *, drains: bool = True
) -> None:
    """End *node*: at once where nothing can block, else in an engine greenlet.

    Args:
        node: A service that runs.
        reason: Why.
        failure: What it dies of, if that is a failure.
        drains: Whether it and what is below it drain before.
    """
    try:
        ending = begin(End(node, reason, failure))
        if ending is not None:
            ending.drains = drains
            launch(ending)
    except BaseException:
        go_on(node, on_purpose=reason is Reason.STOPPED)
        raise


def go_on(node: Node, *, on_purpose: bool) -> None:
    """Let an end that was cut short go on, if it has begun: else nothing has changed."""
    if node._op_ is not None or node._state_ is not RUNNING:
        bring_down(node, EngineError("end"), on_purpose=on_purpose)


def bring_down(node: Node, error: BaseException, *, on_purpose: bool = False) -> None:
    """Let *node* end by the general path, whatever it is in the midst of.

    An end that is under way but in nobody's hands is taken up again; see `walking.drive`.
    """
    operation = node._op_
    if isinstance(operation, Ending):
        if operation.walk is None or not operation.walk.is_under_way:
            launch(operation)
    elif operation is not None:
        operation.crashed("start", error)
    elif node._state_ in (RUNNING, STARTING, STOPPING):
        end = End(
            node,
            Reason.STOPPED if on_purpose else Reason.CRASHED,
            None if on_purpose else remember(error, node._incarnation_),
            had_started=node._state_ is not STARTING,
        )
        launch(force(end))


# -- stopping on purpose -------------------------------------------------------------


def request_stop(node: Node, deadline: float) -> Operation | None:
    """Have *node* stopped on purpose; return what to join, None if nothing is in progress.

    Does not block. A stop is not a structural change of the parent, so it needs no
    turn and gets through while the parent is busy.
    """
    parent = node._parent_
    if parent is not None and parent._supervision_ is not None:
        take_out(parent._supervision_, node)
    operation = node._op_
    if operation is None:
        if node._state_ is RESTARTING:
            for each in call_off_restart(node):
                is_over = each._policy_.restart == "temporary"  # it has waited for its first start
                if parent is not None and (is_over or parent._forgets_ended_):
                    detach(each)
        elif node._state_ is RUNNING:
            try:
                ending = begin(End(node, Reason.STOPPED), deadline)
                if ending is not None:
                    launch(ending)
            except BaseException:
                go_on(node, on_purpose=True)
                raise
            return ending
        return None
    operation.call_off(deadline, "it was asked to stop")
    end_now(operation)
    return operation


def end_now(operation: Operation) -> None:
    """Let one that drains, because something above it stops, end before its turn comes.

    Who waits for its end must not have to wait for that of all others, too.
    """
    if isinstance(operation, Ending) and operation.is_draining and operation.walk is None:
        launch(operation)


def launch(ending: Ending) -> None:
    """Carry the end out in an engine greenlet."""
    tree = ending.node._tree_
    assert tree is not None
    tree.pool.launch(lambda: tree.drive(ending), ending.node, "stop")


def request_exit(node: Node, error: SystemExit) -> None:
    """Stop the whole tree because a service raised SystemExit (gevent-traps 10)."""
    tree = node._tree_
    if tree is None:
        return
    is_first = tree.exit_code is None
    code, message = exit_code_of(error)
    if is_first:
        tree.exit_code = code
    request_stop(tree.root, clock.now() + tree.exit_seconds)
    if is_first:
        fields: dict[str, Any] = {"code": tree.exit_code}
        if message is not None:
            fields["message"] = as_text(message)
        say(logging.WARNING, node, "service asked the app to exit", **fields)


def exit_as_asked(node: Node, reason: Reason, failure: Failure, how: ExitApp) -> None:
    """Stop the whole tree because of a failure of which `on_failure` says `ExitApp`.

    Nobody has to decide about that: it is in the ledger at once, as the parent's.
    """
    parent, tree, name = node._parent_, node._tree_, name_of(node)
    if parent is not None and tree is not None:
        at, above, life = clock.wall(), path_of(parent), node._incarnation_
        policy, names = parent._policy_, (name,)
        tree.ledger.enter(
            Ruling(at, above, name, life, reason, failure, "exit", names, policy, 0, 0.0, 1)
        )
    request_exit(node, SystemExit(how.code))
