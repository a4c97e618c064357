"""What Linux tells of processes: who is in a session, since when, with which mark.

A process id is used again. So whoever is to be signalled by what was read here is known by the
time it began as well, and looked at once more just before. Every answer may be out of date.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = "SPRAG_MARK"
"""The variable in a program's environment by which all that it starts is found."""

_BETWEEN: Final = ":"


class Seen(NamedTuple):
    """A process, as it was when it was looked at.

    Attributes:
        pid: Its id.
        state: A letter: "Z" is dead and not waited for, "D" cannot be killed now, "T" is stopped.
        parent: The id of its parent.
        group: Its process group.
        session: Its session.
        began: When it began, in ticks since the machine did.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    began: int

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.state not in "ZX"


def look(pid: int) -> Seen | None:
    """Return what there is of *pid*; None: nothing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - looked at by the thousand
            text = file.read()
        fields = text[text.rindex(b")") + 2 :].split()  # a name may have spaces and parentheses
        state = fields[0].decode()
        return Seen(pid, state, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def everybody() -> Iterator[Seen]:
    """Yield all processes there are."""
    with suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - as above
            if name.isdigit() and (seen := look(int(name))) is not None:
                yield seen


def descendants(pid: int) -> list[Seen]:
    """Return all that *pid* has started, and what they have, that still runs below it."""
    below: dict[int, list[Seen]] = {}
    for seen in everybody():
        below.setdefault(seen.parent, []).append(seen)
    found: list[Seen] = []
    waiting = [pid]
    while waiting:
        for seen in below.pop(waiting.pop(), ()):
            found.append(seen)
            waiting.append(seen.pid)
    return found


def marks_of(pid: int) -> list[str]:
    """Return the marks in the environment that *pid* was started with.

    There are several if it was started by an app that is a program of another one.
    """
    wanted = f"{MARK}=".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - as above
            for variable in file.read().split(b"\0"):
                if variable.startswith(wanted):
                    return variable[len(wanted) :].decode(errors="replace").split(_BETWEEN)
    except OSError:
        return []
    return []


def most_files(pid: int) -> int | None:
    """Return how many descriptors *pid* itself may have open; None: as many as it likes."""
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:  # noqa: PTH123 - as above
            limits = next(line for line in file if line.startswith("Max open files"))
        return int(limits.split()[3])  # "unlimited" is no number
    except (OSError, ValueError, StopIteration):
        return None


def may_signal(pid: int) -> bool:
    """Whether we may send signals to *pid*; it may be gone."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def with_mark(marks: str | None, mark: str) -> str:
    """Return the value of the variable for what bears *mark*, and *marks* as all of its app do."""
    return mark if not marks else f"{marks}{_BETWEEN}{mark}"


def is_still(seen: Seen) -> bool:
    """Whether that process is still there, and not another one of its number."""
    now = look(seen.pid)
    return now is not None and now.began == seen.began and now.is_alive


def who_listens(port: int) -> str:
    """Return who listens at a TCP port, as "pid 123, nginx"; "" if that cannot be seen."""
    wanted = f":{port:04X}"
    sockets: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table) as file:  # noqa: PTH123 - as above
            for line in file:
                fields = line.split()
                if len(fields) > 9 and fields[3] == "0A" and fields[1].endswith(wanted):
                    sockets.add(f"socket:[{fields[9]}]")
    for seen in everybody() if sockets else ():
        with suppress(OSError):
            for name in os.listdir(f"/proc/{seen.pid}/fd"):  # noqa: PTH208 - as above
                with suppress(OSError):
                    if os.readlink(f"/proc/{seen.pid}/fd/{name}") in sockets:  # noqa: PTH115
                        return f"pid {seen.pid}, {name_of(seen.pid)}"
    return ""


def name_of(pid: int) -> str:
    """Return what the kernel calls a process; "?" if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", errors="backslashreplace") as file:  # noqa: PTH123
            return file.read().rstrip("\n")
    except OSError:
        return "?"
