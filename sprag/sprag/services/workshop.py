"""Where a pool's items are worked on: its line, those who submit, and those who work.

The shell around `line`: it lets greenlets wait and wakes them. Of services it knows what the
engine does.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from gevent import GreenletExit, getcurrent

from sprag.exceptions import PoisonItem, QueueFull
from sprag.owned.tasks import Task
from sprag.services.acquiring import may_hold
from sprag.services.line import Counts, Item, Line
from sprag.services.unfinished import Hands, Undone, wake_stop_of, was_killed_with
from sprag_supervisor import (
    Parking,
    Turn,
    as_text,
    check_asked_result,
    class_name,
    current_node,
    holdings_of,
    is_a,
    meaning_of,
    must_be_able_to_wait,
    note_work,
    path_of,
    report_crash,
    say,
    spare,
    told,
)
from sprag_supervisor.exceptions import NotRunning, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from greenlet import greenlet

    from sprag_supervisor import Node

WhenFull = Literal["block", "refuse", "drop"]
_SUBMIT: Final = "submit an item"
_LATE: Final = "it takes no new items: submit to one that runs"


class Job(Item):
    """An item with who waits for it."""

    __slots__ = ("greenlet", "task", "workshop")

    def __init__(self, workshop: Workshop, task: Task[Any], value: Any, key: Hashable) -> None:
        super().__init__(value, key)
        self.workshop = workshop
        self.task = task
        self.greenlet: greenlet | None = None
        """What handles it now."""

    def call_off(self) -> bool:
        """Drop it if nobody has begun with it."""
        return self.workshop.call_off(self)

    def runs_in(self, greenlet: greenlet) -> bool:
        """Whether *greenlet* handles it."""
        return self.greenlet is greenlet


class Workshop:
    """The items of one life of a pool.

    Args:
        pool: Whose they are.
        line: Who is next.
        when_full: What becomes of an item for which there is no place.
    """

    def __init__(self, pool: Node, line: Line, when_full: WhenFull) -> None:
        self._pool = pool
        self._line = line
        self._when_full: WhenFull = when_full
        self._blocked: deque[Parking] = deque()
        """Who waits for a place, in order."""
        self._blocked_workers = 0
        """How many of these are workers of the pool itself."""
        self._idle: deque[Parking] = deque()
        """Where workers wait, and have not been woken."""
        self._free = 0
        """How many workers wait, or have been woken to take an item."""
        self._hands: dict[int, Hands] = {}
        """What each worker has in hand, by its identity."""
        self._is_closed = False
        self.turn = Turn()
        """The right to change how many workers there are."""
        self._undone = Undone(self.counts, self.close, self.drop_all)

    def open(self) -> None:
        """Belong to the pool from now on: what is left undone goes with its life."""
        holdings_of(self._pool).add_call(self._undone)
        note_work(self._pool)

    def close(self) -> None:
        """Take no new items."""
        self._is_closed = True
        for parking in self._blocked:
            parking.poke()

    def drop_all(self) -> None:
        """Drop what is left."""
        self.close()
        left = 0
        for item in self._line.drop_all():
            left += 1
            if is_a(item, Job):
                item.task._comes_to_nothing("it was dropped: the pool has ended")
        self._changed()
        pool = self._pool
        tree = pool._tree_
        if left and tree is not None:
            tell = partial(say, logging.WARNING, pool, "items were dropped with their pool")
            tree.pool.launch(partial(tell, count=left))

    def counts(self) -> Counts:
        """Return how many items there are, and what became of the others."""
        return self._line.counts()

    # -- for who has an item ---------------------------------------------------------------

    def submit(self, value: Any, key: Hashable, what: str) -> Task[Any]:
        """Take an item in; see `WorkerPool.submit`."""
        self._must_be_open()
        line = self._line
        task: Task[Any] = Task(self._pool, what)
        job = Job(self, task, value, key)
        if self._blocked or not line.has_place(key, self._free):
            if self._when_full == "refuse":
                raise QueueFull(path_of(self._pool), line.places)
            if self._when_full == "drop":
                line.refuse(job)
                task._comes_to_nothing("it was dropped: the queue is full")
                return task
            self._wait_for_place(key)
        task._maker = job
        line.add(job)
        self._changed()
        return task

    def call_off(self, job: Job) -> bool:
        """Drop *job* if nobody has begun with it; return whether that is so."""
        if not self._line.drop(job):
            return False
        job.task._comes_to_nothing("it was cancelled")
        self._changed()
        return True

    def _must_be_open(self) -> None:
        may_hold(self._pool, _SUBMIT)
        if self._is_closed:
            pool = self._pool
            raise NotRunning(path_of(pool), pool._state_.value, _SUBMIT, _LATE)

    def _wait_for_place(self, key: Hashable) -> None:
        pool = self._pool
        must_be_able_to_wait(pool, _SUBMIT)
        asks = current_node()
        is_worker = asks is not None and asks._parent_ is pool
        if is_worker and self._blocked_workers + 1 >= len(pool._children_ or ()):
            raise WouldDeadlock(path_of(pool), "submit an item: all its workers wait for a place")
        parking = Parking()
        self._blocked.append(parking)
        self._blocked_workers += is_worker
        try:
            while self._blocked[0] is not parking or not self._line.has_place(key, self._free):
                parking.park()
                self._must_be_open()
        finally:
            self._blocked_workers -= is_worker
            self._blocked.remove(parking)
            self._let_in()  # should this one not come in after all

    # -- for who works -----------------------------------------------------------------------

    def employ(self, worker: Node, handle: Callable[[Any], Any]) -> None:
        """Let *worker* handle one item after another, in the calling greenlet; it may be killed."""
        hands = self._hands[id(worker)] = Hands()
        holdings_of(worker).add_call(hands)
        note_work(worker)
        try:
            while True:
                job = self._next(hands)
                if job is None:
                    Parking().park()  # until it is killed: who returns has finished
                elif not self._handle(worker, handle, hands, job) or hands.was_killed:
                    return
                job = None  # or who waits for the next one would keep what it was given
        finally:
            if self._hands.get(id(worker)) is hands:
                del self._hands[id(worker)]

    def least_busy(self, workers: Sequence[Node]) -> list[Node]:
        """Return *workers*, those first who have nothing in hand, the latest of them first."""
        busy = [
            (hands := self._hands.get(id(worker))) is not None and not hands.done
            for worker in workers
        ]
        order = sorted(range(len(workers)), key=lambda at: (busy[at], -at))
        return [workers[at] for at in order]

    def dismiss(self, worker: Node) -> None:
        """Let *worker* take nothing else."""
        hands = self._hands.get(id(worker))
        if hands is not None:
            hands.drain()

    def _next(self, hands: Hands) -> Job | None:
        """Wait for the next item; None: the worker takes no more."""
        hands.wake = parking = Parking()
        self._free += 1
        try:
            while not hands.takes_no_more:
                item = self._line.take()
                if item is not None:
                    assert is_a(item, Job)
                    hands.done = False
                    item.greenlet = getcurrent()
                    return item
                if parking not in self._idle:
                    self._idle.append(parking)
                parking.park()
            return None
        finally:
            self._free -= 1
            hands.wake = None
            if parking in self._idle:
                self._idle.remove(parking)
            self._changed()  # should this one have been woken for another item, too

    def _handle(self, worker: Node, handle: Callable[[Any], Any], hands: Hands, job: Job) -> bool:
        """Handle *job*; return whether the worker goes on with the next one."""
        line = self._line
        try:
            result = handle(job.value)
            if result is not None:
                check_asked_result("handle", result)
        except BaseException as error:
            meant = meaning_of(error)
            if is_a(meant, GreenletExit) or is_a(meant, SystemExit):
                failure = spare(worker)
                if failure is not None:  # something else of the worker's has crashed meanwhile
                    self._crashed(job, None, str(failure))
                elif worker._op_ is None:  # nobody ends it: this is what the item does
                    self._crashed(job, error, class_name(type(error)))
                else:
                    line.give_back(job)
                raise
            if is_a(meant, KeyboardInterrupt):  # the program's, and no fault of the item's
                report_crash(worker, worker._incarnation_, "handle", error)
                line.give_back(job)
                return True
            if was_killed_with(error):
                line.give_back(job)
                raise
            said = f"{class_name(type(error))}: {as_text(error)}"
            level = self._crashed(job, error, said.removesuffix(": "))
            if worker._op_ is not None:
                report_crash(worker, worker._incarnation_, "handle", error, level=level)
                return True
            if self._is_closed:  # nobody would restart it, and there is work left
                say(level, worker, "an item crashed while its pool drained", error)
                return True
            report_crash(worker, worker._incarnation_, "handle", error, level=level)
            spare(worker)
            return False
        else:
            line.done(job)
            job.task._has(result)
            return True
        finally:
            job.greenlet = None
            hands.done = True
            wake_stop_of(worker)
            self._changed()

    def _crashed(self, job: Job, error: BaseException | None, last: str) -> int:
        """Take note that *job* has crashed its worker; return the level at which to log that.

        One that becomes poison is told of itself, here and once, and no crash of a worker besides.
        """
        pool, line = self._pool, self._line
        if line.crashed(job) or job.end != "poison":
            return logging.WARNING
        poison = PoisonItem(path_of(pool), job.crashes, last)
        poison.__cause__ = error
        job.task._nobody_asks()
        job.task._fails(poison)
        fields = {} if error is not None else {"last": last}
        item = told(job.value, texts=False)
        text = "an item is poison, and is not tried again"
        say(logging.ERROR, pool, text, error, item=item, tries=job.crashes, **fields)
        return logging.DEBUG

    # -- waking ---------------------------------------------------------------------------

    def _changed(self) -> None:
        """Wake who can go on now."""
        line = self._line
        while self._idle and line.ready > self._free - len(self._idle):
            self._idle.popleft().poke()
        self._let_in()
        self._undone.done = line.is_empty
        if line.is_empty:
            wake_stop_of(self._pool)

    def _let_in(self) -> None:
        if self._blocked:
            self._blocked[0].poke()
