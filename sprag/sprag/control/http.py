"""One HTTP request read, one answer written, on a socket that may belong to a fool.

A small part of HTTP/1.1: one request per connection, no body worth the name. What is too
large, too slow or malformed is refused with a status and a sentence; there is a limit for
everything that a client decides on. The head is read as strictly as that of a page, and more so
in what it may ask for; but it need name no host, and may be typed by hand.
"""

from __future__ import annotations

import io
import json
import re
import select
import socket
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, unquote_to_bytes

from gevent import monkey

from sprag._http_head import BadHead, NoRequest, read_head
from sprag.control.pieces import chunks, encoded, looking
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from gevent import socket as gevent_socket

    from sprag._http_head import Head

READ_SECONDS: Final = 5.0
"""For the whole of a request, from the connection on."""
STALL_SECONDS: Final = 5.0
"""For a client to take the next part of its answer."""
MAX_LINE: Final = 8192
MAX_HEAD: Final = 16384
MAX_BODY: Final = 65536
_MAX_FIELDS: Final = 20
_IN_MEMORY: Final = 1 << 20
"""Bytes of an answer that are made before the first is sent, so that its length is known."""
_USUAL: Final = 100_000
"""Bytes that a socket takes at once as it is."""

_EMPTY: Final = (b"\r\n", b"\n")
_MAX_EMPTY: Final = 16
"""Empty lines that may come before a request."""
_ASKED: Final = re.compile(r"[A-Z]{1,16} /[!-~]*")
_REMEDY: Final = "send 'GET /v1/tree HTTP/1.1', and no body or one with a Content-Length"
_make_poll: Final = monkey.get_original("select", "poll")


class Refused(Exception):
    """Ends the handling of a request with an error status.

    Attributes:
        status: The HTTP status.
        name: The class of sprag's exception behind it, if there is one.
        allow: The methods that would do, for 405.
    """

    def __init__(
        self, status: HTTPStatus, message: str, *, name: str = "", allow: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.allow = allow


class Gone(Exception):
    """The client has hung up: there is nobody to answer to."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    """As it was sent, percent-encoded."""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    by: int | None = None
    """The user id of who asks, as the system tells it."""

    def seconds(self, key: str, default: float | None = None) -> float | None:
        """Return a number of seconds given in the query.

        Raises:
            Refused: It is no number from 0 to 1e9.
        """
        text = self.query.get(key)
        if text is None:
            return default
        with suppress(ValueError):
            value = float(text)
            if 0 <= value <= 1e9:
                return value
        accepted = "a number of seconds, 0 or more, and 1e9 at most"
        raise Refused(HTTPStatus.BAD_REQUEST, f"{key}={text!r} is not accepted: use {accepted}")

    def number(self, key: str, default: int, *, most: int) -> int:
        """Return a whole number given in the query, from 0 to *most*.

        Raises:
            Refused: It is something else.
        """
        text = self.query.get(key)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > most:
            accepted = f"a whole number, 0 to {most}"
            raise Refused(HTTPStatus.BAD_REQUEST, f"{key}={text!r} is not accepted: use {accepted}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told.

    Attributes:
        body: One JSON value, or the bytes of one in pieces.
        status: The HTTP status.
        is_stream: The body has no foreseeable end: one JSON object a line, sent as they come.
        patience: Seconds that the client has to take each part of it.
        kind: What it is, where it is no JSON.
    """

    body: dict[str, Any] | Iterable[bytes]
    status: HTTPStatus = HTTPStatus.OK
    is_stream: bool = False
    patience: float = STALL_SECONDS
    kind: str = "application/json"

    def text(self) -> Iterator[bytes]:
        """Yield the body in pieces, others having their turn in between."""
        body: Any = self.body
        if isinstance(body, dict):
            yield from chunks(encoded(cast("dict[str, Any]", body)), looking())
            yield b"\n"
        else:
            yield from body


def unquoted(text: str) -> str:
    """Return percent-encoded text in plain.

    Raises:
        Refused: It is not UTF-8.
    """
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Refused(HTTPStatus.BAD_REQUEST, f"{text!r} is not UTF-8, percent-encoded") from None


# -- reading -------------------------------------------------------------------------


def read_request(sock: gevent_socket.socket) -> Request:
    """Read the request of a new connection, within `READ_SECONDS`.

    Raises:
        Refused: It is malformed, too large, or did not come in time.
        Gone: The client hung up before it had asked for anything.
    """
    stream = io.BufferedReader(_Incoming(sock, clock.now() + READ_SECONDS))
    try:
        head = read_head(_Lines(stream), MAX_HEAD, needs_host=False)
    except NoRequest:
        raise Gone from None
    except BadHead as error:
        raise Refused(HTTPStatus(error.status), f"{error.reason}: {_REMEDY}") from None
    if len(head.target) > MAX_LINE:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, f"at most {MAX_LINE} bytes of target")
    if _ASKED.fullmatch(f"{head.method} {head.target}") is None:
        raise Refused(HTTPStatus.BAD_REQUEST, f"that asks for nothing here: {_REMEDY}")
    _drop_body(stream, head)
    path, _, query = head.target.partition("?")
    return Request(head.method, path, _query(query))


