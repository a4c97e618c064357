"""Who uses the CPU: a native thread asks "whose code runs?" a hundred times a second.

The question is put to the main thread as a *pending call*, which the interpreter makes
between two bytecodes, as it does for signals, but without a signal of the process's. It
reads the context variable that names the current service: so a tick of a timer that
takes a microsecond, and code that never yields, both count for their service. Another
thread's look at the main thread's frames would see only what runs when the interpreter's
lock happens to be free, which is mostly the idle loop.

A question to a thread that sleeps is answered when it wakes, by whoever wakes first. The
clock of the CPU time that the thread has used meanwhile tells this from code in C that
has kept it busy.

Nothing of this exists while nobody watches: the thread ends with the last watcher.
"""

from __future__ import annotations

import ctypes
import random
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gevent import monkey

from sprag_supervisor._node import current_node

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag_supervisor import Node

PERIOD: Final = 0.01
"""Seconds between two questions, on average."""
_PROMPT: Final = 0.0005
"""An answer within this many seconds came from a thread that was busy."""
_BUSY: Final = 0.3
"""So did one that used more than this part of its time on the CPU."""
_SWITCH: Final = 0.0001
"""Seconds after which the main thread lets the asking thread have the interpreter.

With the usual 5 ms, bursts of work that are shorter would never be seen.
"""

_random = random.Random()  # noqa: S311 - no secret
_start_thread: Final = monkey.get_original("_thread", "start_new_thread")
_get_ident: Final = monkey.get_original("_thread", "get_ident")
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
        self._asked_at_cpu = 0.0
        self._cpu_clock: int | None = None
        self._call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._answer)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Sample as long as the block lasts."""
        self._watchers += 1
        if self._watchers == 1:
            self._switch_before = sys.getswitchinterval()
            sys.setswitchinterval(min(_SWITCH, self._switch_before))
            self.seen.clear()
            self.idle = 0
            self._round += 1
            if hasattr(time, "pthread_getcpuclockid"):
                self._cpu_clock = time.pthread_getcpuclockid(_get_ident())
            _start_thread(self._ask, (self._round,))
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                sys.setswitchinterval(self._switch_before)

    def _ask(self, round_: int) -> None:
        # In the native thread.
        while self._watchers and self._round == round_:
            _sleep(PERIOD * (0.5 + _random.random()))  # in step with no timer of the app's
            if not self._is_asked:
                self._is_asked = True
                self._asked_at_cpu = self._cpu_time()
                self._asked_at = time.monotonic()
                if ctypes.pythonapi.Py_AddPendingCall(self._call, None) != 0:
                    self._is_asked = False  # the interpreter's queue is full

    def _answer(self, _nothing: object) -> int:
        # In the main thread, anywhere: it may neither switch nor raise.
        try:
            waited = time.monotonic() - self._asked_at
            used = self._cpu_time() - self._asked_at_cpu
            weight = 1 + int(waited / PERIOD)
            if waited < _PROMPT or used > _BUSY * waited:
                self.seen[current_node()] += weight
            else:
                self.idle += weight
        finally:
            self._is_asked = False
        return 0

    def _cpu_time(self) -> float:
        return 0.0 if self._cpu_clock is None else time.clock_gettime(self._cpu_clock)
