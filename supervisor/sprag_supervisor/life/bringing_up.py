"""The start of an incarnation: first state, on_start, run.

`start` works in the greenlet that asks, which for `adopt` is the user's own. The user's code runs
in a pooled greenlet beside it: so a start can be timed, aborted by a stop, or aborted because
something the service has already spawned crashed (`Starting`). What fails is undone (`undoing`).

The order matters: the record of the start is made before the state changes, in one assignment, and
the state is changed before anything is called; so whatever is raised in between, by a bug or by a
signal handler, finds either nothing done or something that `undoing` can undo. Guarded by
tests/faults.
"""

from __future__ import annotations

import contextvars
from functools import partial
from typing import TYPE_CHECKING

from gevent import getcurrent

from sprag_supervisor.exceptions import EngineError, StartFailed
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life import guard
from sprag_supervisor.life.bugs import interrupt_main
from sprag_supervisor.life.settling import attend_soon
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.life.undoing import undo, undo_by_force
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.states import DOWN, MOVES, RESTARTING, RUNNING, STARTING
from sprag_supervisor.tree.callables import check_result
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.node import Node
from sprag_supervisor.tree.seat import Seat, context_of, keep_context, seat
from sprag_supervisor.tree.stragglers import warn_of_stragglers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor.tree.node import Tree


def start(node: Node, *, restarts: bool = False) -> None:
    """Bring *node*, which has its place in a tree, up; return when it runs or has ignored.

    The caller holds the parent's turn, if there is a parent.

    Args:
        node: The service; any state in which nothing of it runs.
        restarts: It is the supervisor who starts it again: in a context of its own,
            and a failure leaves it `restarting`.

    Raises:
        StartFailed: It could not be started, and everything it had acquired is released.
        RecursionError: The caller's stack has no room for it; nothing has changed.
    """
    incarnation, before = node._incarnation_ + 1, node._state_
    cls, tree = type(node), node._tree_
    assert tree is not None
    assert STARTING in MOVES[before]
    try:
        if incarnation > 1 or not (
            cls.on_start is Node.on_start and cls._prepare_ is Node._prepare_
        ):
            _bring_up(node, tree, incarnation, restarts=restarts)
        elif cls._does_more_ or tree.observers:
            need_room()
            node._incarnation_, node._state_ = incarnation, STARTING
            come_up(node, tree, None, restarted=False)
        else:  # nothing has to run, and nobody is told
            node._incarnation_, node._state_ = incarnation, STARTING
            node._since_, node._state_ = clock.now(), RUNNING
    except BaseException as error:
        if node._incarnation_ != incarnation or node._state_ in DOWN:
            raise
        if node._state_ is STARTING and node._op_ is None:
            node._incarnation_, node._state_ = incarnation - 1, before  # nothing has been done yet
            raise
        # It is still there: what was raised is not its failure, but a bug of sprag, or what a
        # signal handler has raised in the midst of our work.
        undo_by_force(node, error, retries=restarts)
        if is_a(error, Exception):
            raise StartFailed(path_of(node), str(EngineError("start"))) from error
        raise


def restart(child: Node) -> bool:
    """Try to restart one child; return whether to go on with the next."""
    if child._state_ not in DOWN:
        return True  # somebody else has started it
    child._restarts_ += 1
    try:
        start(child, restarts=True)
    except StartFailed:
        # Either it waits for its next try at the end of the inbox, and those after it
        # wait for it (otp-rules 41), or it was stopped on purpose meanwhile.
        # A failure that is to be escalated is the last thing that happens here, too.
        history = child._history_
        last = list(history.failures)[-1:] if history is not None else []
        escalated = any(failure.action == "escalate" for failure in last)
        return child._state_ is not RESTARTING and not escalated
    except KeyboardInterrupt as interrupt:
        interrupt_main(interrupt)
        return False
    return True


