"""Where lines of the log wait for a stderr that may block: a bounded queue, and who writes it.

A pipe that nobody reads, a terminal that is held with Ctrl-S or a disk that hangs would hold the
whole app in the midst of a ``log.info``. So who logs only puts a line down, and a native
thread writes. While that is held up, lines are kept up to a bound; from then on the newest are
dropped and counted, but for errors of crashes some room is kept. How many are missing stands in
the log, where they are missing, once something is written again.

Who logs may be a callback of the loop, a signal handler, or code that the garbage collector runs
in the midst of another call. So who puts takes turns by a lock that its own thread can take
twice, the thread that writes takes none, and each number is written by one side only.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gevent import monkey

from sprag._native import sleep_thread, start_thread
from sprag.exceptions import NoThread
from sprag.process import shared_log

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 10_000
"""Lines that wait."""
MOST_BYTES: Final = 8_000_000
RESERVE: Final = 100
"""Further lines that may wait if they tell of a crash."""
RESERVE_BYTES: Final = 2_000_000
FLUSH: Final = 1.0
"""Seconds that the end of the process waits until all is written."""

_ATOMIC: Final = 4096
"""A pipe takes so many bytes as a whole, whoever else writes to it."""
_PIECE: Final = 1 << 16
_MOVING: Final = 0.05
"""Seconds without progress from which on it counts as held up."""
_GATHERING: Final = 0.005
"""Seconds in which lines gather after a write, so that who logs wakes no thread with each of them.

