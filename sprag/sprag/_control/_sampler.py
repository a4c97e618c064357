"""Who uses the CPU: a native thread asks "whose code runs?" a hundred times a second.

The question is put to the main thread as a *pending call*, which the interpreter makes
between two bytecodes, as it does for signals, but without a signal of the process's. It
reads the context variable that names the current service: so a tick of a timer that
takes a microsecond, and code that never yields, both count for their service. Another
thread's look at the main thread's frames would see only what runs when the interpreter's
lock happens to be free, which is mostly the idle loop.

Nothing of this exists while nobody watches: the thread ends with the last watcher.
"""

from __future__ import annotations

import ctypes
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from gevent import getcurrent, get_hub, monkey

from sprag_supervisor._node import current

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag_supervisor import Node

PERIOD: Final = 0.01
"""Seconds between two questions."""

_start_thread: Final = monkey.get_original("_thread", "start_new_thread")
_sleep: Final = monkey.get_original("time", "sleep")


class Sampler:
    """Counts in whose code the main thread is found.

    Attributes:
        seen: How often, for each service; None stands for code of no service.
        idle: How often the main thread was waiting in its loop.
    """

    def __init__(self) -> None:
        self.seen: Counter[Node | None] = Counter()
        self.idle = 0
        self._watchers = 0
        self._round = 0
        self._asked_at = 0.0
        self._is_asked = False
        self._hub: Any = None
        self._call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._answer)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Sample as long as the block lasts."""
        self._watchers += 1
        if self._watchers == 1:
            self.seen.clear()
            self.idle = 0
            self._round += 1
            self._hub = get_hub()
            _start_thread(self._ask, (self._round,))
        try:
            yield
        finally:
            self._watchers -= 1

    def _ask(self, round_: int) -> None:
        # In the native thread.
        while self._watchers and self._round == round_:
            _sleep(PERIOD)
            if not self._is_asked:
                self._is_asked = True
                self._asked_at = time.monotonic()
                if ctypes.pythonapi.Py_AddPendingCall(self._call, None) != 0:
                    self._is_asked = False  # the interpreter's queue is full

    def _answer(self, _nothing: object) -> int:
        # In the main thread, anywhere: it may neither switch nor raise.
        try:
            waited = time.monotonic() - self._asked_at
            missed = int(waited / PERIOD)
            node = current.get()
            if node is None and getcurrent() is self._hub:
                self.idle += 1 + missed  # it has slept in the loop since it was asked
            else:
                self.seen[node] += 1 + missed
        finally:
            self._is_asked = False
        return 0
