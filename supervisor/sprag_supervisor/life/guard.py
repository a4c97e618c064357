"""The one wrapper around every managed callable.

Nothing a service runs may end in gevent's hub: there it would be printed once more,
and a SystemExit or KeyboardInterrupt would end the program past the supervisor
(gevent-traps 10, 19). So every body runs under `guarded`, which decides once:

- GreenletExit, or whatever else was given to `kill`: somebody killed the greenlet. A quiet end.
- SystemExit: the service asks the app to stop with that code.
- KeyboardInterrupt: it is the program's, not the service's. Handed to the main
  greenlet, which waits in `run()` or in the embedding program (trap 17).
- anything else, a leaked Timeout included (trap 23): the service has crashed.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import Greenlet, GreenletExit

from sprag_supervisor.facts.crash import remember
from sprag_supervisor.facts.failure import as_text
from sprag_supervisor.facts.meaning import meaning_of
from sprag_supervisor.foreign import is_a, traceback_of
from sprag_supervisor.life import quick
from sprag_supervisor.life.bugs import interrupt_main, report_bug
from sprag_supervisor.life.net import engine_error
from sprag_supervisor.life.stopping import end_soon, exit_as_asked, request_exit
from sprag_supervisor.loop.pool import was_thrown_in
from sprag_supervisor.loop.room import has_room
from sprag_supervisor.rules.backoff import ExitApp
from sprag_supervisor.rules.decide import CRASHED, Reason
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.callables import check_asked_result, check_result, run_for_effect
from sprag_supervisor.tree.holdings import holdings_of
from sprag_supervisor.tree.log import listening, say, saying
from sprag_supervisor.tree.seat import Seat, kept_context, seat

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.rules.policy import OnFailure
    from sprag_supervisor.tree.holdings import Holdings
    from sprag_supervisor.tree.node import Node


_EXITS: Final = (GreenletExit, SystemExit, KeyboardInterrupt, BaseExceptionGroup)
"""What may mean something else than a crash."""


def report_crash(
    node: Node,
    incarnation: int,
    step: str,
    error: BaseException,
    stack_is_fresh: bool = False,  # noqa: FBT001, FBT002 - see `bringing_up._bring_up`
    *,
    level: int = logging.ERROR,
) -> None:
    """Act on what left a managed callable of *node*, and log it at *level*. Never raises.

    Does not block, but where the caller's stack is used up it waits for a greenlet with another.
    """
    tree = node._tree_
    try:
        if tree is not None:
            if not stack_is_fresh and tree.thread and not has_room():
                apart = partial(report_crash, node, incarnation, step, error, level=level)
                tree.pool.run_apart(apart)
                return
            hears = tree.hears_crash
            if hears is not None and not hears(node, incarnation, step, error):
                return
        if issubclass(type(error), _EXITS):
            _report_exit(node, incarnation, step, error)
        else:
            _crash(node, incarnation, step, error, level)
    except RecursionError as bug:
        if not has_room():
            raise  # further out there is more
        engine_error(node, step, bug, error, incarnation)
    except BaseException as bug:  # noqa: BLE001 - the crash must not be lost
        engine_error(node, step, bug, error, incarnation)


def await_turn(node: Node) -> None:
    """Let others have their turn before one more end in this turn is acted on, if it lasts long.

    For who calls `report_crash` or `end_cleanly` next, and can wait. Never raises: who kills the
    greenlet meanwhile comes too late, and it has crashed all the same. A service that comes up or
    goes down does not wait: its deadline runs, and nothing is decided by its crash.
    """
    tree = node._tree_
    if tree is not None and tree.thread and node._op_ is None and tree.pool.is_held():
        try:
            tree.pool.gate.wait()
        except BaseException as error:  # noqa: BLE001 - the crash comes first
            if not was_thrown_in(error):
                report_bug(node, "gate", error)


def _report_exit(node: Node, incarnation: int, step: str, error: BaseException) -> None:
    """Act on a kill, a SystemExit, a Ctrl-C, or a group that may mean one of them."""
    meant = meaning_of(error)
    if is_a(meant, GreenletExit):
        return
    if meant is not error:
        say(logging.ERROR, node, "an exit was raised among other exceptions", error, step=step)
    if is_a(meant, SystemExit):
        request_exit(node, meant)
    elif is_a(meant, KeyboardInterrupt):
        interrupt_main(meant)
    else:
        _crash(node, incarnation, step, error)


def _crash(
    node: Node, incarnation: int, step: str, error: BaseException, level: int = logging.ERROR
) -> None:
    """Take down the incarnation that *error* belongs to; a stale one is only logged."""
    if node._incarnation_ != incarnation or node._tree_ is None:
        say(logging.WARNING, node, "late crash of an older incarnation", error, late=incarnation)
        return
    operation = node._op_
    if operation is not None:
        operation.crashed(step, error, level)
    elif node._state_ is RUNNING:
        tell, action, rules = None, None, node._policy_.on_failure
        if rules:
            action = node._policy_.action_for(error)
        if action == "finish":
            tell = saying(logging.INFO, node, "service finished", because=as_text(error), step=step)
        elif listening(level):
            tell = saying(level, node, "service crashed", error, step=step)
        failure = remember(error, incarnation, action)
        if (
            node._op_ is not None
            or node._state_ is not RUNNING
            or node._incarnation_ != incarnation
        ):
            # Code of the exception's own ran, and blocked.
            _crash(node, incarnation, step, error, level)
            return
        if not (rules and _ended_by_rule(node, failure, action)) and not quick.crash(
            node, failure, action
        ):
            end_soon(node, CRASHED, failure)
        if tell is not None:
            tell()
    else:
        say(logging.WARNING, node, "late crash of a service that is down", error)


def _ended_by_rule(node: Node, failure: Failure, action: OnFailure | None) -> bool:
    """End *node* in another way than by a plain crash, if its `on_failure` has one; return whether.

    Also where earlier crashes have been backed off from: the quick way counts no healthy lives.
    """
    if is_a(action, ExitApp):
        exit_as_asked(node, CRASHED, failure, action)
    elif action != "finish" and (node._history_ is None or not node._history_.in_a_row):
        return False
    if node._state_ is RUNNING:  # a root is stopping now
        end_soon(node, Reason.FINISHED if action == "finish" else CRASHED, failure)
    return True


def end_cleanly(node: Node, incarnation: int) -> None:
    """End the incarnation cleanly: its `run` has returned, or it said that it is done."""
    tree = node._tree_
    if node._incarnation_ != incarnation or tree is None or tree.is_copy:
        return
    operation = node._op_
    if operation is not None:
        operation.finished()
    elif node._state_ is RUNNING:
        end_soon(node, Reason.FINISHED)


def is_killers(error: BaseException, given: Any) -> bool:
    """Whether *error* is what was *given* to a `Greenlet.kill`, and so the killer's."""
    thrown: Any = given
    if is_a(given, tuple) and len(triple := cast("tuple[object, ...]", given)) == 3:
        thrown = triple[0] if triple[1] is None else triple[1]
    if is_a(thrown, BaseException):
        return error is thrown
    if is_a(thrown, type):
        return type(error) is thrown
    return thrown is not None and type(error) is BaseException  # what gevent makes of it


