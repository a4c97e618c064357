"""Engine greenlets: where hooks, ticks and clean-ups run.

The hard part. User code must never run in a greenlet that the engine cannot do
without: it may block for ever, swallow its kill, or be interrupted half-way by a
Timeout of somebody else. A fresh greenlet for every hook would be safe, but costs
more than a whole restart. So hooks run in pooled greenlets, entered by a direct
switch that does not pass through the hub:

- `Call` is one run of a body in a pooled greenlet. When the body returns without
  having blocked, control comes straight back to the parked caller: two switches.
  When it blocks, its greenlet goes to the hub like any other, and the caller stays
  parked until the call is done, its deadline passes, or it is poked.
- A call that will not die is *abandoned*: its greenlet is no longer the pool's, and
  whoever made the call reports it as a straggler.

A greenlet that has run user code is used again only if that has left nothing behind in it,
which would hit the next body: neither a reference to it (a Timeout that is still to fire)
nor something in its dict (what a `threading.local` keeps for it).

A pooled greenlet is always begun from the hub. A greenlet inherits the recursion
depth of the one that first switches to it, so a tree started from nested `on_start`
hooks, each in its own greenlet, may be as deep as memory allows.

``waited_on_by``, ``serves`` and ``queued`` tell who waits for whom (`waiting`).
"""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol
from weakref import WeakSet

from gevent import GreenletExit, get_hub, getcurrent
from greenlet import greenlet

from sprag_supervisor.loop import clock
from sprag_supervisor.loop.greenlets import is_dead
from sprag_supervisor.loop.parking import Parking

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from gevent.hub import Hub


class Held(Protocol):
    """A right that one greenlet has at a time: a `Turn`."""

    holder: greenlet | None


class Faults:
    """What is done about bugs of sprag's own: `life.net` says so when it is imported."""

    tell: Callable[[Any, str, BaseException], BaseException | None]
    """Report one that concerns nobody."""
    bring_down: Callable[[Any, str, BaseException], None]
    """Report one, and bring down whom it concerns."""


faults: Final = Faults()

_MAX_IDLE: Final = 8
_QUIET_SECONDS: Final = 1.0


class Call:
    """One run of a body in a pooled greenlet.

    Attributes:
        done: Whether the body has ended.
        error: What it raised, if anything; any BaseException.
    """

    step: str = "timer"
    """What a service that owns the call is doing there, for a stop report."""
    runs_user_code: ClassVar[bool] = True

    # Defaults of the class, for the sake of quick calls.
    done = False
    is_revoked = False
    """It is done without having run."""
    error: BaseException | None = None
    _parking: Parking | None = None
    _worker: Worker | None = None
    context: Context | None = None
    """What the body runs in: not entered, so that others may run in it as well."""

    def __init__(self, body: Callable[[], object]) -> None:
        self._body = body

    @property
    def has_begun(self) -> bool:
        """Whether the body runs or has ended, and does not still wait for its first turn."""
        return self.done or (self._worker is not None and self._worker.call is self)

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more: it would not die."""
        return self._worker is not None and self._worker.abandoned

    def runs_in(self, greenlet: greenlet) -> bool:
        """Whether *greenlet* is the one that runs the body."""
        return self._worker is greenlet

    def wait(self, until: float | None = None) -> None:
        """Wait in the caller's parking until the call is done, poked or at *until*."""
        assert self._parking is not None
        if not self.done:
            self._parking.park(until)

    def kill(self) -> None:
        """Raise GreenletExit where the body blocks, in the next turn of the loop.

        A body that has not begun, because the loop is crowded, is done without having run.
        """
        worker = self._worker
        if worker is None:
            return
        if worker.call is self:
            get_hub().loop.run_callback(self._throw, worker)
        else:
            self.revoke()

    def revoke(self) -> None:
        """Be done without having run, unless the body has begun."""
        if not self.has_begun:
            self._body = _nothing
            self.error = GreenletExit()
            self.is_revoked = self.done = True

    def _throw(self, worker: Worker) -> None:
        # In the hub, so nothing can have happened between this test and the throw.
        if worker.call is self:
            worker.throw(GreenletExit)

    def abandon(self) -> greenlet | None:
        """Give up on a call that does not end; return its greenlet, for its stack."""
        worker = self._worker
        if worker is not None:
            worker.abandoned = True
            worker.waited_on_by.clear()
        self._parking = None
        return worker

    def run(self) -> None:
        """Run the body, whatever it raises."""
        try:
            self._body()
        except BaseException as error:  # noqa: BLE001 - whoever made the call decides
            self.error = error
        self._body = _nothing
        self.done = True

    def broke(self, error: BaseException) -> None:
        """Be over: the engine's own code around the body has raised *error*."""
        bug = faults.tell(None, self.step, error)
        if not self.done:
            self.error = bug or error
        self._body = _nothing
        self.done = True
        if self._parking is not None:
            self._parking.poke()


