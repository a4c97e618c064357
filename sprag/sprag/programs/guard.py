"""What sees to it that no program outlives the app: our side of the guard (`guarding`).

Only where sprag owns the process (`hosting`). Then the guard is started with the first program; it
is told of each session, woken should somebody stop it, and started again should somebody kill it.
Elsewhere programs die with us by the kernel's word alone, which reaches themselves and not what
they have started.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gevent import Greenlet, get_hub, monkey

from sprag.owned.log import record
from sprag.process.hosting import at_the_end, owns_process
from sprag.programs import guarding, popen, proc
from sprag.programs.popen import close

_PR_SET_CHILD_SUBREAPER: Final = 36
_STOPS_TOO: Final = True
_AFTERWARDS: Final = guarding.SECONDS + 1.0
_MANY: Final = 500
"""Sessions, from which on it is looked whether somebody is left of each."""
_MOST_RESTARTS: Final = 5
_WITHIN: Final = 60.0
"""A guard that cannot live is not started for ever: so often in so many seconds. Nor is it told
more often that it was stopped."""
_AGAIN: Final = 5.0
"""Seconds until it is tried again to start one, if there was no room for it."""
_MOST_UNTOLD: Final = 1 << 20
"""Bytes that it has not read; then it hangs, and is replaced."""


class Guard:
    """The guard of one app."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        """What is found in the environment of all that this app's programs start."""
        self._sessions: dict[int, int] = {}
        self._most = _MANY
        self._writing = -1
        self._watcher: Any = None
        self._room: Any = None
        self._retry: Any = None
        self._untold = bytearray()
        self._pid = 0
        self._deaths: deque[float] = deque(maxlen=_MOST_RESTARTS + 1)
        self._stops: deque[float] = deque(maxlen=_MOST_RESTARTS + 1)
        self._is_over = False

    @property
    def sessions(self) -> tuple[int, ...]:
        """The sessions of the programs that there are."""
        return tuple(self._sessions)

    def prepare(self) -> None:
        """Have the guard run, from the first program on.

        Raises:
            OSError: It cannot be started.
        """
        if self._writing < 0 and not self._is_over:
            self._begin()

    def add(self, session: int, began: int) -> None:
        """Let the session end with the app."""
        if len(self._sessions) >= self._most:
            self._forget_gone()
        self._sessions[session] = began
        self._tell(f"+ {session} {began}\n")

    def _forget_gone(self) -> None:
        """Forget the sessions of which nobody is left: what was left of them has ended since."""
        there = {seen.session for seen in proc.everybody()}
        for session in self._sessions.keys() - there:
            self.forget(session)
        self._most = 2 * len(self._sessions) + _MANY

    def forget(self, session: int) -> None:
        """Take note that nothing is left of a session."""
        if self._sessions.pop(session, None) is not None:
            self._tell(f"- {session}\n")

    def end(self) -> None:
        """Have it end what there is, and wait for that; holds the thread. The app is at its end."""
        self._is_over = True
        self._stop_retrying()
        if self._writing < 0 and self._pid:
            with suppress(OSError):  # it has died: another one, for this alone
                self._begin()
        if self._writing < 0:
            return
        self._let_go()
        self._wake()
        until = time.monotonic() + _AFTERWARDS
        with suppress(ChildProcessError):
            while os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG) is None:
                if time.monotonic() > until:
                    break
                _sleep(0.002)

    def leave_to_parent(self) -> None:
        """Let go of the pipe, in a forked child: the app would seem to live on."""
        if self._writing >= 0:
            close(self._writing)
            self._writing = -1

    def _begin(self) -> None:
        loop = get_hub().loop
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(writing, False)
            words = (sys.executable or "python3", "-I", "-S", str(guarding.__file__), self.mark)
            null = subprocess.DEVNULL
            loop.install_sigchld()
            self._pid = popen.start(
                words, stdin=reading, stdout=null, stderr=null, cwd="/", start_new_session=True
            )
        except BaseException:
            close(writing)
            raise
        finally:
            close(reading)
        self._writing = writing
        self._watcher = loop.child(self._pid, _STOPS_TOO, ref=False)
        self._watcher.start(self._has_changed)
        self._room = loop.io(writing, 2, ref=False)
        self._untold.clear()
        for session, began in self._sessions.items():
            self._tell(f"+ {session} {began}\n")

    def _let_go(self) -> None:
        for watcher in (self._watcher, self._room):
            watcher.stop()
            watcher.close()
        close(self._writing)
        self._writing = -1

    def _stop_retrying(self) -> None:
        if self._retry is not None:
            self._retry.stop()
            self._retry.close()
            self._retry = None

    def _tell(self, line: str) -> None:
        if self._writing < 0:
            return  # the next one is told of all
        self._untold += line.encode()
        if not self._room.active:
            self._pass_on()
        if len(self._untold) > _MOST_UNTOLD:
            with suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)

    def _pass_on(self) -> None:
        # Also in the hub.
        self._room.stop()
        try:
            while self._untold:
                del self._untold[: os.write(self._writing, self._untold)]
        except BlockingIOError:
            self._room.start(self._pass_on)
        except OSError:
            self._untold.clear()  # it has died: the next one is told of all

    def _wake(self) -> None:
        with suppress(OSError):
            os.kill(self._pid, signal.SIGCONT)

    def _has_changed(self) -> None:
        # In the hub.
        status = self._watcher.rstatus
        if os.WIFCONTINUED(status):
            return
        if os.WIFSTOPPED(status):
            self._wake()
            if _are_few(self._stops):
                Greenlet.spawn(_tell_that_it_was_stopped)
            return
        self._let_go()
        if not self._is_over:
            Greenlet.spawn(self._again)

    def _again(self) -> None:
        if not _are_few(self._deaths):
            event = "the guard of the programs does not live: they may outlive this app"
            record(logging.ERROR, event, deaths=len(self._deaths), seconds=_WITHIN)
            return
        record(logging.WARNING, "the guard of the programs has died: it is started again")
        self._try()

    def _try(self) -> None:
        self._stop_retrying()
        try:
            self.prepare()
        except OSError as error:
            event = "the guard of the programs cannot be started: they may outlive this app"
            record(logging.ERROR, event, reason=str(error), next_try_in=_AGAIN)
            self._retry = get_hub().loop.timer(_AGAIN, ref=False)
            self._retry.start(Greenlet.spawn, self._try)


