"""What the tests of programs share: small programs, and what they have said."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from sprag import Program

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 20.0


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for a condition, in real time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come to pass"
        gevent.sleep(0.005)


def python(source: str, **given: Any) -> Program:
    """Return a program that runs a few lines of Python."""
    name = given.pop("name", "it")
    return Program([sys.executable, "-S", "-c", source], name=name, **given)


def is_there(pid: int) -> bool:
    """Whether a process lives."""
    with suppress(OSError, IndexError):
        stat = Path("/proc", str(pid), "stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    return False


class Log(logging.Handler):
    """Keeps what is logged.

    Attributes:
        lines: The output of programs: (path, stream, line).
        events: All else.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[str, str, str]] = []
        self.events: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = getattr(record, "sprag", {})
        if said.get("event") == "output":
            self.lines.append((said["service"], said["stream"], said["line"]))
        else:
            self.events.append(said)

    def texts(self) -> list[str]:
        return [line for _service, _stream, line in self.lines]
