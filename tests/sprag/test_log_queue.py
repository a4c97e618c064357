"""The queue in front of stderr, at a pipe of the test's own."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from sprag import _native
from sprag.process import log_queue
from sprag.process.log_queue import MOST, MOST_BYTES, RESERVE, RESERVE_BYTES, Backlog, LogQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


class Piped:
    """A queue, and the pipe that it writes to."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.queue = LogQueue(
            lambda: self.writing, lambda count: b"missing %d\n" % count, lambda _is_end: None
        )

    def fill(self) -> None:
        """Leave no room in the pipe, and have the thread wait for some."""
        self.queue.put(b"." * (1 << 20) + b"\n")
        assert os.read(self.reading, 1) == b"."

    def read(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            got += os.read(self.reading, min(size - len(got), 1 << 16))
        return got

    def drain(self) -> list[bytes]:
        """Read all there is, the filling left out."""
        os.set_blocking(self.reading, False)
        got = b""
        end = time.monotonic() + 20
        while self.queue.backlog.waiting and time.monotonic() < end:
            try:
                got += os.read(self.reading, 1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
        try:
            got += os.read(self.reading, 1 << 20)
        except BlockingIOError:
            pass
        return got.splitlines()[1:]


@pytest.fixture(name="piped")
def _piped() -> Iterator[Piped]:
    piped = Piped()
    yield piped
    piped.queue.is_straight = True
    piped.drain()
    log_queue._queues.remove(piped.queue)
    os.close(piped.reading)
    os.close(piped.writing)


def test_lines_are_written_in_order_and_none_is_lost(piped: Piped) -> None:
    for number in range(100):
        piped.queue.put(b"%d\n" % number)
    piped.queue.flush()
    assert piped.drain() == [b"%d" % number for number in range(1, 100)]
    assert piped.queue.backlog == Backlog(0, 0)


def test_what_waits_is_bounded_in_number_and_crashes_have_a_reserve(piped: Piped) -> None:
    piped.fill()
    for number in range(MOST + 50):
        piped.queue.put(b"%d\n" % number)
    assert piped.queue.backlog.dropped == 51  # the filling waits, too
    for number in range(RESERVE + 7):
        piped.queue.put(b"crash %d\n" % number, is_crash=True)
    assert piped.queue.backlog.dropped == 51 + 7 + 1  # so does the mark of what is missing
    lines = piped.drain()
    assert lines[MOST - 2 : MOST + 1] == [b"%d" % (MOST - 2), b"missing 59", b"crash 0"]
    assert lines[-1] == b"crash %d" % (RESERVE - 2)


def test_what_waits_is_bounded_in_bytes(piped: Piped) -> None:
    piped.fill()
    line = b"x" * 99_999 + b"\n"
    for _ in range(MOST_BYTES // 100_000 + 10):
        piped.queue.put(line)
    dropped = piped.queue.backlog.dropped
    assert dropped >= 10
    for _ in range(RESERVE_BYTES // 100_000 + 5):
        piped.queue.put(line, is_crash=True)
    assert 5 <= piped.queue.backlog.dropped - dropped <= 6
    piped.queue.put(b"short\n")
    assert b"short" not in piped.drain()


def test_a_line_that_is_longer_than_all_that_may_wait_is_written(piped: Piped) -> None:
    piped.queue.put(b"." * (MOST_BYTES + 10) + b"\n")
    assert len(piped.read(MOST_BYTES + 11)) == MOST_BYTES + 11
    assert piped.queue.backlog.dropped == 0


def test_a_flush_has_an_end_and_is_not_waited_for_twice(piped: Piped) -> None:
    piped.fill()
    began = time.monotonic()
    piped.queue.flush(0.2)
    assert time.monotonic() - began >= 0.2
    began = time.monotonic()
    piped.queue.flush(20.0)
    assert time.monotonic() - began < 10.0


def test_a_descriptor_that_does_not_block_is_waited_for(piped: Piped) -> None:
    os.set_blocking(piped.writing, False)
    piped.fill()
    piped.queue.put(b"after\n")
    assert piped.drain()[-1:] == [b"after"]
    assert piped.queue.backlog.dropped == 0


def test_what_cannot_be_written_is_counted_and_told_once_something_can(piped: Piped) -> None:
    writing, piped.writing = piped.writing, -1
    for _ in range(3):
        piped.queue.put(b"lost\n")
        piped.queue.flush()
    assert piped.queue.backlog == Backlog(3, 0)
    piped.writing = writing
    piped.queue.put(b"there\n")
    piped.queue.flush()
    assert piped.read(16) == b"missing 3\nthere\n"


def test_a_stream_without_a_descriptor_loses_lines_that_are_counted(piped: Piped) -> None:
    def descriptor() -> int:
        if is_there:
            return piped.writing
        raise ValueError("underlying buffer has been detached")

    is_there = False
    piped.queue._descriptor = descriptor
    piped.queue.put(b"1\n")
    piped.queue.flush()
    assert piped.queue.backlog == Backlog(1, 0)
    is_there = True
    piped.queue.put(b"2\n")
    piped.queue.flush()
    assert os.read(piped.reading, 100) == b"missing 1\n2\n"


def test_a_line_that_is_cut_in_half_does_not_swallow_the_next(piped: Piped) -> None:
    piped.fill()
    piped.queue.flush(0.1)
    # Its reader goes, in the midst of a line; the next one has a pipe of its own.
    gone, piped_anew = (piped.reading, piped.writing), os.pipe()
    os.close(gone[0])
    piped.reading, piped.writing = piped_anew
    os.close(gone[1])
    piped.queue.put(b"next\n")
    piped.queue.flush()
    assert piped.read(16) == b"\nmissing 1\nnext\n"


def test_without_its_thread_it_writes_what_the_descriptor_takes(piped: Piped) -> None:
    piped.queue.leave_to_parent()
    piped.queue.put(b"straight\n")
    assert piped.read(9) == b"straight\n"
    os.set_blocking(piped.writing, False)
    while True:
        try:
            os.write(piped.writing, b"." * 4096)
        except BlockingIOError:
            break
    for _ in range(3):
        piped.queue.put(b"lost\n")
    assert piped.queue.backlog == Backlog(3, 0)


def test_where_there_can_be_no_thread_who_logs_writes_and_the_next_line_tries_again(
    piped: Piped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_the_end_of_python_312(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patched:
        patched.setattr(_native, "_start_new_thread", at_the_end_of_python_312)
        piped.queue.put(b"one\n")
        piped.queue.wake()
        piped.queue.flush()
        assert os.read(piped.reading, 100) == b"one\n"
        assert piped.queue.backlog == Backlog(dropped=0, waiting=0)
    piped.queue.put(b"two\n")
    assert os.read(piped.reading, 100) == b"two\n"


def test_lines_that_come_one_after_another_wake_no_thread_each(
    piped: Piped, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []

    def write(data: bytes) -> int:
        written.append(data)
        return len(data)

    monkeypatch.setattr(piped.queue, "_write", write)
    began = time.monotonic()
    for number in range(300):
        piped.queue.put(b"%d\n" % number)
        time.sleep(0.0001)
    piped.queue.flush()
    seconds = time.monotonic() - began
    assert b"".join(written).split() == [b"%d" % number for number in range(300)]
    assert len(written) <= seconds / log_queue._GATHERING + 2
