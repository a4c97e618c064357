"""Engine greenlets: where hooks, ticks and clean-ups run.

The hard part. User code must never run in a greenlet that the engine cannot do
without: it may block for ever, swallow its kill, or be interrupted half-way by a
Timeout of somebody else. A fresh greenlet for every hook would be safe, but costs
more than a whole restart. So hooks run in pooled greenlets, entered by a direct
switch that does not pass through the hub:

A greenlet that has run user code is used again only if that has left nothing behind in it,
which would hit the next body: neither a reference to it (a Timeout that is still to fire)
nor something in its dict (what a `threading.local` keeps for it).

A pooled greenlet is always begun from the hub. A greenlet inherits the recursion
depth of the one that first switches to it, so a tree started from nested `on_start`
hooks, each in its own greenlet, may be as deep as memory allows.

``call``, ``serves`` and ``queued`` tell who waits for whom (`waiting`).
"""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from gevent import GreenletExit, getcurrent

from sprag_supervisor.foreign import is_a, traceback_of
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.calls import Apart, Call, Errand, Runner, faults, nothing
from sprag_supervisor.loop.pace import HOLD, Gate
from sprag_supervisor.loop.parking import Parking

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent.hub import Hub
    from greenlet import greenlet


class Held(Protocol):
    """A right that one greenlet has at a time: a `Turn`."""

    holder: greenlet | None


_new: Final = object.__new__
_MAX_IDLE: Final = 8
_QUIET_SECONDS: Final = 1.0


class Worker(Runner):
    """A pooled greenlet: runs one call after another."""

    __slots__ = ("begun", "given", "owes", "pool", "serves")

    def __init__(self, pool: Pool) -> None:
        super().__init__(parent=pool.hub)
        pool.workers.add(self)
        self.pool = pool
        self.call = None
        self.given: Call | None = None
        """What it was given to run, from the moment it is given; whoever waits is to be told."""
        self.owes: Parking | None = None
        """Who waited for the last one, and may still have to be woken."""
        self.begun = False
        self.abandoned = False
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

    def _serve(self, next_call: Call | None) -> None:  # noqa: C901, PLR0912, PLR0915 - a call costs
        pool = self.pool
        idle = pool.idle
        switch_to_hub = pool.hub.switch
        # Python makes a loop faster that is left in its midst; one with a condition it does not.
        while True:
            if next_call is None:
                return
            self.call = next_call
            error = None
            if not next_call.keeps_errors:
                next_call.body()
                is_kept = False
                if self.__dict__:  # of the engine's own work, too, the next body would find it
                    self._keeps_something()
            else:
                references = getrefcount(self)
                context = next_call.context
                if context is not None:
                    self.gr_context = context
                try:
                    next_call.body()
                except BaseException as raised:  # noqa: BLE001 - whoever made the call decides
                    error = next_call.error = raised
                    next_call.is_disturbed = True
                if context is not None:
                    self.gr_context = context = None  # it may hold much, and we may idle long
                next_call.body = nothing
                has_left = self.__dict__ and self._keeps_something()
                is_kept = (has_left or getrefcount(self) > references) and next_call.runs_user_code
            next_call.done = True
            self.call = None
            parking = next_call.waiter
            next_call.worker = None  # not before it is counted, as it was the first time
            if error is not None:
                if parking is None:
                    next_call.broke(error)  # nobody looks at it
                error = None
            if self.abandoned or is_kept:
                # Somebody keeps this greenlet: a Timeout that the body has forgotten to
                # close, say, which would go off in the next one (gevent-traps 23). The hub
                # too, when it has resumed a body that blocked, which does not hurt.
                if parking is not None:
                    parking.poke()
                self.given = None
                return
            self.owes = parking
            self.given = next_call = None
            idle.append(self)
            if pool._quiet is None or len(idle) > _MAX_IDLE:
                pool._tidy()
            if parking is None:
                next_call = switch_to_hub()
            elif (parked := parking._greenlet) is not None:
                next_call = parked.switch()
            else:
                parking._poked = True
                next_call = switch_to_hub()

    def _keeps_something(self) -> bool:
        """Whether the body has left something in our dict, but what gevent puts there."""
        self.__dict__.pop("spawn_tree_locals", None)  # for what the body spawned
        return bool(self.__dict__)


