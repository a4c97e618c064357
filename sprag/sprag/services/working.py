"""What a service works on for who waits for the outcome: tasks, and many of them in order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sprag.owned.mapping import Mapped
from sprag.owned.running import Running
from sprag.owned.tasks import Task
from sprag.services.acquiring import check, context_for, may_hold
from sprag_supervisor import Node, Seconds, as_count, function_name, seconds_of
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
ItemT = TypeVar("ItemT")


class Working(Node):
    """The part of a service that does work for others."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

    def task(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Task[T]:
        """Run ``fn(*args, **kwargs)`` in a greenlet of mine, for who asks for the result.

        As `spawn`, but what it raises is for who asks, and no crash of mine. If nobody has asked
        when the task is dropped, or when I end, it is logged as an error. A SystemExit asks the
        app to stop, as everywhere. A stop waits for it, after `on_drain`, as long as my
        ``shutdown`` seconds last; then it is killed. Does not block: it begins in the next turn
        of the loop.

        Returns:
            A Task with ``get(timeout)``, ``cancel()`` and ``done``.

        Raises:
            NotRunning: I am neither starting nor running.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        check(fn)
        may_hold(self, "start a task")
        task: Task[T] = Task(self, function_name(fn))
        Running(task, self, context_for(self), fn, args, kwargs).begin()
        return task

    def map(
        self,
        fn: Callable[[ItemT], T],
        items: Iterable[ItemT],
        limit: int = 8,
        item_timeout: Seconds | None = None,
    ) -> Mapped[T]:
        """Return the results of ``fn(item)`` for all items, in order, with some at the same time.

        As `concurrent.futures.Executor.map`, but lazy: an item is taken from *items* when there is
        room for it, so they may be endless, and at most *limit* are under way or wait to be
        taken. What one raises is raised in its place, and the others are cancelled; so they are
        by ``close()``, and when the iterator is dropped. All end with me, and a stop waits for
        those under way, as for a `task`. The first ones begin at once; this does not block, but
        as long as *items* does.

        Args:
            fn: Called with one item. May block.
            items: Anything that can be iterated over.
            limit: How many at the same time; 1 or more.
            item_timeout: Seconds that one may take before it is killed, which raises a
                TaskTimeout in its place; None for no limit.

        Returns:
            An iterator, with ``close()``; in a ``with`` block it is closed at the end.

        Raises:
            NotRunning: I am neither starting nor running.
            BadValue: *fn* is not callable, or is an `async def` or a generator function; *items*
                cannot be iterated over, *limit* is no whole number above 0, or *item_timeout* no
                time of a millisecond or more.
        """
        check(fn)
        most = as_count(limit)
        if most < 1:
            raise BadValue("limit", limit, "a whole number above 0")
        seconds = None
        if item_timeout is not None:
            seconds = seconds_of("item_timeout", item_timeout, also=", or None")
        try:
            each = iter(items)
        except TypeError as error:
            raise BadValue("items", items, "something that can be iterated over") from error
        may_begin = partial(may_hold, self, "work on an item")
        may_begin()
        return Mapped(self, context_for(self), may_begin, fn, each, most, seconds)