class Errand(Call):
    """The engine's own work: hooks run in greenlets of their own, so nothing is left behind.

    Of a user's code only log handlers run here; what they keep for their thread stays, as in
    any pool of threads.
    """

    runs_user_code: ClassVar[bool] = False
    step = "errand"
    concerns: object = None
    """Whose affairs it sees to, and who goes down if it fails; None: nobody."""
    pool: Pool | None = None
    """Where it is done once more if it fails and is nobody's; None: it has been."""

    def run(self) -> None:
        """Run the body. What it raises escapes: it is a bug of sprag."""
        self._body()
        self.done = True

    def broke(self, error: BaseException) -> None:
        """Report the bug, and bring down whom it concerns, or try once more."""
        self.done = True
        faults.bring_down(self.concerns, self.step, error)
        if self.concerns is None and self.pool is not None:
            again = Errand(self._body)
            self.pool._begin(self.pool._take(again), again)


class _Apart(Call):
    """The engine's own work, which somebody waits for: what it raises is raised there."""

    runs_user_code: ClassVar[bool] = False


def _nothing() -> None:
    pass


class Worker(greenlet):
    """A pooled greenlet: runs one call after another."""

    __slots__ = ("abandoned", "begun", "call", "given", "owes", "pool", "serves", "waited_on_by")

    def __init__(self, pool: Pool) -> None:
        super().__init__(parent=pool.hub)
        self.pool = pool
        self.call: Call | None = None
        """What it runs."""
        self.given: Call | None = None
        """What it was given to run, from the moment it is given; whoever waits is to be told."""
        self.owes: Parking | None = None
        """Who waited for the last one, and may still have to be woken."""
        self.begun = False
        self.abandoned = False
        self.waited_on_by: list[greenlet] = []
        self.serves: list[list[Parking]] = []
        """Who waits for each end that this greenlet carries out."""

    def run(self, call: Call | None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Carry out *call*, and whatever comes after it."""
        try:
            self._serve(call)
        except GreenletExit:
            if self.given is not None:
                self.given.broke(GreenletExit())
        except BaseException as error:  # noqa: BLE001 - in the hub it would be lost
            given, owes = self.given, self.owes
            self.given = self.call = self.owes = None
            if given is None:
                faults.tell(None, "pool", error)
            else:
                given.broke(error)
            if owes is not None:
                owes.poke()

    def _serve(self, next_call: Call | None) -> None:
        pool = self.pool
        switch_to_hub = pool.hub.switch
        while next_call is not None:
            self.call = next_call
            references = getrefcount(self)
            if next_call.context is not None:
                self.gr_context = next_call.context
                next_call.run()
                self.gr_context = None
            else:
                next_call.run()
            self.call = None
            self.waited_on_by.clear()
            parking = next_call._parking
            self.__dict__.pop("spawn_tree_locals", None)  # gevent's, for what the body spawned
            is_kept = next_call.runs_user_code and (getrefcount(self) > references or self.__dict__)
            next_call._worker = None  # not before it is counted, as it was the first time
            if parking is None and next_call.error is not None:
                next_call.broke(next_call.error)  # nobody looks at it
            if self.abandoned or is_kept:
                # Somebody keeps this greenlet: a Timeout that the body has forgotten to
                # close, say, which would go off in the next one (gevent-traps 23). The hub
                # too, when it has resumed a body that blocked, which does not hurt.
                if parking is not None:
                    parking.poke()
                self.given = None
                return
            if parking is None:
                self.given = next_call = None
                pool.take_back(self)
                next_call = switch_to_hub()
                continue
            self.owes = parking
            self.given = next_call = None
            pool.take_back(self)
            parked = parking._greenlet
            if parked is None:
                parking._poked = True
                next_call = switch_to_hub()
            else:
                next_call = parked.switch()

    def throw(self, *args: Any) -> Any:
        """Raise an exception here; one that comes too late finds nobody, as in gevent."""
        return None if self.dead else super().throw(*args)


class Pool:
    """The engine greenlets of one hub. Idle ones are few and go when it is quiet."""

    def __init__(self, hub: Hub) -> None:
        self.hub: Any = hub
        self.idle: list[Worker] = []
        self.trees = 0
        self.queued: dict[Parking, Held] = {}
        """Who waits for a turn, in any tree of the hub."""
        self._retiring = False
        self._quiet: clock.Timer | None = None
        self._used = False

    def enter_and_wait(self, call: Call, parking: Parking, until: float | None = None) -> None:
        """Run *call* in a pooled greenlet and wait for it, at most until *until*.

        Returns early when *parking* is poked. What is thrown into the waiting
        greenlet passes through; the call goes on, and can be waited for again.
        """
        call._parking = parking
        current = getcurrent()
        timer = None
        try:
            worker = self._take(call)
            worker.waited_on_by.append(current)
            if not worker.begun:
                self._begin(worker, call)
                call.wait(until)
                return
            parking._greenlet = current
            if until is not None:
                timer = clock.call_later(until - clock.now(), current.switch)
            worker.switch(call)
        except BaseException:
            call.revoke()
            raise
        finally:
            parking.leave()
            if timer is not None:
                timer.close()

    def launch(
        self, body: Callable[[], object], concerns: object = None, step: str = "errand"
    ) -> None:
        """Run *body* in a pooled greenlet in the next turn of the loop. Callable from the hub.

        What it raises is a bug of sprag: it is reported, and brings down the service that it
        *concerns*. What concerns
        nobody is tried once more: it must do no harm the second time.
        """
        errand = Errand(body)
        errand.concerns = concerns
        errand.step = step
        errand.pool = self
        self._begin(self._take(errand), errand)

    def run_apart(self, body: Callable[[], object]) -> None:
        """Run *body*, the engine's own work, on a stack of its own, and wait until it is done.

        In the hub, where nothing can wait, it is done in the next turn of the loop. What is
        thrown into the waiting greenlet passes through, and the work goes on.
        """
        if getcurrent() is self.hub:
            self.launch(body)
            return
        call = _Apart(body)
        self.enter_and_wait(call, Parking())
        while not call.done:
            call.wait()
        if call.error is not None:
            raise call.error

    def enter(self, call: Call) -> None:
        """Run *call* in a pooled greenlet now. Only for callbacks in the hub."""
        worker = self._take(call)
        worker.begun = True
        enter = worker.switch
        del worker  # this frame is gone when a body that blocked counts its greenlet's holders
        enter(call)

    def _begin(self, worker: Worker, call: Call) -> None:
        """Enter *worker* from the hub: for the recursion depth, and to be in nobody's way."""
        run_callback = self.hub.loop.run_callback
        run_callback(worker.switch, call)
        if not worker.begun:
            worker.begun = True
            run_callback(_see_that_it_has_begun, worker, call)

    def _take(self, call: Call) -> Worker:
        self._used = True
        worker = None
        while self.idle and worker is None:
            worker = self.idle.pop()
            if worker.dead:  # somebody has killed it while it waited
                worker = None
        if worker is None:
            worker = Worker(self)
        call._worker = worker
        worker.given = call
        return worker

    def take_back(self, worker: Worker) -> None:
        """Put a greenlet that has done its work among the idle ones."""
        self.idle.append(worker)
        if len(self.idle) > _MAX_IDLE and not self._retiring:
            self._retiring = True
            self.hub.loop.run_callback(self._retire, _MAX_IDLE)
        elif self._quiet is None:
            self._used = False
            self._quiet = clock.call_later(_QUIET_SECONDS, self._when_quiet, ref=False)

    def drain(self) -> None:
        """End all idle greenlets in the next turn of the loop: the last tree has ended."""
        if self._quiet is not None:
            self._quiet.close()
            self._quiet = None
        self.hub.loop.run_callback(self._retire, 0)

    def _retire(self, keep: int) -> None:
        self._retiring = False
        while len(self.idle) > keep:
            worker = self.idle.pop()
            if not worker.dead:
                worker.switch(None)

    def _when_quiet(self) -> None:
        self._quiet = None
        if not self._used:
            self._retire(0)
        elif self.idle:
            self._used = False
            self._quiet = clock.call_later(_QUIET_SECONDS, self._when_quiet, ref=False)


def _see_that_it_has_begun(worker: Worker, call: Call) -> None:
    """Tell who waits if a greenlet has died before its first line."""
    if worker.dead and not call.done:
        call.broke(GreenletExit())


_pools: dict[Any, Pool] = {}
_parting: WeakSet[Pool] = WeakSet()


def join_pool(hub: Hub) -> Pool:
    """Return the pool of *hub*, made on first use, for one more tree."""
    pool = _pools.get(hub)
    if pool is None:
        pool = _pools[hub] = Pool(hub)
    pool.trees += 1
    return pool


def leave_pool(pool: Pool) -> None:
    """Say that a tree has ended; with the last one of its hub the pool goes too."""
    pool.trees -= 1
    if pool.trees == 0:
        _pools.pop(pool.hub, None)
        _parting.add(pool)
        pool.drain()


def forget(hub: Hub) -> None:
    """Let go of the pool of *hub*, whatever is in it."""
    _pools.pop(hub, None)


def forget_all() -> tuple[Any, ...]:
    """Let go of every pool, in a forked child; return whose they were."""
    hubs = tuple(_pools)
    _pools.clear()
    _parting.clear()
    left_behind.clear()
    return hubs


def idle_greenlets() -> list[greenlet]:
    """Return the greenlets that wait in a pool for work; leak checks ignore them."""
    return [worker for pool in (*_pools.values(), *_parting) for worker in pool.idle]


left_behind: Final[dict[int, greenlet]] = {}
"""Greenlets of earlier lives that swallowed their kill, by id."""


def leave_behind(straggler: greenlet) -> None:
    """Remember that *straggler* is nobody's any more: it acquires nothing for the next life."""
    for one in [one for one in left_behind.values() if is_dead(one)]:
        del left_behind[id(one)]
    left_behind[id(straggler)] = straggler


def is_left_behind() -> bool:
    """Whether the calling greenlet is a straggler."""
    return bool(left_behind) and id(getcurrent()) in left_behind
