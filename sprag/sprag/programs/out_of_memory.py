"""Whether the kernel has killed a process for want of memory.

It says so to nobody but itself: the process is gone by SIGKILL, as if somebody had sent that. But
it counts whom it kills, in the control group of who is killed. That is ours, too, as a process
stays in the group of who has started it; so where the count has risen meanwhile, and nobody else
accounts for that, it was the kernel. Where the group does not tell, the count of the whole machine
is a hint.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OURS: Final = Path("/proc/self/cgroup")
_MACHINE: Final = Path("/proc/vmstat")
_COUNT: Final = "oom_kill"
SURE: Final = "out of memory"
HINT: Final = "perhaps out of memory"

_places: Final[list[tuple[Path, str]]] = []  # where to look, and what it means if it has risen
_told: Final[list[int]] = [0]  # so many of those who were killed have been told of


class Kills(NamedTuple):
    """How many were killed, and how many of them have been told of."""

    number: int
    told: int


def look() -> Kills:
    """Return how things are before a process may be killed. Reads a short file."""
    return Kills(_count(), _told[0])


def cause_of(code: int, before: Kills) -> str:
    """Return why a process has ended; empty: nobody knows.

    Args:
        code: Its exit code, or minus the signal.
        before: How things were at some time in its life, the later the better.
    """
    if code != -signal.SIGKILL:
        return ""
    now = look()
    if now.number - before.number <= now.told - before.told:
        return ""
    _told[0] += 1
    return _places[0][1]


def _count() -> int:
    if not _places:
        _places.append(_found())
    place, _meaning = _places[0]
    with suppress(OSError, ValueError, IndexError):
        for line in place.read_text().splitlines():
            if line.startswith(f"{_COUNT} "):
                return int(line.split()[1])
    return 0


def _found() -> tuple[Path, str]:
    """Return the file that counts those of our group; of the machine, if there is none."""
    with suppress(OSError, ValueError):
        for line in _OURS.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            inner = path.lstrip("/")
            if number == "0":
                place = _CGROUPS / inner / "memory.events"
            elif "memory" in controllers.split(","):
                place = _CGROUPS / "memory" / inner / "memory.oom_control"
            else:
                continue
            # In a container the path may be that of the machine: there our own is at the top.
            for each in (place, place.parents[len(Path(inner).parts)] / place.name):
                if _counts(each):
                    return each, SURE
    return _MACHINE, HINT


def _counts(place: Path) -> bool:
    try:
        return f"\n{_COUNT} " in f"\n{place.read_text()}"
    except OSError:
        return False
