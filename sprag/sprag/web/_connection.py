"""One client's connection: requests one after another, each within its times.

A connection never waits with a timer of its own. It says until when it may wait where
it does (`deadline`), and the server's sweep shuts the socket of those that are late, so
that the wait ends like any other whose client has gone. The same way it is closed while
idle: to make room for others, or because the server stops. Nothing is ever thrown into
a controller for the sake of a socket.
"""

from __future__ import annotations

import io
import math
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from gevent import GreenletExit
from werkzeug.exceptions import HTTPException

from sprag._http_head import BadHead, Head, NoRequest, read_head
from sprag.web._answer import Answer
from sprag.web._body import BODY, Body
from sprag.web._encoding import is_one
from sprag.web._reply import Reply
from sprag_supervisor import Pace, clock, meaning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.web._limits import Limits

_PIECE: Final = 64 * 1024
"""Bytes that are sent at a time, each within the `send_timeout`."""
_WORTH_READING: Final = 64 * 1024
"""Bytes of an unread body that are thrown away to keep the connection; with more it closes."""
_TURN: Final = 0.001
"""Seconds for which one client is served before the others have a turn. Each turn costs a tenth
of a request."""
_LAST_ONES: Final = 20
"""Requests that were sent in a row and are all answered, though the server drains."""
LINGER: Final = 0.25
"""Seconds in which a client that is about to be closed while idle may still send the rest of what
it has begun to send; or, if it has sent nothing, close its side."""
_LAST_WORDS: Final = 1.0
"""Seconds in which a client may read our last answer while it is still sending."""


class Serves(Protocol):
    """The server, as its connections see it: `HTTPServer`.

    Attributes:
        keeps_nobody: The connections end with the next answer: it drains, or is about to.
        answers: How many there were since it last looked for new connections.
    """

    application: Callable[..., Any]
    limits: Limits
    keeps_nobody: bool
    answers: int
    answered: Callable[[Connection], None]
    refused: Callable[[Connection, BadHead], None]
    crashed: Callable[[Connection | None, BaseException], None]


class ClientGone(OSError):
    """The answer cannot be sent: the client has left, or is too slow."""


