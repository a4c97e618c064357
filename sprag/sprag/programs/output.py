"""What a program writes: read until nobody holds the other end, line by line, or copied as it is.

The reader never stops, whatever becomes of the lines: a program whose pipe is full hangs. So there
are bounds instead. A line is cut, a second has so many lines for the log, and what is left out is
counted and told. A raw copy has no bounds, and a full disk is told once.

The loop's part is to see that there is something to read. It is read and split in an engine
greenlet, and only so many lines are made records before others have their turn: one who floods
holds up nobody. What is over the limit is counted, and not even split.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from gevent import get_hub

from sprag.programs.lines import KEPT, Stream, as_on_terminal, as_text, bounded, newlines
from sprag.programs.outlets import PIECE
from sprag.programs.popen import close
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.programs.raw_copy import RawCopy
_PIECES: Final = 4
_LINES: Final = 100
"""So many pieces are read, and lines of them taken, before others have their turn."""
_PATIENT: Final = 1.0
_MOST_SPENT: Final = 0.5
"""Of a program that for so many seconds has written faster than its lines are taken, lines are
taken for so many of each second: the rest is left out, or it would be held up for ever."""
_AT_LAST: Final = 10
"""So many times that of what was read when it is closed; all at once, and then no more."""
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
        is_terminal: It is written to a terminal of ours, for which it is coloured and the like.
    """

    def __init__(
        self,
        launch: Callable[[Callable[[], object]], object],
        take: Callable[[list[Written]], object],
        drop: Callable[[int], object],
        limit: int,
        copy: RawCopy | None,
        *,
        is_terminal: bool = False,
    ) -> None:
        self._launch = launch
        self._take = take
        self._drop = drop
        self._limit = limit
        self._copy = copy
        self._text = as_on_terminal if is_terminal else as_text
        self.is_split = True
        """Whether its lines are looked at, although it is copied."""
        self._last: deque[Written] = deque(maxlen=KEPT)
        self.lines = self.dropped = 0
        self.is_last = False
        """Whether nobody writes any more: one that has flooded keeps nobody waiting."""
        self.is_over = True
        self.on_over: Callable[[], object] = int
        """Called when nobody holds the other ends any more."""
        self._streams: list[Stream] = []
        self._ready: list[Stream] = []
        self._is_reading = False
        self._tails: dict[str, bytes] = {}
        """The end of what was only copied, by stream."""
        self._second, self._spent, self._caught_up = 0.0, 0.0, 0.0
        self._in_second = self._untold = self._taken = 0

    @property
    def last(self) -> list[Written]:
        """The last lines; of what was only copied, those of one stream after those of the other."""
        copied = [
            Written(stream, self._text(bounded(line)))
            for stream, tail in self._tails.items()
            for line in tail.removesuffix(b"\n").split(b"\n")[-KEPT:]
        ]
        return [*self._last, *copied][-KEPT:]

    @property
    def is_copied(self) -> bool:
        """Whether it goes into a file as it is."""
        return self._copy is not None

    def read(self, name: str, descriptor: int) -> None:
        """Begin to read from *descriptor*, which is ours from now on and does not block."""
        self.is_over = False
        self._caught_up = clock.now()
        stream = Stream(name, descriptor)
        self._streams.append(stream)
        stream.watcher = get_hub().loop.io(descriptor, 1)
        stream.watcher.start(self._is_readable, stream)

    def receive(self, lines: list[Written]) -> None:
        """Take lines as if they had been read."""
        room = self._room()
        self._are_taken(lines[:room])
        if left_out := lines[room:]:
            self._are_left_out(len(left_out), left_out[-KEPT:])

    def close(self) -> None:
        """Read no more: what is still written is nobody's. Harmless a second time."""
        for stream in tuple(self._streams):
            self._finish(stream)
        if self._copy is not None:
            self._copy.close()  # also of one that could not be started

    def _is_readable(self, stream: Stream) -> None:
        # In the hub.
        stream.watcher.stop()
        self._ready.append(stream)
        if not self._is_reading:
            self._is_reading = True
            self._launch(self._read_all)

    def _read_all(self) -> None:
        try:
            for stream in self._take_ready():
                if not self._read_some(stream):
                    continue
                if stream.unread:
                    self._ready.append(stream)
                else:
                    stream.watcher.start(self._is_readable, stream)
        finally:
            self._is_reading = False
        if self._ready:
            # By a timer: of callbacks that make new ones the loop runs many in a row.
            self._is_reading = True
            clock.call_later(0.0, self._go_on)

    def _go_on(self) -> None:
        # In the hub.
        self._launch(self._read_all)

    def _take_ready(self) -> list[Stream]:
        ready, self._ready = self._ready, []
        return ready

    def _read_some(self, stream: Stream) -> bool:
        """Read what there is, up to a bound; return whether there may be more, now or later."""
        before = self._taken
        for _ in range(_PIECES):
            if stream.descriptor < 0:
                return False
            if self._taken - before >= _LINES:
                return True
            data = stream.unread
            if not data:
                try:
                    data = os.read(stream.descriptor, PIECE)
                except BlockingIOError:
                    self._caught_up = clock.now()
                    return True
                except OSError:  # at a terminal, nobody has it open any more
                    data = b""
                if not data:
                    self._finish(stream)
                    return False
                if self._copy is not None:
                    self._copy.write(data)
            if self._copy is not None and not self.is_split:
                self._keep(stream, data)
                stream.unread = b""
                continue
            stream.unread = self._pass_on(stream, data)
        return True

    def _finish(self, stream: Stream) -> None:
        if stream.descriptor < 0:
            return
        stream.watcher.stop()
        stream.watcher.close()
        close(stream.descriptor)
        stream.descriptor = -1
        self._streams.remove(stream)
        for _ in range(_AT_LAST):
            stream.unread = self._pass_on(stream, stream.unread)
        self._leave_out(stream, stream.unread)
        stream.unread = b""
        if rest := stream.rest():
            self._are_taken([Written(stream.name, self._text(rest))])
        if not self._streams:
            self._tell_dropped()
            if self._copy is not None:
                self._copy.close()
            self.is_over = True
            self.on_over()

    def _keep(self, stream: Stream, data: bytes) -> None:
        """Remember the end of what was only copied."""
        self.lines += newlines(data)
        if len(data) < _TAIL:
            data = self._tails.get(stream.name, stream.rest()) + data
        self._tails[stream.name] = data[-_TAIL:]

    def _pass_on(self, stream: Stream, data: bytes) -> bytes:
        """Take the lines that end in *data*; return what of it is still to be taken."""
        began = clock.now()
        if room := self._room():
            lines, unread = stream.split(data, min(room, _LINES))
            self._are_taken([Written(stream.name, self._text(line)) for line in lines])
            self._spent += clock.now() - began
            return unread
        self._leave_out(stream, data)
        return b""

    def _room(self) -> int:
        """Return how many lines may be taken now."""
        now = clock.now()
        if now - self._second >= 1:
            self._second, self._in_second, self._spent = now, 0, 0.0
            self._tell_dropped()
        if self._copy is not None:
            return _LINES  # it is looked at, and not logged
        is_pressed = self._spent > _MOST_SPENT or self.is_last
        if is_pressed and now - self._caught_up > _PATIENT:
            return 0
        return max(self._limit - self._in_second, 0)

    def _are_taken(self, lines: list[Written]) -> None:
        if lines:
            self._last.extend(lines)
            self.lines += len(lines)
            self._in_second += len(lines)
            self._taken += len(lines)
            self._take(lines)

    def _leave_out(self, stream: Stream, data: bytes) -> None:
        number, lines = stream.skip(data)
        self._are_left_out(number, [Written(stream.name, self._text(line)) for line in lines])

    def _are_left_out(self, number: int, last: list[Written]) -> None:
        self._last.extend(last)
        self.lines += number
        if self._copy is None:
            self.dropped += number
            self._untold += number

    def _tell_dropped(self) -> None:
        if self._untold:
            untold, self._untold = self._untold, 0
            self._drop(untold)