def _bring_up(node: Node, tree: Tree, incarnation: int, *, restarts: bool) -> None:
    """Run the first steps of a life in a greenlet of their own, and wait for them."""
    if restarts:  # on the stack of an engine greenlet, which is fresh
        context = contextvars.Context()
    else:
        need_room()
        context = contextvars.copy_context()
    starting = object.__new__(Starting)  # past `type.__call__`: most of it are defaults
    starting.node = node
    starting.retries = restarts
    starting.context = context
    starting.parking = parking = Parking()
    starting.began = began = clock.now()
    starting.body = partial(_first_steps, node, incarnation)
    node._incarnation_, node._op_, node._state_ = incarnation, starting, STARTING
    starts, history, parent = tree.starts, node._history_, node._parent_
    if history is not None and history.stragglers:
        warn_of_stragglers(node)
    above = None if parent is None or parent._op_ is None else _that_adopts(parent)
    if above is not None:
        above.adopts = True
    try:
        starts.add(starting)
        seconds = node._policy_.start_timeout
        until = None if seconds is None else began + seconds
        try:
            tree.pool.enter_and_wait(starting, parking, until)
        except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
            starting.interrupted(interrupt)
        if not starting.done:
            starting.see_through(seconds, until)
        starts.discard(starting)
        if starting.error is not None or starting.aborted is not None:
            undo(starting)
            return
        if len(context) > 1 or starting.left_behind is not None:
            starting.keep_context()
        come_up(node, tree, context, restarted=restarts)
    finally:
        if starting.joiners is not None:
            starting.wake_joiners()
        if above is not None:
            above.has_adopted()
    if starting.finishes:
        guard.end_cleanly(node, incarnation)


def _that_adopts(parent: Node) -> Starting | None:
    """Return the start of *parent*, if it is its `on_start` that asks."""
    above = parent._op_
    return above if isinstance(above, Starting) and above.runs_in(getcurrent()) else None


def _first_steps(node: Node, incarnation: int) -> None:
    """Run the service's own code, in a pooled greenlet."""
    here = Seat()
    here.node = node
    seat.set(here)
    if incarnation > 1:
        _reset(node)
    if type(node)._prepare_ is not Node._prepare_:
        node._prepare_()
    on_start: Callable[[], object] = node.on_start
    if (result := on_start()) is not None:
        check_result("on_start", result)


def _reset(node: Node) -> None:
    """Bring the object back to its first state: no attributes, ``__init__`` run again.

    The constructor's arguments are the same objects as the first time.
    """
    try:
        attributes = object.__getattribute__(node, "__dict__")
    except AttributeError:
        attributes = None  # a class with slots has none
    if attributes:
        attributes.clear()
    for descriptor in type(node)._user_slots_:
        try:
            descriptor.__delete__(node)
        except AttributeError:
            continue  # was never set
    node._policy_ = type(node)._class_policy_
    type(node).__init__(node, *node._args_, **(node._kwargs_ or {}))
    if node._given_ is not None:
        own, given = node._policy_, node._given_[1]
        node._given_ = own, given
        node._policy_ = own.with_(given)


def come_up(
    node: Node, tree: Tree, context: contextvars.Context | None, *, restarted: bool
) -> None:
    """Make a service whose `on_start` has returned, or that has none, running.

    Its `run` sees what `on_start` has put into *context*; without one, what the caller sees.
    """
    assert RUNNING in MOVES[node._state_]
    cls = type(node)
    now = clock.now()
    node._since_, node._op_, node._state_ = now, None, RUNNING
    if cls._does_more_:
        if context is None and cls._has_later_hooks_:
            keep_context(node, context_of(node, contextvars.copy_context()))
        if cls._has_run_:
            own = contextvars.copy_context() if context is None else context.copy()
            guard.spawn_body(node, own)
    if cls._has_ready_ or (tree.awaits_ready and node._parent_ is None):
        _get_ready(node, tree)
    if tree.observers:
        event = "restarted" if restarted else "started"
        announce(node, event, event)
    if node._supervision_ is not None:
        attend_soon(node)


def _get_ready(node: Node, tree: Tree) -> None:
    """Have `on_ready` run, in greenlets beside everything else, once the root has come up."""
    root = tree.root
    if root._state_ is not RUNNING:
        tree.awaits_ready = True
    elif not tree.awaits_ready:
        guard.spawn_ready(node)
    else:
        tree.awaits_ready = False
        stack = [root]
        while stack:
            each = stack.pop()
            if each._has_ready_ and each._state_ is RUNNING:
                guard.spawn_ready(each)
            stack.extend(reversed((each._children_ or {}).values()))
