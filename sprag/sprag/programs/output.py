"""What a program writes: read until nobody holds the other end, line by line, or copied as it is.

The reader never stops, whatever becomes of the lines: a program whose pipe is full hangs. So there
are bounds instead. A line is cut, a second has so many lines for the log, and what is left out is
counted and told. A raw copy has no bounds, and a full disk is told once.

The loop's part is to see that there is something to read. It is read and split in an engine
greenlet, a limited amount at a time, so that one who floods holds up nobody.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

from gevent import get_hub

from sprag.programs.popen import close
from sprag_supervisor import clock, plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT: Final = 20
"""Lines that are remembered."""
LONGEST: Final = 4096
"""Bytes of one line."""
_PIECE: Final = 1 << 16
_PIECES: Final = 16
"""So many pieces are read before others have their turn."""
_MODE: Final = 0o644
_TAIL: Final = 1 << 14


class Written(NamedTuple):
    """A line of a program's.

    Attributes:
        stream: "stdout" or "stderr".
        text: Without its newline; what is no text, or acts on a terminal, is escaped.
    """

    stream: str
    text: str


class Output:
    """The output of one process.

    Args:
        launch: Runs something in an engine greenlet. Called in the hub.
        take: Is given the lines that have come, within the limit. In the engine greenlet.
        drop: Is told how many lines were left out.
        limit: Lines in a second.
        copy: Where all of it goes as it is, instead; then it is split into lines only as long as
            somebody looks at them (`is_split`).
    """

    def __init__(
        self,
        launch: Callable[[Callable[[], object]], object],
        take: Callable[[list[Written]], object],
        drop: Callable[[int], object],
        limit: int,
        copy: RawCopy | None,
    ) -> None:
        self._launch = launch
        self._take = take
        self._drop = drop
        self._limit = limit
        self._copy = copy
        self.is_split = True
        """Whether its lines are looked at, although it is copied."""
        self._last: deque[Written] = deque(maxlen=KEPT)
        self.lines = self.dropped = 0
        self.is_over = True
        self.on_over: Callable[[], object] = int
        """Called when nobody holds the other ends any more."""
        self._streams: list[_Stream] = []
        self._ready: list[_Stream] = []
        self._is_reading = False
        self._tails: dict[str, bytes] = {}
        """The end of what was only copied, by stream."""
        self._second, self._in_second, self._untold = 0.0, 0, 0

    @property
    def last(self) -> list[Written]:
        """The last lines; of what was only copied, those of one stream after those of the other."""
        copied = [
            Written(stream, _text(_bounded(line)))
            for stream, tail in self._tails.items()
            for line in tail.removesuffix(b"\n").split(b"\n")[-KEPT:]
        ]
        return [*self._last, *copied][-KEPT:]

    def read(self, name: str, descriptor: int) -> None:
        """Begin to read from *descriptor*, which is ours from now on and does not block."""
        self.is_over = False
        stream = _Stream(name, descriptor)
        self._streams.append(stream)
        stream.watcher = get_hub().loop.io(descriptor, 1)
        stream.watcher.start(self._is_readable, stream)

    def receive(self, lines: list[Written]) -> None:
        """Take lines as if they had been read."""
        self._pass_on(lines)

    def close(self) -> None:
        """Read no more: what is still written is nobody's. Harmless a second time."""
        for stream in tuple(self._streams):
            self._finish(stream)

    def _is_readable(self, stream: _Stream) -> None:
        # In the hub.
        stream.watcher.stop()
        self._ready.append(stream)
        if not self._is_reading:
            self._is_reading = True
            self._launch(self._read_all)

    def _read_all(self) -> None:
        try:
            while self._ready:
                stream = self._ready.pop(0)
                if self._read_some(stream):
                    stream.watcher.start(self._is_readable, stream)
        finally:
            self._is_reading = False

    def _read_some(self, stream: _Stream) -> bool:
        """Read what there is, up to a bound; return whether there may be more, now or later."""
        for _ in range(_PIECES):
            if stream.descriptor < 0:
                return False
            try:
                data = os.read(stream.descriptor, _PIECE)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if not data:
                self._finish(stream)
                return False
            if self._copy is not None:
                self._copy.write(data)
                if not self.is_split:
                    self._keep(stream, data)
                    continue
            self._pass_on([Written(stream.name, _text(line)) for line in stream.split(data)])
        return True

    def _finish(self, stream: _Stream) -> None:
        if stream.descriptor < 0:
            return
        stream.watcher.stop()
        stream.watcher.close()
        close(stream.descriptor)
        stream.descriptor = -1
        self._streams.remove(stream)
        if rest := stream.rest():
            self._pass_on([Written(stream.name, _text(rest))])
        if not self._streams:
            self._tell_dropped()
            if self._copy is not None:
                self._copy.close()
            self.is_over = True
            self.on_over()

    def _keep(self, stream: _Stream, data: bytes) -> None:
        """Remember the end of what was only copied."""
        self.lines += data.count(b"\n")
        if len(data) < _TAIL:
            data = self._tails.get(stream.name, stream.rest()) + data
        self._tails[stream.name] = data[-_TAIL:]

    def _pass_on(self, lines: list[Written]) -> None:
        if not lines:
            return
        self._last.extend(lines)
        self.lines += len(lines)
        now = clock.now()
        if now - self._second >= 1:
            self._second, self._in_second = now, 0
            self._tell_dropped()
        room = max(self._limit - self._in_second, 0)
        self._in_second += min(len(lines), room)
        if len(lines) > room:
            self._untold += len(lines) - room
            self.dropped += len(lines) - room
        self._take(lines[:room] if len(lines) > room else lines)

    def _tell_dropped(self) -> None:
        if self._untold:
            untold, self._untold = self._untold, 0
            self._drop(untold)


