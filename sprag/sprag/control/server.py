"""The control socket: where it is, who may ask, and that it stays there."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, get_hub

from sprag.control import http
from sprag.control.connections import Connections
from sprag.control.desk import Desk
from sprag.control.listener import LOOK, Listener
from sprag.control.place import remove_stale, socket_path
from sprag.control.routes import answer
from sprag.owned.log import record
from sprag_supervisor import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent import socket as gevent_socket

    from sprag.services.service import Service

_UCRED: Final = struct.Struct("3i")  # pid, uid, gid


class ControlSocket:
    """Serves the living tree of one root until it is closed.

    Args:
        root: The root.
        log: See `Desk`.
        path: Where it is; None: where apps are looked for.
    """

    def __init__(
        self,
        root: Service,
        log: Callable[[], tuple[int, int] | None] | None = None,
        path: Path | None = None,
    ) -> None:
        self.path = Path(socket_path(name_of(root))) if path is None else path
        self._desk = Desk(root, log)
        self._listener: Listener | None = None
        self._guard: Any = None
        self._complained = False
        what = "the control socket"
        self._connections = Connections(what, self._answer, _owner, self._refill)

    def open(self) -> None:
        """Listen and serve in greenlets of their own.

        Raises:
            OSError: The directory or the socket cannot be made, or belongs to somebody else.
        """
        self._listener = self._listen()
        remove_stale(self.path.parent)
        self._guard = get_hub().loop.timer(LOOK, LOOK, ref=False)
        self._guard.start(self._look)
        self._desk.open()

    def close(self) -> None:
        """Stop serving and remove the socket; answers under way get a moment."""
        self.unlink()
        listener, self._listener = self._listener, None
        if listener is not None:
            self._guard.close()
            listener.stop(timeout=0)
            self._desk.close()
            self._connections.close()

    def unlink(self) -> None:
        """Remove the socket and nothing else: all that may be done in a signal handler."""
        if self._listener is not None:
            self._listener.unlink()

    def leave_to_parent(self) -> None:
        """Close the listening socket in a forked child, past gevent, whose loop is the parent's."""
        if self._listener is not None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            with suppress(OSError, AttributeError):
                os.dup2(nowhere, self._listener.socket.fileno(), inheritable=False)
            os.close(nowhere)

    # -- the socket itself -----------------------------------------------------------

    def _listen(self) -> Listener:
        connections = self._connections
        return Listener(self.path, connections.take, connections.spawn, connections.drop_oldest)

    def _look(self) -> None:
        """See whether the socket is still there. In the hub."""
        if self._listener is not None and self._listener.is_lost:
            Greenlet.spawn(self._make_again)

    def _make_again(self) -> None:
        """Listen at a new socket: somebody has removed the old one."""
        before = self._listener
        if before is None or not before.is_lost:
            return
        path = str(self.path)
        try:
            self._listener = self._listen()
        except OSError as error:
            if not self._complained:
                self._complained = True
                text = "the control socket was removed, and cannot be made again"
                record(logging.WARNING, text, path=path, reason=str(error))
            return
        self._complained = False
        before.stop(timeout=0)
        record(logging.WARNING, "the control socket was removed: it is made again", path=path)

    # -- who asks ---------------------------------------------------------------------

    def _answer(self, request: http.Request, sock: gevent_socket.socket) -> http.Answer:
        return answer(self._desk, request, Client(sock))

    def _refill(self) -> None:
        if self._listener is not None:
            self._listener.refill()


class Client:
    """Who has asked: called, it says whether it has left."""

    def __init__(self, sock: gevent_socket.socket) -> None:
        self._sock = sock

    def __call__(self) -> bool:
        """Return whether it has."""
        return http.has_hung_up(self._sock)

    def fileno(self) -> int:
        """Return the descriptor of its connection, for what another thread writes there."""
        return self._sock.fileno()


def _owner(sock: gevent_socket.socket) -> int | None:
    """Return who is at the other end, if that is the app's own user or root."""
    peer = _peer(sock)
    return peer if peer in (os.getuid(), 0) else None


def _peer(sock: gevent_socket.socket) -> int:
    """Return the user at the other end, on Linux; elsewhere the socket's mode must do."""
    if sys.platform != "linux":
        return os.getuid()
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(credentials)
    return int(uid)
