"""The HTTP server below the `web` service: accepts connections, with bounds, to an orderly end."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from gevent import GreenletExit, sleep, socket
from gevent.pool import Pool
from gevent.server import StreamServer

from sprag.web._connection import Connection
from sprag_supervisor import Managed, clock, context_of, holdings_of, is_at_work, meaning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag._http_head import BadHead
    from sprag.web._limits import Limits
    from sprag_supervisor import Node

LINGER: Final = 0.25
"""Seconds after an answer in which, while the server stops, the client may still send the
request it has already begun to send. It is answered, with `Connection: close`."""

_LEAVING: Final = 16
"""So many connections that were given up may still be there while others take their places."""

_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accepting a connection fails with when the process, or the system, has no room for it."""
_CLIENTS_OWN: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    }
)
"""The same when the client has gone before it was accepted, or is kept out: the next one may do."""
_TRIES: Final = 100
"""Clients of that kind that are passed over at a time."""
_MOMENT: Final = 0.01
"""Seconds in which a connection that was given up ends."""
_PATIENCE: Final = 2 * LINGER
"""Seconds without room for one more after which a stop waits for it no longer."""
_QUIET: Final = 60.0
"""Seconds between two log records of a shortage."""


class HTTPServer(StreamServer):
    """Serves connections in greenlets that the service owns, so many at a time.

    Args:
        listener: A bound, listening, non-blocking socket.
        application: The WSGI callable.
        owner: The service.
        limits: For the clients.
        journal: What to call about requests: `answered`, `refused`, `crashed`; and `is_short`.
        environ: What every request's WSGI environ begins with.
    """

    def __init__(
        self,
        listener: Any,
        application: Callable[..., Any],
        *,
        owner: Node,
        limits: Limits,
        journal: Any,
        environ: dict[str, Any],
    ) -> None:
        self.application = application
        self.limits = limits
        self.environ = {
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.errors": journal,
            **environ,
        }
        self.is_draining = False
        self.connections: dict[Connection, None] = {}
        self._owner = owner
        self.answered: Callable[[Connection], None] = journal.answered
        self.refused: Callable[[Connection, BadHead], None] = journal.refused
        self.crashed: Callable[[Connection | None, BaseException], None] = journal.crashed
        self._tell_of_shortage: Callable[[str], None] = journal.is_short
        self._shortage = ""
        self._told = -_QUIET
        self._broken: OSError | None = None
        pool = _Connections(owner, limits.max_connections + _LEAVING)
        super().__init__(listener, spawn=pool)
        # The base class has put the pool's own method there; `do_read` looks for room itself.
        self.full = lambda: False  # type: ignore[method-assign]

    @property
    def in_progress(self) -> list[Connection]:
        """The connections whose requests are being answered."""
        return [each for each in self.connections if not each.is_idle]

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection; what goes wrong there stays there."""
        sock.settimeout(None)  # not what somebody has made the default: it has deadlines
        if isinstance(address, tuple):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, address, self)
        self.connections[connection] = None
        try:
            connection.handle()
        except BaseException as error:  # a Timeout, say, that has leaked earlier
            if isinstance(meaning_of(error), GreenletExit | KeyboardInterrupt):
                raise
            self.crashed(connection, error)
        finally:
            del self.connections[connection]
            self._accept_again()

    def do_handle(self, *args: Any) -> None:
        """Start to serve a connection that was accepted. Called in the hub."""
        if not is_at_work(self._owner) and not self.is_draining:
            args[0].close()  # the service has crashed, and its clean-ups have not run yet
            return
        if self._count() >= self.limits.max_connections and (oldest := self._oldest_idle()):
            oldest.give_up()
        super().do_handle(*args)

    def sweep(self) -> None:
        """Give up on the clients that are late, and see whether there is room again.

        Raises:
            OSError: The listening socket is of no use any more.
        """
        now = clock.now()
        for connection in tuple(self.connections):
            if connection.deadline <= now:
                connection.give_up()
        if self._shortage and now - self._told >= _QUIET:
            self._tell_of_shortage(self._shortage)
            self._told = clock.now()
            self._shortage = ""
        if self.started and self.socket.fileno() < 0:
            self._broken = OSError(errno.EBADF, "somebody has closed the listening socket")
        if self._broken is not None:
            raise self._broken
        self._accept_again()

    # -- accepting -------------------------------------------------------------------------

    def do_read(self) -> Any:
        """Return a connection and its address, or None for now. Called in the hub."""
        if self._is_full():
            self.stop_accepting()  # until a connection ends
            return None
        accepted = self._accept()
        if accepted is None and (self._shortage or self._broken is not None):
            self.stop_accepting()  # it would fail again and again
        return accepted

    def _accept(self) -> Any:
        """Return a connection and its address, or None; an error is only noted."""
        for _ in range(_TRIES):
            try:
                return super().do_read()
            except OSError as error:
                if error.errno in _CLIENTS_OWN:
                    continue
                if error.errno in _SHORTAGE:
                    self._make_room(error)
                else:
                    self._broken = error.with_traceback(None)
                return None
        return None

    def _make_room(self, error: OSError) -> None:
        self._shortage = error.strerror or str(error)
        if (oldest := self._oldest_idle()) is not None:
            oldest.give_up()

    def _accept_again(self) -> None:
        if self.started:
            self.start_accepting()

    # -- room for one more -----------------------------------------------------------------

    def _is_full(self) -> bool:
        """Whether to leave new connections to the system's queue."""
        if self.pool is not None and self.pool.full():
            return True
        return self._count() >= self.limits.max_connections and self._oldest_idle() is None

    def _count(self) -> int:
        # Not the connections: one that was just accepted becomes one when its greenlet begins.
        there = 0 if self.pool is None else len(self.pool)
        return there - sum(each.is_given_up for each in self.connections)

    def _oldest_idle(self) -> Connection | None:
        """Return who is idle for the longest, if it is not about to send its next request."""
        idle = [each for each in self.connections if each.is_idle and not each.is_given_up]
        oldest = min(idle, key=lambda each: each.since, default=None)
        is_settled = oldest is not None and clock.now() >= oldest.since + LINGER
        return oldest if is_settled else None

    # -- the end ---------------------------------------------------------------------------

    def drain(self) -> None:
        """Take nothing new: serve whoever is connected already, then refuse everybody."""
        self.is_draining = True
        self.stop_accepting()
        until = clock.now() + _PATIENCE
        # They are connected, by their own account: without this they would be reset.
        while self.pool is not None and not self.pool.full():
            self._shortage = ""
            accepted = self._accept()
            if accepted is not None:
                self.do_handle(*accepted)
                until = clock.now() + _PATIENCE
            elif self._shortage and clock.now() < until:
                sleep(_MOMENT)  # those that were idle make room
            else:
                break
        self.close()

    def close_idle(self) -> None:
        """Close the connections that have been idle for a moment."""
        now = clock.now()
        for connection in tuple(self.connections):
            if connection.is_idle and now >= connection.since + LINGER:
                connection.give_up()


class _Connections(Pool):
    """A pool whose greenlets belong to a service."""

    def __init__(self, owner: Node, size: int) -> None:
        super().__init__(size)
        self._owner = owner

    def spawn(self, *args: Any, **kwargs: Any) -> Any:
        handle, *rest = args
        owner = self._owner
        greenlet = Managed(owner, context_of(owner), handle, tuple(rest), kwargs)
        holdings_of(owner).add_greenlet(greenlet)
        self.start(greenlet)
        return greenlet
