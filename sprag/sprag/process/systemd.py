"""What systemd is told while a tree runs: READY, STATUS, WATCHDOG, STOPPING.

Nothing is set up where there is no NOTIFY_SOCKET: no timer, no observer.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

from sprag.process.deadman import OVERTIME
from sprag_supervisor import Pace, clock, not_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.process.sd_notify import Notifier
    from sprag_supervisor import Lifecycle, Tree

_LEASE: Final = 30.0
"""Seconds that a stop without a limit asks for each time it says that it goes on."""
_PAUSE: Final = 1.0
"""Seconds between two messages about crashes and restarts, at least."""


class Status:
    """Tells the service manager how a tree is doing.

    Args:
        notifier: How to tell it.
        tree: What to watch.
    """

    def __init__(self, notifier: Notifier, tree: Tree) -> None:
        self._notifier = notifier
        self._tree = tree
        self._restarts = 0
        self._last = ""
        self._is_up = False
        self._is_ready = False
        self._timer: clock.Timer | None = None
        """What is told, or looked at, in a moment."""

    @contextmanager
    def told(self) -> Generator[None]:
        """Watch the tree, and give signs of life as long as the loop turns."""
        if not self._notifier.is_wanted:
            yield
            return
        loop = get_hub().loop
        alive: Any = None
        if self._notifier.watchdog_seconds is not None:
            period = self._notifier.watchdog_seconds
            alive = loop.timer(0.0, period, ref=False)
            # In the hub: it tells that the loop turns, and sending never waits.
            alive.start(self._notifier.alive)
        self._tree.observers.append(self._heard)
        self._notifier.status("starting")
        try:
            yield
        finally:
            self._is_up = False
            if self._heard in self._tree.observers:
                self._tree.observers.remove(self._heard)
            self._put_off()
            if alive is not None:
                alive.close()

    def up(self) -> None:
        """Take note that the tree is up. Who waits for the unit goes on when it is ready, too."""
        self._is_up = True
        if self._notifier.is_wanted:
            self._look()

    def _look(self) -> None:
        """Say that the tree is ready, once it is; until then look again now and then."""
        if not self._is_up:
            return
        lack = next(not_ready(self._tree.root, pause=Pace()), None)
        if lack is None:
            self._is_ready = True
            self._notifier.ready()
            self._tell()
        elif self._is_up:
            path, (state, reason) = lack
            why = f"{state.value}: {reason}" if reason else state.value
            self._notifier.status(f"up, waits for {path} ({why})")
            self._soon(self._look)

    def _soon(self, then: Callable[[], None]) -> None:
        """Have *then* done in a moment, in a greenlet."""
        self._put_off()
        self._timer = clock.call_later(_PAUSE, self._now, then, ref=False)

    def _now(self, then: Callable[[], None]) -> None:
        self._put_off()
        self._tree.pool.launch(then)

    def _put_off(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    @contextmanager
    def reloading(self) -> Generator[None]:
        """Say that a reload begins, and that it is over: ``Type=notify-reload`` waits for that."""
        tells = self._is_ready and self._is_up
        if tells:
            self._notifier.reloading()
        try:
            yield
        finally:
            if tells and self._is_up:
                self._notifier.ready()
                self._tell()

    def stopping(self, waiting_for: str, seconds_left: float | None) -> None:
        """Say that the stop has begun, or goes on, and ask for the time that it has.

        Never for more than its own: past that the manager's patience is the last resort.

        Args:
            waiting_for: Whom.
            seconds_left: Of the stop's time; None: it may take as long as it likes.
        """
        self._is_up = False
        self._notifier.stopping()
        if seconds_left is None:
            self._notifier.give_time(_LEASE)
        elif seconds_left > 0:
            self._notifier.give_time(seconds_left + OVERTIME)
        left = "" if seconds_left is None else f", {seconds_left:.0f} s left"
        self._notifier.status(f"stopping: waits for {waiting_for}{left}")

    def ended(self, summary: str) -> None:
        """Say how it ended; systemd shows it for a unit that has failed."""
        self._notifier.status(summary)

    def _heard(self, record: Lifecycle) -> None:
        # In the midst of the engine's work: take note, and tell it when the loop comes round.
        if record.event == "restarted":
            self._restarts += 1
        elif record.event in ("crashed", "gave_up"):
            why = f"{record.exception}: {record.message}" if record.message else record.exception
            self._last = f"{record.path}: {why}"
        else:
            return
        if self._is_ready and self._is_up and self._timer is None:
            self._soon(self._tell)

    def _tell(self) -> None:
        if not self._is_up:
            return
        said = "running"
        if self._last:
            said += f"; {self._restarts} restarts; last crash: {self._last}"
        self._notifier.status(said)
