"""A task that is under way: a call in a greenlet of the engine's pool, owned by its service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import GreenletExit

from sprag.exceptions import TaskTimeout
from sprag_supervisor import (
    Work,
    check_asked_result,
    clock,
    forget_work,
    holdings_of,
    is_a,
    meaning_of,
    note_work,
    path_of,
    report_crash,
    traceback_of,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag.owned.tasks import Task
    from sprag_supervisor import Holdings, Node


class Running(Work):
    """A task that is under way, or about to be, in a greenlet that its service owns.

    Args:
        task: Who is told of the outcome.
        node: Whose work it is; the caller has checked that it may acquire something.
        context: What it runs in.
        fn: What is to be done.
        args: For it.
        kwargs: Likewise.
        seconds: How long it may take from its beginning, until it is killed; None: no limit.
    """

    def __init__(  # noqa: PLR0917 - as Managed
        self,
        task: Task[Any],
        node: Node,
        context: contextvars.Context,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        seconds: float | None = None,
    ) -> None:
        super().__init__(self._run)
        self._task: Task[Any] | None = task
        """Forgotten with its end: the frames of what was raised refer to this."""
        self._node = node
        self._incarnation = node._incarnation_
        self._holdings: Holdings = holdings_of(node)
        self._context = context
        self._given: tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]] = (
            fn,
            args,
            kwargs,
        )
        self._seconds = seconds
        self._timer: clock.Timer | None = None
        task._maker = self

    def begin(self) -> None:
        """Let it run in the next turn of the loop."""
        tree = self._node._tree_
        assert tree is not None
        self._holdings.add_call(self)
        note_work(self._node)
        tree.pool.run_soon(self)

    def revoke(self) -> None:
        """Come to nothing, if it has not begun."""
        super().revoke()
        if self.is_revoked:
            self._over(None)

    def broke(self, error: BaseException) -> None:
        """Come to nothing: its greenlet has died around it."""
        super().broke(error)
        self._over(None)

    def _run(self) -> None:
        fn, args, kwargs = self._given
        if self._seconds is not None:
            timer = self._timer = clock.new_timer(self._seconds)
            timer.start(self._in_hub, update=True)
        try:
            result = self._context.run(fn, *args, **kwargs)
            if result is not None:
                check_asked_result("a task", result)
        except BaseException as error:  # noqa: BLE001 - it is for who asks
            self._over(error)
        else:
            self._over(None, result)

    def _over(self, error: BaseException | None, *results: object) -> None:
        """Let go of everything, and tell."""
        node, task = self._node, self._task
        if task is None:
            return
        try:
            self._task, self._given = None, (_nothing, (), {})
            if self._timer is not None:
                self._timer.close()
                self._timer = None
            if error is not None:
                self._raised(task, error)
            for result in results:
                task._has(result)
        finally:  # whatever comes in between: somebody may wait for it
            is_killed = node._op_ is None
            task._comes_to_nothing("it was killed" if is_killed else "its service has ended")
            self._holdings.drop_call(self)
            forget_work(node, self._holdings)

    def _raised(self, task: Task[Any], error: BaseException) -> None:
        meant = meaning_of(error)
        if is_a(meant, SystemExit) or is_a(meant, KeyboardInterrupt):  # the app's, the program's
            report_crash(self._node, self._incarnation, "task", error)
        elif not is_a(meant, GreenletExit):
            inner = traceback_of(error)
            task._fails(error, None if inner is None else inner.tb_next)  # without our frame

    def call_off(self) -> bool:
        """Kill it, or see to it that it never begins."""
        if self._task is not None:
            self._task._comes_to_nothing("it was cancelled")
            self.kill()
        return True

    def _in_hub(self) -> None:
        task, seconds = self._task, self._seconds
        if task is not None and seconds is not None:
            task._fails(TaskTimeout(path_of(self._node), task._what, seconds))
            self.kill()


def _nothing() -> None:
    pass