class Connection:
    """Serves one connection until either side closes it.

    Attributes:
        head: Of the request in progress, or None.
        answer: To it.
        environ: What WSGI knows about it.
        time_start: When it had come; `time_finish`: when it was answered.
        is_idle: It waits for a request, or for the rest of one's head: nothing is lost if
            it is closed.
        since: Time at which it became idle.
        client: Its IP address; None on a Unix socket.
        is_given_up: Its wait was ended from outside; it is about to close.
        is_leaving: It was idle, and sends nothing any more: it waits for the client's end.
        deadline: Time until which it may wait as it does now; infinity while a controller
            works.
        read_by: Time until which what is read next must have come.
    """

    def __init__(self, sock: Any, address: Any, server: Serves, environ: dict[str, Any]) -> None:
        self.socket = sock
        self.client: str | None = str(address[0]) if address and is_one(address, tuple) else None
        self.head: Head | None = None
        self.answer: Answer | None = None
        self.environ: dict[str, Any] = {}
        self.time_start = self.time_finish = 0.0
        self.is_idle = False  # nor busy: its greenlet has not begun
        self.since = clock.now()
        self.is_given_up = False
        self.is_leaving = False
        self.deadline = math.inf
        self.read_by = math.inf
        self.is_quiet = False
        """Nothing has come of the next request; to be read while it is idle."""
        self._rest_by = math.inf
        """Until when the rest of a head must have come, however long others may take."""
        self._incoming = _Incoming(self, sock)
        self.rfile = io.BufferedReader(self._incoming, 8192)
        self.pace = Pace(hold=_TURN)
        self.has_ended = False
        """The client sends nothing any more, or was given up."""
        self._server = server
        self._base = environ
        self._limits = server.limits
        self._port = "" if self.client is None else str(address[1])
        self._body: Body | None = None
        self._is_sending = False
        self._lingers = False
        self._last_ones = 0
        """So many answers since the server drains."""

    # -- from outside ------------------------------------------------------------------

    def give_up(self) -> None:
        """End its wait as if the client had gone. Callable from the hub."""
        self.is_given_up = True
        self.deadline = math.inf
        how = socket.SHUT_RDWR if self._is_sending else socket.SHUT_RD
        with suppress(OSError):
            self.socket.shutdown(how)

    def retire(self) -> None:
        """Close it if it is idle: at once, unless a request is there, or has begun to come.

        Callable from the hub; and again, until it is closed.
        """
        if not self.is_idle or self.is_leaving or self.is_given_up or self.has_sent():
            return
        by = clock.now() + LINGER
        if self.is_quiet:
            self.is_leaving = True
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        elif self._rest_by < math.inf:
            return
        self._rest_by = self.read_by = self.deadline = min(self.deadline, by)

    def is_late(self) -> None:
        """Act on a deadline that is over. Callable from the hub."""
        if self.is_idle and self.is_quiet and not self.is_leaving:
            self.deadline = math.inf
            self.retire()
        else:
            self.give_up()

    def has_sent(self) -> bool:
        """Whether something has come that was not read yet."""
        try:
            return bool(self.socket._sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def describe(self) -> str:
        """Name the request in progress."""
        head = self.head
        return "no request" if head is None else f"{head.method} {head.target}"

    # -- the connection ------------------------------------------------------------------

    def handle(self) -> None:
        """Serve requests until the connection ends, and close it."""
        try:
            self.socket.settimeout(None)  # not what somebody has made the default
            if self.client is not None:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            within = self._limits.head_timeout
            while self._serve_one(within):
                within = self._limits.keep_alive
                # A client that is faster than we are would never let the others have a turn.
                self.pace()
            if self._lingers and not self.is_given_up:
                self._linger()
        except OSError:
            pass  # of no interest: clients come and go
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket; more than once does no harm."""
        with suppress(OSError):
            self.socket.close()

    def _serve_one(self, within: float) -> bool:
        """Read and answer one request; return whether another may follow."""
        now = self.since = clock.now()
        self.is_idle = self.is_quiet = True
        self.head = None
        self._rest_by = math.inf
        self.read_by = now + within
        try:
            head = read_head(_HeadLines(self), self._limits.max_head)
        except NoRequest:
            return False
        except BadHead as error:
            late = BadHead(408, "the request did not come in time")
            self._refuse(late if self.is_given_up else error)
            return False
        self.is_idle = False
        self.head = head
        self.time_start = clock.now()
        self.environ = self._environ_of(head)
        answer = self.answer = Answer(
            self, head, closes=head.closes or self._limits.keep_alive == 0
        )
        self._respond(answer)
        goes_on = not answer.closes and not self.is_given_up and self._drop_body()
        # Where the client has asked for the end, only its body can still be on the way.
        self._lingers = not goes_on and (not head.closes or self._unread() > 0)
        return goes_on

    def begin_head(self) -> None:
        """Take note that a request has begun to come: its head gets its own time."""
        self.read_by = min(clock.now() + self._limits.head_timeout, self._rest_by)

    def _refuse(self, error: BadHead) -> None:
        """Answer what is no request; there is no telling where a next one would begin."""
        reply = Reply(error.status, "text/plain; charset=utf-8", f"{error.reason}\n".encode())
        status, headers = reply.head()
        lines = [f"{name}: {value}" for name, value in (*headers, ("Connection", "close"))]
        self._server.refused(self, error)
        self._lingers = True
        self.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + reply.body)

    def _linger(self) -> None:
        """Let the client read our last answer: data unread at the close would destroy it."""
        self.is_idle = True
        self.is_quiet = False
        self.since = clock.now()
        self.read_by = self.since + _LAST_WORDS
        self.socket.shutdown(socket.SHUT_WR)
        while self.rfile.read1(_PIECE) and clock.now() < self.read_by:
            self.pace()

    # -- one request -------------------------------------------------------------------

    def _environ_of(self, head: Head) -> dict[str, Any]:
        """Return what WSGI is to know about the request."""
        environ = self._base.copy()
        path, _, query = head.target.partition("?")
        environ["REQUEST_METHOD"] = head.method
        environ["PATH_INFO"] = unquote(path, "latin-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = head.version
        if self.client is not None:
            environ["REMOTE_ADDR"] = self.client
            environ["REMOTE_PORT"] = self._port
        environ.update(head.fields)
        if head.chunked or head.length:
            self._body = environ[BODY] = Body(self, head, self._limits)
            environ["wsgi.input"] = io.BufferedReader(self._body)
        else:
            self._body = None
            environ["wsgi.input"] = io.BytesIO()
        return environ

    def _respond(self, answer: Answer) -> None:
        """Have the application answer; whatever it raises is logged once and ends here."""
        try:
            answer.make(self._server.application, self.environ)
        except ClientGone:
            answer.closes = True
        except HTTPException as error:  # from a body that was read while the answer was made
            self._fail(error.code or 500)
        except BaseException as error:  # a request never ends the server
            meant = meaning_of(error)
            if isinstance(meant, GreenletExit):
                self._fail(503)
            if isinstance(meant, GreenletExit | KeyboardInterrupt):
                raise
            self._server.crashed(self, error)
            self._fail(500)
        finally:
            self.time_finish = clock.now()
            self._server.answers += 1
            self._server.answered(self)

    def _fail(self, status: int) -> None:
        """Answer for an application that cannot, unless it has begun to."""
        assert self.answer is not None
        reply = Reply(status, body=b'{"error": "the request could not be answered"}')
        with suppress(ClientGone):
            self.answer.fail(reply)

    def must_close(self) -> bool:
        """Whether there can be no other request after this answer."""
        if self.has_ended or self.is_given_up or self._unread() > _WORTH_READING:
            return True
        if not self._server.keeps_nobody:
            return False
        self._last_ones += 1
        return self._last_ones > _LAST_ONES or not self._has_sent_another()

    def _has_sent_another(self) -> bool:
        """Whether all of the next head has come with this request: it is answered, too."""
        if self._unread():
            return False
        self._incoming.is_asked = False
        try:
            return b"\r\n\r\n" in self.rfile.peek(1)
        finally:
            self._incoming.is_asked = True

    def go_on(self) -> None:
        """Tell a client that waits for it that the body may come."""
        if self.answer is not None and not self.answer.has_begun:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _unread(self) -> float:
        return 0 if self._body is None else self._body.unread()

    def _drop_body(self) -> bool:
        """Throw away what is left of the body; return whether the connection can go on."""
        if not self._unread():
            return True
        assert self._body is not None
        scratch = bytearray(8192)
        try:
            while self._body.readinto(scratch):
                pass
        except (OSError, HTTPException):
            return False
        return True

    # -- the socket ----------------------------------------------------------------------

    def send(self, data: bytes | bytearray) -> None:
        """Send all of *data*, each piece of it within the `send_timeout`.

        Raises:
            ClientGone: The client has left, or takes it too slowly.
        """
        self._is_sending = True
        try:
            for start in range(0, len(data), _PIECE):
                piece = data if len(data) <= _PIECE else memoryview(data)[start : start + _PIECE]
                self.deadline = clock.now() + self._limits.send_timeout
                # The kernel mostly takes all of it at once, which gevent's sendall does not expect.
                if (sent := self.socket.send(piece)) < len(piece):
                    self.socket.sendall(memoryview(piece)[sent:])
                self.deadline = math.inf
                self.pace()
        except OSError as error:
            raise ClientGone from error
        finally:
            self._is_sending = False
            self.deadline = math.inf


class _Incoming(io.RawIOBase):
    """What comes from the client; an end, instead of an error, when it comes too late."""

    def __init__(self, connection: Connection, sock: Any) -> None:
        self._connection = connection
        self._receive_into = sock.recv_into
        self.is_asked = True
        """Not, while somebody only looks at what has come already."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        connection = self._connection
        if not self.is_asked:
            return None
        if connection.is_given_up:
            return 0  # of a socket that is shut the system still hands out what comes
        connection.deadline = connection.read_by
        try:
            count: int = self._receive_into(buffer)
        finally:
            connection.deadline = math.inf
        connection.is_quiet = False
        if connection.is_leaving:
            count = self._wait_for_the_end(buffer, count)
        if not count:
            connection.has_ended = True
        return count

    def _wait_for_the_end(self, buffer: Any, count: int) -> int:
        """Read, and drop, what comes too late: unread at the close it would be a reset."""
        connection = self._connection
        connection.deadline = connection.read_by
        while count and not connection.is_given_up:
            count = self._receive_into(buffer)
            connection.pace()
        return 0


class _HeadLines:
    """The lines of a head, which has its own time as soon as the first has come."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._readline = connection.rfile.readline
        self._has_begun = False

    def readline(self, size: int) -> bytes:
        try:
            line = self._readline(size)
        except OSError:
            return b""
        if not self._has_begun:
            self._has_begun = True
            self._connection.begin_head()
        return line
