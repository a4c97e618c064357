"""The promise that the process ends: a native thread that ends it when nobody else can.

No Python signal handler runs while the main thread sits in a blocking C call, and no
greenlet runs while another never yields. This thread needs neither: it hears of
signals through a pipe that the interpreter writes to at once, keeps the time, and
leaves by ``os._exit``. Only C code that blocks without releasing the interpreter's
lock is beyond it (and beyond everything but SIGKILL).

Once a signal has come it also asks the loop, every second, whether it still turns: if not, it
says who holds it, and how to force the end, because nobody else can.
"""

from __future__ import annotations

import faulthandler
import math
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gevent import monkey

from sprag._exit_codes import ExitCode
from sprag._native import make_lock, start_thread
from sprag.exceptions import NoThread
from sprag.process.log_queue import flush_logs
from sprag_supervisor import plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable

OVERTIME: Final = 0.8
"""Seconds past the budget at which the deadman ends the process."""
ECHO: Final = 0.05
"""Two signals within this many seconds are one: a terminal and a wrapper both sent it."""

_PATIENCE: Final = 0.3
"""Seconds that the Python handler of a second signal gets before the deadman acts."""
_LOOK_PATIENCE: Final = 1.0
"""Seconds that the Python handler of SIGUSR1 gets."""
_ANSWER: Final = 0.8
"""Seconds that the loop gets to answer, before it is said who holds it."""
_SLICE: Final = 0.1
"""Seconds of one wait while the loop is asked: what a suspended process is taken to have had."""
_ASK: Final = 1.0
"""Seconds from an answer to the next question."""
_REPEAT: Final = 10.0
"""Seconds between two reports about one stall."""
_UNHANDLED: Final = (signal.SIG_DFL, signal.SIG_IGN, None)
_MOMENT: Final = 0.2
_LONGEST_WAIT: Final = 3600.0
_CHUNK: Final = 4096  # a pipe that is ready takes as much without blocking

_make_poll = monkey.get_original("select", "poll")
_close = monkey.get_original("os", "close")  # gevent's own closes later


