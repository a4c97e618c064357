"""``sprag run --reload``: the same command line once more, started anew when a file is saved.

The parent imports no user code and patches nothing. It opens the sockets, so that whoever connects
while the app restarts waits, and is not refused. At a terminal the app is in its foreground group
as the parent is: it may read what is typed, and Ctrl-C and Ctrl-Z reach both, by the kernel. Such
a signal is not passed on, any other one is. Signals are blocked, and waited for in one place.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import signal
import termios
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sprag._exit_codes import ExitCode
from sprag.process import sockets
from sprag.process.log_queue import flush_logs
from sprag.process.said import log
from sprag.process.signals import has_terminal
from sprag.process.worker import RELOADER
from sprag.workers.plan import FOR_ONE_ALONE, MARGIN, same_command
from sprag_cli.run.changes import Changes, Wanted
from sprag_cli.run.logs import configure
from sprag_cli.run.opening import open_for_workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag_cli.run.options import RunOptions

_NEWS: Final = signal.SIGUSR2
"""By which our own thread wakes us."""
_KERNEL: Final = 0x80
"""``si_code`` of a signal that the terminal has sent, to all of its foreground group."""
_NAMED: Final = 3
_LATE: Final = 0.5
"""Seconds past the time from which on we take ourselves to have been suspended."""
_AFTER_LATE: Final = 1.0
"""Seconds that the app gets then."""


def run_reloading(options: RunOptions) -> int:
    """Run the app, and run it anew when a file has changed: blocks until it is not to run any more.

    Returns:
        The exit code.

    Raises:
        CommandError: It cannot be begun, or files cannot be watched any more.
    """
    waited = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, _NEWS}
    waited -= {each for each in _MAY_BE_IGNORED if signal.getsignal(each) is signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)  # before any thread begins
    configure(options.log_format, options.log_level)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts what nobody asks for, too
    folders = tuple(Path(each).resolve() for each in options.reload_dir or (".",))
    include = [*options.reload_include]
    if options.env_file is not None:
        include.append(str(Path(options.env_file).resolve()))
    wanted = Wanted(folders, include, options.reload_exclude)
    open_for_workers(options.binds, options.socket_mode)
    main = threading.get_ident()
    changes = Changes(folders, wanted, lambda: signal.pthread_kill(main, _NEWS))
    app = _App(same_command(), sockets.numbers())
    reloader = _Reloader(app, changes, waited, options.shutdown_timeout + MARGIN)
    try:
        log(logging.INFO, "reloads when a file changes", below=", ".join(map(_shown, folders)))
        return reloader.run()
    finally:
        changes.close()
        app.kill()
        flush_logs()


_MAY_BE_IGNORED: Final = signal.SIGINT, signal.SIGHUP


def _is_in_front() -> bool:
    """Whether stdin is our terminal, and we are in its foreground."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _terminal_modes() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


@dataclass(slots=True)
class _App:
    """The process that runs the app; at most one at a time.

    Attributes:
        words: Its command line.
        inherited: The descriptors of the sockets that it is to have, by name.
        pid: Its process id; None: there is none.
        has_our_group: A signal of the terminal reaches it as it reaches us.
    """

    words: tuple[str, ...]
    inherited: Mapping[str, int]
    pid: int | None = None
    has_our_group: bool = False
    _count: int = 0
    _modes: list[Any] | None = field(default_factory=_terminal_modes)

    def start(self) -> None:
        """Start it; its exec has succeeded then."""
        self._count += 1
        # Above all numbers that they are to have, so that no copy is over another.
        first, given = sockets.FIRST + len(self.inherited), self.inherited.values()
        copies = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, first) for each in given]
        self.has_our_group = _is_in_front()
        group: dict[str, Any] = {} if self.has_our_group else {"setpgroup": 0}
        try:
            self.pid = os.posix_spawnp(
                self.words[0],
                self.words,
                self._environment(),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, copy, number)
                    for number, copy in enumerate(copies, sockets.FIRST)
                ],
                setsigmask=(),
                **group,
            )
        finally:
            for copy in copies:
                os.close(copy)

    def _environment(self) -> dict[str, str]:
        found = {name: value for name, value in os.environ.items() if name not in FOR_ONE_ALONE}
        found[RELOADER] = f"{os.getpid()}:{self._count}"
        if self.inherited:
            found["LISTEN_FDS"] = str(len(self.inherited))
            found["LISTEN_FDNAMES"] = ":".join(self.inherited)
        return found

    def send(self, number: int) -> None:
        """Send it a signal, if there is one."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def ended(self) -> int | None:
        """Return how it has ended, a signal as a negative number; None: it has not, or is not."""
        if self.pid is None:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.pid = None
        # Of what it has left the terminal in, a debugger's prompt say.
        if self._modes is not None and self._modes != _terminal_modes() and _is_in_front():
            with suppress(termios.error):
                termios.tcsetattr(0, termios.TCSANOW, self._modes)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """Let nothing of it live on."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None


