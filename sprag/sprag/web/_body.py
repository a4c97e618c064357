"""The body of a request as it comes: of a length that was announced, or in chunks.

It is read in small pieces, whatever the application asks for, and between them the other
greenlets have their turn. All that comes counts, also what is thrown away: the lines around
the chunks, their extensions, and the fields after the last one. As with the head, what could
mean something else to a proxy in front of us is refused.
"""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any, Final

from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    HTTPException,
    RequestEntityTooLarge,
    RequestHeaderFieldsTooLarge,
    RequestTimeout,
)

from sprag._http_head import FIELD, MAX_FIELDS, TOKEN
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sprag._http_head import Head
    from sprag.web._limits import Limits

    class Client(Protocol):
        """Whom a body is read from."""

        read_by: float
        """Until when what is read next must have come."""
        is_given_up: bool
        """It did not."""

        @property
        def rfile(self) -> io.BufferedReader[Any]:
            """What comes from it."""
            ...

        def pace(self) -> None:
            """Let others have their turn, if it is time."""

        def go_on(self) -> None:
            """Tell a client that waits for it that the body may come."""


BODY: Final = "sprag.body"
"""Where an application finds, in the WSGI environ, the body whose `most` it may set."""

_EXTENSION: Final = (
    rb"[ \t]*;[ \t]*%s(?:[ \t]*=[ \t]*"
    rb'(?:%s|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?'
) % (TOKEN, TOKEN)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})((?:%s)*)\r\n" % _EXTENSION)
_LONGEST_SIZE: Final = 18
"""Bytes of a chunk's line without extensions, its end included."""
_PIECE: Final = 8192
"""Bytes that are read at a time."""


class Body(io.RawIOBase):
    """Reads one request's body from its connection; give it to a BufferedReader.

    Attributes:
        most: Bytes that it may have. The lines around chunks may come to `max_head` more.
    """

    def __init__(self, client: Client, head: Head, limits: Limits) -> None:
        self.most = limits.max_body
        self._client = client
        self._waits = head.waits
        self._chunked = head.chunked
        self._has_begun = False
        self._follows_chunk = False
        self._has_ended = not (head.chunked or head.length)
        self._left = head.length or 0
        """Bytes still to come of the body, or of the present chunk."""
        self._announced = self._left
        """Bytes of body that have come, or that the client has said will."""
        self._framing = 0
        """Bytes beside these: lines, extensions, trailers."""
        self._spare = limits.max_head
        """Bytes of extensions and trailers that may still come."""
        self._max_framing = limits.max_head
        self._seconds = limits.body_timeout
        """How long may still be waited and read."""
        self._trouble: tuple[Callable[[str], Exception], str] | None = None
        """Why nothing more can be read; also while something is being read."""

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def unread(self) -> float:
        """Return how many bytes are still to come; infinity for nobody knows."""
        if self._has_ended:
            return 0
        # Who waits for our "100 Continue" may now send the body, or not.
        if self._chunked or self._waits or self._trouble is not None:
            return math.inf
        return self._left

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, up to as many as *buffer* holds; 0 at the end.

        Raises:
            BadRequest: The chunks are malformed, or the client has gone.
            RequestEntityTooLarge: There is more than may come, or more is announced.
            RequestHeaderFieldsTooLarge: The extensions or trailers are too long.
            RequestTimeout: It did not come in time.
            OSError: An earlier read was cut off, by a Timeout say, and what it read is lost.
        """
        if self._has_ended:
            return 0
        if self._trouble is not None:
            kind, text = self._trouble
            raise kind(text)
        client = self._client
        began = clock.now()
        client.read_by = began + self._seconds
        self._trouble = OSError, "an earlier read of this body was cut off: its bytes are lost"
        count = self._read(memoryview(buffer)[:_PIECE])
        self._seconds -= clock.now() - began
        if self._seconds <= 0 and not self._has_ended:
            raise self._wrong(RequestTimeout, "the body did not come in time")
        client.pace()
        self._trouble = None
        return count

    def _read(self, buffer: memoryview) -> int:
        if not self._has_begun:
            self._begin()
        if self._left == 0 and not self._next_chunk():
            self._has_ended = True
            return 0
        with buffer[: self._left] as wanted:
            count: int = self._received(self._client.rfile.readinto1, wanted)
        if not count:
            raise self._cut()
        self._left -= count
        if self._left == 0 and not self._chunked:
            self._has_ended = True
        return count

    def _begin(self) -> None:
        if self._announced > self.most:
            raise self._too_large()
        if self._waits:
            self._received(self._client.go_on)
            self._waits = False
        self._has_begun = True

    def _received(self, read: Callable[..., Any], *args: Any) -> Any:
        try:
            return read(*args)
        except OSError:
            raise self._cut() from None

    # -- chunks --------------------------------------------------------------------------

    def _next_chunk(self) -> bool:
        """Read up to the next chunk's first byte; return False if there is none."""
        if self._follows_chunk:
            self._framing += 2
            if self._line(2) != b"\r\n":
                raise self._wrong(BadRequest, "a chunk is longer than its size")
        self._follows_chunk = True
        line = self._line(_LONGEST_SIZE + self._spare)
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise self._malformed(line, _LONGEST_SIZE + self._spare, "not a chunk's size")
        self._framing += len(line)
        self._spare -= len(found[2])
        self._left = int(found[1], 16)
        self._announced += self._left
        if self._announced > self.most:
            raise self._too_large()
        if self._announced + self._framing > self.most + self._max_framing:
            raise self._wrong(RequestEntityTooLarge, "the chunks are too small for so much")
        if self._left == 0:
            self._read_trailers()
        return self._left > 0

    def _read_trailers(self) -> None:
        """Read the fields after the last chunk and forget them: nobody was promised any."""
        count = 0
        while (line := self._line(self._spare + 2)) != b"\r\n":
            self._spare -= len(line)
            count += 1
            if FIELD.fullmatch(line) is None:
                raise self._malformed(line, self._spare + len(line) + 2, "not a trailer")
            if self._spare < 0 or count > MAX_FIELDS:
                raise self._wrong(RequestHeaderFieldsTooLarge, "the trailers are too long")

    def _line(self, most: int) -> bytes:
        line: bytes = self._received(self._client.rfile.readline, most)
        if not line.endswith(b"\n") and len(line) < most:
            raise self._cut()
        return line

    # -- what went wrong -----------------------------------------------------------------

    def _wrong(self, kind: type[HTTPException], text: str) -> HTTPException:
        self._trouble = kind, text
        return kind(text)

    def _too_large(self) -> HTTPException:
        return self._wrong(RequestEntityTooLarge, f"a body may have {self.most} bytes")

    def _malformed(self, line: bytes, most: int, text: str) -> HTTPException:
        if len(line) >= most and not line.endswith(b"\n"):
            text = "the chunks' extensions or trailers are too long"
            return self._wrong(RequestHeaderFieldsTooLarge, text)
        return self._wrong(BadRequest, text)

    def _cut(self) -> HTTPException:
        if self._client.is_given_up:
            return self._wrong(RequestTimeout, "the body did not come in time")
        return self._wrong(ClientDisconnected, "the body is shorter than announced")
