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
from typing import TYPE_CHECKING, Final

from gevent import getcurrent

from sprag_supervisor.exceptions import EngineError, StartFailed
from sprag_supervisor.facts.memory import History
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life import guard
from sprag_supervisor.life.beating import begin_to_listen
from sprag_supervisor.life.bugs import interrupt_main
from sprag_supervisor.life.settling import attend_soon
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.life.undoing import undo, undo_by_force
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.room import need_room
from sprag_supervisor.rules.policy import is_grave
from sprag_supervisor.rules.states import DOWN, MOVES, RESTARTING, RUNNING, STARTING
from sprag_supervisor.tree.callables import check_result
from sprag_supervisor.tree.drainers import note
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.tree.node import BEATS, Node
from sprag_supervisor.tree.seat import Seat, context_of, keep_context, seat
from sprag_supervisor.tree.stragglers import warn_of_stragglers

if TYPE_CHECKING:
    from sprag_supervisor.rules.states import State
    from sprag_supervisor.tree.node import Tree


NOTHING_TO_START: Final = Node.on_start
"""The `on_start` of who has none of its own."""


def start(node: Node, restarts: bool = False) -> None:  # noqa: FBT001, FBT002 - see `_bring_up`
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
    before, tree, cls = node._state_, node._tree_, type(node)
    assert tree is not None
    assert STARTING in MOVES[before]
    incarnation = node._incarnation_ + 1
    # Asked each time: a test may have patched the hook in.
    has_first_steps = incarnation > 1 or cls.on_start is not NOTHING_TO_START or cls._prepares_
    if not (has_first_steps or cls._does_more_ or tree.observers):
        # Nothing runs and nobody is told: both moves at once, so that nothing comes in between.
        node._since_, node._incarnation_, node._state_, node._state_ = (
            clock.now(),
            1,
            STARTING,
            RUNNING,
        )
        return
    try:
        if has_first_steps:
            _bring_up(node, tree, incarnation, restarts)
        else:
            need_room()
            node._incarnation_, node._state_ = incarnation, STARTING
            come_up(node, tree, None, restarted=False)
    except BaseException as error:
        _make_good(node, error, incarnation, before, retries=restarts)
        raise


def _make_good(
    node: Node, error: BaseException, incarnation: int, before: State, *, retries: bool
) -> None:
    """Undo what there is of a start that was cut short, if it has not been undone."""
    if node._incarnation_ != incarnation or node._state_ in DOWN:
        return
    if node._state_ is STARTING and node._op_ is None:
        node._incarnation_, node._state_ = incarnation - 1, before  # nothing has been done yet
        return
    # It is still there: what was raised is not its failure, but a bug of sprag, or what a
    # signal handler has raised in the midst of our work.
    undo_by_force(node, error, retries=retries)
    if is_a(error, Exception):
        raise StartFailed(path_of(node), str(EngineError("start"))) from error


def restart(child: Node) -> bool:
    """Try to restart one child; return whether to go on with the next."""
    incarnation, before, tree = child._incarnation_, child._state_, child._tree_
    if before not in DOWN:
        return True  # somebody else has started it
    try:
        if incarnation and tree is not None:
            child._restarts_ += 1
            try:
                _bring_up(child, tree, incarnation + 1, True)  # as `start` does
            except BaseException as error:
                _make_good(child, error, incarnation + 1, before, retries=True)
                raise
        else:
            start(child, True)
    except StartFailed:
        # Either it waits for its next try at the end of the inbox, and those after it
        # wait for it (otp-rules 41), or it was stopped on purpose meanwhile.
        # A failure that ends the parent, or the app, is the last thing that happens here, too.
        history = child._history_
        last = () if history is None else history.failures[-1:]
        ends_more = any(is_grave(failure.action) for failure in last)
        return child._state_ is not RESTARTING and not ends_more
    except KeyboardInterrupt as interrupt:
        interrupt_main(interrupt)
        return False
    history = child._history_
    if history is not None and history.first_start:
        history.first_start = False
    return True


def note_first_start(child: Node) -> History:
    """Remember that *child*, which asks for `retry_start`, is started for the first time."""
    history = child._history_
    if history is None:
        history = child._history_ = History()
    history.first_start = True
    return history


