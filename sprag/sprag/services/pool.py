"""A pool of workers: items come in, and each ends as done, poison or dropped."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Never, cast, get_args

from sprag.services.acquiring import may_hold
from sprag.services.line import Line
from sprag.services.service import Service
from sprag.services.worker import Worker
from sprag.services.workshop import WhenFull, Workshop
from sprag_supervisor import (
    Node,
    adopt,
    as_count,
    check_callable,
    checked_name,
    choices,
    class_name,
    is_a,
    must_be_able_to_wait,
    not_active,
    path_of,
)
from sprag_supervisor.exceptions import BadPolicy, BadValue, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sprag.owned.tasks import Task

_WORDS: Final[tuple[WhenFull, ...]] = get_args(WhenFull)


class WorkerPool(Service):
    """So many workers of one kind, who handle the items that are submitted.

        class Packer(Worker):
            def handle(self, item):
                ...

        packing = WorkerPool(Packer, size=8, queue=100)
        packing.submit(order, key=order.customer).get()

    Each item ends as exactly one of done, poison, dropped. One whose handling raises crashes its
    worker, which is restarted; that counts against the item, not toward my ``max_restarts``: it is
    tried again *retries* times, and then it is poison. A worker that crashes without an item, or in
    its `on_start`, counts as any child does. A stop waits until all is done, within my ``shutdown``
    seconds; what is left then is dropped, and counted in the report.

    Args:
        worker: A subclass of `Worker` that can be made without arguments, or something callable
            that makes one.
        size: How many workers there are; 1 or more.
        queue: How many items may wait, besides those that are to be tried again; 1 or more.
        when_full: What becomes of an item when so many wait. ``"block"``: who submits it waits;
            ``"refuse"``: `submit` raises QueueFull; ``"drop"``: it is dropped.
        retries: How often an item that has crashed its worker is tried again.
        name: The pool's name in its tree; default: its class's.
        **policy: Keywords as for `Service`, but for another ``strategy`` and for
            ``auto_shutdown``.

    Raises:
        BadValue: An argument is of no use, or the worker needs arguments.
        BadPolicy: A policy keyword is unknown, wrong, or of no use here.
    """

    _is_supervisor_ = True
    _stops_together_ = True
    _forgets_ended_ = True
    _workshop_: Workshop | None = None
    name: str | None = None

    def __init__(
        self,
        worker: Callable[[], Worker],
        *misplaced: Never,
        size: int = 8,
        queue: int = 100,
        when_full: WhenFull = "block",
        retries: int = 1,
        name: str | None = None,
        **policy: Any,
    ) -> None:
        if misplaced:
            raise BadValue("WorkerPool's argument", misplaced[0], "keywords, as in size=8")
        _check_worker(worker)
        if name is not None:
            self.name = checked_name(name)
        word: Any = str.__str__(when_full) if is_a(when_full, str) else None
        if word not in _WORDS:
            raise BadValue("when_full", when_full, choices(when_full, _WORDS))
        self._worker_ = worker
        self._what_ = f"{class_name(worker)}.handle" if is_a(worker, type) else "handle"
        self._size_ = _count("size", size, 1)
        places, tries = _count("queue", queue, 1), _count("retries", retries, 0)
        self._workshop_ = Workshop(self, Line(places, tries), word)
        self._policy_ = self._policy_.with_(policy)
        if self._policy_.strategy != "one_for_one":
            raise BadPolicy("strategy", self._policy_.strategy, "'one_for_one', the only one here")
        if self._policy_.auto_shutdown != "never":
            raise BadPolicy("auto_shutdown", self._policy_.auto_shutdown, "'never' here")

    def _prepare_(self) -> None:
        workshop = self._workshop_
        if workshop is None:
            raise BadValue(
                f"the __init__ of {class_name(type(self))}",
                None,
                "super().__init__(worker, ...) in it: the pool does not know its workers",
            )
        workshop.open()
        _bring_to_size(self)

    def _load_(self) -> tuple[int, int, int, int, int] | None:
        workshop = self._workshop_
        return None if workshop is None else workshop.counts()

    def _sized_(self) -> tuple[str, int] | None:
        return "worker", size_of(self)

    def _resize_(self, size: int) -> None:
        WorkerPool.scale(self, size)

    def submit(self, item: Any, key: Hashable = None) -> Task[Any]:
        """Have *item* handled by whichever worker is free.

        May be called by anybody in the tree's thread. Does not wait for the item: the task that
        is returned does. With ``when_full="block"`` it waits for a place, in order of asking.

        Args:
            item: What `handle` is called with.
            key: Items of one key are handled one after another, in their order, by whichever
                worker is free; one that is tried again comes before the others of its key. None:
                it has none.

        Returns:
            A `Task`: ``get()`` returns what `handle` has returned, or raises PoisonItem if it
            has crashed too many workers, or TaskCancelled if it was dropped. ``cancel()`` drops
            an item that nobody has begun with.

        Raises:
            NotRunning: I am neither starting nor running; also if I end while this waits.
            QueueFull: There is no place, and ``when_full`` is "refuse".
            BadValue: *key* has no hash.
            WouldDeadlock: There is no place, and all workers wait for one in this call.
            CalledInHub: There is no place, and the caller is a callback of the loop or a signal
                handler in the hub.
        """
        workshop = self._workshop_
        if workshop is None:
            raise not_active(self, "submit an item")
        try:
            hash(key)
        except TypeError:
            raise BadValue("key", key, "something that has a hash: a str, a number") from None
        return workshop.submit(item, key, self._what_)

    def scale(self, size: int) -> None:
        """Have so many workers, from now until I restart.

        Blocks until new ones have started, or those that are too many have ended, who finish what
        they have in hand within their ``shutdown`` seconds. Never counts toward my limit.

        Args:
            size: How many; 1 or more.

        Raises:
            BadValue: *size* is no such number.
            StartFailed: A new one could not be started; those before it are there.
            NotRunning: I am neither starting nor running.
            WouldDeadlock, CalledInHub: As for `adopt`.
        """
        wanted = _count("size", size, 1)
        must_be_able_to_wait(self, "scale it")
        may_hold(self, "scale it")
        workshop = self._workshop_
        assert workshop is not None  # it runs
        if not workshop.turn.take():
            raise WouldDeadlock(path_of(self), "scale it")
        try:
            may_hold(self, "scale it")  # it has waited for its turn
            self._size_ = wanted
            _bring_to_size(self)
        finally:
            workshop.turn.give()


def size_of(pool: Node) -> int:
    """Return how many workers there are now."""
    return len(_workers_of(pool))


def _workers_of(pool: Node) -> list[Worker]:
    return [each for each in (pool._children_ or {}).values() if is_a(each, Worker)]


def _bring_to_size(pool: WorkerPool) -> None:
    """Start workers, or stop some, so that there are as many as wanted."""
    workshop = pool._workshop_
    assert workshop is not None
    missing = pool._size_ - size_of(pool)
    for _ in range(missing):
        made: Any = pool._worker_()
        if not is_a(made, Worker):
            raise BadValue("worker", made, "a subclass of Worker, or what makes one")
        taken = pool._children_ or {}
        number = 1
        while f"worker-{number}" in taken:
            number += 1
        adopt(pool, made, f"worker-{number}", {})
    surplus = workshop.least_busy(_workers_of(pool))[: max(-missing, 0)]
    for worker in surplus:
        workshop.dismiss(worker)
    for worker in surplus:
        Service.stop(cast("Service", worker))


def _count(argument: str, given: Any, least: int) -> int:
    number = as_count(given)
    if number < least:
        raise BadValue(argument, given, f"a whole number, {least} or more")
    return number


def _check_worker(given: object) -> None:
    worker = cast("Any", given)
    if is_a(given, Worker):
        kind = class_name(type(given))
        raise BadValue("worker", worker, f"its class: WorkerPool({kind}), which makes its own")
    if is_a(given, type):
        if not issubclass(worker, Worker):
            raise BadValue("worker", given, "a subclass of Worker, with a handle(self, item)")
        try:
            inspect.signature(worker).bind()
        except TypeError as error:
            made = f"WorkerPool(lambda: {worker.__name__}(...))"
            raise BadValue("worker", worker, f"{made}: it needs arguments ({error})") from None
        except ValueError:
            pass  # nothing is known of it
    else:
        check_callable("worker", worker)
