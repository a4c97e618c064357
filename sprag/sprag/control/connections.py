"""Connections of which each asks once: how many there may be, and for how long."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, getcurrent, joinall, killall

from sprag.control import http
from sprag_supervisor import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent import socket as gevent_socket

_MOST: Final = 64
_LAST_SECONDS: Final = 0.2
"""For the answers under way when all are closed."""


class Connections:
    """The connections of one listener.

    Args:
        what: It is called so in the log.
        answer: Returns what is answered to a request; may raise `http.Refused`.
        peer: Returns the user at the other end, None: who may not ask; default: nobody looks.
        freed: Called whenever a descriptor was given back.
    """

    def __init__(
        self,
        what: str,
        answer: Callable[[http.Request, gevent_socket.socket], http.Answer],
        peer: Callable[[gevent_socket.socket], int | None] | None = None,
        freed: Callable[[], object] = int,
    ) -> None:
        self._what = what
        self._answer = answer
        self._peer = peer
        self._freed = freed
        # In the order of their arrival; those that have not asked yet are the ones to go.
        self._asking: dict[Greenlet[..., Any], None] = {}
        self._served: set[Greenlet[..., Any]] = set()

    def spawn(self, *args: Any) -> None:
        """Serve a new connection in a greenlet; called in the hub.

        Too many, and the one that has kept silent for longest goes: who asks at once is
        served however many others only sit there.
        """
        if len(self._asking) + len(self._served) >= _MOST:
            self.drop_oldest()
        sock: gevent_socket.socket = args[-1][0]
        greenlet: Greenlet[..., Any] = Greenlet(*args)
        self._asking[greenlet] = None
        greenlet.rawlink(lambda done: self._forget(done, sock))
        # At once: a start would wait behind all greenlets that are to run, in a storm of crashes
        # ten thousand. From here on it waits for its client only, and the loop looks at sockets
        # every few milliseconds.
        greenlet.switch()

    def drop_oldest(self) -> None:
        """Give up the one that has kept silent for longest."""
        if self._asking:
            oldest = next(iter(self._asking))
            del self._asking[oldest]
            oldest.kill(block=False)

    def close(self) -> None:
        """End all; answers under way get a moment."""
        killall(list(self._asking), block=False)
        joinall(list(self._served), timeout=_LAST_SECONDS)
        killall(list(self._served), timeout=_LAST_SECONDS)

    def take(self, sock: gevent_socket.socket, _address: object) -> None:
        """Serve one connection, in its greenlet."""
        try:
            peer = None if self._peer is None else self._peer(sock)
            if self._peer is None or peer is not None:
                self._serve(sock, getcurrent(), peer)
        except (OSError, http.Gone):
            return  # the client has gone, or takes nothing any more
        except Exception:  # noqa: BLE001 - logged; whatever a client sends, the app goes on
            logger.exception("%s failed", self._what)

    def _serve(self, sock: gevent_socket.socket, greenlet: Any, by: int | None) -> None:
        head_only = False
        try:
            request = replace(http.read_request(sock), by=by)
            head_only = request.method == "HEAD"
            self._admit(greenlet)
            http.send(sock, self._answered(request, sock), head_only=head_only)
        except http.Refused as refused:
            http.send_refusal(sock, refused, head_only=head_only)
        http.part(sock)

    def _admit(self, greenlet: Greenlet[..., Any]) -> None:
        self._asking.pop(greenlet, None)
        if len(self._served) >= _MOST:
            message = f"{_MOST} requests are being answered: ask again later"
            raise http.Refused(HTTPStatus.SERVICE_UNAVAILABLE, message)
        self._served.add(greenlet)

    def _answered(self, request: http.Request, sock: gevent_socket.socket) -> http.Answer:
        try:
            return self._answer(request, sock)
        except (http.Refused, http.Gone, OSError):
            raise
        except Exception:  # noqa: BLE001 - logged, and answered
            fields = {"path": request.path[:200]}
            logger.exception("%s cannot answer", self._what, extra={"sprag": fields})
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            raise http.Refused(status, "see the app's log") from None

    def _forget(self, greenlet: Greenlet[..., Any], sock: gevent_socket.socket) -> None:
        self._asking.pop(greenlet, None)
        self._served.discard(greenlet)
        with suppress(OSError):
            sock.close()  # for one that was killed before it had begun
        self._freed()