class Managed(Greenlet):  # type: ignore[type-arg]
    """A greenlet that belongs to a service, with a context of its own.

    An exception is the service's crash; `get()`, `exception` and links see it as with
    any greenlet, but gevent does not print it a second time.
    """

    # Where it was spawned is told by whose it is. gevent's record of the stack costs more than
    # all the rest of making a greenlet.
    spawning_stack_limit = 0

    _holdings: Holdings | None = None
    _failure: BaseException | None = None

    def __init__(
        self,
        node: Node,
        context: contextvars.Context,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        step: str = "greenlet",
    ) -> None:
        if args or kwargs:
            super().__init__(None, *args, **kwargs)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
        else:
            super().__init__()  # at half the price
        self.gr_context = context
        self._node = node
        self._incarnation = node._incarnation_
        self._fn = fn
        self.step = step
        """What it is to the service: its ``run``, its ``on_ready``, or any ``greenlet``."""
        self._thrown: object = None

    def _run(self, /, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        node, incarnation, step = self._node, self._incarnation, self.step
        is_body = step == "run"
        try:
            here = Seat()
            here.node = node
            seat.set(here)
            try:
                result = self._fn(*args, **kwargs)
                if result is not None:
                    (check_result if is_body else check_asked_result)("a greenlet", result)
            except GreenletExit:
                self._leave()
                del self  # what was raised keeps this frame, and we keep it: a cycle
                if is_body:
                    await_turn(node)
                    end_cleanly(node, incarnation)
                raise
            except BaseException as error:  # noqa: BLE001 - this is where crashes are caught
                self._failure = error
                was_killed = self._thrown is not None and is_killers(error, self._thrown)
                await_turn(node)  # who kills it from now on, has not ended it
                self._leave()
                del self
                if not was_killed:
                    report_crash(node, incarnation, step, error, True)
                if is_body and (was_killed or is_a(meaning_of(error), GreenletExit)):
                    end_cleanly(node, incarnation)
                return None
            self._leave()
            if is_body:
                await_turn(node)
                end_cleanly(node, incarnation)
            return result
        except GreenletExit:
            raise
        except BaseException as bug:  # noqa: BLE001 - gevent would only print it
            engine_error(node, step, bug, incarnation=incarnation)
            return None

    def _leave(self) -> None:
        holdings = self._holdings
        if holdings is not None:
            if holdings.greenlets is not None:
                holdings.greenlets.pop(id(self), None)
                if holdings.awaited_by is not None:
                    holdings.awaited_by.poke()
            self._holdings = None

    def _maybe_kill_before_start(self, exception: Any) -> bool:
        # gevent's own step of every kill; one that has not begun never gets as far as `_run`.
        self._thrown = exception
        killed = bool(super()._maybe_kill_before_start(exception))  # type: ignore[misc]
        if killed:
            self._leave()
        return killed

    # gevent knows of no exception, since `_run` has caught it; but it does when an
    # exception of the caller's was given to `kill` before the greenlet had begun.

    def successful(self) -> bool:
        """Whether it ended without an exception; a kill counts as success, as in gevent."""
        return self._failure is None and bool(super().successful())

    @property
    def exception(self) -> BaseException | None:
        """What ended it, or None."""
        return super().exception if self._failure is None else self._failure

    @property
    def exc_info(self) -> Any:
        """The exception as a triple; empty without one."""
        error = self._failure
        return super().exc_info if error is None else (type(error), error, traceback_of(error))

    def _raise_exception(self) -> None:
        if self._failure is not None:
            raise self._failure
        super()._raise_exception()  # type: ignore[misc]


def spawn_managed(
    node: Node,
    context: contextvars.Context,
    fn: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Managed:
    """Start an owned greenlet; the caller has checked that the node is active."""
    if "run" in kwargs:  # a parameter of Greenlet's own
        fn, kwargs = partial(fn, **kwargs), {}
    greenlet = Managed(node, context, fn, args, kwargs)
    start_managed(node, greenlet)
    return greenlet


def spawn_body(node: Any, context: contextvars.Context) -> None:
    """Start the greenlet of a service's `run`; not every service has one."""
    start_managed(node, Managed(node, context, _run, (node,), {}, step="run"))


def _run(node: Any) -> object:
    return node.run()  # looked up here: what a user's class makes of that is the service's crash


def spawn_ready(node: Node) -> None:
    """Have `on_ready` run in a greenlet of the service, which has come up."""
    context = kept_context(node).copy()  # it may still run when other hooks do
    start_managed(node, Managed(node, context, _ready, (node,), {}, step="on_ready"))


def _ready(node: Node) -> None:
    tree = node._tree_
    if node._state_ is RUNNING and tree is not None and tree.root._state_ is RUNNING:
        # Else a stop was faster.
        run_for_effect("on_ready", node.on_ready)


def start_managed(node: Node, greenlet: Managed) -> None:
    """Start a greenlet, which *node* owns until it ends; the caller has checked that it may."""
    holdings = greenlet._holdings = holdings_of(node)
    if holdings.greenlets is None:
        holdings.greenlets = {}
    holdings.greenlets[id(greenlet)] = greenlet
    greenlet.start()
