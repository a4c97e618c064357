"""SIGTERM and SIGINT for a process that runs a tree, and the promise that it ends.

A Python handler only counts and wakes the main greenlet: it runs between bytecodes,
also while a service hogs the CPU, and the second signal ends the process right there
(gevent-traps 12-17). What no Python handler can do, because the main thread sits in a
blocking C call or a service never yields, is the sentinel's: a native thread that
hears of signals through a pipe the interpreter writes to at once, and ends the
process when the budget is over.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

from gevent import get_hub, monkey

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from sprag_supervisor._pool import Parking

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT)
_OVERTIME: Final = 0.6
"""Seconds past the budget at which the sentinel ends the process."""
_PATIENCE: Final = 0.3
"""Seconds that the Python handler of a second signal gets before the sentinel acts."""
OVER_BUDGET: Final = 4

_start_thread = monkey.get_original("_thread", "start_new_thread")
_select = monkey.get_original("select", "select")


class Signals:
    """Owns SIGTERM and SIGINT while it is entered; restores what was there before.

    Attributes:
        received: The first signal that came, or None.
    """

    def __init__(self, wake: Parking, budget: float, describe: Callable[[], str]) -> None:
        self.received: signal.Signals | None = None
        self._wake = wake
        self._budget = budget
        self._describe = describe
        self._before: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._fd_before = -1
        self._async: Any = None

    def __enter__(self) -> Self:
        # Signal watchers do not keep gevent's loop alive; a started async one does, and it
        # is how a handler wakes the loop (gevent-traps 16).
        self._async = get_hub().loop.async_()
        self._async.start(self._wake.poke)
        reading, writing = self._pipe = os.pipe()
        os.set_blocking(writing, False)
        self._fd_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _start_thread(_watch, (reading, self._budget))
        for number in _HANDLED:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._async.close()
        if self._pipe is not None:
            os.close(self._pipe[1])  # the sentinel reads the end of it, closes its side and goes

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            self._async.send()
            return
        name = signal.Signals(number).name
        _say(f"sprag: {name} again: ending now, with {self._describe()}\n")
        os._exit(128 + number)


def _watch(reading: int, budget: float) -> None:
    """Be the sentinel: end the process if nobody else does. Runs in a native thread."""
    deadline: float | None = None
    first = 0
    while True:
        timeout = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        ready, _, _ = _select([reading], [], [], timeout)
        if not ready:
            faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
            _say("sprag: the budget is over and something still runs: ending now\n")
            os._exit(OVER_BUDGET if not first else 128 + first)
        data = os.read(reading, 64)
        if not data:
            os.close(reading)
            return
        for number in data:
            if number not in _HANDLED:
                continue
            if deadline is None:
                deadline = time.monotonic() + budget + _OVERTIME
            else:
                first = first or number
                deadline = min(deadline, time.monotonic() + _PATIENCE)


def _say(text: str) -> None:
    # Past Python's buffers and locks, which may be held by whoever is stuck.
    os.write(2, text.encode(errors="backslashreplace"))