A thread that is woken takes the interpreter from who serves: at each line, that doubled the cost
of a request."""
_FEW: Final = 200
"""Lines; with more that wait, more are written at once."""
_TURN: Final = 0.0001
"""Seconds that who logs leaves to the writer, when lines come faster than they are written."""
_SLICE: Final = 0.002
_SHORT: Final = 200
_LONG: Final = 60_000
"""Milliseconds of one wait for a descriptor: where there is no thread, and in the thread."""
_WAKE: Final = b""

_make_lock: Final = monkey.get_original("_thread", "RLock")
_make_queue: Final = monkey.get_original("queue", "SimpleQueue")
_make_poll: Final = monkey.get_original("select", "poll")


class Backlog(NamedTuple):
    """How the log gets on.

    Attributes:
        dropped: Lines that were lost since the process began.
        waiting: Lines that are still to be written.
    """

    dropped: int
    waiting: int


class LogQueue:
    """Lines on their way to a file descriptor.

    Args:
        descriptor: Where to write; a negative number once it is closed. Called in the thread.
        notice: Returns the line that says how many are missing. Called in the thread.
        look: Puts what has become due without any new line, and returns the seconds until it
            wants to be called again, None for not before there is a new line. Called in the
            thread, and by who flushes, with True: then everything is due.
    """

    def __init__(
        self,
        descriptor: Callable[[], int],
        notice: Callable[[int], bytes],
        look: Callable[[bool], float | None],
    ) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._look = look
        self._begin()
        self.is_straight = False
        """Each line is written by who puts it: there is no thread (any more)."""
        _queues.append(self)

    def _begin(self) -> None:
        self.lock: Any = _make_lock()
        """Held by who puts; whoever makes lines of several records may hold it, too."""
        self._lines: Any = _make_queue()
        # Written by who puts, under the lock:
        self._put = self._put_bytes = self._refused = 0
        self._has_thread = False
        # Written by the thread:
        self._gone = self._gone_bytes = self._failed = self._told = 0
        self._moved_at = 0.0
        self._carried: list[bytes | None] = []
        self._is_missing = self._is_torn = False
        # By both: the place where lines are missing is marked by a None among the lines.
        self._is_marked = False
        self._gave_up_at = -1

    @property
    def backlog(self) -> Backlog:
        """How the log gets on. From any thread."""
        return Backlog(self._refused + self._failed, max(self._put - self._gone, 0))

    def writes_to(self, descriptor: int) -> bool:
        """Whether that is where its lines go."""
        return descriptor >= 0 and self._descriptor() == descriptor

    def put(self, line: bytes, *, is_crash: bool = False) -> None:
        """Have *line* written, or drop it if too much waits. Does not block.

        Where lines come faster than they are written, but are written, it takes a moment, so
        that none is lost.

        Args:
            line: It ends with a newline.
            is_crash: It may use the reserve.
        """
        if self.is_straight or not self._is_served():
            self._write_straight(line)
            return
        with self.lock:
            waiting = self._put - self._gone
            size = self._put_bytes - self._gone_bytes
            more, larger = (RESERVE, RESERVE_BYTES) if is_crash else (0, 0)
            # A single line is taken however long it is: it is there already.
            if waiting >= MOST + more or (size > 0 and size + len(line) > MOST_BYTES + larger):
                self._refused += 1
                if not self._is_marked:
                    self._is_marked = True
                    self._add(None)
            else:
                self._add(line)
        if waiting > MOST // 2 or size > MOST_BYTES // 2:
            self._give_way()

    def wake(self) -> None:
        """Have `look` called soon."""
        if not self.is_straight and self._is_served():
            with self.lock:
                self._add(_WAKE)

    def _add(self, line: bytes | None) -> None:
        self._lines.put(line)
        self._put += 1
        self._put_bytes += len(line or b"")

    def _is_served(self) -> bool:
        """Whether there is a thread that writes. The first line starts it.

        There can be none where the user has as many as may be, and at the end of Python 3.12.
        """
        if not self._has_thread:
            with self.lock:
                if not self._has_thread:
                    self._has_thread = True
                    try:
                        start_thread(self._write_on)
                    except NoThread:
                        self._has_thread = False
        return self._has_thread

    def _give_way(self) -> None:
        if time.monotonic() - self._moved_at < _MOVING:
            sleep_thread(_TURN)

    def flush(self, seconds: float = FLUSH) -> None:
        """Wait until all is written, so many seconds at most; holds the calling thread.

        Not at all if another flush has waited in vain, and nothing was written since.
        """
        if self.is_straight or not self._has_thread:
            return
        with suppress(Exception):
            self._look(True)
        if self._gave_up_at == self._gone:
            return
        end = time.monotonic() + seconds
        while self._gone < self._put:
            if time.monotonic() >= end:
                self._gave_up_at = self._gone
                return
            sleep_thread(_SLICE)

    def close(self) -> None:
        """Flush, and from then on write without the thread: the interpreter ends."""
        self.flush()
        self.is_straight = True

    def leave_to_parent(self) -> None:
        """Begin anew in a forked child, where there is no thread: what waits is the parent's."""
        self._begin()
        self.is_straight = True

    # -- in the thread -----------------------------------------------------------------

    def _write_on(self) -> None:
        while True:
            with suppress(Exception):  # without this thread there would be no log at all
                self._write_piece()
                if self._put - self._gone < _FEW:
                    sleep_thread(_GATHERING)

    def _write_piece(self) -> None:
        """Wait for lines, and write as many whole ones as a pipe takes in one go."""
        parts: list[bytes] = []
        size = taken = 0
        try:
            wait = None if self._carried else self._look(False)
            line = self._next(wait)
            while True:
                if (line is None and taken) or (size and size + len(line or b"") > _ATOMIC):
                    self._carried.append(line)
                    break
                taken += 1
                if line is None:
                    self._is_marked, self._is_missing = False, True
                elif line:
                    parts.append(line)
                    size += len(line)
                line = self._next(0)
        except Empty:
            pass
        try:
            self._tell_and_write(parts)
        finally:
            self._gone_bytes += size
            self._gone += taken

    def _next(self, wait: float | None) -> bytes | None:
        if self._carried:
            return self._carried.pop()
        line: bytes | None
        line = self._lines.get_nowait() if wait == 0 else self._lines.get(timeout=wait)
        return line

    def _tell_and_write(self, parts: list[bytes]) -> None:
        """Write lines; in front of them, how many are missing there."""
        count = len(parts)
        missing = self._refused + self._failed - self._told if self._is_missing else 0
        if missing:
            parts.insert(0, self._notice(missing))
        if not parts:
            return
        data = b"".join(parts)
        if shared_log.is_shared():
            with shared_log.turn(self._descriptor()):
                is_written = self._is_written(data)
        else:
            is_written = self._is_written(data)
        if is_written:
            self._told += missing
            self._is_missing = False
        else:
            self._failed += count
            self._is_missing = True

    def _is_written(self, data: bytes) -> bool:
        if self._is_torn:
            data = b"\n" + data
        done = 0
        try:
            while done < len(data):
                try:
                    done += self._write(data[done : done + _PIECE])
                except BlockingIOError:  # somebody has set it so for all who share it
                    self._is_writable(_LONG)
                self._moved_at = time.monotonic()
        except (OSError, ValueError):  # the second one of a stream that has no descriptor any more
            if done:
                self._is_torn = data[done - 1 : done] != b"\n"
            return False
        self._is_torn = False
        return True

    # -- the descriptor ----------------------------------------------------------------

    def _write(self, data: bytes) -> int:
        return os.write(self._descriptor(), data)

    def _is_writable(self, milliseconds: int) -> bool:
        poll: Any = _make_poll()
        poll.register(self._descriptor(), select.POLLOUT)
        return bool(poll.poll(milliseconds))

    def _write_straight(self, line: bytes) -> None:
        """Write without the thread, as far as that cannot block for long."""
        if missing := self._refused - self._told:
            line = self._notice(missing) + line
        try:
            for begin in range(0, len(line), _ATOMIC):
                if not self._is_writable(0 if missing else _SHORT):
                    self._refused += 1
                    return
                self._write(line[begin : begin + _ATOMIC])
        except (OSError, ValueError):
            self._refused += 1
        else:
            self._told += missing


_queues: Final[list[LogQueue]] = []  # one, as soon as a process logs through it


def write_as_log(text: str) -> None:
    """Write a text that is no record to stderr: behind the log, if that waits for it.

    Raises:
        OSError: It cannot be written. Only where no log goes through a queue, as the others.
        ValueError: stderr is closed.
        AttributeError: There is none.
    """
    descriptor = -1
    with suppress(OSError, ValueError, AttributeError):
        descriptor = sys.stderr.fileno()
    for queue in _queues:
        if queue.writes_to(descriptor):
            queue.put(text.encode(errors="backslashreplace"))
            return
    sys.stderr.write(text)
    sys.stderr.flush()


def flush_logs(seconds: float = FLUSH) -> None:
    """Wait until what was logged is written, so many seconds at most. From any thread."""
    for queue in tuple(_queues):
        queue.flush(seconds)


def backlog() -> Backlog | None:
    """Return how the log of this process gets on; None: it does not go through a queue."""
    return _queues[-1].backlog if _queues else None


def _after_fork() -> None:
    for queue in _queues:
        queue.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
