"""Many tasks of one kind: so many at a time, and their results in order."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from sprag.owned.running import Running
from sprag.owned.tasks import Task
from sprag_supervisor import (
    Turn,
    function_name,
    must_be_able_to_wait,
    must_be_at_home,
    path_of,
    was_thrown_in,
)
from sprag_supervisor.exceptions import WouldDeadlock

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterator

    from sprag_supervisor import Node

T = TypeVar("T")


class Mapped(Generic[T]):
    """The results of `Service.map`, in the order of the items; an iterator.

    At most so many items as the limit are under way, or done and not taken yet: who takes the
    results slowly slows down the work. What one item raises is raised in its place, and is the
    end: the others are cancelled. So they are by `close`, and when the iterator is dropped.
    Several greenlets may take results: each is had by one of them, in order of asking.
    """

    def __init__(  # noqa: PLR0917 - as Managed
        self,
        node: Node,
        context: contextvars.Context,
        may_begin: Callable[[], None],
        fn: Callable[..., object],
        items: Iterator[Any],
        limit: int,
        seconds: float | None,
    ) -> None:
        self._pending: deque[Task[Any]] = deque()
        """The items under way, and those whose results have not been taken."""
        self._items: Iterator[Any] | None = items
        """Those to come; None: there are no more."""
        self._node = node
        self._context = context
        self._may_begin = may_begin
        self._fn = fn
        self._turn = Turn()
        """The right to take a result: several may take them, one after another."""
        self._what = function_name(fn)
        self._limit = limit
        self._seconds = seconds
        self._fill()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Return the next result; wait for it if need be.

        Raises:
            StopIteration: There are no more.
            TaskTimeout: The item took longer than the ``item_timeout``.
            TaskCancelled: It has ended with the service.
            NotRunning: The service has ended, and the item has not begun.
            WouldDeadlock, CalledInHub: As for `Task.get`.
        """
        must_be_at_home(self._node)
        if self._turn.holder is not None:
            must_be_able_to_wait(self._node, "wait for a result")
        if not self._turn.take():
            raise WouldDeadlock(path_of(self._node), "take a result for which it waits itself")
        try:
            return self._take()
        finally:
            self._turn.give()

    def _take(self) -> T:
        self._fill()
        if not self._pending:
            raise StopIteration
        task = self._pending[0]
        try:
            result: T = task.get()
        except BaseException:
            if task.done:  # else it was thrown in here: the results are still to be had
                self.close()
            raise
        if self._pending and self._pending[0] is task:
            self._pending.popleft()
        self._fill()
        return result

    def close(self) -> None:
        """Cancel what is under way, and be at the end. Does not wait; harmless a second time."""
        if self._pending:
            must_be_at_home(self._node)
        self._items = None
        while self._pending:
            self._pending.popleft().cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_how: object) -> None:
        self.close()

    def __del__(self) -> None:
        tree = self._node._tree_
        if self._pending and tree is not None and tree.thread:
            for task in self._pending:  # in its own thread, whoever has dropped this
                with suppress(Exception):
                    tree.hub.loop.run_callback_threadsafe(task.cancel)

    def _fill(self) -> None:
        """Begin with as many items as may be under way."""
        while self._items is not None and len(self._pending) < self._limit:
            try:
                item = next(self._items)
                self._may_begin()
            except StopIteration:
                self._items = None
            except Exception as error:
                if was_thrown_in(error):
                    raise
                self._items = None  # it is raised in its place, after the results before it
                failed: Task[Any] = Task(self._node, self._what)
                failed._nobody_asks()
                failed._fails(error, error.__traceback__)
                self._pending.append(failed)
            else:
                task: Task[Any] = Task(self._node, self._what)
                self._pending.append(task)
                Running(
                    task, self._node, self._context.copy(), self._fn, (item,), {}, self._seconds
                ).begin()