class Pool:
    """The engine greenlets of one hub. Idle ones are few and go when it is quiet."""

    def __init__(self, hub: Hub) -> None:
        self.hub: Any = hub
        self.workers: WeakSet[Worker] = WeakSet()
        self.idle: list[Worker] = []
        self.trees = 0
        self.queued: dict[Parking, Held] = {}
        """Who waits for a turn, in any tree of the hub."""
        self.gate = Gate(hub)
        self._turn = -1
        self._turn_began = 0.0
        self._retiring = False
        self._quiet: clock.Timer | None = None
        self._used = False

    def enter_and_wait(self, call: Call, parking: Parking, until: float | None = None) -> None:
        """Run *call* in a pooled greenlet and wait for it, at most until *until*.

        Returns early when *parking* is poked. What is thrown into the waiting
        greenlet passes through; the call goes on, and can be waited for again.
        """
        call.waiter = parking
        current = getcurrent()
        timer = None
        try:
            idle = self.idle
            if idle and not (worker := idle.pop()).dead:  # as `_take` does, for what is done most
                self._used, call.worker, worker.given = True, worker, call
            else:
                worker = self._take(call)
            if until is not None:
                timer = clock.new_timer(until - clock.now())  # ours before it is started
                timer.start(current.switch, update=True)
            parking._greenlet = current
            if worker.begun:
                worker.switch(call)
            else:
                self._begin(worker, call)
                if not parking._poked:
                    self.hub.switch()
                parking._poked = False
        except BaseException:
            call.revoke()
            raise
        finally:
            parking._greenlet = None
            if parking._delivery is not None:
                parking._delivery.stop()
                parking._delivery = None
            if timer is not None:
                timer.close()

    def launch(
        self, body: Callable[[], object], concerns: object = None, step: str = "errand"
    ) -> None:
        """Run *body* in a pooled greenlet in the next turn of the loop. Callable from the hub.

        What it raises is a bug of sprag: it is reported, and brings down the service that it
        *concerns*. What concerns nobody is tried once more: it must do no harm the second time.
        """
        errand = _new(Errand)
        errand.body = body
        errand.concerns = concerns
        errand.step = step
        if concerns is None:
            errand.tries_again = self.run_soon
        idle = self.idle
        if idle and not (worker := idle.pop()).dead:  # as `_take` and `_begin` do
            self._used, errand.worker, worker.given = True, worker, errand
        else:
            worker = self._take(errand)
        if worker.begun:
            self.hub.loop.run_callback(worker.switch, errand)
        else:
            self._begin(worker, errand)

    def run_soon(self, call: Call) -> None:
        """Run *call* in a pooled greenlet in the next turn of the loop. Callable from the hub."""
        self._begin(self._take(call), call)

    def _begin(self, worker: Worker, call: Call) -> None:
        """Enter *worker* from the hub: for the recursion depth, and to be in nobody's way."""
        run_callback = self.hub.loop.run_callback
        run_callback(worker.switch, call)
        if not worker.begun:
            worker.begun = True
            run_callback(_see_that_it_has_begun, worker, call)

    def run_apart(self, body: Callable[[], object]) -> None:
        """Run *body*, the engine's own work, on a stack of its own, and wait until it is done.

        In the hub, where nothing can wait, it is done in the next turn of the loop. What is
        thrown into the waiting greenlet passes through, and the work goes on.
        """
        if getcurrent() is self.hub:
            self.launch(body)
            return
        call = Apart(body)
        self.enter_and_wait(call, Parking())
        while not call.done:
            call.wait()
        if call.error is not None:
            raise call.error

    def is_held(self) -> bool:
        """Whether the loop is in the same turn for too long, since this was first asked in it.

        Asked at each crash: many in one turn pass through the `gate`, and as long as some wait
        there, nobody passes them.
        """
        turn: int = self.hub.loop.iteration
        if turn != self._turn or turn < 0:  # which loops other than libev's do not tell
            self._turn = turn
            self._turn_began = clock.now()
        elif clock.now() - self._turn_began > HOLD:
            return True
        return True if self.gate.waiting else False  # noqa: SIM210 - asked at each crash

    def under_way(self) -> list[Call]:
        """Return what its greenlets run now, or are about to."""
        return [worker.given for worker in self.workers if worker.given is not None]

    def enter(self, call: Call) -> None:
        """Run *call* in a pooled greenlet now. Only for callbacks in the hub."""
        worker = self._take(call)
        worker.begun = True
        enter = worker.switch
        del worker  # this frame is gone when a body that blocked counts its greenlet's holders
        enter(call)

    def _take(self, call: Call) -> Worker:
        self._used = True
        idle = self.idle
        while True:
            worker = idle.pop() if idle else Worker(self)
            if not worker.dead:  # else somebody has killed it while it waited
                call.worker = worker
                worker.given = call
                return worker

    def _tidy(self) -> None:
        """See to it that idle greenlets do not pile up, and go when it is quiet."""
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


_SWITCHES: Final = ("gevent._gevent_c_greenlet_primitives", "gevent._greenlet_primitives")
_WAITS: Final = Pool.enter_and_wait.__code__


def was_thrown_in(error: BaseException) -> bool:
    """Whether *error* was thrown into a greenlet that waited, and not raised by what it ran.

    A kill and a Timeout do so. The innermost frame is then the one that had switched away.
    """
    inner = traceback_of(error)
    if inner is None:
        return False
    while (deeper := inner.tb_next) is not None:
        inner = deeper
    frame = inner.tb_frame
    module = frame.f_globals.get("__name__")
    if module in _SWITCHES:
        return frame.f_code.co_name.endswith("switch")  # gevent's own, compiled or not
    return frame.f_code is _WAITS and not is_a(error, RecursionError)


def _see_that_it_has_begun(worker: Worker, call: Call) -> None:
    """Tell who waits if a greenlet has died before its first line."""
    if worker.dead and not call.done:
        call.broke(GreenletExit())
