"""The guard: a process beside the app that ends all its programs when the app is gone.

Run as a script in a session of its own, with the end of a pipe as its stdin. The app tells it of
each session that it begins and that is over; the end of the pipe is the end of the app, however it
came. Then it kills every session it was told of, and whoever bears the app's mark in its
environment: also who has left those sessions, or was started just before the app could tell of it.

Where the app was given a part of the control groups (v2) to do with as it likes, the guard puts the
programs into a group of their own below that, and kills that, too: nobody gets out of it. It does
so where systemd says that it was delegated (``Delegate=yes``), or where the app is at the root of a
namespace of its own, as in a container. Who was there before us is never moved, nor killed.

Who has stopped it has not stopped that: the app wakes it, and the death of the app does so, too.

It asks the kernel each time before it kills, by the time at which a process began, and imports
nothing of sprag: it is there when sprag is not.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
SECONDS = 2.0
"""It looks for so long, until nobody is found any more."""
_PAUSE = 0.01
_LOOKS = 2
"""Who is in the midst of an exec has no environment: one looks again when nobody is found."""


def _look(pid: int) -> tuple[str, int, int] | None:
    """Return a process's state, session, and when it began."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib takes time to load
            text = file.read()
        fields = text[text.rindex(b")") + 2 :].split()
        return fields[0].decode(), int(fields[3]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _has_mark(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - as above
            return mark in file.read()
    except OSError:
        return False


def _is_ours(session: int, began: int) -> bool:
    """Whether its number is not another's by now: of a process that began at another time."""
    leader = _look(session)
    return leader is None or not began or leader[2] == began


def _find(sessions: dict[int, int], mark: bytes) -> list[int]:
    """Return who is to be killed: of the sessions, or with the mark."""
    found: list[int] = []
    us = os.getpid()
    sessions = {session: began for session, began in sessions.items() if _is_ours(session, began)}
    for name in os.listdir("/proc"):  # noqa: PTH208 - as above
        pid = int(name) if name.isdigit() else us
        if pid == us or (seen := _look(pid)) is None or seen[0] in "ZX":
            continue
        is_of_session = seen[1] in sessions and seen[2] >= sessions[seen[1]]
        if is_of_session or _has_mark(pid, mark):
            found.append(pid)
    return found


def _given() -> str | None:
    """Return the folder of our control group, if the app may divide it; None: it may not."""
    try:
        with open("/proc/self/cgroup") as file:  # noqa: PTH123 - as above
            path = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
        with open("/proc/self/mountinfo") as file:  # noqa: PTH123 - as above
            mounts = [line.split() for line in file if " - cgroup2 " in line]
    except (OSError, ValueError, StopIteration):
        return None
    for fields in mounts:
        root, place = fields[3].rstrip("/"), fields[4]
        if f"{path.rstrip('/')}/".startswith(f"{root}/"):
            folder = place + path.rstrip("/")[len(root) :]
            return folder if _is_given(folder, is_root=path == "/") else None
    return None


def _is_given(folder: str, *, is_root: bool) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    # The root of the machine itself has no such file.
    return is_root and os.access(f"{folder}/cgroup.events", os.F_OK)


class _Group:
    """The control group of the programs.

    Args:
        mark: The app's.

    Attributes:
        folder: Where it is; "" is none.
    """

    def __init__(self, mark: str) -> None:
        self.folder = ""
        self._ours = b""
        if (given := _given()) is None:
            return
        with suppress(OSError):
            folder = f"{given}/sprag.{mark}"
            with suppress(FileExistsError):  # of a guard before this one
                os.mkdir(folder)  # noqa: PTH102 - as above
            self._ours = _group_of(os.getpid())
            self.folder = folder
            os.setxattr(folder, "user.delegate", b"1")  # a program may be an app, too

    def take(self, pids: list[int]) -> None:
        """Put processes into it that are in ours; what they start will be there by itself."""
        for pid in pids:
            with suppress(OSError):
                if _group_of(pid) == self._ours:
                    _write(f"{self.folder}/cgroup.procs", f"{pid}")

    def kill(self) -> bool:
        """Kill all that are in it; return whether there was anybody."""
        found: list[int] = []
        for folder, _below, _files in os.walk(self.folder) if self.folder else ():
            with suppress(OSError), open(f"{folder}/cgroup.procs") as file:  # noqa: PTH123
                found += map(int, file.read().split())
        try:
            if found:
                _write(f"{self.folder}/cgroup.kill", "1")
        except OSError:  # an older kernel
            _kill(found)
        return bool(found)

    def remove(self) -> None:
        """Remove it, and what apps in it have left."""
        below = list(os.walk(self.folder, topdown=False)) if self.folder else []
        for folder, _below, _files in below:
            with suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106 - as above


def _group_of(pid: int) -> bytes:
    with open(f"/proc/{pid}/cgroup", "rb") as file:  # noqa: PTH123 - as above
        return next((line for line in file if line.startswith(b"0::")), b"")


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - as above
        file.write(text)


def _end_all(sessions: dict[int, int], mark: bytes, group: _Group) -> None:
    until = time.monotonic() + SECONDS
    in_vain = 0
    while in_vain < _LOOKS and time.monotonic() <= until:
        there_were = group.kill()
        found = _find(sessions, mark)
        _kill(found)
        in_vain = 0 if found or there_were else in_vain + 1
        time.sleep(_PAUSE)


def _wake_at_the_end() -> None:
    """Have the kernel wake us when the app dies, should somebody have stopped us."""
    import ctypes  # it is there in time: nobody waits for us now

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def _main() -> None:
    mark = sys.argv[1].encode()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    _wake_at_the_end()
    group = _Group(sys.argv[1])
    sessions: dict[int, int] = {}
    rest = b""
    while data := os.read(0, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            word, *numbers = line.split()
            if word == b"+":
                sessions[int(numbers[0])] = int(numbers[1])
            elif word == b"-":
                sessions.pop(int(numbers[0]), None)
        if group.folder:
            group.take(_find(sessions, mark))
    _end_all(sessions, mark, group)
    group.remove()


if __name__ == "__main__":
    _main()
