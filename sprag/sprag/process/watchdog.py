"""Say who holds the loop, while it is held.

gevent switches only where a greenlet waits: a service that computes for seconds, or
blocks in C, stops all the others. A timer in the hub says "alive" every now and then;
a native thread compares, and when the last sign of life is too old it looks at what
the main thread is executing: the innermost frame of sprag's on that stack knows the
service. One report per stall (gevent-traps 41), written past Python's buffers and
locks, since whoever holds the loop may hold those too.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Self

from gevent import Greenlet, get_hub

from sprag._exit_codes import ExitCode
from sprag._holder import holder_of, place_of
from sprag._native import sleep_thread, start_thread, this_thread
from sprag.exceptions import NoThread
from sprag.owned.log import record
from sprag.process.deadman import write_stderr
from sprag.process.log_queue import flush_logs
from sprag_supervisor import Seconds, path_of, seconds_of

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_LONGEST_SLEEP: Final = 3600.0
_SHORTEST_LOOK: Final = 0.001
_LOOKS: Final = 4
"""Signs of life, and looks for them, per period."""
_SLACK: Final = 0.05


class Watchdog:
    """Watches the loop of the thread that enters it.

    For instance::

        with Watchdog(2.0):
            app.run()

    Args:
        seconds: How long the loop may be held before it is reported; a millisecond at least.
        exits: Whether to end the process then, with exit code 4.
    """

    def __init__(self, seconds: Seconds, *, exits: bool = False) -> None:
        self._seconds = seconds_of("seconds", seconds)
        self._exits = exits
        self._alive_at = 0.0
        self._reported = False
        self._watching = False
        self._timer: Any = None
        self._thread = 0

    def __enter__(self) -> Self:
        self._thread = this_thread()
        self._alive_at = time.monotonic()
        self._watching = True
        period = max(self._seconds / _LOOKS, _SHORTEST_LOOK)
        # Not one of `clock`'s: it watches real time, and must not keep the loop alive.
        self._timer = get_hub().loop.timer(period, period, ref=False)
        self._timer.start(self._sign_of_life)
        try:
            start_thread(self._watch)
        except NoThread:
            self._timer.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watching = False
        self._timer.close()

    def _sign_of_life(self) -> None:
        # In the hub: logging takes locks, so it needs a greenlet of its own.
        now = time.monotonic()
        held, self._alive_at = now - self._alive_at, now
        if self._reported:
            self._reported = False
            Greenlet.spawn(_log_end, held)

    def _watch(self) -> None:
        """Compare, in a native thread."""
        period = max(self._seconds / _LOOKS, _SHORTEST_LOOK)
        while self._watching:
            began = time.monotonic()
            sleep_thread(min(period, _LONGEST_SLEEP))
            now = time.monotonic()
            if now - began > 2 * period + _SLACK:
                continue  # this thread was held as well: SIGSTOP, or a machine out of breath
            held = now - self._alive_at
            if held < self._seconds or self._reported or not self._watching:
                continue
            self._reported = True
            frame = sys._current_frames().get(self._thread)
            said = describe_stall(frame, held)
            del frame
            if self._exits:
                said += "sprag: ending the process (--watchdog-exit)\n"
                flush_logs()
            write_stderr(said)
            if self._exits:
                os._exit(ExitCode.NOT_CLEAN)


def describe_stall(frame: FrameType | None, held: float) -> str:
    """Return the report about a loop that has been held for *held* seconds, at *frame*."""
    service = holder_of(frame)
    who = "code outside of any service" if service is None else path_of(service)
    stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
    return f"sprag: the loop is held since {held:.1f} s by {who}:\n{stack}"


def describe_holder(frame: FrameType | None) -> str:
    """Return in one line who runs at *frame*, and where: the innermost line not of a library."""
    service = holder_of(frame)
    who = "code outside of any service" if service is None else path_of(service)
    place = place_of(frame)
    return who if place is None else f"{who} (line {place.line} of {place.file}, in {place.name})"


def _log_end(held: float) -> None:
    record(logging.WARNING, "the loop was held", seconds=round(held, 1))
