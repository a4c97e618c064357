"""A start in progress: what is known of it, and what others may ask for meanwhile.

Whoever wants the service down cuts its start short; what the service owns already may crash; what
is thrown into the greenlet that waits for the start (a kill, a Timeout around `adopt`) aborts it as
well. All of it is noted here; `bringing_up` and `undoing` act on it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, ClassVar

from sprag_supervisor.exceptions import StartAborted, StartTimeout
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.bugs import report_bug
from sprag_supervisor.life.ending import tighten
from sprag_supervisor.life.steps import KILL_GRACE
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.calls import Call
from sprag_supervisor.loop.pool import was_thrown_in
from sprag_supervisor.tree.seat import context_of, keep_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenlet import greenlet

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.loop.parking import Parking
    from sprag_supervisor.tree.node import Node


class Starting(Call):
    """One service on its way up: the call of its first steps, and what may become of it."""

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__  # one of ours would cost as much as all that `_bring_up` sets

    # Defaults of the class: a start goes well and needs none of these.
    is_start: ClassVar[bool] = True
    aborted: BaseException | None = None
    adopts = False
    """`on_start` waits for a child to come up, or for its start to be undone."""
    on_purpose = False
    deadline = math.inf
    joiners: list[Parking] | None = None
    left_behind: greenlet | None = None
    retries = False
    """If it fails it is tried again: the start is a restart."""
    finishes = False
    """It ends cleanly as soon as it has come up."""
    _killed_at = math.inf
    interrupt: BaseException | None = None
    """What is thrown at who waits for it: raised when all is undone."""
    failure: Failure | None = None
    tell: Callable[[], None] | None = None
    """Logs the failure, once it is acted on."""

    node: Node
    parking: Parking
    began: float

    @property
    def is_draining(self) -> bool:
        """Whether it still works, and is about to end: it does not, yet."""
        return False

    # -- what others may ask for meanwhile ------------------------------------------

    def call_off(self, deadline: float, why: str) -> None:
        """Cut the start short because the service or its parent is to stop."""
        self.on_purpose = True
        self.tighten(deadline)
        self._abort(StartAborted(why))

    def tighten(self, deadline: float) -> None:
        """Move the deadline of an abort nearer; a later one changes nothing."""
        tighten(self.node, deadline)

    def crashed(self, step: str, error: BaseException, level: int = logging.ERROR) -> None:
        """Cut the start short: something the service already owns has crashed."""
        del step, level  # logged once, as the failed start it becomes
        self._abort(error)

    def finished(self) -> None:
        """End cleanly as soon as the service has come up."""
        self.finishes = self.is_disturbed = True

    def join(self, parking: Parking, until: float | None = None) -> None:
        """Wait in *parking* until the start is over or *until*."""
        self.add_joiner(parking)
        while self.node._op_ is self and (until is None or clock.now() < until):
            parking.park(until)

    def add_joiner(self, parking: Parking) -> None:
        """Have *parking* poked when the start is over, or undone."""
        self.is_disturbed = True
        if self.joiners is None:
            self.joiners = []
        self.joiners.append(parking)

    def _abort(self, error: BaseException) -> None:
        self.is_disturbed = True
        if self.aborted is None:
            self.aborted = error
        self.parking.poke()

    # -- the start itself ------------------------------------------------------------

    def see_through(self, seconds: float | None = None, until: float | None = None) -> None:
        """Wait for the user's code, and kill it at *until* or when the start is aborted."""
        node = self.node
        if self.worker is None:
            self.revoke()  # no greenlet has been found for it
        kills = 0
        while not self.done and not self.is_abandoned:
            now = clock.now()
            if self.aborted is None and seconds is not None and until is not None and now >= until:
                self.aborted, self.is_disturbed = StartTimeout(seconds), True
            if self.aborted is not None:
                # As for greenlets at a stop: one kill at once, one at the limit.
                if kills == 0:
                    kills, self._killed_at = 1, now
                    self.kill()
                if self.adopts:
                    until = None  # the child is undone within limits of its own
                elif kills == 1:
                    until = min(self._killed_at + node._policy_.own_seconds, self.deadline)
                    until = max(until, self._killed_at + KILL_GRACE)
                    if now >= until:
                        kills, until = 2, now + KILL_GRACE
                        self.kill()
                elif until is not None and now >= until:
                    self.left_behind = self.abandon()
                    return
            try:
                self.wait(None if until == math.inf else until)
            except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
                self.interrupted(interrupt)

    def has_adopted(self) -> None:
        """Take note that a child is up, or its start undone, which took no time of our own."""
        self.adopts = False
        if self.aborted is not None:
            self._killed_at = clock.now()
            self.parking.poke()

    def interrupted(self, interrupt: BaseException) -> None:
        """Cut the start short: something was thrown at who waits for it."""
        self.hold_back(interrupt)
        self._abort(interrupt)

    def hold_back(self, interrupt: BaseException) -> None:
        """Keep what is thrown at us until all is undone; of several the first, or a Ctrl-C."""
        if self.interrupt is None or is_a(interrupt, KeyboardInterrupt):
            self.interrupt = interrupt
        elif not was_thrown_in(interrupt):
            report_bug(self.node, "start", interrupt)

    def keep_context(self) -> None:
        """Let the hooks and clean-ups to come run in the context of `on_start`.

        Unless it holds nothing but whose it is: then another one is as good, and costs no memory.
        """
        context = self.context
        assert context is not None
        if self.left_behind is not None:  # it still runs there
            context = context_of(self.node, context.copy())
        keep_context(self.node, context)

    def wake_joiners(self) -> None:
        """Wake who waits for the start to be over."""
        for parking in self.joiners or ():
            parking.poke()
