"""Who of the workers is held, too old, or too large: looked at in rounds.

A parent that was held itself has not heard what they have said meanwhile: it takes that first, and
judges in the next round.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sprag.programs.out_of_memory import look as memory_kills
from sprag_supervisor import clock, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.workers.plan import Plan
    from sprag.workers.process import WorkerProcess
    from sprag.workers.replacing import Replacing
    from sprag.workers.slot import WorkerSlot

FOR_STACKS: Final = 2.0
"""Seconds that a worker has to write down where it is, before it is killed."""
_LATE: Final = 1.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Watching:
    """Looks at all workers every so often.

    Args:
        plan: What they are.
        slots: Returns where they are.
        replacing: Where those are told that have served their time.
        every: Seconds between two rounds.
    """

    def __init__(
        self,
        plan: Plan,
        slots: Callable[[], list[WorkerSlot]],
        replacing: Replacing,
        every: float,
    ) -> None:
        self._plan = plan
        self._slots = slots
        self._replacing = replacing
        self._every = every
        self._last = clock.now()
        self._killed = memory_kills()

    def look(self) -> None:
        """Look at them. In a greenlet; does not block."""
        now = clock.now()
        was_held = now - self._last > self._every + _LATE
        self._last = now
        # Of the round before: who was killed just now may not be known to have ended.
        killed, self._killed = self._killed, memory_kills()
        for slot in self._slots():
            for process in slot.processes:
                process.hear_all()
                if process.child is not None and process.child.is_alive:
                    process.before = killed
                if not was_held and not process.is_ending and not process.has_ended:
                    self._judge(slot, process)

    def _judge(self, slot: WorkerSlot, process: WorkerProcess) -> None:
        child = process.child
        if child is None or not child.is_alive:
            return
        seconds, most = process.silence
        if seconds <= most:
            process.looked_at = None
            if process is slot.current:
                self._recycle(slot, process)
        elif process.looked_at is None:
            process.looked_at = clock.now()
            event = "worker is held: it is asked for its stacks, and killed then"
            say(logging.ERROR, slot, event, pid=child.pid, seconds=round(seconds, 1))
            with suppress(OSError):
                child.send(signal.SIGUSR1)
        elif clock.now() - process.looked_at >= FOR_STACKS:
            process.held = seconds
            process.kill()

    def _recycle(self, slot: WorkerSlot, process: WorkerProcess) -> None:
        plan = self._plan
        if clock.now() >= process.over_at:
            self._replacing.recycle(slot, "it has served its --max-lifetime")
        elif plan.max_memory is not None and process.child is not None:
            used = resident(process.child.pid)
            if used is not None and used > plan.max_memory:
                why = f"{used >> 20} MB are more than its --max-memory"
                self._replacing.recycle(slot, why)


def resident(pid: int) -> int | None:
    """Return the bytes of memory that a process has resident; None: that cannot be seen."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return None