def _are_few(times: deque[float]) -> bool:
    """Take note that it was now; return whether it has not been so too often."""
    now = time.monotonic()
    times.append(now)
    return len(times) <= _MOST_RESTARTS or now - times[0] >= _WITHIN


def _tell_that_it_was_stopped() -> None:
    record(logging.WARNING, "the guard of the programs was stopped: it is woken")


_sleep: Final = monkey.get_original("time", "sleep")
_guards: Final[list[Guard]] = []  # one, from the first program on


def current() -> Guard | None:
    """Return the guard of this app; None: sprag does not own this process.

    With the first one, orphans of programs become our children: the loop waits for them.
    """
    if not _guards and owns_process():
        guard = Guard()
        _guards.append(guard)
        at_the_end(partial(_end, guard))
        _adopt_orphans()
    return _guards[-1] if _guards else None


def kill_all() -> None:
    """Kill all that programs of this app have started, as far as it is in their sessions.

    From any thread: the process is about to end.
    """
    for guard in _guards:
        for session in tuple(guard.sessions):
            with suppress(OSError):
                os.killpg(session, signal.SIGKILL)


def _end(guard: Guard) -> None:
    _guards.remove(guard)
    guard.end()


def _adopt_orphans() -> None:
    """Have what programs leave behind become our children, which the loop waits for."""
    import ctypes  # it takes time and memory, and who runs no programs needs it not

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _after_fork() -> None:
    for guard in _guards:
        guard.leave_to_parent()
    _guards.clear()


os.register_at_fork(after_in_child=_after_fork)
