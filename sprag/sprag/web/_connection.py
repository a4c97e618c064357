"""One client's connection: requests one after another, each within its times.

pywsgi writes the answers and decodes chunked bodies. Reading heads, giving up on slow
clients, what happens to a body that nobody has read, and what is logged are our own.

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
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from gevent import GreenletExit, pywsgi, sleep
from gevent.pywsgi import Input, WSGIHandler

from sprag.web._encoding import is_one
from sprag.web._head import BadHead, Head, NoRequest, read_head
from sprag.web._reply import BODILESS, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.web._server import HTTPServer

_InvalidInput: type[Exception] = getattr(pywsgi, "_InvalidClientInput", OSError)
"""What pywsgi raises when a body's chunks are malformed."""
_PIECE: Final = 64 * 1024
"""Bytes that are sent at a time, each within the `send_timeout`."""
_WORTH_READING: Final = 64 * 1024
"""Bytes of an unread body that are thrown away to keep the connection; with more it closes."""
_TURN: Final = 0.001
"""Seconds for which one client is served before the others have a turn. Each turn costs a tenth
of a request."""
_LAST_WORDS: Final = 1.0
"""Seconds in which a client may read our last answer while it is still sending."""


class ClientGone(Exception):
    """The answer cannot be sent: the client has left, or is too slow."""


class WrongLength(Exception):
    """The answer is not as long as its own Content-Length: where would the next one begin?"""


