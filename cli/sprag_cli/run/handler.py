"""The handler of ``sprag run``: formats a record where it is made, and leaves the writing.

It takes no lock while it does so: under gevent a lock that another greenlet holds cannot be
waited for in a callback of the loop, and a ``__repr__`` that runs while a record is formatted
may well wait for something.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.process.log_queue import LogQueue
from sprag_cli.run.console import is_output
from sprag_cli.run.repeats import Repeats
from sprag_supervisor import current_node, is_a, path_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from structlog.typing import EventDict

_PATIENCE: Final = 0.05
"""Seconds that the writing thread waits for who logs."""
_OF_CRASHES: Final = "sprag"
"""The logger of the engine: its errors are crashes, and what comes of them."""


class Handler(logging.Handler):
    """Writes records to a stream; to one with a descriptor through a queue.

    Args:
        stream: Where to write.
        again: See `Repeats`.
        after_time: What comes right after the time in a formatted record.
        notice: Returns the record that says how many are missing.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        again: Callable[[str, int], str],
        after_time: str,
        notice: Callable[[int], str],
    ) -> None:
        super().__init__()
        self._stream = stream
        self._after_time = after_time
        self._notice = notice
        self._repeats = Repeats(again)
        self.queue = self._made_queue()

    def _made_queue(self) -> LogQueue | None:
        try:
            self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            return None  # it stands for a stream, as in a test
        return LogQueue(self._descriptor, self._line_of_notice, self._look)

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Make no lock."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> Any:
        """Write *record* if the filters let it pass. Does not block."""
        passed: Any = self.filter(record)
        if passed:
            self.emit(passed if is_a(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*."""
        try:
            text = self.format(record)
            lines = self._unless_repeated(text) if may_be_repeated(record) else [text]
            if self.queue is None:
                for line in lines:
                    self._write(line)
                return
            is_crash = record.levelno >= logging.ERROR and record.name == _OF_CRASHES
            for line in lines:
                self.queue.put(self._encoded(line), is_crash=is_crash)
        except RecursionError:
            raise  # as the handlers of Python do
        except Exception:  # noqa: BLE001 - a record that cannot be shown must not end who made it
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Tell of a record that cannot be formatted; in the way of everything else."""
        if logging.raiseExceptions:
            where = f'File "{record.pathname}", line {record.lineno}, in {record.funcName}'
            said = f"--- Logging error ---\n{traceback.format_exc()}Logged at: {where}"
            if self.queue is None:
                self._write(said)
            else:
                self.queue.put(self._encoded(said))

    def flush(self) -> None:
        """Wait until all is written, a second at most."""
        if self.queue is not None:
            self.queue.flush()

    def _unless_repeated(self, text: str) -> list[str]:
        if self.queue is None or self.queue.is_straight:
            return [text]  # nobody would tell of the last ones
        same = text[max(text.find(self._after_time), 0) :]
        with self.queue.lock:
            was_open = self._repeats.is_open
            lines = self._repeats.written(text, same, time.monotonic())
            if not (lines or was_open):
                self.queue.wake()
        return lines

    # -- in the thread that writes -----------------------------------------------------

    def _descriptor(self) -> int:
        """Return where to write; what is closed may be somebody else's file by now."""
        return -1 if self._stream.closed else self._stream.fileno()

    def _line_of_notice(self, count: int) -> bytes:
        return self._encoded(self._notice(count))

    def _look(self, is_end: bool) -> float | None:  # noqa: FBT001 - given by position
        assert self.queue is not None
        if not self._repeats.is_open:
            return None  # whoever leaves out the first one wakes this thread
        if not self.queue.lock.acquire(timeout=_PATIENCE):
            return _PATIENCE
        now = time.monotonic()
        try:
            lines = self._repeats.due(math.inf if is_end else now)
            due = self._repeats.next_due
        finally:
            self.queue.lock.release()
        for line in lines:
            self.queue.put(self._encoded(line))
        return None if due is None else max(due - now, 0.001)

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._stream.encoding or "utf-8", "backslashreplace")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


def may_be_repeated(record: logging.LogRecord) -> bool:
    """Whether *record* is one of a service, of which only the first few are told.

    What a program writes is its own, line by line: who reads it looks for all of it. What names a
    request is told once as it is; to compare a line of the access log with those before would only
    cost time, and drive out what does come again.
    """
    given: Any = getattr(record, "sprag", None)
    if type(given) is dict and ("request_id" in given or is_output(cast("EventDict", given))):
        return False
    return has_service(record)


def has_service(record: logging.LogRecord) -> bool:
    """Whether *record* names a service, or was made in one."""
    return _names_one(record) or current_node() is not None


def _names_one(record: logging.LogRecord) -> bool:
    given: Any = getattr(record, "sprag", None) or record.msg
    return type(given) is dict and "service" in given


def placed(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the service whose code runs to a record that names none."""
    if "service" not in event and (node := current_node()) is not None:
        event["service"], event["incarnation"] = path_of(node), node._incarnation_
    return event
