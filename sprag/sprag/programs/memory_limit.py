"""How much memory the kernel lets a process have: the least that a control group above it says."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROCESSES: Final = Path("/proc")
_NONE: Final = 1 << 60
"""Version 1 says a number like this where there is no limit."""


def memory_limit(pid: int) -> int | None:
    """Return the bytes that process *pid* may have with all of its group; None: nobody says."""
    limits: list[int] = []
    with suppress(OSError, ValueError):
        for line in (_PROCESSES / str(pid) / "cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                top, name = _CGROUPS, "memory.max"
            elif "memory" in controllers.split(","):
                top, name = _CGROUPS / "memory", "memory.limit_in_bytes"
            else:
                continue
            # In a container the path may be that of the machine: there our own is at the top.
            group = top / path.lstrip("/")
            while group != top.parent:
                limits += _limit(group / name)
                group = group.parent
    return min(limits, default=None)


def _limit(place: Path) -> list[int]:
    with suppress(OSError, ValueError):
        limit = int(place.read_text())  # "max" is no number
        return [limit] if limit < _NONE else []
    return []
