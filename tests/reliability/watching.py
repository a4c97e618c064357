"""What can be seen of an app and its programs from outside."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controlled import ask
from processes import PATIENCE
from programmed import is_there

if TYPE_CHECKING:
    from collections.abc import Callable

    from processes import Process


def nobody_is_left(process: Process, directory: Path, within: float) -> None:
    """Demand that all programs of *process* are gone, at once or soon."""
    deadline = time.monotonic() + within
    while True:
        left = process.survivors() + [pid for pid in pids(directory) if is_there(pid)]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(0.02)
    told = [(pid, _command(pid)) for pid in left]
    for pid in left:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    assert not told


def pids(directory: Path) -> list[int]:
    """Return which processes the programs have said they are."""
    with suppress(FileNotFoundError):
        return [int(line) for line in (directory / "pids").read_text().split()]
    return []


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return "?"


def children(pid: int) -> dict[int, str]:
    """Return the children of a process, with their states."""
    found: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found[int(stat.parent.name)] = fields[0]
    return found


def state_of(pid: int) -> str:
    """Return the letter by which the kernel says what a process does; "" if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has."""
    return sum(1 for _each in Path(f"/proc/{pid}/fd").iterdir())


def memory(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not come to pass: {what}"
        time.sleep(0.02)


def asked(process: Process, target: str) -> tuple[Any, float]:
    """Ask the control socket; return what it answers, and after how many seconds."""
    path = process.socket()
    began = time.monotonic()
    status, answer = ask(path, "GET", f"/v1/{target}")
    assert status == 200, answer
    return answer, time.monotonic() - began


def service(process: Process, path: str) -> dict[str, Any]:
    """Return what the app tells of one service."""
    found: dict[str, Any] = asked(process, f"service/{path}")[0]
    return found


def guard_of(process: Process) -> int:
    """Return the pid of its guard; 0: it has none now."""
    for pid, state in children(process.popen.pid).items():
        with suppress(OSError):
            if state != "Z" and b"guarding" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return 0
