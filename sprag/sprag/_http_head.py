"""Read the head of an HTTP/1 request, strictly and within bounds: for pages and the control socket.

pywsgi's own reader takes what no client of good will sends (a colon-less line, a
signed Content-Length, Content-Length beside Transfer-Encoding), bounds a head only at
6 MB, and costs as much as the rest of a request. What is refused here could mean
something else to a proxy in front of us: that is how requests are smuggled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Protocol

    class Lines(Protocol):
        """What the head is read from."""

        def readline(self, size: int, /) -> bytes:
            """Return a line with its end, or *size* bytes, or what there was before the end."""
            ...


MAX_FIELDS: Final = 128

TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rb"(%s) ([\x21-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)\r\n" % TOKEN)
FIELD: Final = re.compile(rb"(%s):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\r\n" % TOKEN)
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")


class BadHead(Exception):
    """The client did not send a request that we take.

    Attributes:
        status: What to answer.
        reason: For the client and the log.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class NoRequest(Exception):
    """The connection ended before a request had begun: nothing to answer."""


@dataclass(slots=True)
class Head:
    """Request line and headers.

    Attributes:
        method: As sent: ``GET``.
        target: Path and query, as sent.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        fields: The headers as WSGI names them (``HTTP_HOST``, ``CONTENT_TYPE``), repeated
            ones joined. Names with an underscore are left out: after ``-`` has become ``_``
            nobody could tell them from the real ones.
        length: The body's bytes as announced, or None.
        chunked: The body comes in chunks.
        closes: The client wants the connection closed after the answer.
        waits: The client waits for ``100 Continue`` before it sends the body.
    """

    method: str
    target: str
    version: str
    fields: dict[str, str]
    length: int | None
    chunked: bool
    closes: bool
    waits: bool


def read_head(lines: Lines, limit: int, *, needs_host: bool = True) -> Head:
    """Read one head.

    Args:
        lines: What it is read from.
        limit: The bytes that it may have.
        needs_host: HTTP/1.1 must name a host; where there is no other, it need not.

    Raises:
        NoRequest: The connection has ended, and nothing had come.
        BadHead: What came is no request, or too long, or ended half-way.
    """
    line = lines.readline(limit + 1)
    if line == b"\r\n":  # some clients end a body with one too many
        line = lines.readline(limit + 1)
    if not line:
        raise NoRequest
    left = limit - len(line)
    if left < 0:
        raise BadHead(414, "the request line is too long")
    words = _REQUEST_LINE.fullmatch(line)
    if words is None:
        raise BadHead(400, "not a request line" if line.endswith(b"\n") else "the head is cut off")
    method, target, major, minor = words.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise BadHead(505, "use HTTP/1.1")
    fields = _fields(lines, left)
    is_11 = minor == b"1"
    _check_host(fields.get("HOST", None if is_11 and needs_host else ""))
    return _checked(method.decode(), target.decode("latin-1"), is_11, fields)


def _fields(lines: Lines, left: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    count = 0
    while (line := lines.readline(left + 1)) != b"\r\n":
        left -= len(line)
        count += 1
        if left < 0 or count > MAX_FIELDS:
            raise BadHead(431, "the headers are too long, or too many")
        found = FIELD.fullmatch(line)
        if found is None:
            cut = not line.endswith(b"\n")
            raise BadHead(400, "the head is cut off" if cut else "not a header")
        name, value = found.groups()
        if b"_" in name:
            continue
        key = name.decode().replace("-", "_").upper()
        text = value.decode("latin-1").rstrip(" \t")
        if key not in fields:
            fields[key] = text
        elif key in _ONLY_ONCE:
            raise BadHead(400, f"more than one {name.decode()}")
        else:
            fields[key] += f"{'; ' if key == 'COOKIE' else ','}{text}"
    return fields


_ONLY_ONCE: Final = frozenset({"CONTENT_LENGTH", "TRANSFER_ENCODING", "HOST", "CONTENT_TYPE"})


def _check_host(host: str | None) -> None:
    if host is None or _HOST.fullmatch(host) is None:
        raise BadHead(400, "no Host, or none that could be one")


def _checked(method: str, target: str, is_11: bool, fields: dict[str, str]) -> Head:  # noqa: FBT001
    target = _target(method, target)
    length, is_chunked = _body(is_11, fields)
    waits = False
    if (given := fields.get("EXPECT")) is not None:
        if given.lower() != "100-continue":
            raise BadHead(417, "the only expectation is 100-continue")
        waits = is_11 and bool(length or is_chunked)
    connection = fields.get("CONNECTION", "").lower()
    options = [each.strip() for each in connection.split(",")] if connection else []
    closes = "close" in options or (not is_11 and "keep-alive" not in options)
    named = {
        key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}": value
        for key, value in fields.items()
    }
    version = "HTTP/1.1" if is_11 else "HTTP/1.0"
    return Head(method, target, version, named, length, is_chunked, closes, waits)


def _target(method: str, given: str) -> str:
    """Return the path and query that are asked for, without the host some clients put before."""
    if given.startswith("/"):
        return given
    absolute = _ABSOLUTE.match(given)
    if absolute is not None:
        path = given[absolute.end() :]
        return path if path.startswith("/") else f"/{path}"
    if (method, given) != ("OPTIONS", "*"):
        raise BadHead(400, "the target must be a path")
    return given


def _body(is_11: bool, fields: dict[str, str]) -> tuple[int | None, bool]:  # noqa: FBT001
    """Return the body's length, if it is announced, and whether it comes in chunks."""
    length = fields.get("CONTENT_LENGTH")
    coding = fields.get("TRANSFER_ENCODING")
    if coding is not None:
        if coding.lower() != "chunked":
            raise BadHead(501, "the only transfer coding is chunked")
        if not is_11 or length is not None:
            raise BadHead(400, "Transfer-Encoding with HTTP/1.0 or a Content-Length")
        return None, True
    if length is None:
        return None, False
    if _LENGTH.fullmatch(length) is None:
        raise BadHead(400, "Content-Length is no number")
    return int(length), False
