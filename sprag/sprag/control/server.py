"""Connections to the control socket: who may connect, how many, and for how long."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, get_hub, getcurrent, joinall, killall

from sprag.control import http
from sprag.control.desk import Desk
from sprag.control.listener import LOOK, Listener
from sprag.control.place import remove_stale, socket_path
from sprag.control.routes import answer
from sprag.owned.log import record
from sprag_supervisor import logger, name_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gevent import socket as gevent_socket

    from sprag.services.service import Service

_MAX_CONNECTIONS: Final = 64
_LAST_SECONDS: Final = 0.2
"""For the answers under way when the app ends."""
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
        self.path: Path = socket_path(name_of(root)) if path is None else path
        self._desk = Desk(root, log)
        self._listener: Listener | None = None
        self._guard: Any = None
        self._complained = False
        # In the order of their arrival; those that have not asked yet are the ones to go.
        self._asking: dict[Greenlet[..., Any], None] = {}
        self._served: set[Greenlet[..., Any]] = set()

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
            killall(list(self._asking), block=False)
            joinall(list(self._served), timeout=_LAST_SECONDS)
            killall(list(self._served), timeout=_LAST_SECONDS)

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
        return Listener(self.path, self._take, self._spawn, self._drop_oldest)

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

    # -- connections -----------------------------------------------------------------

    def _spawn(self, *args: Any) -> None:
        """Serve a new connection in a greenlet; called in the hub.

        Too many, and the one that has kept silent for longest goes: who asks at once is
        served however many others only sit there.
        """
        if len(self._asking) + len(self._served) >= _MAX_CONNECTIONS:
            self._drop_oldest()
        sock: gevent_socket.socket = args[-1][0]
        greenlet: Greenlet[..., Any] = Greenlet(*args)
        self._asking[greenlet] = None
        greenlet.rawlink(lambda done: self._forget(done, sock))
        # At once: a start would wait behind all greenlets that are to run, in a storm of crashes
        # ten thousand. From here on it waits for its client only, and the loop looks at sockets
        # every few milliseconds.
        greenlet.switch()

    def _drop_oldest(self) -> None:
        if self._asking:
            oldest = next(iter(self._asking))
            del self._asking[oldest]
            oldest.kill(block=False)

    def _forget(self, greenlet: Greenlet[..., Any], sock: gevent_socket.socket) -> None:
        self._asking.pop(greenlet, None)
        self._served.discard(greenlet)
        with suppress(OSError):
            sock.close()  # for one that was killed before it had begun
        if self._listener is not None:
            self._listener.refill()

    def _take(self, sock: gevent_socket.socket, _address: object) -> None:
        greenlet: Any = getcurrent()
        try:
            if (peer := _peer(sock)) in (os.getuid(), 0):
                self._serve(sock, greenlet, peer)
        except (OSError, http.Gone):
            return  # the client has gone, or takes nothing any more
        except Exception:  # noqa: BLE001 - logged; whatever a client sends, the app goes on
            logger.exception("the control socket failed")

    def _serve(self, sock: gevent_socket.socket, greenlet: Greenlet[..., Any], by: int) -> None:
        head_only = False
        try:
            request = replace(http.read_request(sock), by=by)
            head_only = request.method == "HEAD"
            self._admit(greenlet)
            reply = self._answer(request, sock)
            http.send(sock, reply, head_only=head_only)
        except http.Refused as refused:
            http.send_refusal(sock, refused, head_only=head_only)
        http.part(sock)

    def _admit(self, greenlet: Greenlet[..., Any]) -> None:
        self._asking.pop(greenlet, None)
        if len(self._served) >= _MAX_CONNECTIONS:
            message = f"{_MAX_CONNECTIONS} requests are being answered: ask again later"
            raise http.Refused(HTTPStatus.SERVICE_UNAVAILABLE, message)
        self._served.add(greenlet)

    def _answer(self, request: http.Request, sock: gevent_socket.socket) -> http.Answer:
        try:
            return answer(self._desk, request, lambda: http.has_hung_up(sock))
        except (http.Refused, http.Gone, OSError):
            raise
        except Exception:  # noqa: BLE001 - logged, and answered
            fields = {"path": request.path[:200]}
            logger.exception("the control socket cannot answer", extra={"sprag": fields})
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            raise http.Refused(status, "see the app's log") from None


def _peer(sock: gevent_socket.socket) -> int:
    """Return the user at the other end, on Linux; elsewhere the socket's mode must do."""
    if sys.platform != "linux":
        return os.getuid()
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(credentials)
    return int(uid)
