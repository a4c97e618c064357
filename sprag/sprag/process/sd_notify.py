"""Tell systemd how the app is doing, when it asks to be told (sd_notify).

systemd sets ``NOTIFY_SOCKET`` for a unit of ``Type=notify`` and ``WATCHDOG_USEC`` for one
with ``WatchdogSec=``. Without the first nothing is sent. A message that cannot be
delivered is dropped: the manager's trouble must not become the app's. Where only its queue was
full, those that change what it does are sent again: for want of a READY it would end us.

They are meant for this process alone. A child that inherited them, another ``sprag run`` say,
would speak for the unit; so they are taken out of the environment while a tree runs.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


_OURS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_FULL: Final = (errno.EAGAIN, errno.ENOBUFS)
"""Why a message is not taken now, and may be later."""
_MOST_OWED: Final = 4
_LONGEST: Final = 1e15
"""Microseconds: more is no time for systemd."""
_LONGEST_ERROR: Final = 1000
_withdrawn: Final[dict[str, str]] = {}


def withdraw() -> None:
    """Take the manager's variables out of the environment; a `Notifier` knows them all the same."""
    for name in _OURS:
        if (value := os.environ.pop(name, None)) is not None:
            _withdrawn[name] = value


def give_back() -> None:
    """Undo `withdraw`."""
    os.environ.update(_withdrawn)
    _withdrawn.clear()


class Notifier:
    """Sends datagrams to the service manager; does nothing where there is none.

    Attributes:
        watchdog_seconds: How often a sign of life is due: half of what the manager
            allows; None when it watches nothing, or another process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = {**os.environ, **_withdrawn} if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte of Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environ) if address else None
        self._owed: list[str] = []
        """What it has not taken yet and has to be told, in order."""

    @property
    def is_wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that the tree is up."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` says that it is over."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that the stop has begun."""
        self._tell("STOPPING=1")

    def give_time(self, seconds: float) -> None:
        """Ask for so many seconds from now on, should the manager want to end the stop before."""
        self._send(f"EXTEND_TIMEOUT_USEC={min(seconds * 1e6, _LONGEST):.0f}")

    def alive(self) -> None:
        """Give the sign of life that ``WatchdogSec=`` asks for."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show *text* in ``systemctl status``; one line."""
        self._send("STATUS=" + " ".join(text.splitlines()))

    def error(self, text: str) -> bool:
        """Say to a parent of ours why this worker does not come up, in a line; whether it hears."""
        self._tell(f"X_SPRAG_ERROR={' '.join(text.split())[:_LONGEST_ERROR]}")
        return bool(self._address) and not self._owed

    def catch_up(self) -> None:
        """Say again what its full queue did not take. Never waits; for the hub, too."""
        while self._owed and self._is_taken(self._owed[0]):
            del self._owed[0]

    def _tell(self, message: str) -> None:
        """Send what must not be lost."""
        if self._address:
            if message not in self._owed:
                self._owed[:] = [*self._owed, message][-_MOST_OWED:]
            self.catch_up()

    def _send(self, message: str) -> None:
        if self._address:
            self.catch_up()
            if not self._owed:  # never before what has to be known first
                self._is_taken(message)

    def _is_taken(self, message: str) -> bool:
        """Send *message*; return False if the manager has no room for it now."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                # In the manager's UTF-8 there is no half of a character, as in a file's name.
                sender.sendto(message.encode(errors="backslashreplace"), self._address)
        except OSError as error:
            return error.errno not in _FULL
        return True


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    allowed = environ.get("WATCHDOG_USEC", "")
    meant_for = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not re.fullmatch(r"[0-9]{1,18}", allowed) or meant_for != str(os.getpid()):
        return None
    return int(allowed) / 1e6 / 2 or None
