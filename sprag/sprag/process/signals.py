"""SIGTERM, SIGINT, SIGHUP and SIGUSR1 for a process that runs a tree.

The Python handler only notes the first signal and wakes the main greenlet: it runs
between bytecodes, also while a service hogs the CPU, and the second signal ends the
process right there (gevent-traps 12-17). Where it cannot run, the deadman does. SIGUSR1
is answered right in the handler too, so that a loop that hangs can be looked at.

SIGHUP stops what had a controlling terminal when it began, which may be closed; a process
without one, as under a service manager, reloads, and so does nothing else: no such SIGHUP
stops it, nor forces anything. A root may want to reload also where it has a terminal, as the
parent of workers does: then it is stopped by a SIGHUP only if the terminal is gone by then.

What the parent has left behind is undone as far as a program may: what is used here is
unblocked, and SIGTERM always stops. SIGINT and SIGHUP that are ignored stay ignored, as
everywhere: a shell ignores the one for what it starts in the background, nohup the other. A
program that has a handler of its own for SIGHUP or SIGUSR1 keeps that.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from gevent import get_hub

from sprag.process.deadman import ECHO, Deadman, end_process
from sprag.process.worker import worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from sprag_supervisor import Parking

_Handler: TypeAlias = "Callable[[int, FrameType | None], None]"
_USED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGCHLD,  # by subprocesses
)


def take_signals_back() -> None:
    """Undo what the parent has blocked, or ignores and must not: before the app is imported."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _USED)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class Signals:
    """Owns the signals while it is entered; restores what was there before.

    Args:
        wake: Poked by the first signal.
        budget: Seconds from the first signal to the end of the process, at most.
        describe: Says what still runs. Called in a signal handler or another thread.
        dump: Writes down where everybody is, for SIGUSR1. Called in a signal handler.
        held: Says who keeps the stop from beginning or going on, given the signal and the
            seconds left. Called in another thread.
        delay: Seconds by which a SIGTERM begins the stop later; another signal begins it at once.
        reloads_at_terminal: A SIGHUP is a reload as long as the terminal is there.

    Attributes:
        received: The first signal that asks for the stop, or None.
        received_at: When it came, on the monotonic clock.
        reload_asked: A SIGHUP has asked for a reload. For who carries that out to take back.
        farewell_asked: The parent of this worker has said that the stop will come. Likewise.
        begins_at: When the stop begins, on the monotonic clock; later than `received_at` by the
            delay.
    """

    def __init__(
        self,
        wake: Parking,
        budget: float,
        describe: Callable[[], str],
        dump: Callable[[FrameType | None], None],
        held: Callable[[int, float], str] | None = None,
        *,
        delay: float = 0.0,
        reloads_at_terminal: bool = False,
    ) -> None:
        self._delay = delay
        self._reloads_at_terminal = reloads_at_terminal
        self._may_hang_up = False  # Invariant: a SIGHUP is either a reload or a hang-up
        self.begins_at = 0.0
        self.farewell_asked = False
        self.received: signal.Signals | None = None
        self.received_at = 0.0
        self.reload_asked = False
        self._wake = wake
        self._budget = budget
        self._describe = describe
        self._dump = dump
        self._held = held
        self._before: dict[int, Any] = {}
        self._mask_before: set[signal.Signals | int] = set()
        self._wakeup_before = -1
        self._async: Any = None
        self._deadman: Deadman

    def __enter__(self) -> Self:
        """Take the handlers over.

        Raises:
            ValueError: This is not the main thread.
        """
        # Signal watchers do not keep gevent's loop alive; a started async one does, and it
        # is how a handler wakes the loop (gevent-traps 16).
        self._async = get_hub().loop.async_()
        self._async.start(self._woken)
        try:
            no_stops: dict[int, _Handler] = {signal.SIGUSR1: self._look}
            if not has_terminal():
                no_stops[signal.SIGHUP] = self._ask_to_reload
            elif self._reloads_at_terminal:
                self._may_hang_up = True
                no_stops[signal.SIGHUP] = self._hang_up_or_reload
            ours = _ours()
            if worker() is not None:
                no_stops[signal.SIGWINCH] = self._ask_for_farewell
                ours.append(signal.SIGWINCH)
            for number in ours:
                handler = no_stops.get(number, self._handle)
                self._before[number] = signal.signal(number, handler)
        except ValueError:
            self._async.close()
            raise
        handled = frozenset(self._before) - frozenset(no_stops)
        self._deadman = Deadman(
            handled,
            self._budget,
            self._describe,
            self._async.send,
            self._held,
            delay=self._delay,
            may_end=self._is_a_hangup,
        )
        self._mask_before = signal.pthread_sigmask(signal.SIG_UNBLOCK, _USED)
        self._wakeup_before = signal.set_wakeup_fd(self._deadman.writing, warn_on_full_buffer=False)
        _entered.append(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self in _entered:  # else this is a forked child, which has left it already
            self._restore()
            self._deadman.dismiss()
            self._async.close()

    def note(self, number: signal.Signals) -> None:
        """Take *number* as received, though the system did not send it."""
        if self.received is None:
            self._deadman.tell(number)
            self._handle(number, None)

    def must_end(self, seconds: float, code: int, describe: Callable[[], str]) -> None:
        """From now on the deadman ends the process, at a signal or after *seconds*.

        Instead of leaving the context: for a process that ends with its tree.
        """
        self._describe = describe
        after_signal = self.received is not None
        self._deadman.must_end(seconds, code, describe, after_signal=after_signal)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received = signal.Signals(number)
            self.received_at = now
            self.begins_at = now + (self._delay if number == signal.SIGTERM else 0.0)
            self._async.send()
        elif number != signal.SIGHUP and now - self.received_at >= ECHO:
            if now < self.begins_at:
                self.begins_at = self.received_at = now
                self._async.send()
                return
            # A terminal that is closed sends SIGHUP more than once: that is nobody's impatience.
            end_process(128 + number, f"{signal.Signals(number).name} again", self._describe)

    def _is_a_hangup(self, number: int) -> bool:
        """Whether a signal that may mean two things asks for the end. Called in any thread."""
        return number == signal.SIGHUP and self.has_hung_up()

    def has_hung_up(self) -> bool:
        """Whether the terminal is gone, of a process that reloads as long as it has it."""
        return self._may_hang_up and not has_terminal()

    def _hang_up_or_reload(self, number: int, frame: FrameType | None) -> None:
        if self.has_hung_up():
            self._handle(number, frame)
        else:
            self._ask_to_reload(number, frame)

    def _ask_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload_asked = True
        self._async.send()

    def _ask_for_farewell(self, _number: int, _frame: FrameType | None) -> None:
        self.farewell_asked = True
        self._async.send()

    def _look(self, _number: int, frame: FrameType | None) -> None:
        self._deadman.looked()
        self._dump(frame)

    def _woken(self) -> None:
        self._wake.poke()
        self._deadman.answered()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)
        _entered.remove(self)

    def leave_to_parent(self) -> None:
        """Give everything back in a forked child: its signals are not the app's."""
        self._restore()
        self._deadman.forget()


def has_terminal() -> bool:
    """Whether the process has a controlling terminal, which sends SIGHUP when it is closed."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


_TERMINAL: Final = "/dev/tty"


def _ours() -> list[signal.Signals]:
    """Return the signals to handle: of those that a program may want, the ones it does not use."""
    ours = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        ours.append(signal.SIGINT)
    return ours + [each for each in (signal.SIGHUP, signal.SIGUSR1) if _is_free(each)]


def _is_free(number: signal.Signals) -> bool:
    """Whether nobody handles or ignores it; gevent's and faulthandler's handlers Python knows not.

    Their place is the kernel's: where that cannot be asked, Python's word must do.
    """
    if signal.getsignal(number) is not signal.SIG_DFL:
        return False
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return not caught >> (number - 1) & 1
    return True


_entered: list[Signals] = []  # one, as long as it is entered


def _after_fork() -> None:
    for signals in tuple(_entered):
        signals.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
