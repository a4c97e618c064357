"""Tasks: work of a service that somebody waits for.

A `Task` is the result that is to come; who makes it is another thing (`running`, a pool of
workers). What the work raises is for who asks, and never a crash, so nobody may ever hear of it: a
failed task that is dropped before anybody has asked, or that nobody has asked for when its service
ends, is logged.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from gevent import getcurrent

from sprag.exceptions import TaskCancelled, TaskTimeout
from sprag_supervisor import (
    Parking,
    clock,
    get_ident,
    holdings_of,
    must_be_able_to_wait,
    must_be_at_home,
    path_of,
    say,
    seconds_of,
)
from sprag_supervisor.exceptions import WouldDeadlock

if TYPE_CHECKING:
    from types import TracebackType

    from greenlet import greenlet

    from sprag_supervisor import Node, Seconds

T = TypeVar("T")


class Maker(Protocol):
    """Who makes the result of a task."""

    def call_off(self) -> bool:
        """See to it that it comes to nothing; False: it is too late for that."""
        ...

    def runs_in(self, greenlet: greenlet) -> bool:
        """Whether *greenlet* is the one that makes it."""
        ...


class Task(Generic[T]):
    """A result that is to come, or has."""

    __slots__ = (
        "__weakref__",
        "_error",
        "_is_asked",
        "_is_done",
        "_maker",
        "_node",
        "_parkings",
        "_place",
        "_result",
        "_what",
        "_why",
    )

    def __init__(self, node: Node, what: str) -> None:
        self._node = node
        self._what = what
        self._maker: Maker | None = None
        """None once it is done."""
        self._is_done = False
        self._is_asked = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._place: TracebackType | None = None
        self._why: str | None = None
        self._parkings: list[Parking] | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result, or a reason why there is none."""
        return self._is_done

    def get(self, timeout: Seconds | None = None) -> T:
        """Return the result, or raise what the work has raised; wait for it if need be.

        May be asked any number of times, and from anywhere once it is done. What the work has
        raised is for who asks: it is no crash of the service that has done it.

        Args:
            timeout: Seconds to wait; 0: not at all. None waits as long as it takes.

        Raises:
            TaskTimeout: It is not done within *timeout*; it goes on. Or it was one of `map`'s, and
                took longer than the ``item_timeout``.
            TaskCancelled: It was cancelled, or has ended with its service.
            BadValue: *timeout* is no time.
            CalledInHub: It is not done, and the caller is a callback of the loop or a signal
                handler in the hub.
            WouldDeadlock: The caller is the work itself.
        """
        within = None
        if timeout is not None:
            within = seconds_of("timeout", timeout, 0.0, endless=True, also=", or None")
        if not self._is_done and within != 0:
            self._wait(within)
        if not self._is_done:
            assert within is not None
            raise TaskTimeout(path_of(self._node), self._what, within)
        self._is_asked = True
        if self._why is not None:
            raise TaskCancelled(path_of(self._node), self._what, self._why)
        error, place = self._error, self._place
        if error is None:
            result: T = self._result
            return result
        try:
            raise BaseException.with_traceback(error, place)
        finally:
            del self, error, place  # else they and the traceback were a cycle

    def cancel(self) -> bool:
        """See to it that it comes to nothing: it does not begin, or is killed where it waits.

        Does not block. `get` raises TaskCancelled from now on. Harmless where it is done: then
        nobody is interested in the result any more, and a failure is not logged.

        Returns:
            Whether it was not too late. An item of a pool that a worker has begun with is not
            cancelled.
        """
        if self._is_done:
            self._is_asked = True
            return False
        must_be_at_home(self._node)
        return self._maker is not None and self._maker.call_off()

    def __repr__(self) -> str:
        state = "under way"
        if self._is_done:
            state = "done"
            if self._why is not None:
                state = "cancelled"
            elif self._error is not None:
                state = "failed"
        return f"<Task {self._what} of {path_of(self._node)!r} {state}>"

    def __del__(self) -> None:
        if self._error is None or self._is_asked:
            return
        tree = self._node._tree_
        if tree is not None and tree.thread:
            # Any greenlet may drop it, in the midst of anything, and any thread.
            tell = partial(_tell, self._node, self._what, self._error)
            with suppress(Exception):
                tree.hub.loop.run_callback_threadsafe(tree.pool.launch, tell)

    def _wait(self, within: float | None) -> None:
        must_be_able_to_wait(self._node, "wait for a task")
        if self._maker is not None and self._maker.runs_in(getcurrent()):
            raise WouldDeadlock(path_of(self._node), "wait for the task that asks")
        until = None if within is None else clock.now() + within
        parking = Parking()
        if self._parkings is None:
            self._parkings = []
        parkings = self._parkings
        parkings.append(parking)
        try:
            while not self._is_done and (until is None or clock.now() < until):
                parking.park(until)
        finally:
            parkings.remove(parking)

    # -- for who does the work: each ends it, once, and does not block -------------------

    def _has(self, result: Any) -> None:
        """Have this result."""
        if not self._is_done:
            self._result = result
            self._over()

    def _fails(self, error: BaseException, place: TracebackType | None = None) -> None:
        """Raise *error* where it is asked for, with the traceback that begins at *place*."""
        if self._is_done:
            return
        self._error, self._place = error, place
        self._over()
        if not self._is_asked and not self._parkings:
            unasked = _unasked_of(self._node)
            if unasked is not None:
                unasked.add(self)

    def _comes_to_nothing(self, why: str) -> None:
        """Raise TaskCancelled where it is asked for."""
        if not self._is_done:
            self._why = why
            self._over()

    def _nobody_asks(self) -> None:
        """Say nothing if it fails: that is told in another way."""
        self._is_asked = True

    def _tell_if_unasked(self) -> None:
        """Log that it has failed, if nobody has asked for it yet."""
        if self._error is not None and not self._is_asked and not self._parkings:
            self._is_asked = True
            _tell(self._node, self._what, self._error)

    def _over(self) -> None:
        self._is_done, self._maker = True, None
        for parking in self._parkings or ():
            parking.poke()


def _tell(node: Node, what: str, error: BaseException) -> None:
    say(logging.ERROR, node, "a task failed, and nobody asked for its result", error, task=what)


class _Unasked:
    """The failed tasks of one life that nobody has asked for yet; told of at its end."""

    def __init__(self) -> None:
        self._tasks: WeakSet[Task[Any]] = WeakSet()

    def add(self, task: Task[Any]) -> None:
        self._tasks.add(task)

    def tell(self) -> None:
        for task in tuple(self._tasks):
            task._tell_if_unasked()


def _unasked_of(node: Node) -> _Unasked | None:
    """Return those of the life of *node*; None if it has none, or is not here."""
    tree = node._tree_
    if tree is None or tree.thread != get_ident() or node._holdings_ is None:
        return None
    holdings = holdings_of(node)
    for fn, _args, _kwargs in holdings.cleanups or ():
        owner = cast("Any", fn).__self__ if type(fn) is MethodType else None
        if type(owner) is _Unasked:
            return owner
    unasked = _Unasked()
    holdings.add_cleanup(unasked.tell, (), {})
    return unasked
