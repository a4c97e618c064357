"""The guard: a process beside the app that ends all its programs when the app is gone.

Run as a script in a session of its own, with the end of a pipe as its stdin. The app tells it of
each session that it begins and that is over; the end of the pipe is the end of the app, however it
came. Then it kills every session it was told of, and whoever bears the app's mark in its
environment: also who has left those sessions, or was started just before the app could tell of it.

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


def _end_all(sessions: dict[int, int], mark: bytes) -> None:
    until = time.monotonic() + SECONDS
    in_vain = 0
    while in_vain < _LOOKS and time.monotonic() <= until:
        found = _find(sessions, mark)
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        in_vain = 0 if found else in_vain + 1
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
    _end_all(sessions, mark)


if __name__ == "__main__":
    _main()