class Connection(WSGIHandler):
    """Serves one connection until either side closes it.

    Attributes:
        is_idle: It waits for a request, or for the rest of one's head: nothing is lost if
            it is closed.
        since: Monotonic time at which it became idle.
        client: Its IP address; None on a Unix socket.
        is_given_up: Its wait was ended from outside; it is about to close.
        deadline: Monotonic time until which it may wait as it does now; infinity while a
            controller works.
    """

    def __init__(self, sock: Any, address: Any, server: HTTPServer) -> None:
        self.socket = sock
        self.client_address = address
        self.client: str | None = str(address[0]) if address and is_one(address, tuple) else None
        self.server: Any = server
        self.rfile = io.BufferedReader(_Incoming(self, sock), 8192)
        self.is_idle = True
        self.since = time.monotonic()
        self.deadline = math.inf
        self.read_by: float | None = None
        """Until when what is read now must have come; None: a body's time begins with the read."""
        self.has_ended = False
        """The client sends nothing any more, or was given up."""
        self._limits = server.limits
        self._is_sending = False
        self.is_given_up = False
        self._closes = False
        self._head: Head | None = None
        self._left: int | None = None
        """Bytes of the answer's body that were announced and are still to be sent."""

    # -- from outside ------------------------------------------------------------------

    def give_up(self) -> None:
        """End its wait as if the client had gone. Callable from the hub."""
        self.is_given_up = True
        self.deadline = math.inf
        how = socket.SHUT_RDWR if self._is_sending else socket.SHUT_RD
        with suppress(OSError):
            self.socket.shutdown(how)

    def describe(self) -> str:
        """Name the request in progress."""
        head = self._head
        return "no request" if head is None else f"{head.method} {head.target}"

    # -- the connection ------------------------------------------------------------------

    def handle(self) -> None:
        """Serve requests until the connection ends, and close it."""
        try:
            within = self._limits.head_timeout
            turn = time.monotonic()
            while self._serve_one(within):
                within = self._limits.keep_alive
                # A client that is faster than we are would never let the others have a turn.
                if time.monotonic() - turn > _TURN:
                    sleep(0)
                    turn = time.monotonic()
            if self._closes and not self.is_given_up:
                self._linger()
        except (ClientGone, OSError):
            pass  # of no interest: clients come and go
        finally:
            with suppress(OSError):
                self.socket.close()

    def _serve_one(self, within: float) -> bool:
        """Read and answer one request; return whether another may follow."""
        now = self.since = time.monotonic()
        self.is_idle = True
        self._head = None
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
        self._head = head
        self.read_by = None
        self.time_start = time.time()
        self.command, self.request_version = head.method, head.version
        self.close_connection = head.closes or self._limits.keep_alive == 0
        self.environ = self.get_environ()
        self.application = self.server.application
        self.handle_one_response()
        return not self.close_connection and self._drop_body()

    def begin_head(self) -> None:
        """Take note that a request has begun to come: its head gets its own time."""
        self.read_by = time.monotonic() + self._limits.head_timeout

    def _refuse(self, error: BadHead) -> None:
        """Answer what is no request; there is no telling where a next one would begin."""
        reply = Reply(error.status, "text/plain; charset=utf-8", f"{error.reason}\n".encode())
        status, headers = reply.head()
        lines = [f"{name}: {value}" for name, value in (*headers, ("Connection", "close"))]
        self.server.refused(self, error)
        self._closes = True
        self._sendall("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + reply.body)

    def _linger(self) -> None:
        """Let the client read our last answer: data unread at the close would destroy it."""
        self.is_idle = True
        self.since = time.monotonic()
        self.read_by = self.since + _LAST_WORDS
        self.socket.shutdown(socket.SHUT_WR)
        for _ in range(_WORTH_READING // 4096):
            if not self.rfile.read1(4096):
                return

    # -- one request -------------------------------------------------------------------

    def get_environ(self) -> dict[str, Any]:
        """Return what WSGI is to know about the request."""
        head = self._head
        assert head is not None
        environ: dict[str, Any] = self.server.get_environ()
        path, _, query = head.target.partition("?")
        environ["REQUEST_METHOD"] = head.method
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = unquote(path, "latin-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = head.version
        if self.client is not None:
            environ["REMOTE_ADDR"] = self.client
            environ["REMOTE_PORT"] = str(self.client_address[1])
        environ.update(head.fields)
        self.wsgi_input = Input(
            self.rfile, head.length, self.socket if head.waits else None, head.chunked
        )
        environ["wsgi.input"] = self.wsgi_input
        environ["wsgi.input_terminated"] = True
        return environ

    def handle_one_response(self) -> None:
        """Have the application answer; whatever it raises is logged once and ends here."""
        self.status = None
        self.headers_sent = False
        self.result = None
        self.response_use_chunked = False
        self.connection_upgraded = False
        self.response_length = 0
        try:
            self.run_application()
        except ClientGone:
            self.close_connection = True
        except _InvalidInput:
            self._fail(400)
        except GreenletExit:
            self._fail(503)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a request never ends the server
            self.server.crashed(self, error)
            self._fail(500)
        finally:
            self.time_finish = time.time()
            self.server.answered(self)

    def _fail(self, status: int) -> None:
        """Answer for an application that cannot, unless it has begun to."""
        self.close_connection = True
        if self.headers_sent:
            return
        reply = Reply(status, body=b'{"error": "the request could not be answered"}')
        line, headers = reply.head()
        with suppress(ClientGone):
            self.start_response(line, headers)
            self.write(b"" if self.command == "HEAD" else reply.body)

    # -- the body that nobody has read ---------------------------------------------------

    def _unread(self) -> float:
        """Return how many bytes of the body are still to come; infinity for nobody knows."""
        body: Any = self.wsgi_input
        if body.chunked_input:
            return 0 if body.chunk_length == 0 else math.inf
        left = (body.content_length or 0) - body.position
        # Who waits for our "100 Continue" may now send the body, or not.
        return math.inf if left and body.socket is not None else float(left)

    def _drop_body(self) -> bool:
        """Throw away what is left of the body; return whether the connection can go on."""
        if not self._unread():
            return True
        try:
            while self.wsgi_input.read(16384):  # type: ignore[union-attr]
                pass
        except OSError:
            return False
        return True

    # -- writing -------------------------------------------------------------------------

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take the application's status and headers."""
        super().start_response(status, headers, exc_info)
        announced: str | None = self.provided_content_length
        self._left = None if announced is None else int(announced)
        return self.write

    def process_result(self) -> None:
        """Send what the application has returned.

        Raises:
            WrongLength: It is shorter than announced.
        """
        super().process_result()
        if self._left and self.command != "HEAD" and self.code not in BODILESS:
            raise WrongLength(f"the answer has {self._left} bytes less than it has announced")

    def write(self, data: bytes) -> None:
        """Send a part of the body.

        Raises:
            WrongLength: With it the body would be longer than announced.
        """
        if self._left is not None:
            if len(data) > self._left:
                announced = f"{self.provided_content_length} bytes it has announced"
                raise WrongLength(f"the answer has more than the {announced}")
            self._left -= len(data)
        super().write(data)

    def finalize_headers(self) -> None:
        """Say whether the connection stays open, once everything else is known."""
        super().finalize_headers()
        if self.command == "HEAD":
            self.response_use_chunked = False  # not even the last chunk
        elif self._ends_with_connection():
            self.close_connection = True
        if self._unread() > _WORTH_READING:
            self.close_connection = True
            self._closes = True
        elif self.server.is_draining or self.has_ended:
            self.close_connection = True
        if self.close_connection and not self.connection_upgraded:
            headers: list[Any] = self.response_headers or []
            headers = [each for each in headers if each[0].lower() != b"connection"]
            self.response_headers = [*headers, (b"Connection", b"close")]  # type: ignore[list-item]

    def _ends_with_connection(self) -> bool:
        """Whether nothing else can tell the client where this answer ends (HTTP/1.0)."""
        is_known = self._left is not None or hasattr(self.result, "__len__")
        return not (is_known or self.response_use_chunked or self.code in BODILESS)

    def _write_with_headers(self, data: bytes) -> None:
        self.headers_sent = True
        self.finalize_headers()
        status: Any = self.status
        head = [b"HTTP/1.1 ", status, b"\r\n"]
        headers: Any = self.response_headers
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n")
        if data and not self.response_use_chunked and len(data) <= _PIECE:
            # In one piece: two would wait for each other (Nagle and delayed acknowledgement).
            self._sendall(b"".join((*head, data)))
        else:
            self._sendall(b"".join(head))
            self._write(data)  # type: ignore[attr-defined]

    def _sendall(self, data: bytes | bytearray) -> None:
        self._is_sending = True
        try:
            for start in range(0, len(data), _PIECE):
                piece = data if len(data) <= _PIECE else memoryview(data)[start : start + _PIECE]
                self.deadline = time.monotonic() + self._limits.send_timeout
                # The kernel mostly takes all of it at once, which gevent's sendall does not expect.
                if (sent := self.socket.send(piece)) < len(piece):
                    self.socket.sendall(memoryview(piece)[sent:])
        except OSError as error:
            raise ClientGone from error
        finally:
            self._is_sending = False
            self.deadline = math.inf
        self.response_length += len(data)


class _Incoming(io.RawIOBase):
    """What comes from the client; an end, instead of an error, when it comes too late."""

    def __init__(self, connection: Connection, sock: Any) -> None:
        self._connection = connection
        self._receive_into = sock.recv_into

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        connection = self._connection
        if connection.read_by is None:
            connection.read_by = time.monotonic() + connection._limits.body_timeout
        connection.deadline = connection.read_by
        try:
            count: int = self._receive_into(buffer)
        finally:
            connection.deadline = math.inf
        if not count:
            connection.has_ended = True
        return count


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
