"""How one greenlet waits: for a call, for a deadline, or for a poke.

Whoever pokes it only has to schedule one callback. A poke that comes early is kept; one that
comes late finds nobody and is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import get_hub, getcurrent

from sprag_supervisor.loop import clock

if TYPE_CHECKING:
    from greenlet import greenlet


class Parking:
    """A place where one greenlet waits. Lets exceptions thrown into that greenlet through."""

    # Defaults of the class: one is made for each hook that runs, and most hooks do not block.
    _greenlet: Any = None  # Invariant: set exactly while its owner is switched away here
    _poked = False
    _delivery: Any = None

    @property
    def greenlet(self) -> greenlet | None:
        """The greenlet that waits here now, if any."""
        parked: greenlet | None = self._greenlet
        return parked

    def park(self, until: float | None = None) -> None:
        """Wait until poked, or until the monotonic time *until*; return at once if poked before.

        May return early: callers loop over their condition.
        """
        if self._poked:
            self._poked = False
            return
        timer = None
        try:
            self._greenlet = parked = getcurrent()
            if until is not None:
                # Ours before it is started: see tests/supervisor/test_interrupted_timers.py.
                timer = clock.new_timer(until - clock.now())
                timer.start(parked.switch, update=True)
            get_hub().switch()
        finally:
            self.leave()
            if timer is not None:
                timer.close()

    def poke(self) -> None:
        """Wake the waiting greenlet in the next turn of the loop. Callable from the hub."""
        if self._greenlet is None:
            self._poked = True
        elif self._delivery is None or not self._delivery.pending:
            # The greenlet's own method: no Python code that runs in the hub could be cut short
            # there by a signal handler.
            self._delivery = get_hub().loop.run_callback(self._greenlet.switch)

    def leave(self) -> None:
        """Wait no longer: what is still to be delivered is not for what comes next."""
        self._greenlet = None
        if self._delivery is not None:
            self._delivery.stop()
            self._delivery = None
