"""The stop of the tree that a process runs, within its budget: what is said, and what came of it.

What never yields, or blocks in C, is ended by `deadman`, from another thread.
"""

from __future__ import annotations

import logging
import math
import signal
from typing import TYPE_CHECKING, Any, Final

from gevent.util import format_run_info

from sprag.process.deadman import OVERTIME
from sprag.process.said import awaited, how_to_force, on_terminal, tell
from sprag.process.sockets import end_with_us, hand_over
from sprag.process.worker import has_its_sockets, worker
from sprag.services.service import Service
from sprag_supervisor import State, StopReport, clock, settled

if TYPE_CHECKING:
    from gevent import Greenlet

    from sprag.process.foreground import Foreground
    from sprag.process.signals import Signals
    from sprag.process.systemd import Status
    from sprag_supervisor import Node

_FIRST_NOTICE: Final = 3.0
_NEXT_NOTICE: Final = 10.0
_EARLY: Final = 0.01
"""What is killed so many seconds before the budget is over has used it up: timers are not exact."""
_TOLERANCE: Final = 0.1
"""Past the budget by this many seconds a stop without kills still counts as in time."""
_OVERTIME: Final = OVERTIME - 0.2
"""Past the budget by this many seconds nobody waits any more, before the deadman does."""


class BoundedStop:
    """The stop of *root* within *budget* seconds, from the signal on if there was one.

    Attributes:
        signal: The signal that it began with; None: the tree ended by itself.
        report: What the stop came to; None: there was nothing to stop.
        has_used_budget: Something had to be killed when the budget was over.
        is_over_budget: It took longer than it may.
    """

    def __init__(
        self, root: Service, budget: float, signals: Signals, status: Status, foreground: Foreground
    ) -> None:
        self._root = root
        self._budget = budget
        self._signals = signals
        self._status = status
        self._foreground = foreground
        self._error: BaseException | None = None
        self.signal: signal.Signals | None = None
        self.report: StopReport | None = None
        self.has_used_budget = False
        self.is_over_budget = False

    def bring_down(self, starting: Greenlet[[], Any] | None, *, for_good: bool) -> None:
        """Stop what is up or coming up, and tell every while what is waited for.

        Args:
            starting: Who brings the tree up; None: nobody has begun to.
            for_good: All workers end, not this one alone.

        Raises:
            BaseException: What the stop itself has raised.
        """
        received = self.signal = self._signals.received
        if received is signal.SIGINT and has_its_sockets():
            end_with_us()  # SIGTERM ends a slot: another takes its place
        elif received is signal.SIGTERM and worker() is not None and not for_good:
            hand_over(self._budget / 2)
        if starting is None or (starting.ready() and _is_down(self._root)):
            return
        deadline = self._budget
        deadline += clock.now() if received is None else self._signals.received_at
        named = None if received is None else received.name
        self._say(logging.INFO, "stopping", deadline, signal=named)
        stopping = self._foreground.in_background(lambda: self._stop(starting, deadline))
        notice = clock.now() + _FIRST_NOTICE
        last = deadline + _OVERTIME
        while not stopping.ready() and clock.now() < last:
            self._foreground.wait(stopping.ready, min(notice, last))
            if not stopping.ready() and clock.now() >= notice:
                notice += _NEXT_NOTICE
                self._say(logging.WARNING, "still stopping", deadline)
        self.is_over_budget = clock.now() > deadline + _TOLERANCE
        if not stopping.ready():
            # A bug of sprag, most likely: what it waits for is in the stacks.
            stacks: Any = format_run_info(thread_stacks=False)  # type: ignore[func-returns-value]
            stack = "\n".join(stacks)
            tell(logging.ERROR, "out of time", waiting_for=awaited(self._root), stack=stack)
        elif self._error is not None:
            raise self._error

    def _say(self, level: int, event: str, deadline: float, **more: Any) -> None:
        waiting_for = awaited(self._root)
        left = None if deadline == math.inf else round(max(deadline - clock.now(), 0.0), 1)
        self._status.stopping(waiting_for, left)
        hint = self._hint()
        tell(level, event, **more, waiting_for=waiting_for, seconds_left=left, hint=hint)

    def _hint(self) -> str | None:
        received = self._signals.received
        return how_to_force(received) if received is not None and on_terminal() else None

    def _stop(self, starting: Greenlet[[], Any], deadline: float) -> None:
        try:
            self.report = Service.stop(self._root, max(deadline - clock.now(), 0.0))
            self.has_used_budget = clock.now() > deadline - _EARLY
            starting.join()
        except BaseException as error:  # noqa: BLE001 - raised in the main greenlet
            self._error = error


def _is_down(root: Node) -> bool:
    return settled(root) or root._state_ is State.NEW
