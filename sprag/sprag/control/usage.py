"""What the processes of programs use, as psutil measures it: CPU time, memory, descriptors.

A program counts with all that is in its session, as the workers of a gunicorn are. Without psutil,
the extra ``programs``, nothing is measured.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sprag.control.pieces import looking

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Use(NamedTuple):
    """What one program uses.

    Attributes:
        times: Seconds of CPU time that each of its processes has used so far, by pid and beginning.
        rss: Bytes of memory of all of them; what they share counts for each.
        descriptors: How many they have open; None where that cannot be seen.
        threads: How many threads they have.
    """

    times: Mapping[tuple[int, float], float]
    rss: int
    descriptors: int | None
    threads: int

    def cpu_since(self, before: Use, seconds: float) -> float:
        """Return the part of one CPU that they have used since *before*, so many seconds ago."""
        used = sum(time - before.times.get(key, 0.0) for key, time in self.times.items())
        return max(used, 0.0) / seconds

    def to_json(self) -> dict[str, Any]:
        """Return it as the control socket tells it."""
        told = {"rss": self.rss, "descriptors": self.descriptors}
        return {**told, "processes": len(self.times), "threads": self.threads}


def uses_of(pids: Collection[int]) -> dict[int, Use]:
    """Return what programs use, by the pids of their main processes, as far as it can be seen."""
    if not pids:
        return {}
    try:
        import psutil
    except ImportError:
        return {}
    from sprag.programs import proc

    pace = looking()
    wanted = frozenset(pids)
    members: dict[int, list[int]] = defaultdict(list)
    for seen in proc.everybody():
        pace()
        if seen.session in wanted and seen.is_alive:
            members[seen.session].append(seen.pid)
    found: dict[int, Use] = {}
    for pid in pids:
        times: dict[tuple[int, float], float] = {}
        rss, descriptors, threads = 0, 0, 0
        is_open = True
        for member in members[pid]:
            pace()
            with suppress(psutil.Error, OSError):
                process = psutil.Process(member)
                with process.oneshot():
                    cpu = process.cpu_times()
                    memory = process.memory_info().rss
                    running = process.num_threads()
                    times[member, process.create_time()] = cpu.user + cpu.system
                rss += memory
                threads += running
                try:
                    descriptors += process.num_fds()
                except (psutil.AccessDenied, OSError):
                    is_open = False  # another user's
        if times:
            found[pid] = Use(times, rss, descriptors if is_open else None, threads)
    return found
