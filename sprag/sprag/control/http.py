"""One HTTP request read, one answer written, on a socket that may belong to a fool.

A small part of HTTP/1.1, read strictly: one request per connection, no body worth the
name. What is too large, too slow or malformed is refused with a status and a sentence;
there is a limit for everything that a client decides on. No general server is used,
because it would wait for a slow client as long as that one likes.
"""

from __future__ import annotations

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

from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from gevent import socket as gevent_socket

READ_SECONDS: Final = 5.0
"""For the whole of a request, from the connection on."""
STALL_SECONDS: Final = 5.0
"""For a client to take the next part of its answer."""
MAX_LINE: Final = 8192
MAX_HEAD: Final = 16384
MAX_BODY: Final = 65536
_MAX_HEADERS: Final = 100
_MAX_FIELDS: Final = 20
_IN_MEMORY: Final = 1 << 20
"""Bytes of an answer that are made before the first is sent, so that its length is known."""

_REQUEST_LINE: Final = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[0-9]")
_ABSOLUTE: Final = re.compile(r"(?<= )http://[^/ ]*(?=/)")
_HEADER: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*"
)
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

    def seconds(self, key: str, default: float | None = None) -> float | None:
        """Return a number of seconds given in the query.

        Raises:
            Refused: It is not a finite number, 0 or more.
        """
        text = self.query.get(key)
        if text is None:
            return default
        with suppress(ValueError):
            value = float(text)
            if 0 <= value <= 1e9:
                return value
        accepted = "a number of seconds, 0 or more"
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
    """

    body: dict[str, Any] | Iterable[bytes]
    status: HTTPStatus = HTTPStatus.OK
    is_stream: bool = False


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
    deadline = clock.now() + READ_SECONDS
    head, rest = _read_head(sock, deadline)
    lines = head.decode("latin-1").split("\r\n" if b"\r\n" in head else "\n")
    match = _REQUEST_LINE.fullmatch(_ABSOLUTE.sub("", lines[0]))
    if match is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "that is no request: send 'GET /v1/tree HTTP/1.1'")
    _read_body(sock, _headers(lines[1:]), len(rest), deadline)
    path, _, query = match[2].partition("?")
    return Request(match[1], path, _query(query))


def _read_head(sock: gevent_socket.socket, deadline: float) -> tuple[bytes, bytes]:
    data = b""
    received = 0
    while True:
        for end in (b"\r\n\r\n", b"\n\n"):
            head, found, rest = data.partition(end)
            if found:
                _check_head(head)
                return head, rest
        _check_head(data)
        if received > MAX_HEAD + len(data):  # of empty lines, which are otherwise let pass
            raise Refused(HTTPStatus.BAD_REQUEST, "that is no HTTP: send 'GET /v1/tree HTTP/1.1'")
        piece = _receive(sock, deadline)
        if not piece:
            if not data.strip():
                raise Gone
            raise Refused(HTTPStatus.BAD_REQUEST, "the request is not complete")
        received += len(piece)
        data = (data + piece).lstrip(b"\r\n") if not data else data + piece


def _check_head(head: bytes) -> None:
    line, ended, _ = head.partition(b"\n")
    if len(line) > MAX_LINE:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, f"at most {MAX_LINE} bytes in a line")
    if not ended and line and not line[:1].isupper():
        raise Refused(HTTPStatus.BAD_REQUEST, "that is no HTTP: send 'GET /v1/tree HTTP/1.1'")
    if len(head) > MAX_HEAD:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise Refused(status, f"at most {MAX_HEAD} bytes of headers")


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > _MAX_HEADERS:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise Refused(status, f"at most {_MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{line[:80]!r} is no header: use 'Name: value'")
        name, value = match[1].lower(), match[2]
        if headers.setdefault(name, value) != value and name == "content-length":
            raise Refused(HTTPStatus.BAD_REQUEST, "two lengths that differ")
    return headers


def _read_body(
    sock: gevent_socket.socket, headers: Mapping[str, str], read: int, deadline: float
) -> None:
    """Take a body and forget it: nothing here needs one, but some clients send one."""
    if "transfer-encoding" in headers:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "send no body, or one with a Content-Length")
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise Refused(HTTPStatus.BAD_REQUEST, f"Content-Length {length[:40]!r} is no length")
    if int(length) > MAX_BODY:
        message = f"at most {MAX_BODY} bytes of body; none is needed"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    while read < int(length):
        piece = _receive(sock, deadline)
        if not piece:
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")
        read += len(piece)


def _receive(sock: gevent_socket.socket, deadline: float) -> bytes:
    left = deadline - clock.now()
    if left > 0:
        sock.settimeout(left)
        try:
            return sock.recv(MAX_HEAD)
        except TimeoutError:
            pass
        except OSError:
            raise Gone from None
    message = f"the request was not complete within {READ_SECONDS:g} s"
    raise Refused(HTTPStatus.REQUEST_TIMEOUT, message)


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
    """Write *answer*; the client must take its parts within `STALL_SECONDS` each.

    Raises:
        OSError: The client has hung up, or takes too long.
    """
    sock.settimeout(STALL_SECONDS)
    body = answer.body
    pieces = iter([json.dumps(body).encode() + b"\n"] if isinstance(body, dict) else body)
    kind = "application/x-ndjson" if answer.is_stream else "application/json"
    if answer.is_stream:
        # Closed at once when the client has gone: it listens to the engine.
        with closing(cast("Generator[bytes]", pieces)):
            sock.sendall(_head(answer.status, kind, None))
            if not head_only:
                for piece in pieces:
                    sock.sendall(piece)
        return
    begun, length = _begin(pieces)
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
