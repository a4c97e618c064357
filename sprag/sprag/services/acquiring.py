"""What a running service acquires, its own until its life ends; and what it emits."""

from __future__ import annotations

import contextvars
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sprag.owned import lifecycle
from sprag.owned.bus import PREFIX, Listener, name_of_event
from sprag.owned.timers import TimerHandle
from sprag.owned.watches import Watch
from sprag_supervisor import (
    ACTIVE,
    LEAST,
    NEVER_RUNS,
    Node,
    Seat,
    Seconds,
    adopt,
    as_number,
    called,
    check_callable,
    get_ident,
    hold,
    holdings_of,
    is_a,
    is_within,
    left_behind,
    may_acquire,
    must_be_at_home,
    not_active,
    refuse,
    seat,
    seconds_of,
    spawn_managed,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent import Greenlet

    from sprag.owned.bus import EventBus
    from sprag_supervisor import Exit

NodeT = TypeVar("NodeT", bound=Node)
_EXACT: Final = 2**53
"""Whole numbers below are floats without loss."""


def may_hold(service: Node, action: str) -> None:
    """Refuse *action* unless *service* starts, runs or drains, in this thread."""
    tree = service._tree_
    if tree is not None and tree.thread != get_ident():
        refuse(service, tree)
    if (service._state_ not in ACTIVE or left_behind) and not may_acquire(service):
        raise not_active(service, action)


def context_for(service: Node) -> contextvars.Context:
    """Return a copy of the caller's context, in which *service* is the current one."""
    context = contextvars.copy_context()
    here = Seat()
    here.node = service
    context.run(seat.set, here)
    return context


def delay_of(given: Any, least: float) -> float:
    """Do the same as `seconds_of`, at once where there is nothing to do: for timers."""
    if (type(given) is float or type(given) is int) and least <= given < _EXACT:
        return given
    return seconds_of("seconds", given, least)


def check(fn: Callable[..., object]) -> None:
    """Refuse what cannot be called, or would never run; a plain function, at once, is neither."""
    given: Any = fn
    function: object = given.__func__ if type(given) is MethodType else given
    if type(function) is not FunctionType or function.__code__.co_flags & NEVER_RUNS:
        check_callable("fn", fn)


class Acquiring(Node):
    """The part of a service that has timers, greenlets, listeners, children, clean-ups."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

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
            seconds: Between the due times; a millisecond at least.
            *args: Passed to *fn*.
            immediate: Whether the first call is due now instead of in *seconds*.
            jitter: Fraction of *seconds*, 0 to 1, by which each call may come later.

        Returns:
            A handle with ``cancel()``, ``ticks``, ``missed`` and ``active``.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: An argument is out of range.
        """
        check(fn)
        period = delay_of(seconds, LEAST)
        fraction = jitter if type(jitter) is float else as_number(jitter)
        if not 0 <= fraction <= 1:
            raise BadValue("jitter", jitter, "a fraction, 0 to 1")
        first = 0.0 if immediate else period
        return self._timer_(fn, args, first=first, period=period, jitter=fraction)

    def timeout(self, fn: Callable[..., object], seconds: Seconds, *args: Any) -> TimerHandle:
        """Call ``fn(*args)`` once, in *seconds* from now, in a greenlet.

        Args:
            fn: May block. An exception is the service's crash.
            seconds: From now; 0: as soon as the loop is reached.
            *args: Passed to *fn*.

        Returns:
            A handle with ``cancel()`` and ``active``.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: An argument is out of range.
        """
        check(fn)
        first = delay_of(seconds, 0.0)
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
        may_hold(self, "start a timer")
        context = context_for(self)
        return TimerHandle(self, context, fn, args, first=first, period=period, jitter=jitter)

    def spawn(self, fn: Callable[..., object], /, *args: Any, **kwargs: Any) -> Greenlet[..., Any]:
        """Run ``fn(*args, **kwargs)`` in a greenlet that ends with the service.

        An exception in it is the service's crash; ``get()`` raises it too. Killing the
        greenlet yourself is a quiet end.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        check(fn)
        may_hold(self, "spawn a greenlet")
        return spawn_managed(self, contextvars.copy_context(), fn, args, kwargs)

    def listen(self, event: str, fn: Callable[[Any], object]) -> Listener:
        """Call ``fn(data)`` for every *event* emitted in this tree, until the service ends.

        It runs in the emitter's greenlet and holds the emitter as long as it blocks.
        Listeners are called in the order of subscription. An exception is this service's
        crash, not the emitter's, and the listener hears no more.

        What happens to the services of the tree can be listened to as well, under
        ``sprag:started``, ``sprag:ready``, ``sprag:unready``, ``sprag:crashed``,
        ``sprag:restarted``, ``sprag:stopped``, ``sprag:finished``, ``sprag:gave_up`` and
        ``sprag:moved``. *fn* is called with a frozen `Lifecycle`, a moment after the fact, in a
        greenlet that belongs to this service: each listener hears of everything in order, and one
        that blocks holds up nobody but itself. 10,000 events wait for it; of more it misses the
        oldest, with a warning in the log.

        Returns:
            A handle with ``cancel()``, ``active`` and, of these, ``missed``.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: *fn* is not callable, or is an `async def` or a generator function; *event*
                is no str, or there is no such ``sprag:`` event.
        """
        check(fn)
        if type(event) is not str:
            event = name_of_event(event)
        tree = self._tree_
        if tree is None or tree.thread != get_ident() or self._state_ not in ACTIVE or left_behind:
            may_hold(self, "listen")
        assert tree is not None
        listener: Listener
        if event.startswith(PREFIX):
            context = context_for(self)
            listener = lifecycle.listen(tree, tree.bus, event, fn, node=self, context=context)
        else:
            listener = tree.bus.subscribe(event, fn, self)
        try:
            node: Node = self
            if node._holdings_ is None:  # most services hold one listener, and nothing else
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
        bus: EventBus = tree.bus
        try:
            found = bus.topics.get(event)
        except TypeError:
            found = None  # has no hash, and is no text: refused below
        if type(found) is Listener:
            return found.hear(data)
        return bus.publish(event, data) or bus.unheard(self, event)

    def broadcast(self, event: str, data: Any = None) -> None:
        """Have every listener of *event* hear it, in all workers of the app, mine too.

        Does not wait, not even for those in this tree: each service hears of what is broadcast a
        moment later, in order, in a greenlet of its own; an exception is its crash. At most once:
        1,000 broadcasts wait for a service, 10,000 to be sent, and of more some are lost, which is
        counted and logged. Works in every state, as `emit` does.

        Args:
            event: As for `emit`; it is listened to by `listen`.
            data: What JSON can hold: None, True, False, finite numbers, texts, lists and dicts of
                these with texts as keys; a tuple arrives as a list. 60,000 bytes at most. Each
                listener is called with a copy of its own.

        Raises:
            NotRunning: I have no place in a tree: I was never started, or have left.
            BadValue: *event* is no str, or begins with ``sprag:``; or *data* is something else.
        """
        from sprag.cluster.member import member_of  # who says nothing to all loads nothing
        from sprag.cluster.plain_data import as_json

        name, text = name_of_event(event), as_json(data)
        if name.startswith(PREFIX):
            raise BadValue("event", name, f"another name: {PREFIX}… is told by sprag alone")
        tree = self._tree_
        if tree is None:
            raise not_active(self, "broadcast")
        if tree.thread != get_ident():
            refuse(self, tree)
        member_of(tree).broadcast(name, text)

    def adopt(self, child: NodeT | type[NodeT], *, name: str | None = None, **policy: Any) -> NodeT:
        """Make *child* my child and start it; return it when it has started.

        Blocks as long as the child's `on_start` does, and while another change of my
        children is in progress.

        Args:
            child: A service that has no place in a tree, or a class, which is called without
                arguments.
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
            BadValue: *child* is no service, and no class that makes one without arguments.
            WouldDeadlock: I wait for the very hook that makes this call.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        return cast("NodeT", adopt(self, cast("Node", child), name, policy))

    def watch(self, other: Node, fn: Callable[[Exit], object]) -> Watch:
        """Call ``fn(exit)`` once for each life of *other* that ends, restarted or not.

        OTP's monitor, which outlives the life it was made for. If *other* is down, *fn* is told of
        its last life at once, if it has had one. A restart that fails is a life, too. The calls
        come in the order of the ends, a moment after the fact, one at a time, in a greenlet of
        mine; an exception is my crash, not that of *other*. It ends with me, or when *other* has
        left its tree for good, as temporary services do.

        Args:
            other: Any service of this thread, in this tree or another, also one that is yet to be
                started; not myself, nor one above me: these end after me.
            fn: Is given an `Exit`: ``reason``, ``incarnation``, ``failure``, ``is_clean``. While
                it blocks, 100 ends wait; of more it misses the oldest.

        Returns:
            A handle with ``cancel()``, ``active`` and ``missed``.

        Raises:
            NotRunning: I am neither starting nor running.
            WrongThread, AfterFork: *other*, or I, live elsewhere.
            BadValue: *other* is no service that can end before me, or *fn* is not callable, or is
                an `async def` or a generator function.
        """
        if not is_a(other, Node):
            raise BadValue("other", other, f"a service{called(other)}")
        if is_within(self, other):
            raise BadValue("other", other, "a service that can end before I do: not me, nor above")
        check(fn)
        may_hold(self, "watch a service")
        must_be_at_home(other)
        return Watch(self, other, context_for(self), fn)

    def add_cleanup(self, fn: Callable[..., object], /, *args: Any, **kwargs: Any) -> None:
        """Call ``fn(*args, **kwargs)`` when the service has ended, whatever the reason.

        Clean-ups run last, in reverse order of registration; a failing one does not keep
        the others from running.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        check(fn)
        may_hold(self, "add a clean-up")
        holdings_of(self).add_cleanup(fn, args, kwargs)