class _Incoming(io.RawIOBase):
    """What a client sends until the time is up."""

    def __init__(self, sock: gevent_socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - clock.now()
        if left > 0:
            self._sock.settimeout(left)
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                pass
            except OSError:
                raise Gone from None
        message = f"the request was not complete within {READ_SECONDS:g} s"
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, message)


class _Lines:
    """The lines of a head. Who types one may begin with empty lines, and end all of them in LF."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        self._stream = stream
        self._ends_in_lf: bool | None = None

    def readline(self, size: int) -> bytes:
        line = self._stream.readline(size)
        if self._ends_in_lf is None:
            for _ in range(_MAX_EMPTY):
                if line in _EMPTY:
                    line = self._stream.readline(size)
            self._ends_in_lf = line.endswith(b"\n") and not line.endswith(b"\r\n")
        return line[:-1] + b"\r\n" if self._ends_in_lf and line.endswith(b"\n") else line


def _drop_body(stream: io.BufferedReader[Any], head: Head) -> None:
    """Take a body and forget it: nothing here needs one, but some clients send one."""
    if head.chunked:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, f"a body in chunks is not read: {_REMEDY}")
    length = head.length or 0
    if length > MAX_BODY:
        message = f"at most {MAX_BODY} bytes of body; none is needed"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    if len(stream.read(length)) < length:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        message = f"{text[:80]!r} is no query: use 'key=value&key=value', percent-encoded"
        raise Refused(HTTPStatus.BAD_REQUEST, message) from None
    return dict(pairs)


# -- writing -------------------------------------------------------------------------


def send(sock: gevent_socket.socket, answer: Answer, *, head_only: bool = False) -> None:
    """Write *answer*; the client must take its parts within the answer's ``patience`` each.

    Raises:
        OSError: The client has hung up, or takes too long.
    """
    sock.settimeout(answer.patience)
    body = answer.body
    pieces = answer.text() if isinstance(body, dict) else iter(body)
    kind = "application/x-ndjson" if answer.is_stream else answer.kind
    if answer.is_stream:
        # Closed at once when the client has gone: it listens to the engine.
        with closing(cast("Generator[bytes]", pieces)):
            sock.sendall(_head(answer.status, kind, None))
            if not head_only:
                for piece in pieces:
                    sock.sendall(piece)
        return
    begun, length = _begin(pieces)
    if sum(map(len, begun)) > _USUAL:
        # Each time that it is full costs a turn of the loop, which in a storm takes long.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _IN_MEMORY)
    sock.sendall(_head(answer.status, kind, length))
    if not head_only:
        for piece in begun:
            sock.sendall(piece)
        for piece in pieces:
            sock.sendall(piece)


def _begin(pieces: Iterator[bytes]) -> tuple[list[bytes], int | None]:
    """Take the first pieces, and the length of all if they are all."""
    begun: list[bytes] = []
    size = 0
    for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > _IN_MEMORY:
            return begun, None
    return begun, size


def send_refusal(sock: gevent_socket.socket, refused: Refused, *, head_only: bool = False) -> None:
    """Write an error status with its sentence.

    Raises:
        OSError: The client has hung up, or takes too long.
    """
    said = {"error": str(refused)}
    if refused.name:
        said["name"] = refused.name
    body = json.dumps(said).encode() + b"\n"
    sock.settimeout(STALL_SECONDS)
    head = _head(refused.status, "application/json", len(body), refused.allow)
    sock.sendall(head if head_only else head + body)


def _head(status: HTTPStatus, kind: str, length: int | None, allow: tuple[str, ...] = ()) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if allow:
        lines.append(f"Allow: {', '.join(allow)}")
    return "\r\n".join([*lines, "", ""]).encode()


def has_hung_up(sock: gevent_socket.socket) -> bool:
    """Whether the client has closed both directions; one that has only said all still reads."""
    poll = _make_poll()
    poll.register(sock.fileno(), 0)  # asks for nothing, so only a hang-up or an error is told
    return any(seen & (select.POLLHUP | select.POLLERR) for _, seen in poll.poll(0))


def part(sock: gevent_socket.socket) -> None:
    """Close the connection so that the client gets what was sent, though it may still send."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(0.0)
        for _ in range(8):
            if not sock.recv(MAX_BODY):
                break
