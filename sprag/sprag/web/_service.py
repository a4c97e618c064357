"""`web`: the server as a service of the tree."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gevent import GreenletExit

from sprag.control.health import ALIVE, READY
from sprag.services.service import Service
from sprag.web._door import Door, Place
from sprag.web._limits import Limits
from sprag.web._server import HTTPServer
from sprag.web._site import CONTROLLER, REQUEST_ID, path_in
from sprag_supervisor import listening, meaning_of, path_of, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.stdlib import BoundLogger

    from sprag._http_head import BadHead
    from sprag.web._connection import Connection

_access: Final = logging.getLogger("sprag.service")  # where `self.log` writes
_OPEN_FILES: Final = Path("/dev/fd")
_MORE_FILES: Final = (
    "raise it (ulimit -n, LimitNOFILE= of systemd), or lower Limits(max_connections=...)"
)
_SWEEP: Final = 0.25
"""Seconds between two looks for clients that are late, at most."""
_SWEEP_LEAST: Final = 0.001
_LOOK: Final = 0.05
"""Seconds between two looks at the connections while the server stops."""


class WebServer(Service):
    """Serves a WSGI callable over HTTP/1.1 until it is stopped.

    The connections' greenlets are its own. A stop refuses new connections, answers the
    requests in progress within the service's ``shutdown`` seconds, and closes what is idle.

    Args:
        application: The WSGI callable.
        places: Where to listen. A restart listens on the port that 0 has led to.
        limits: For the clients.
    """

    __slots__ = ("__dict__", "_bound")
    _keeps_slots_ = True  # which port 0 has led to outlives a restart
    _bound: tuple[Place, ...]

    def __init__(
        self,
        application: Callable[..., Any],
        places: tuple[Place, ...],
        limits: Limits | None = None,
    ) -> None:
        self._application = application
        self._places: tuple[Place, ...] = getattr(self, "_bound", places)
        self._limits = limits or Limits()

    def on_start(self) -> None:
        doors: list[Door] = []
        for place in self._places:
            door = Door(place)
            self.add_cleanup(door.close)
            doors.append(door)
        self._bound = tuple(door.place for door in doors)
        self._log: BoundLogger = self.log.bind()
        self._warn_of_few_files()
        self._path = path_of(self)
        limits = self._limits
        self._server = HTTPServer(doors, self._application, owner=self, limits=limits, journal=self)
        shortest = min(limits.head_timeout, limits.body_timeout, limits.send_timeout)
        shortest = min(shortest, limits.keep_alive or shortest)
        self.interval(self._server.sweep, min(_SWEEP, max(shortest / 4, _SWEEP_LEAST)))
        self.add_cleanup(self._server.close)
        self._server.start()
        for door in doors:
            self._log.info("serving", url=door.url)

    def _warn_of_few_files(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError):
            needed = sum(1 for _ in _OPEN_FILES.iterdir()) + self._limits.max_connections
            if limit != resource.RLIM_INFINITY and limit < needed:
                self._log.warning(
                    "fewer open files are allowed than max_connections needs",
                    open_files_limit=limit,
                    needed=needed,
                    max_connections=self._limits.max_connections,
                    remedy=_MORE_FILES,
                )

    def _let_clients_go_(self) -> None:
        """Have each client come back by a new connection, and be sent elsewhere by then."""
        server: HTTPServer | None = getattr(self, "_server", None)
        if server is not None:
            server.keeps_nobody = True

    def on_drain(self) -> None:
        self._server.drain()

    def on_stop(self) -> None:
        server = self._server
        if server.in_progress:
            self._log.info("answering the last requests", count=len(server.in_progress))
        try:
            while server.connections:
                server.close_idle()
                server.wait_until_all_are_gone(_LOOK)
        except GreenletExit:
            requests = [each.describe() for each in server.in_progress]
            if requests:
                self._log.warning("requests cut off", count=len(requests), requests=requests[:10])
            raise

    def _greenlet_raised_(self, incarnation: int, step: str, error: BaseException) -> None:
        # A request's own greenlet: its crash is the request's, not the server's.
        meant = meaning_of(error)
        if isinstance(meant, KeyboardInterrupt):
            super()._greenlet_raised_(incarnation, step, error)
        elif not isinstance(meant, GreenletExit):
            self._log.error("greenlet of a request crashed", exc_info=error)

    # -- the journal -------------------------------------------------------------------

    def answered(self, connection: Connection) -> None:
        """Write one line into the access log."""
        environ, answer, head = connection.environ, connection.answer, connection.head
        assert answer is not None
        assert head is not None
        path = path_in(environ)
        tree = self._tree_
        if tree is not None and tree.figures is not None:
            seconds = connection.time_finish - connection.time_start
            status = answer.status if answer.has_begun else None
            tree.figures.answered(head.method, status, seconds)
        level = logging.DEBUG if path in (ALIVE, READY) else logging.INFO
        if not (_access.isEnabledFor(level) and listening(level)):
            return
        status = answer.status if answer.has_begun else None
        fields: dict[str, object] = {
            "event": "request",
            "service": self._path,
            "incarnation": self._incarnation_,
            "method": head.method,
            "path": path,
            "status": status,
            "seconds": round(connection.time_finish - connection.time_start, 4),
            "bytes": answer.sent,
            "client": connection.client,
            "request_id": environ.get(REQUEST_ID),
        }
        if (controller := environ.get(CONTROLLER)) is not None:
            fields["controller"] = controller
        # What `self.log` would come to, at half the cost: it is paid for each request.
        said = plain(self._path), head.method, plain(path), status
        record = _access.makeRecord(
            _access.name, level, __file__, 0, "%s: %s %s %s", said, None, extra={"sprag": fields}
        )
        _access.handle(record)

    def refused(self, connection: Connection, error: BadHead) -> None:
        """Note a client that sent what is no request."""
        if listening(logging.INFO):
            self._log.info(
                "no request", status=error.status, reason=error.reason, client=connection.client
            )

    def crashed(self, connection: Connection | None, error: BaseException) -> None:
        """Log what left the application, or a connection."""
        environ: dict[str, Any] = {} if connection is None else connection.environ
        self._log.error(
            "request crashed",
            method=environ.get("REQUEST_METHOD"),
            path=path_in(environ),
            controller=environ.get(CONTROLLER),
            request_id=environ.get(REQUEST_ID),
            exc_info=error,
        )

    def is_short(self, reason: str) -> None:
        """Note that connections could not be accepted for want of descriptors or memory."""
        self._log.warning(
            "no room for new connections",
            reason=reason,
            connections=len(self._server.connections),
            open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            remedy=_MORE_FILES,
        )

    def write(self, text: str) -> None:
        """Log what an application writes to ``wsgi.errors``."""
        if text.strip():
            self._log.error("wsgi.errors", text=text.rstrip("\n"))

    def writelines(self, lines: list[str]) -> None:
        """Log several lines, likewise."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing is held back."""
