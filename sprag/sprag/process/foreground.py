"""The main greenlet of a process that runs a tree: it waits, and hears what is thrown into it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from gevent import Greenlet

from sprag_supervisor import clock, request_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.process.signals import Signals
    from sprag_supervisor import Node, Parking


class Foreground:
    """Where the main greenlet waits while others work.

    Args:
        root: Whose exit a SystemExit asks for that is thrown in.
        parking: Where it waits; whoever has news for it pokes that.
        signals: Take note of a KeyboardInterrupt that is thrown in.
    """

    def __init__(self, root: Node, parking: Parking, signals: Signals) -> None:
        self._root = root
        self._parking = parking
        self._signals = signals

    def wait(self, over: Callable[[], bool], until: float | None = None) -> None:
        """Wait for a condition; what gevent throws into the main greenlet is for the tree."""
        while not over() and (until is None or clock.now() < until):
            try:
                self._parking.park(until)
            except KeyboardInterrupt:
                self._signals.note(signal.SIGINT)
            except SystemExit as error:
                request_exit(self._root, error)

    def in_background(self, fn: Callable[[], object]) -> Greenlet[[], Any]:
        """Call *fn* in a greenlet whose end is looked at by who waits here."""

        def done(_greenlet: object) -> None:
            self._parking.poke()

        greenlet = Greenlet(fn)
        greenlet.rawlink(done)
        greenlet.start()
        return greenlet