@dataclass(slots=True)
class _Reloader:
    """Has the app run, and decides on what there is to hear.

    Attributes:
        app: The process.
        changes: What has changed.
        waited: The signals, which are blocked.
        budget: Seconds that the app may take to stop.
        has_terminal: Whether there was one when we began, which may be closed.
    """

    app: _App
    changes: Changes
    waited: set[signal.Signals]
    budget: float
    has_terminal: bool = field(default_factory=has_terminal)
    _is_over: bool = False
    _is_stale: bool = False
    _is_stopping: bool = False
    _is_killed: bool = False
    _left: float = math.inf
    _was_restarted: bool = False
    _saved: set[Path] = field(default_factory=set[Path])

    def run(self) -> int:
        """Run it; blocks. Return the exit code."""
        self.app.start()
        while True:
            self._act(self._heard())
            self._look_at_files()
            code = self.app.ended()
            if code is not None and (end := self._end_of(code)) is not None:
                return end
            if self.app.pid is None:
                if self._is_over:
                    return ExitCode.STOPPED
                if self._is_stale:
                    self._start()
            elif self._left <= 0:
                self._kill()
            elif self._is_stale and not (self._is_stopping or self._is_over):
                self._is_stopping, self._left = True, self.budget
                self.app.send(signal.SIGTERM)

    def _heard(self) -> Any:
        """Wait for a signal, or until the app is late; not counting time of our suspension."""
        if self._left == math.inf:
            return signal.sigwaitinfo(self.waited)
        patience, began = max(self._left, 0.0), time.monotonic()
        heard = signal.sigtimedwait(self.waited, patience)
        took = time.monotonic() - began
        if took > patience + _LATE:
            self._left = _AFTER_LATE if patience > _AFTER_LATE else 0.0
        else:
            self._left -= took
        return heard

    def _act(self, heard: Any) -> None:
        if heard is None or heard.si_signo in (signal.SIGCHLD, _NEWS):
            return
        number = signal.Signals(heard.si_signo)
        if number is signal.SIGUSR1:
            self.app.send(number)
        elif number is signal.SIGHUP and not self.has_terminal:
            log(logging.INFO, "the app restarts", signal=number.name)
            self._is_stale = True
        else:
            self._stop(number, reaches_it=heard.si_code == _KERNEL and self.app.has_our_group)

    def _stop(self, number: signal.Signals, *, reaches_it: bool) -> None:
        if not reaches_it:
            # An interrupt answers those in the queue, which nobody takes over; in the background it
            # may be ignored. A second signal is what ends it at once, whichever it is.
            can_interrupt = signal.SIGINT in self.waited and number is signal.SIGTERM
            self.app.send(signal.SIGINT if can_interrupt else number)
        if not self._is_over:
            self._is_over, self._left = True, self.budget
            sockets.close()

    def _look_at_files(self) -> None:
        files = self.changes.take()
        self._saved.update(files)
        if files and not (self._is_over or self._is_stale):
            names = ", ".join(map(_shown, files[:_NAMED]))
            more = len(files) - _NAMED
            names += f" and {more} more" if more > 0 else ""
            log(logging.INFO, "saved: the app restarts", files=names)
            self._is_stale = True

    def _start(self) -> None:
        self._is_stale = self._is_stopping = self._is_killed = False
        self._left = math.inf
        self._was_restarted = True
        for file in self._saved:
            _forget_bytecode(file)
        self._saved.clear()
        self.app.start()

    def _kill(self) -> None:
        why = "code that holds the loop, or waits at a breakpoint"
        log(logging.WARNING, "the app does not stop: it is killed", seconds=self.budget, hint=why)
        self._is_killed, self._left = True, math.inf
        self.app.send(signal.SIGKILL)

    def _end_of(self, code: int) -> int | None:
        """Return the exit code of all, as the app has ended with *code*; None: it goes on."""
        told = 128 - code if code < 0 else code
        if self._is_over:
            return ExitCode.NOT_CLEAN if self._is_killed else told
        if self._is_stale:
            return None
        if code == ExitCode.STOPPED or (code == ExitCode.USAGE and not self._was_restarted):
            return code
        how: dict[str, object] = {"code": code} if code > 0 else {"signal": _signal_name(-code)}
        log(logging.ERROR, "the app has ended, and starts again when a file is saved", **how)
        return None


def _forget_bytecode(file: Path) -> None:
    """Have the next import of *file* read it.

    Two saves within one second that leave it as long as it was are one for Python, which would
    take what it has compiled of the first.
    """
    with suppress(OSError, ValueError, NotImplementedError):
        Path(cache_from_source(str(file))).unlink()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _shown(path: Path) -> str:
    with suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd().resolve()))
    return str(path)
