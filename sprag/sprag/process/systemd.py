"""What systemd is told while a tree runs: READY, STATUS, WATCHDOG, STOPPING.

Nothing is set up where there is no NOTIFY_SOCKET: no timer, no observer.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

from sprag.process.deadman import OVERTIME
from sprag_supervisor import Pace, State, clock, not_ready, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.process.sd_notify import Notifier
    from sprag_supervisor import Lack, Lifecycle, Tree

_LEASE: Final = 30.0
"""Seconds that a stop without a limit asks for each time it says that it goes on."""
_MAY_MAKE_READY: Final = frozenset({"started", "restarted", "ready", "finished", "stopped"})
_PATIENCE: Final = 30.0
"""Seconds that are asked for each time while a start is tried again."""
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
        self.was_ready = False
        """Whether everything was once up and ready at the same time."""
        self._timer: clock.Timer | None = None
        """What is told, or looked at, in a moment."""
        self._own = ""
        """What the root said that it was at, when it was told last."""
        self._looks = False
        """It is about to look whether all is ready."""

    @contextmanager
    def told(self) -> Generator[None]:
        """Watch the tree, and give signs of life as long as the loop turns."""
        loop = get_hub().loop
        alive: Any = None
        if self._notifier.watchdog_seconds is not None:
            period = self._notifier.watchdog_seconds
            alive = loop.timer(0.0, period, ref=False)
            # In the hub: it tells that the loop turns, and sending never waits.
            alive.start(self._notifier.alive)
        asked: Any = None
        if self._notifier.is_wanted:
            self._tree.observers.append(self._heard)
            self._notifier.status("starting")
            # What the root is at: nobody is told when it says so, so it is asked.
            asked = loop.timer(_PAUSE, _PAUSE, ref=False)
            asked.start(self._ask)
        try:
            yield
        finally:
            self._is_up = False
            for observer in (self._heard, self._may_be_ready):
                if observer in self._tree.observers:
                    self._tree.observers.remove(observer)
            self._put_off()
            for timer in (alive, asked):
                if timer is not None:
                    timer.close()

    def up(self) -> None:
        """Take note that the tree is up. Who waits for the unit goes on when it is ready, too."""
        self._is_up = True
        self._look()
        if not self.was_ready:
            self._tree.observers.append(self._may_be_ready)

    def _look(self) -> None:
        """Say that the tree is ready, once it is; until then look again now and then.

        As long as something is tried again, whoever waits for the unit is asked for more time.
        """
        if not self._is_up or self.was_ready:
            return
        first: tuple[str, Lack] | None = None
        is_tried_again = False
        for path, lack in not_ready(self._tree.root, pause=Pace()):
            first = first or (path, lack)
            is_tried_again = lack.state is State.RESTARTING
            if is_tried_again or not self._notifier.is_wanted:
                break
        if not self._is_up:
            return
        if first is None:
            self.was_ready = True
            if self._may_be_ready in self._tree.observers:
                self._tree.observers.remove(self._may_be_ready)
            self._notifier.ready()
            self._tell()
            return
        path, (state, reason) = first
        why = f"{state.value}: {reason}" if reason else state.value
        self._notifier.status(f"up, waits for {path} ({why})")
        if is_tried_again:
            self._notifier.give_time(_PATIENCE)
        self._soon(self._look)

    def _may_be_ready(self, record: Lifecycle) -> None:
        # In the midst of the engine's work: look when the loop comes round.
        if record.event in _MAY_MAKE_READY and not self._looks:
            self._looks = True
            self._tree.pool.launch(self._look_now)

    def _look_now(self) -> None:
        self._looks = False
        self._look()

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
        tells = self.was_ready and self._is_up
        if tells:
            self._notifier.reloading()
        try:
            yield
        finally:
            if tells and self._is_up:
                self._notifier.ready()
                self._tell()

    def will_stop(self, seconds: float) -> None:
        """Say that the stop has begun, as far as others are concerned, and ask for that time."""
        self._is_up = False
        self._notifier.stopping()
        if seconds < math.inf:
            self._notifier.give_time(seconds + OVERTIME)
        self._notifier.status("not ready any more: the stop begins soon")

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
        if self.was_ready and self._is_up and self._timer is None:
            self._soon(self._tell)

    def _ask(self) -> None:
        # In the hub.
        self._notifier.catch_up()
        says = self.was_ready and self._is_up and self._timer is None
        if says and (status_of(self._tree.root) or "") != self._own:
            self._tree.pool.launch(self._tell)

    def _tell(self) -> None:
        if not self._is_up:
            return
        said = self._own = status_of(self._tree.root) or ""
        said = f"running: {said}" if said else "running"
        if self._last:
            said += f"; {self._restarts} restarts; last crash: {self._last}"
        self._notifier.status(said)
