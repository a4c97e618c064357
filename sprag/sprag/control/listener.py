"""The listening end of the control socket.

An app that is in trouble must not be deaf. With no descriptor left, `accept` fails, and that is
when somebody wants to look: so one is kept in reserve, and given up for the next connection. And
what clears old files out of a directory may take the socket along: so it is looked for now and
then.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub, monkey
from gevent.server import StreamServer

from sprag._unix_sockets import identity
from sprag.control.place import is_taken, make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_make_poll: Final = monkey.get_original("select", "poll")
_BACKLOG: Final = 64
_FULL: Final = (errno.EMFILE, errno.ENFILE)
_PAUSE: Final = 0.05
"""Seconds to the next try, when there is no descriptor at all."""
LOOK: Final = 5.0
"""Seconds between two looks for the socket."""


class Listener(StreamServer):
    """Takes connections at *path*.

    Args:
        path: Where; the directory is made if need be.
        take: Serves a connection.
        spawn: Runs that in a greenlet. Called in the hub.
        make_room: Gives one connection up, as no descriptor is left. Called in the hub.

    Raises:
        OSError: The directory or the socket cannot be made, or belongs to somebody else.
    """

    def __init__(
        self,
        path: Path,
        take: Callable[..., object],
        spawn: Callable[..., object],
        make_room: Callable[[], object],
    ) -> None:
        self._path = path
        self._make_room = make_room
        self._identity: tuple[int, int] | None = None
        self._spare: int | None = None
        make_private(path.parent)
        if is_taken(path):
            raise OSError(errno.EADDRINUSE, "another app listens there", str(path))
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            self._identity = identity(path)
            run: Any = spawn
            super().__init__(listener, take, spawn=run)
            self.start()
        except BaseException:
            listener.close()
            raise
        self.refill()

    @property
    def is_lost(self) -> bool:
        """Whether nothing is at the path any more: nobody can reach it."""
        try:
            self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return False

    def unlink(self) -> None:
        """Remove the socket, and nothing else; all that may be done in a signal handler."""
        if self._identity is not None and identity(self._path) == self._identity:
            with suppress(OSError):
                self._path.unlink()

    def refill(self) -> None:
        """Take a descriptor into reserve again, if there is one."""
        if self._spare is None and self.started:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def do_read(self) -> Any:
        """Accept a connection, with the spare descriptor if there is no other."""
        for _ in range(2):
            try:
                return super().do_read()
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            if not self._has_waiting():  # `accept` looks for a descriptor first
                return None
            if self._spare is None:
                break
            os.close(self._spare)
            self._spare = None
        self._make_room()
        self.stop_accepting()
        self._timer = pause = get_hub().loop.timer(_PAUSE)  # closed by `start_accepting`
        begin: Any = pause.start
        begin(self._accept_again)
        return None

    def _accept_again(self) -> None:
        if self.started:
            self.start_accepting()

    def _has_waiting(self) -> bool:
        poll = _make_poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Stop listening, and give the spare descriptor back."""
        super().close()
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)
