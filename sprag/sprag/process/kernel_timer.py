"""A timer of the kernel's that kills this process: nothing in it has to run for that.

A thread cannot act while C code holds the interpreter's lock, nor while the process is stopped; a
POSIX timer whose signal is SIGKILL can. It is of this process alone: a forked child has none, and
neither has what is executed in its place. Process 1 ignores it, as it does any SIGKILL of its own.
"""

from __future__ import annotations

import signal
from typing import Any, Final

_CLOCK_BOOTTIME: Final = 7
_TIMER_ABSTIME: Final = 1
_SIGEV_SIGNAL: Final = 0
_NANO: Final = 1_000_000_000


class KernelTimer:
    """A timer that kills this process.

    Raises:
        OSError: There is none to be had.
    """

    def __init__(self) -> None:
        import ctypes  # it takes time and memory, and who has no lease needs it not

        class SigEvent(ctypes.Structure):
            _fields_ = (
                ("value", ctypes.c_void_p),
                ("signo", ctypes.c_int),
                ("notify", ctypes.c_int),
                ("rest", ctypes.c_char * 48),
            )

        class Spec(ctypes.Structure):
            _fields_ = (
                ("every_s", ctypes.c_long),
                ("every_ns", ctypes.c_long),
                ("at_s", ctypes.c_long),
                ("at_ns", ctypes.c_long),
            )

        self._library = library = _library()
        self._Spec: Any = Spec
        self._by_reference: Any = ctypes.byref
        self._get_errno = ctypes.get_errno
        self._timer = ctypes.c_void_p()
        event = SigEvent(None, signal.SIGKILL, _SIGEV_SIGNAL)
        made = library.timer_create(_CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer))
        if made != 0:
            raise OSError(ctypes.get_errno(), "timer_create")

    def set(self, when: float) -> None:
        """Kill this process at *when*, in seconds of `boottime`; 0.0: never.

        Raises:
            OSError: The kernel refuses.
        """
        nanoseconds = int(when * _NANO)
        spec = self._Spec(0, 0, nanoseconds // _NANO, nanoseconds % _NANO)
        done = self._library.timer_settime(
            self._timer, _TIMER_ABSTIME, self._by_reference(spec), None
        )
        if done != 0:
            raise OSError(self._get_errno(), "timer_settime")

    def close(self) -> None:
        """Have none any more."""
        self._library.timer_delete(self._timer)


def _library() -> Any:
    """Return the C library that has timers: before glibc 2.34 it was one of its own."""
    import ctypes

    for name in (None, "librt.so.1"):
        try:
            library = ctypes.CDLL(name, use_errno=True)
            library.timer_create  # noqa: B018 - whether it is there
        except (OSError, AttributeError):
            continue
        return library
    raise OSError(0, "no timer_create here")
