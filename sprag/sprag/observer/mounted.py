"""``App(observer="/_sprag", observer_auth=…)``: the page among the app's own routes, to read only.

What it asks of the app goes through a pair of sockets to what answers at the control socket; a
control socket there need not be.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub, socket

from sprag.control.connections import Connections
from sprag.control.desk import desk_of
from sprag.control.routes import answer
from sprag.control.server import Client
from sprag.observer.asking import Upstream
from sprag.observer.following import Following
from sprag.observer.gate import MountedGate
from sprag.observer.site import ObserverSite
from sprag_supervisor import State, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sprag.control import http
    from sprag.control.desk import Desk
    from sprag.services.service import Service

_LIVING: Final = (State.RUNNING, State.STARTING)


class _Itself:
    """The app that the page is mounted in: the only one there is."""

    def __init__(self, root: Service) -> None:
        self._root = root
        self._desk: Desk | None = None
        self._connections = Connections("the observer page", self._answer)
        self._following = Following(self._find, is_over=lambda: root._state_ not in _LIVING)

    def listed(self) -> list[dict[str, Any]]:
        """Return this app."""
        name = name_of(self._root)
        return [{"key": name, "name": name, "pid": os.getpid()}]

    def get(self, key: str) -> Following | None:
        """Return who follows this app, if it is called *key*."""
        return self._following if key == name_of(self._root) else None

    def _find(self) -> Upstream | None:
        if self._root._tree_ is None:
            return None
        return Upstream(name_of(self._root), os.getpid(), self._connect)

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        # In the hub, as at the control socket: whoever answers belongs to no service.
        begin: Any = get_hub().loop.run_callback
        begin(self._connections.spawn, self._take, (theirs, None))
        return ours

    def _take(self, accepted: tuple[socket.socket, object]) -> None:
        self._connections.take(*accepted)

    def _answer(self, request: http.Request, sock: socket.socket) -> http.Answer:
        if self._desk is None or self._desk.tree is not self._root._tree_:
            self._desk = desk_of(self._root)
        return answer(self._desk, request, Client(sock))


def mounted(
    application: Callable[..., Iterable[bytes]],
    root: Service,
    prefix: str,
    auth: Callable[[Mapping[str, Any]], object],
) -> Callable[..., Iterable[bytes]]:
    """Return *application* with the page at *prefix*.

    Args:
        application: A WSGI callable, for all other paths.
        root: The app that the page is about.
        prefix: As in ``/_sprag``.
        auth: See `MountedGate`.
    """
    site = ObserverSite(MountedGate(auth), _Itself(root))

    def both(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO") or ""
        if path == prefix:
            # The page's own links are relative to its folder.
            start_response("308 Permanent Redirect", [("Location", f"{prefix}/"), _NOTHING])
            return []
        if not path.startswith(f"{prefix}/"):
            return application(environ, start_response)
        script = f"{environ.get('SCRIPT_NAME') or ''}{prefix}"
        return site(
            {**environ, "SCRIPT_NAME": script, "PATH_INFO": path[len(prefix) :]}, start_response
        )

    return both


_NOTHING: Final = ("Content-Length", "0")