class _Stream:
    """One pipe, and the beginning of the line that has not ended yet."""

    __slots__ = ("_cut", "_pending", "descriptor", "name", "watcher")

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.watcher: Any = None
        self._pending = b""
        self._cut = 0
        """Bytes of the pending line that were left out."""

    def split(self, data: bytes) -> list[bytes]:
        """Return the lines that end in *data*, and keep the beginning of the next one."""
        first, newline, more = data.partition(b"\n")
        if not newline:
            self._add(first)
            return []
        self._add(first)
        lines = [self.rest()]
        *whole, last = more.split(b"\n")
        lines += map(_bounded, whole)
        self._add(last)
        return lines

    def rest(self) -> bytes:
        """Return what there is of the pending line, and begin a new one."""
        line = self._pending
        if self._cut:
            line = _cut(line, len(line) + self._cut)
        self._pending, self._cut = b"", 0
        return line

    def _add(self, data: bytes) -> None:
        room = LONGEST - len(self._pending)
        self._pending += data[:room]
        self._cut += max(len(data) - room, 0)


def _bounded(line: bytes) -> bytes:
    return line if len(line) <= LONGEST else _cut(line, len(line))


def _cut(line: bytes, size: int) -> bytes:
    return line[:LONGEST] + f" … and {size - LONGEST} bytes more".encode()


def _text(line: bytes) -> str:
    text = line.removesuffix(b"\r").decode(errors="backslashreplace")
    return text if text.isprintable() else plain(text.expandtabs())


class RawCopy:
    """A file to which all output of a program is appended as it is.

    Args:
        path: The file; it is made if need be.
        tell: Says once that it cannot be written, and why.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, tell: Callable[[OSError], object]) -> None:
        self._path = path
        self._tell = tell
        self._is_told = False
        self._descriptor = self._open()
        _copies.add(self)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def write(self, data: bytes) -> None:
        """Append *data*; what does not go in is lost."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                self._tell(error)
        else:
            self._is_told = False

    def reopen(self) -> None:
        """Go on in a new file of that name: the old one was moved away."""
        if self._descriptor < 0:
            return
        try:
            new = self._open()
        except OSError as error:
            self._tell(error)
            return
        self._descriptor, old = new, self._descriptor
        close(old)

    def close(self) -> None:
        """Write no more. Harmless a second time."""
        _copies.discard(self)
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                close(descriptor)


_copies: Final[WeakSet[RawCopy]] = WeakSet()


def reopen_files() -> None:
    """Reopen all files that programs' output is copied to, after they were rotated."""
    for copy in tuple(_copies):
        copy.reopen()