class Deadman:
    """Watches over the end of the process from a thread of its own.

    Args:
        handled: The signals that ask for the end.
        budget: Seconds from the first of them to the end.
        describe: Says what still runs. Called from the thread.
        wake: Wakes the loop of the main thread, which calls `answered`. Called from the thread.
        held: Says who holds the loop, given the signal and the seconds until the end. Called
            from the thread.
        delay: Seconds by which a SIGTERM begins the end later; another signal begins it at once.
        may_end: Says of another signal whether it asks for the end this time. Called from the
            thread.

    Attributes:
        writing: The pipe's end for `signal.set_wakeup_fd`.
    """

    def __init__(
        self,
        handled: frozenset[int],
        budget: float,
        describe: Callable[[], str],
        wake: Callable[[], object],
        held: Callable[[int, float], str] | None = None,
        *,
        delay: float = 0.0,
        may_end: Callable[[int], bool] = lambda _number: False,
    ) -> None:
        self._handled = handled
        self._may_end = may_end
        self._budget = budget
        self._delay = delay
        self._begins_at = -math.inf
        self._describe = describe
        self._wake = wake
        self._held = held
        self._first = 0
        self._heard_first = math.inf
        self._deadline = math.inf
        self._code: int = ExitCode.NOT_CLEAN
        self._is_over = False
        self._is_after_signal = False
        self._look_at = math.inf
        self._ask_at = math.inf
        self._asked = self._answered = 0
        self._patience = math.inf  # Invariant: finite while the last question is open
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self._lives = make_lock()  # held by the thread, as long as it lives
        self._lives.acquire()
        try:
            start_thread(self._watch)
        except NoThread:
            _close(self._reading)
            _close(self.writing)
            raise

    def must_end(
        self, seconds: float, code: int, describe: Callable[[], str], *, after_signal: bool
    ) -> None:
        """End the process with *code* if it still lives after *seconds*, or at a signal.

        With *after_signal* one has led here already, of which the thread may hear only now.
        """
        self._code = code
        self._describe = describe
        self._is_after_signal = after_signal
        self._is_over = True
        self._deadline = time.monotonic() + seconds
        self.tell(0)

    def tell(self, number: int) -> None:
        """Behave as if the signal of this number had come; 0 looks at the time again."""
        os.write(self.writing, bytes([number]))

    def looked(self) -> None:
        """Take note that the Python handler of SIGUSR1 runs: nothing to do here."""
        self._look_at = math.inf

    def answered(self) -> None:
        """Take note that the loop turns. Called in the hub."""
        self._answered = self._asked

    def dismiss(self) -> None:
        """Let the thread end, and wait for that: a moment, if the machine has one for it."""
        _close(self.writing)  # it reads the end of the pipe, closes its side and goes
        self._lives.acquire(timeout=_MOMENT)

    def forget(self) -> None:
        """Close the pipe in a forked child, where the thread does not exist."""
        os.close(self.writing)
        os.close(self._reading)

    def _watch(self) -> None:
        poll = _make_poll()
        poll.register(self._reading, select.POLLIN)
        while True:
            now = time.monotonic()
            left = self._deadline - now
            if left <= 0:
                end_process(self._code, "out of time", self._describe, stacks=True)
            if now >= self._look_at:
                self._look_at = math.inf
                self._look()
            self._keep_asking(now)
            left = min(left, max(min(self._look_at, self._ask_at) - now, 0.0))
            left = min(left, _SLICE if self._patience != math.inf else _LONGEST_WAIT)
            heard = poll.poll(math.ceil(left * 1000))
            # However long it took: a process that was suspended holds nothing.
            self._patience -= min(time.monotonic() - now, _SLICE)
            if not heard:
                continue
            data = os.read(self._reading, _CHUNK)
            if not data:
                os.close(self._reading)
                self._lives.release()
                return
            # A signal that comes right before the loop goes to sleep would stay pending in it.
            with suppress(Exception):
                self._wake()
            for number in data:
                if number in self._handled or self._may_end(number):
                    self._heard(number)
                elif number == signal.SIGUSR1 and signal.getsignal(number) not in _UNHANDLED:
                    self._look_at = time.monotonic() + _LOOK_PATIENCE

    def _look(self) -> None:
        """Answer SIGUSR1 in place of a main thread that sits in C: greenlets are out of reach."""
        said = f"sprag: the main thread does not answer; {_described(self._describe)}\n"
        write_stderr(_stacks() + said)

    def _keep_asking(self, now: float) -> None:
        """Ask the loop whether it turns; say who holds it, once it has not answered for long."""
        if self._is_over or self._held is None:
            self._ask_at = self._patience = math.inf
            return
        if self._patience != math.inf and self._answered == self._asked:
            self._patience, self._ask_at = math.inf, now + _ASK
        if self._patience <= 0:
            self._patience, self._ask_at = math.inf, now + _REPEAT
            said = "the loop is held"
            with suppress(Exception):  # it looks at a stack that changes meanwhile
                said = self._held(self._first, self._deadline - now)
            write_stderr(f"sprag: {said}\n")
        elif now >= self._ask_at:
            self._ask_at, self._patience = math.inf, _ANSWER
            self._asked += 1
            with suppress(Exception):
                self._wake()

    def _heard(self, number: int) -> None:
        now = time.monotonic()
        if self._heard_first == math.inf and (not self._is_over or self._is_after_signal):
            self._heard_first = now
            if not self._is_over:
                self._first = number
                delay = self._delay if number == signal.SIGTERM else 0.0
                self._begins_at = now + delay
                self._deadline = min(self._deadline, self._begins_at + self._budget + OVERTIME)
                self._ask_at = now
        elif number == signal.SIGHUP and self._heard_first != math.inf:
            return
        elif not 0 <= now - self._heard_first < ECHO:
            if now < self._begins_at:
                self._begins_at = self._heard_first = now
                self._deadline = min(self._deadline, now + self._budget + OVERTIME)
                return
            self._code = 128 + number
            self._deadline = min(self._deadline, now + _PATIENCE)


def end_process(
    code: int, why: str, describe: Callable[[], str], *, stacks: bool = False
) -> NoReturn:
    """Leave the process now, with last words on stderr that cannot block.

    Past Python's buffers and locks, which may be held by whoever is stuck. What was logged before
    has a second to be written.
    """
    try:
        flush_logs()
        said = f"sprag: {why}: ending at once; {_described(describe)}\n"
        write_stderr(_stacks() + said if stacks else said)
    finally:
        os._exit(code)


def _described(describe: Callable[[], str]) -> str:
    # It looks at a tree that changes meanwhile, in another thread.
    for _ in range(3):
        with suppress(RuntimeError):
            return describe()
    return "something still runs"


def write_stderr(text: str) -> None:
    """Write to stderr past Python's buffers and locks; what nobody reads is dropped.

    Names and messages in the text are others': they must not act on a terminal.
    """
    if sys.__stderr__ is None:
        return  # 2 is closed, or somebody else's file by now
    poll: Any = _make_poll()
    poll.register(2, select.POLLOUT)
    said = plain_lines(text).encode(errors="backslashreplace")
    for begin in range(0, len(said), _CHUNK):
        if not poll.poll(200):
            return  # nobody reads
        with suppress(OSError):
            os.write(2, said[begin : begin + _CHUNK])


def _stacks() -> str:
    """Return the Python stacks of all threads, as much as a pipe takes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    faulthandler.dump_traceback(writing, all_threads=True)
    os.close(writing)
    text = bytearray()
    while piece := os.read(reading, 1 << 16):
        text += piece
    return text.decode(errors="replace")
