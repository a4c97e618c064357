"""A port for whoever watches the app, beside the one for its clients: ``--ops-port``.

It answers from before the first service starts until after the last has stopped, whatever pages
the app has, and if it has none. Of an app with workers it is the parent's.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from gevent.server import StreamServer

from sprag.control.connections import Connections
from sprag.control.health import ALIVE, METRICS, READY, health
from sprag.control.http import Answer, Refused

if TYPE_CHECKING:
    from sprag.control.http import Request
    from sprag.services.service import Service

_METHODS: Final = ("GET", "HEAD")


class OpsPort:
    """Serves ``/healthz``, ``/readyz`` and ``/metrics`` of one tree until it is closed.

    Args:
        root: Its root.
        listener: Where: a socket that listens. It is closed with this.
    """

    def __init__(self, root: Service, listener: Any) -> None:
        self._root = root
        self._connections = Connections("the ops port", self._answer)
        run: Any = self._connections.spawn
        self._server = StreamServer(listener, self._connections.take, spawn=run)
        self._server.max_accept = 8  # each is served at once, up to its first wait

    def open(self) -> None:
        """Serve in greenlets of its own."""
        self._server.start()

    def close(self) -> None:
        """Serve nobody any more; answers under way get a moment."""
        self._server.stop(timeout=0)
        self._connections.close()

    def _answer(self, request: Request, _sock: object) -> Answer:
        if request.path not in (ALIVE, READY, METRICS):
            raise Refused(HTTPStatus.NOT_FOUND, f"ask for {ALIVE}, {READY} or {METRICS}")
        if request.method not in _METHODS:
            said = f"{request.method} is not accepted: use GET"
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, said, allow=_METHODS)
        if request.path == METRICS:
            return _metrics(self._root)
        status, found = health(request.path, self._root)
        return Answer(found, HTTPStatus(status))


def _metrics(root: Service) -> Answer:
    try:
        from sprag import metrics
    except ImportError as error:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, str(error)) from None
    return Answer([metrics.exposition(root)], kind=metrics.CONTENT_TYPE)