def _bring_up(  # noqa: C901, PLR0912 - what it does is done for each start and restart
    node: Node,
    tree: Tree,
    incarnation: int,
    restarts: bool,  # noqa: FBT001
) -> None:
    """Run the first steps of a life in a greenlet of their own, and wait for them.

    By position, like all that each start and crash calls: with keywords a call costs twice as much.
    """
    if restarts:  # on the stack of an engine greenlet, which is fresh
        context = contextvars.Context()
    else:
        need_room()
        context = contextvars.copy_context()
    starting = _FirstSteps()  # most of it are defaults
    if restarts:
        starting.retries = True
    starting.node = node
    starting.context = context
    starting.parking = parking = Parking()
    starting.began = began = clock.now()
    starting.is_disturbed = False  # as the class says, but found ten times as fast
    node._incarnation_, node._op_, node._state_ = incarnation, starting, STARTING
    history, parent = node._history_, node._parent_
    if history is not None and history.stragglers:
        warn_of_stragglers(node)
    above = None if parent is None or parent._op_ is None else _that_adopts(parent)
    if above is not None:
        above.adopts = True
    try:
        seconds = node._policy_.start_timeout
        until = None if seconds is None else began + seconds
        try:
            tree.pool.enter_and_wait(starting, parking, until)
        except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
            starting.interrupted(interrupt)
        if not starting.done:
            starting.see_through(seconds, until)
        if starting.is_disturbed and (starting.error is not None or starting.aborted is not None):
            undo(starting)
            return
        if len(context) > 1:
            starting.keep_context()
        if (
            node._does_more_
            or tree.observers
            or tree.awaits_ready
            or node._supervision_ is not None
        ):
            come_up(node, tree, context, began, restarted=restarts and incarnation > 1)
        else:
            assert node._state_ is STARTING  # as `come_up` does: sprag may have given it up
            node._since_, node._op_, node._state_ = clock.now(), None, RUNNING
    finally:
        if starting.is_disturbed:
            starting.wake_joiners()
        if above is not None:
            above.has_adopted()
    if starting.is_disturbed and starting.finishes:
        guard.end_cleanly(node, incarnation)


class _FirstSteps(Starting):
    """A start, with what it runs in a pooled greenlet: the service's own code."""

    def body(self) -> None:
        node = self.node
        here = Seat()
        here.node = node
        seat.set(here)
        if node._incarnation_ > 1:
            reset(node)
        if node._prepares_:
            node._prepare_()
        if (result := node.on_start()) is not None:
            check_result("on_start", result)


_attribute: Final = object.__getattribute__
_NO_INIT: Final = Node.__init__


def reset(node: Node) -> None:
    """Bring the object back to its first state: no attributes, ``__init__`` run again.

    The constructor's arguments are the same objects as the first time.
    """
    try:
        attributes = _attribute(node, "__dict__")
    except AttributeError:
        attributes = None  # a class with slots has none
    if attributes:
        attributes.clear()
    cls = type(node)
    for descriptor in cls._user_slots_:
        try:
            descriptor.__delete__(node)
        except AttributeError:
            continue  # was never set
    before, made_with = node._policy_, node._arguments_
    node._policy_ = cls._class_policy_
    try:
        if type(made_with) is not tuple:
            cls.__init__(node, *made_with[0], **made_with[1])
        elif (init := cls.__init__) is not _NO_INIT:
            init(node, *made_with)
        if before.given is not None:
            node._policy_ = node._policy_.overlaid(before.given)
    except BaseException:
        node._policy_ = before  # what it has asked for, and was adopted with, says what follows
        raise


def _that_adopts(parent: Node) -> Starting | None:
    """Return the start of *parent*, if it is its `on_start` that asks."""
    above = parent._op_
    return above if isinstance(above, Starting) and above.runs_in(getcurrent()) else None


def come_up(
    node: Node,
    tree: Tree,
    context: contextvars.Context | None,
    began: float | None = None,
    *,
    restarted: bool,
) -> None:
    """Make a service whose `on_start` has returned, or that has none, running.

    Its `run` sees what `on_start` has put into *context*; without one, what the caller sees.
    """
    assert RUNNING in MOVES[node._state_]
    cls = type(node)
    now = clock.now()
    node._since_, node._op_, node._state_ = now, None, RUNNING
    if more := cls._does_more_:
        if context is None and cls._has_later_hooks_:
            keep_context(node, context_of(node, contextvars.copy_context()))
        if cls.on_drain is not Node.on_drain and node._policy_.shutdown != "brutal_kill":
            note(node, tree)
        if cls._has_run_:
            own = contextvars.copy_context() if context is None else context.copy()
            guard.spawn_body(node, own)
        if more == BEATS:
            begin_to_listen(node)
    if cls._has_ready_ or (tree.awaits_ready and node._parent_ is None):
        _get_ready(node, tree)
    if tree.observers:
        event = "restarted" if restarted else "started"
        announce(node, event, event, None, None, 0.0 if began is None else now - began)
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
