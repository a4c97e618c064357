"""One run of a body in a pooled greenlet, as who makes it, waits for it or kills it sees it.

- When the body returns without having blocked, control comes straight back to the parked caller.
  When it blocks, its greenlet goes to the hub like any other, and the caller stays parked until
  the call is done, its deadline passes, or it is poked.
- A call that will not die is *abandoned*: its greenlet is no longer the pool's, and whoever made
  the call reports it as a straggler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from gevent import GreenletExit, get_hub
from greenlet import greenlet

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from sprag_supervisor.loop.parking import Parking


class Runner(greenlet):
    """What runs calls, one after another: a greenlet of the pool."""

    __slots__ = ("abandoned", "call")

    call: Call | None
    """What it runs now."""
    abandoned: bool
    """Nobody waits for it any more."""

    def throw(self, *args: Any) -> Any:
        """Raise an exception here; one that comes too late finds nobody, as in gevent."""
        return None if self.dead else super().throw(*args)


class Faults:
    """What is done about bugs of sprag's own: `life.net` says so when it is imported."""

    tell: Callable[[Any, str, BaseException], BaseException | None]
    """Report one that concerns nobody."""
    bring_down: Callable[[Any, str, BaseException], None]
    """Report one, and bring down whom it concerns."""


faults: Final = Faults()


class Call:
    """One run of a body in a pooled greenlet.

    Attributes:
        done: Whether the body has ended.
        error: What it raised, if anything; any BaseException.
    """

    step: str = "timer"
    """What a service that owns the call is doing there, for a stop report."""
    runs_user_code: ClassVar[bool] = True
    keeps_errors: ClassVar[bool] = True
    """What the body raises is for who made the call; else it is a bug of sprag, and escapes."""
    is_work: ClassVar[bool] = False
    """A stop waits for it first, see `Work`."""

    # Defaults of the class, for the sake of quick calls.
    done = False
    is_revoked = False
    """It is done without having run."""
    error: BaseException | None = None
    is_disturbed = False
    """It has not just run and returned: it has raised, or something was asked of it meanwhile."""
    waiter: Parking | None = None
    """Where whoever waits for it does."""
    worker: Runner | None = None
    """What runs it; None: nothing yet, or not any more."""
    context: Context | None = None
    """What the body runs in: not entered, so that others may run in it as well."""

    def __init__(self, body: Callable[[], object]) -> None:
        self.body = body

    @property
    def has_begun(self) -> bool:
        """Whether the body runs or has ended, and does not still wait for its first turn."""
        return self.done or (self.worker is not None and self.worker.call is self)

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more: it would not die."""
        return self.worker is not None and self.worker.abandoned

    def runs_in(self, greenlet: greenlet) -> bool:
        """Whether *greenlet* is the one that runs the body."""
        return self.worker is greenlet

    def wait(self, until: float | None = None) -> None:
        """Wait in the caller's parking until the call is done, poked or at *until*."""
        assert self.waiter is not None
        if not self.done:
            self.waiter.park(until)

    def kill(self) -> None:
        """Raise GreenletExit where the body blocks, in the next turn of the loop.

        A body that has not begun, because the loop is crowded, is done without having run.
        """
        worker = self.worker
        if worker is None:
            return
        if worker.call is self:
            get_hub().loop.run_callback(self._throw, worker)
        else:
            self.revoke()

    def revoke(self) -> None:
        """Be done without having run, unless the body has begun."""
        if not self.has_begun:
            self.body = nothing
            self.error = GreenletExit()
            self.is_revoked = self.is_disturbed = self.done = True

    def _throw(self, worker: Runner) -> None:
        # In the hub, so nothing can have happened between this test and the throw.
        if worker.call is self:
            worker.throw(GreenletExit)

    def abandon(self) -> greenlet | None:
        """Give up on a call that does not end; return its greenlet, for its stack."""
        worker = self.worker
        if worker is not None:
            worker.abandoned = True
        self.waiter = None
        return worker

    def broke(self, error: BaseException) -> None:
        """Be over: the engine's own code around the body has raised *error*."""
        bug = faults.tell(None, self.step, error)
        if not self.done:
            self.error, self.is_disturbed = bug or error, True
        self.body = nothing
        self.done = True
        if self.waiter is not None:
            self.waiter.poke()


class Errand(Call):
    """The engine's own work: hooks run in greenlets of their own, so nothing is left behind.

    Of a user's code only log handlers run here; what they keep for their thread stays, as in
    any pool of threads.
    """

    runs_user_code: ClassVar[bool] = False
    keeps_errors: ClassVar[bool] = False
    step = "errand"
    concerns: object = None
    """Whose affairs it sees to, and who goes down if it fails; None: nobody."""
    tries_again: Callable[[Errand], object] | None = None
    """How it is done once more if it fails and is nobody's; None: it has been."""

    def broke(self, error: BaseException) -> None:
        """Report the bug, and bring down whom it concerns, or try once more."""
        self.done = True
        faults.bring_down(self.concerns, self.step, error)
        if self.concerns is None and self.tries_again is not None:
            self.tries_again(Errand(self.body))


class Apart(Call):
    """The engine's own work, which somebody waits for: what it raises is raised there."""

    runs_user_code: ClassVar[bool] = False


class Work(Call):
    """What somebody waits for the outcome of: a service that drains does it before it goes on.

    What is left of it when the service has no more time is killed like the rest, and counted.
    """

    is_work: ClassVar[bool] = True
    step = "task"
    tasks: ClassVar[int] = 1
    """How many tasks of the service it counts as; what is shown in another way is none."""

    def drain(self) -> None:
        """Take note that the service takes no new work; called once, and does not block."""

    def undone(self) -> int:
        """Return how much is left of it, while it is not done."""
        return 1


def nothing() -> None:
    """Be the body of a call that is over."""
