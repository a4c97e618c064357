"""The Service: what users write."""

from __future__ import annotations

import contextvars
import math
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, cast, overload

from sprag.owned import lifecycle, threads
from sprag.owned.bus import PREFIX, EventBus, Listener, name_of_event, runs_within
from sprag.owned.log import bound_logger
from sprag.owned.timers import TimerHandle
from sprag.services import stopping
from sprag.services.finding import found_by
from sprag.services.kinds import of_kind
from sprag_supervisor import (
    ACTIVE,
    NEVER_RUNS,
    Exit,
    Lack,
    Node,
    Seat,
    Seconds,
    Snapshot,
    StopReport,
    Tree,
    adopt,
    as_number,
    check_callable,
    current_node,
    get_ident,
    hold,
    holdings_of,
    in_seconds,
    is_a,
    left_behind,
    may_acquire,
    must_be_able_to_wait,
    must_be_at_home,
    not_active,
    not_ready,
    path_of,
    refuse,
    report_crash,
    seat,
    set_ready,
    set_status,
    snapshot,
    spawn_managed,
    start_again,
    start_root,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gevent import Greenlet
    from structlog.stdlib import BoundLogger

ServiceT = TypeVar("ServiceT", bound="Service")
KindT = TypeVar("KindT")
_SHORTEST: Final = 1e-9
_EXACT: Final = 2**53
"""Whole numbers below are floats without loss."""


def current_service() -> Service | None:
    """Return the service whose code is running, or None outside of any.

    Hooks, timer calls, listeners and owned greenlets see their service; context
    variables carry it into them.
    """
    return cast("Service | None", current_node())


def _seconds(given: Any) -> float:
    """Do the same as `in_seconds`, at once where there is nothing to do."""
    if type(given) is float or (type(given) is int and given < _EXACT):
        return given
    return in_seconds(given)


def _check(fn: Callable[..., object]) -> None:
    """Refuse what cannot be called, or would never run; a plain function, at once, is neither."""
    given: Any = fn
    function: object = given.__func__ if type(given) is MethodType else given
    if type(function) is not FunctionType or function.__code__.co_flags & NEVER_RUNS:
        check_callable("fn", fn)


class _Log:
    """`Service.log`, made when asked for; a user's own attribute of that name wins."""

    def __get__(self, service: Service | None, _owner: type) -> BoundLogger:
        if service is None:
            return cast("BoundLogger", self)  # for documentation tools
        return bound_logger(path_of(service), service._incarnation_)


class Service(Node):
    """A long-lived object with a managed life: subclass it and define hooks.

    Policy is given as class keywords (``class Feed(Service, restart="transient")``);
    a wrong one raises BadPolicy when the class is made:

    - ``restart``: what my parent does when I end: ``"permanent"`` (default) restarts
      me always, ``"transient"`` only after a failure, ``"temporary"`` never.
    - ``shutdown``: seconds that my own stop steps may take (5.0), ``"brutal_kill"`` to
      skip `on_drain` and `on_stop`, ``"infinity"`` for no limit.
    - ``start_timeout``: seconds that `on_start` may take, None (default) for no limit.
    - ``backoff``: a `Backoff` for the delay before my restarts, None (default) for none.
    - ``significant``: my end may end my parent, see ``auto_shutdown``.
    - ``strategy``: whom I restart when one of my children fails: ``"one_for_one"``
      (default) the child, ``"one_for_all"`` all, ``"rest_for_one"`` it and those after it.
    - ``max_restarts``, ``max_seconds``: with more than 3 restarts within 5.0 seconds I
      give up, which is a failure my own parent sees.
    - ``auto_shutdown``: ``"never"`` (default), ``"any_significant"`` or
      ``"all_significant"``: I end cleanly when my significant children end by themselves.

    - ``on_failure``: what an exception means, by its class: ``{ConfigError: "escalate",
      Conflict: "stop", OSError: "restart"}``. ``"restart"`` restarts me even if I am
      transient or temporary, ``"stop"`` never, ``"escalate"`` makes my parent give up at
      once. The nearest class in the exception's ancestry decides; without one, ``restart``
      does. It applies to crashes and to restarts that fail.
    - ``needs``: names of siblings adopted before me that I depend on: under a
      ``"rest_for_one"`` parent I am restarted with those only; None (default): with any.

    A restarted service is the same object in its first state: all it held is released,
    its attributes are dropped, and ``__init__`` runs again with the same arguments.
    ``super().__init__()`` need not be called.

    Define ``run(self)`` for a body that runs as long as the service does, in a greenlet
    of its own after `on_start`: returning means finished, raising means crashed.
    """

    __slots__ = ()

    _keeps_slots_ = True
    _exit_seconds_: ClassVar[float | None] = None
    """How long a stop at the end of a ``with`` block may take."""

    def __init__(self) -> None:
        """Take no arguments; subclasses take what they like."""

    # -- what a running service acquires -------------------------------------------

    def interval(
        self,
        fn: Callable[..., object],
        seconds: Seconds,
        *args: Any,
        immediate: bool = False,
        jitter: float = 0.0,
    ) -> TimerHandle:
        """Call ``fn(*args)`` every *seconds*, in a greenlet, until the service ends.

        The rate is fixed, on a monotonic clock, without drift. There are never two calls
        of it at once: due times that pass meanwhile become one call, made at once, and
        are counted in the handle's ``missed``.

        Args:
            fn: May block. An exception is the service's crash.
            seconds: Between the due times; above 0, a nanosecond at least.
            *args: Passed to *fn*.
            immediate: Whether the first call is due now instead of in *seconds*.
            jitter: Fraction of *seconds*, 0 to 1, by which each call may come later.

        Returns:
            A handle with ``cancel()``, ``ticks``, ``missed`` and ``active``.

        Raises:
            NotRunning: The service is neither starting nor running.
            BadValue: An argument is out of range.
        """
        _check(fn)
        period = _seconds(seconds)
        if not _SHORTEST <= period < math.inf:
            accepted = "a finite number above 0"
            if period > 0:
                accepted += f", a nanosecond ({_SHORTEST:g}) at least"
            raise BadValue("seconds", seconds, accepted)
        fraction = jitter if type(jitter) is float else as_number(jitter)
        if not 0 <= fraction <= 1:
            raise BadValue("jitter", jitter, "a fraction, 0 to 1")
        first = 0.0 if immediate else period
        return self._timer_(fn, args, first=first, period=period, jitter=fraction)

    def timeout(self, fn: Callable[..., object], seconds: Seconds, *args: Any) -> TimerHandle:
        """Call ``fn(*args)`` once, in *seconds* from now, in a greenlet.

        Args:
            fn: May block. An exception is the service's crash.
            seconds: From now; 0 or more.
            *args: Passed to *fn*.

        Returns:
            A handle with ``cancel()`` and ``active``.

        Raises:
            NotRunning: The service is neither starting nor running.
            BadValue: An argument is out of range.
        """
        _check(fn)
        first = _seconds(seconds)
        if not 0 <= first < math.inf:
            raise BadValue("seconds", seconds, "a finite number, 0 or more")
        return self._timer_(fn, args, first=first, period=None)

    def _timer_(
        self,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        *,
        first: float,
        period: float | None,
        jitter: float = 0.0,
    ) -> TimerHandle:
        self._may_hold_("start a timer")
        context = self._context_()
        return TimerHandle(self, context, fn, args, first=first, period=period, jitter=jitter)

    def spawn(self, fn: Callable[..., object], /, *args: Any, **kwargs: Any) -> Greenlet[..., Any]:
        """Run ``fn(*args, **kwargs)`` in a greenlet that ends with the service.

        An exception in it is the service's crash; ``get()`` raises it too. Killing the
        greenlet yourself is a quiet end.

        Raises:
            NotRunning: The service is neither starting nor running.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        _check(fn)
        self._may_hold_("spawn a greenlet")
        return spawn_managed(self, contextvars.copy_context(), fn, args, kwargs)

    def listen(self, event: str, fn: Callable[[Any], object]) -> Listener:
        """Call ``fn(data)`` for every *event* emitted in this tree, until the service ends.

        It runs in the emitter's greenlet and holds the emitter as long as it blocks.
        Listeners are called in the order of subscription. An exception is this service's
        crash, not the emitter's, and the listener hears no more.

        What happens to the services of the tree can be listened to as well, under
        ``sprag:started``, ``sprag:ready``, ``sprag:unready``, ``sprag:crashed``,
        ``sprag:restarted``, ``sprag:stopped``, ``sprag:finished`` and ``sprag:gave_up``. *fn* is
        called with a frozen `Lifecycle`, a moment after the fact, in a greenlet that belongs to
        this service: each listener hears of everything in order, and one that blocks holds up
        nobody but itself. 10,000 events wait for it; of more it misses the oldest, with a warning
        in the log.

        Returns:
            A handle with ``cancel()``, ``active`` and, of these, ``missed``.

        Raises:
            NotRunning: The service is neither starting nor running.
            BadValue: *fn* is not callable, or is an `async def` or a generator function; *event*
                is no str, or there is no such ``sprag:`` event.
        """
        _check(fn)
        if type(event) is not str:
            event = name_of_event(event)
        tree = self._tree_
        if tree is None or tree.thread != get_ident() or self._state_ not in ACTIVE or left_behind:
            self._may_hold_("listen")
        assert tree is not None
        listener: Listener
        if event.startswith(PREFIX):
            context = self._context_()
            listener = lifecycle.listen(tree, tree.bus, event, fn, node=self, context=context)
        else:
            listener = tree.bus.subscribe(event, fn, self)
        try:
            node: Node = self
            if node._holdings_ is None:  # as `hold` does; most services hold one listener
                node._holdings_ = listener
            else:
                hold(node, listener)
        except BaseException:
            listener.cancel()
            raise
        return listener

    def emit(self, event: str, data: Any = None) -> int:
        """Call every listener of *event* in this tree, in this greenlet, and return then.

        Works in every state, as long as the service has its place in the tree. An exception
        of a listener is its own service's crash. What was thrown into this greenlet while a
        listener waited is raised here: a kill, a Timeout that is still open. Of any other
        exception that was thrown in (``kill(error)``, a Timeout that has its own exception, a
        socket's timeout) nobody can tell whose it is: it is raised here, too, and the
        listener's service crashes.

        Args:
            event: Any name that does not begin with ``sprag:``; a member of a str Enum is one.
            data: What the listeners are called with.

        Returns:
            How many listeners heard it. That nobody did is logged at debug level.

        Raises:
            NotRunning: The service has no place in a tree: it was never started, or has left.
            BadValue: *event* is no str, or begins with ``sprag:``.
        """
        tree = self._tree_
        if tree is None:
            raise not_active(self, "emit")
        if tree.thread != get_ident():
            refuse(self, tree)
        heard: int = tree.bus.publish(event, data) or tree.bus.unheard(self, event)
        return heard

    def adopt(self, child: ServiceT, *, name: str | None = None, **policy: Any) -> ServiceT:
        """Make *child* my child and start it; return it when it has started.

        Blocks as long as the child's `on_start` does, and while another change of my
        children is in progress.

        Args:
            child: A service that has no place in a tree.
            name: Unique among my children. Default: the child's attribute ``name`` if it
                has one, else its class's name, then ``Name-2``, ``Name-3``, …
            **policy: Keywords that win over the class's, and survive restarts.

        Raises:
            StartFailed: The child or something below it could not be started; it names
                the innermost service that failed. The child is not mine then.
            NotRunning: I am neither starting nor running.
            AlreadyAdopted: The child has a place in a tree already.
            AlreadyStarted: *name* belongs to a running child.
            AlreadyPresent: *name* belongs to a child that does not run.
            BadPolicy: A policy keyword is unknown or wrong.
            WouldDeadlock: I wait for the very hook that makes this call.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        adopt(self, child, name, policy)
        return child

    def add_cleanup(self, fn: Callable[..., object], /, *args: Any, **kwargs: Any) -> None:
        """Call ``fn(*args, **kwargs)`` when the service has ended, whatever the reason.

        Clean-ups run last, in reverse order of registration; a failing one does not keep
        the others from running.

        Raises:
            NotRunning: The service is neither starting nor running.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        _check(fn)
        self._may_hold_("add a clean-up")
        holdings_of(self).add_cleanup(fn, args, kwargs)

    @overload
    def service(self, name: str) -> Any: ...
    @overload
    def service(self, name: str, kind: type[KindT]) -> KindT: ...
    def service(self, name: str, kind: type[Any] | None = None) -> Any:
        """Return a provider of this tree by its name, or a service by its path.

        Args:
            name: A key of the app's providers, or names from the root's children
                downwards, joined by slashes: ``"fleet/courier"``; with the root's own name
                in front as well, as in logs. The command line finds the same.
            kind: The class that it must be of; a type checker knows then what is returned.

        Raises:
            NotRunning: The service has never been part of a tree.
            UnknownService: There is none. The providers are listed.
            WrongKind: There is one, of another class.
            BadValue: *name* is no text, or *kind* no class.
        """
        return of_kind(kind, name, found_by(self, name))

    def call_from_thread(self, fn: Callable[..., object], *args: Any) -> None:
        """Run ``fn(*args)`` in a greenlet of the service; callable from any native thread.

        The way in for callbacks that come in a thread of somebody else's: every other method
        raises `WrongThread` there. Does not wait, and returns nothing; *fn* may use the
        service as its own code does, and an exception in it is the service's crash. Calls of
        one thread begin in their order. If the service does not run when its turn comes,
        the call is dropped, with a warning in the log.

        Raises:
            NotRunning: The service has never been part of a tree.
            AfterFork: The service runs in the process that this one was forked from.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        _check(fn)
        threads.call(self, fn, args)

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service: as the root of a tree, or again below its parent.

        Blocks until `on_start` has returned, and before that until a stop is over that is
        pending or in progress. A service that ran before comes back in its first state.

        Raises:
            StartFailed: It, or something it adopts, could not be started.
            AlreadyStarted: It runs, or is about to; or it is stopping, and the caller would end
                with it, or is what the stop waits for.
            ChildRestarting: Its parent is restarting it already.
            NotRunning: Its parent does not run, or it is a provider whose turn comes later.
            WouldDeadlock: Its parent waits for the very hook that makes this call.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        must_be_able_to_wait(self, "start it")
        if self._parent_ is None:
            start_root(self)
        else:
            start_again(self)

    def stop(self, timeout: Seconds | None = None) -> StopReport:
        """Stop the service and everything below it, on purpose: nobody restarts it.

        Children stop before their parents, the latest first. Blocks until all are down or
        what would not die is named. Stopping something that does not run does nothing.
        Several stops at once join one stop. From inside the service or its subtree the
        stop is carried out after the caller has returned to the loop, and this returns a
        report that `is_pending` at once: also from a listener, if what waits in this greenlet
        for its listeners would end. So it does in the hub, where nothing can wait, and where
        the stop itself waits for the caller: two services that stop each other in their
        `on_stop`.

        Args:
            timeout: Seconds for the whole subtree, after which everything left is killed;
                None leaves it at each service's own ``shutdown``.

        Returns:
            What was clean, killed, and left behind.

        Raises:
            BadValue: *timeout* is negative, or no time.
        """
        return stopping.stop(self, timeout)

    def __enter__(self) -> Self:
        """Start, and stop at the end of the block."""
        Service.start(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tree_ is None or not self._tree_.is_copy:  # else a forked child leaves the block
            Service.stop(self, self._exit_seconds_)

    def finish(self) -> None:
        """End cleanly by yourself: "I am done", OTP's normal exit.

        The restart type applies: a permanent service comes back, a transient one stays
        finished, a temporary one leaves the tree. Does not block; from inside the service,
        and from the hub, it is carried out after the caller has returned to the loop.

        Raises:
            NotRunning: The service is neither starting nor running.
        """
        stopping.finish(self)

    def wait(self, timeout: Seconds | None = None) -> Exit | None:
        """Wait until the service has ended for good: stopped, finished or failed.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Returns:
            How it ended, or None when it has not within *timeout*.

        Raises:
            NotRunning: It was never started.
            BadValue: *timeout* is no time.
            CalledInHub: It has not ended, *timeout* is not 0, and the caller is a callback of
                the loop or a signal handler in the hub.
        """
        return stopping.wait(self, timeout)

    def snapshot(self, pause: Callable[[], object] | None = None) -> Snapshot:
        """Return a frozen picture of this service and everything below it, at any time.

        Nothing else runs meanwhile, for some 3 microseconds a service.

        Args:
            pause: Called after every 50 services; ``gevent.sleep`` lets others run. The
                picture is then of a tree that may change while it is taken.
        """
        must_be_at_home(self)
        return snapshot(self, pause)

    def set_ready(self, ready: bool = True, reason: str = "") -> None:  # noqa: FBT001, FBT002
        """Say whether others may count on me; until I say otherwise they may.

        Started and ready are two things: I have started when `on_start` has returned, and that is
        all that my parent and my siblings wait for. ``set_ready(False, "warming up")`` in
        `on_start` lets me start and not be ready: then `not_ready`, ``sprag wait``, ``/readyz``
        and systemd wait for ``set_ready()``. If it has not come within my ``start_timeout``,
        counted from the start, I crash with a StartTimeout. Later ``set_ready(False)`` changes
        nothing but what is told. The next life begins ready. Does not block.

        Args:
            ready: Whether they may.
            reason: Why not, for people; of a long one the first 200 characters.

        Raises:
            NotRunning: I am neither starting nor running.
            BadValue: *ready* is not True or False, *reason* is no str, or a reason is given for
                being ready.
        """
        if type(ready) is not bool:
            raise BadValue("ready", ready, "True or False; the reason comes second")
        if not is_a(reason, str) or (ready and reason):
            raise BadValue("reason", reason, "a str, which says why it is not ready")
        self._may_hold_("say whether it is ready")
        set_ready(self, ready=ready, reason=str.__str__(reason))

    def set_status(self, text: str) -> None:
        """Say what I am at, ``"3 of 10 files"``, for those who look at the tree.

        It stands beside the state in ``sprag tree`` and ``sprag status``, and goes with this life.
        Does not block.

        Args:
            text: Of a long one the first 200 characters; "" says nothing any more.

        Raises:
            NotRunning: I am neither starting nor running.
            BadValue: *text* is no str.
        """
        if not is_a(text, str):
            raise BadValue("text", text, "a str")
        self._may_hold_("say what it is at")
        set_status(self, str.__str__(text))

    def not_ready(self) -> dict[str, Lack]:
        """Return what here and below is not ready but should be: its path, state and reason.

        Empty when all is well. Stopped on purpose, ignored and finished are well; new,
        starting, restarting, stopping and failed are not, nor is what runs and says so
        (`set_ready`).
        """
        must_be_at_home(self)
        return dict(not_ready(self))

    log = _Log()
    """A structlog logger bound to the service's path and incarnation.

    It writes to stdlib logging under ``sprag.service``, which `sprag run` configures. Where
    nobody has, warnings and errors go to stderr, as from any library.
    """

    def __repr__(self) -> str:
        state = self._state_.value
        return f"<{type(self).__name__} {path_of(self)!r} {state} #{self._incarnation_}>"

    # -- for the engine ------------------------------------------------------------------

    def _found_(self, tree: Tree) -> None:
        tree.bus = EventBus()

    def _ends_with_caller_(self) -> bool:
        return runs_within(self)

    def _greenlet_raised_(self, incarnation: int, step: str, error: BaseException) -> None:
        """Act on what a bare greenlet or a thread raised that was born inside the service."""
        report_crash(self, incarnation, step, error)

    def _may_hold_(self, action: str) -> None:
        tree = self._tree_
        if tree is not None and tree.thread != get_ident():
            refuse(self, tree)
        if self._state_ not in ACTIVE or (left_behind and not may_acquire(self)):
            raise not_active(self, action)

    def _context_(self) -> contextvars.Context:
        context = contextvars.copy_context()
        here = Seat()
        here.node = self
        context.run(seat.set, here)
        return context
