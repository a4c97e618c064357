"""The HTTP server below the `web` service: accepts connections, with bounds, to an orderly end."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from gevent import GreenletExit, sleep
from gevent.event import Event

from sprag.process.sockets import handed_over
from sprag.web._connection import LINGER, Connection
from sprag_supervisor import Managed, clock, context_of, is_at_work, meaning_of, start_managed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sprag._http_head import BadHead
    from sprag.web._door import Door
    from sprag.web._limits import Limits
    from sprag_supervisor import Node

KEPT: Final = 2.5
"""Seconds for which, at most, a worker whose place is taken keeps connections that are idle: the
next request is answered, with `Connection: close`, and the client comes back to another. Of those
that ask nothing for so long hardly any asks in the very moment of the close."""

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


class HTTPServer:
    """Serves connections in greenlets that the service owns, so many at a time.

    A connection is one from the moment it was accepted, in the hub, until its greenlet has
    ended: whoever stops the server waits for one whose greenlet has not begun yet, too.

    Args:
        doors: Where it accepts connections.
        application: The WSGI callable.
        owner: The service.
        limits: For the clients.
        journal: What to call about requests: `answered`, `refused`, `crashed`; and `is_short`.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        application: Callable[..., Any],
        *,
        owner: Node,
        limits: Limits,
        journal: Any,
    ) -> None:
        self.application = application
        self.limits = limits
        self.is_draining = False
        self.keeps_nobody = False
        self.connections: dict[Connection, None] = {}
        self.doors = doors
        self._environs = {
            door: {
                "SCRIPT_NAME": "",
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": "http",
                "wsgi.multithread": False,
                "wsgi.run_once": False,
                "wsgi.input_terminated": True,
                "wsgi.errors": journal,
                **door.environ,
            }
            for door in doors
        }
        self._owner = owner
        self.answered: Callable[[Connection], None] = journal.answered
        self.refused: Callable[[Connection, BadHead], None] = journal.refused
        self.crashed: Callable[[Connection | None, BaseException], None] = journal.crashed
        self._tell_of_shortage: Callable[[str], None] = journal.is_short
        self._shortage = ""
        self._told = -_QUIET
        self._broken: OSError | None = None
        self.answers = 0
        self._is_open = False
        self._kept_until = 0.0
        self._all_gone = Event()

    def start(self) -> None:
        """Accept connections from now on."""
        self._is_open = True
        self._accept_again()

    def close(self) -> None:
        """Listen no more; whoever is connected stays so."""
        self._is_open = False
        for door in self.doors:
            door.close()

    @property
    def in_progress(self) -> list[Connection]:
        """The connections whose requests are being answered."""
        return [each for each in self.connections if not each.is_idle]

    def _serve(self, connection: Connection) -> None:
        """Serve one connection; what goes wrong there stays there."""
        try:
            connection.handle()
        except BaseException as error:  # a Timeout, say, that has leaked earlier
            if isinstance(meaning_of(error), GreenletExit | KeyboardInterrupt):
                raise
            self.crashed(connection, error)

    def _take(self, door: Door, sock: Any, address: Any) -> None:
        """Start to serve a connection that was accepted. Called in the hub."""
        if not is_at_work(self._owner) and not self.is_draining:
            sock.close()  # the service has crashed, and its clean-ups have not run yet
            return
        if self._count() >= self.limits.max_connections and (oldest := self._oldest_idle()):
            oldest.give_up()
        owner = self._owner
        connection = Connection(sock, address, self, self._environs[door])

        def ended(_greenlet: object) -> None:
            del self.connections[connection]
            connection.close()  # its greenlet may have been killed before it has begun
            if not self.connections:
                self._all_gone.set()
            self._accept_again()

        greenlet = Managed(owner, context_of(owner), self._serve, (connection,), {})
        self.connections[connection] = None
        self._all_gone.clear()
        greenlet.rawlink(ended)
        start_managed(owner, greenlet)

    def sweep(self) -> None:
        """Give up on the clients that are late, and see whether there is room again.

        Raises:
            OSError: The listening socket is of no use any more.
        """
        now = clock.now()
        for connection in tuple(self.connections):
            if connection.deadline <= now:
                connection.is_late()
        if self._shortage and now - self._told >= _QUIET:
            self._tell_of_shortage(self._shortage)
            self._told = clock.now()
            self._shortage = ""
        if self.is_draining:
            self.close_idle()
        if self._is_open and any(door.is_closed for door in self.doors):
            self._broken = OSError(errno.EBADF, "somebody has closed the listening socket")
        if self._broken is not None:
            raise self._broken
        self._accept_again()

    # -- accepting -------------------------------------------------------------------------

    def _arrived(self, door: Door) -> None:
        """Accept whoever is there, as long as there is room. Called in the hub."""
        answers, self.answers = self.answers, 0
        for _ in range(door.at_a_time(answers)):
            if self._is_full():
                self._look_away()  # until a connection ends
                return
            accepted = self._accept(door)
            if accepted is None:
                if self._shortage or self._broken is not None:
                    self._look_away()  # it would fail again and again
                return
            self._take(door, *accepted)

    def _accept(self, door: Door) -> Any:
        """Return a connection and its address, or None; an error is only noted."""
        for _ in range(_TRIES):
            try:
                return door.accept()
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
        if self._is_open and not self.is_draining:
            for door in self.doors:
                if not door.is_closed:
                    door.watch(self._arrived)

    def _look_away(self) -> None:
        for door in self.doors:
            door.look_away()

    # -- room for one more -----------------------------------------------------------------

    def _is_full(self) -> bool:
        """Whether to leave new connections to the system's queue."""
        if len(self.connections) >= self.limits.max_connections + _LEAVING:
            return True
        return self._count() >= self.limits.max_connections and self._oldest_idle() is None

    def _count(self) -> int:
        return len(self.connections) - sum(each.is_given_up for each in self.connections)

    def _oldest_idle(self) -> Connection | None:
        """Return who is idle for the longest, if it is not about to send its next request."""
        idle = [each for each in self.connections if each.is_idle and not each.is_given_up]
        now = clock.now()
        while (oldest := min(idle, key=lambda each: each.since, default=None)) is not None:
            if now < oldest.since + LINGER:
                return None
            if not oldest.has_sent():
                return oldest
            oldest.since = now  # it has its turn soon
        return None

    # -- the end ---------------------------------------------------------------------------

    def drain(self) -> None:
        """Take nothing new: serve whoever is connected already, then listen no more.

        A queue that others accept from is left to them: to empty it would take their clients,
        and under load never end. And where they are there, idle clients are in no hurry.
        """
        self.is_draining = self.keeps_nobody = True
        limits = self.limits
        patience = min(KEPT, limits.keep_alive, limits.shutdown / 2, handed_over())
        self._kept_until = clock.now() + patience
        self._look_away()
        for door in self.doors:
            if not door.is_left_to_others and not door.is_closed:
                self._empty(door)
        self.close()

    def _empty(self, door: Door) -> None:
        # They are connected, by their own account: without this they would be reset.
        until = clock.now() + _PATIENCE
        while len(self.connections) < self.limits.max_connections + _LEAVING:
            self._shortage = ""
            accepted = self._accept(door)
            if accepted is not None:
                self._take(door, *accepted)
                until = clock.now() + _PATIENCE
            elif self._shortage and clock.now() < until:
                sleep(_MOMENT)  # those that were idle make room
            else:
                break

    def wait_until_all_are_gone(self, seconds: float) -> None:
        """Wait for the end of all connections, so long at most."""
        if self.connections:
            self._all_gone.wait(seconds)

    def close_idle(self) -> None:
        """Close the connections that have been idle for a moment; where others serve, longer."""
        now = clock.now()
        for connection in tuple(self.connections):
            if connection.deadline <= now:
                connection.is_late()
            elif now >= max(connection.since + LINGER, self._kept_until):
                connection.retire()
