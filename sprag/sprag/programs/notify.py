"""What a program says of itself as to systemd: ready, what it is at, that it is alive.

A datagram socket without a file, in the abstract namespace; the kernel says who has sent, and only
the program itself and what is of its session are listened to. Descriptors that come with a message
are closed at once: nobody keeps them here.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

from sprag.programs import proc
from sprag.programs.popen import close

if TYPE_CHECKING:
    from collections.abc import Callable

_CREDENTIALS: Final = struct.Struct("3i")
_LARGEST: Final = 4096
_MOST_DESCRIPTORS: Final = 64
_ROOM: Final = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
_AT_ONCE: Final = 100
_OURS_ONLY: Final = socket.MSG_CMSG_CLOEXEC
"""What comes with a message is no program's, should one be started before it is closed."""


class NotifySocket:
    """Where one program says how it is.

    Args:
        hear: Is given what it says: each ``KEY=value`` of a message. Called in the hub.

    Raises:
        OSError: There is no such socket to be had.
    """

    def __init__(self, hear: Callable[[dict[str, str]], object]) -> None:
        self._hear = hear
        self.pid: int | None = None
        """Who is listened to; None: nobody, yet."""
        self.address = f"@sprag/{os.getpid()}/{secrets.token_hex(8)}"
        self._socket: Any = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind("\0" + self.address[1:])
        except BaseException:
            self._socket.close()
            raise
        self._watcher: Any = get_hub().loop.io(self._socket.fileno(), 1, ref=False)
        self._watcher.start(self.take)

    def listen_to(self, pid: int) -> None:
        """From now on hear what that process says, and what is of its session."""
        self.pid = pid

    def close(self) -> None:
        """Listen no more. Harmless a second time."""
        self._watcher.stop()
        self._watcher.close()
        self._socket.close()

    def take(self) -> None:
        """Hear what has arrived until now. In the hub."""
        for _ in range(_AT_ONCE):
            try:
                data, extra, _flags, _address = self._socket.recvmsg(_LARGEST, _ROOM, _OURS_ONLY)
            except OSError:
                return
            sender = _sender(extra)
            if self._is_heard(sender):
                pairs = (line.partition("=") for line in data.decode(errors="replace").split("\n"))
                self._hear({name: value for name, equals, value in pairs if equals})

    def _is_heard(self, sender: int | None) -> bool:
        if sender is None or self.pid is None:
            return False
        if sender == self.pid:
            return True
        seen = proc.look(sender)
        return seen is not None and seen.session == self.pid


def _sender(extra: list[tuple[int, int, bytes]]) -> int | None:
    """Return who has sent a message, and close what came with it."""
    sender: int | None = None
    for level, kind, data in extra:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
            sender = _CREDENTIALS.unpack_from(data)[0]
        elif kind == socket.SCM_RIGHTS:
            for (descriptor,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
                with suppress(OSError):
                    close(descriptor)
    return sender
