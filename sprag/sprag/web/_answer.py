"""The answer to one request, as an application makes it: checked, and of the length it says."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.web._checks import BadAnswer, check_headers, check_status
from sprag.web._encoding import is_one
from sprag.web._reply import BODILESS, status_line
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from sprag._http_head import Head
    from sprag.web._reply import Reply

    class Way(Protocol):
        """What an answer is sent on."""

        def send(self, data: bytes | bytearray) -> None:
            """Send all of it, or raise ClientGone."""

        def must_close(self) -> bool:
            """Whether there can be no other request after this answer."""
            ...


_PIECE: Final = 64 * 1024


class WrongLength(BadAnswer):
    """The answer is not as long as its own Content-Length: where would the next one begin?"""


class Answer:
    """Sends what a WSGI application answers.

    Attributes:
        status: As a number; None until the application has named one.
        has_begun: Its head is on the way: nothing can be taken back.
        closes: The connection ends with it.
        sent: Bytes, the head included.
    """

    def __init__(self, way: Way, head: Head, *, closes: bool) -> None:
        self.status: int | None = None
        self.has_begun = False
        self.closes = closes
        self.sent = 0
        self._way = way
        self._is_head = head.method == "HEAD"
        self._is_11 = head.version == "HTTP/1.1"
        self._line = ""
        self._headers: list[tuple[str, str]] = []
        self._in_chunks = False
        self._left: int | None = None
        """Bytes of the body that were announced and are still to be sent."""
        self._pieces: Any = None

    def make(self, application: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> None:
        """Have *application* answer, and send it.

        Raises:
            BadAnswer: It must not be sent as it is, or not go on so.
            ClientGone: The client takes no more.
            Exception: What the application raised.
        """
        pieces = self._pieces = application(environ, self.start_response)
        try:
            for data in pieces:
                if data:
                    self.write(data)
            if not self.has_begun:
                self._begin(b"")
            self._end()
        finally:
            self._pieces = None
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take the application's status and headers.

        Raises:
            BadAnswer: They must not be sent as they are.
            Exception: The one in *exc_info*: it comes too late for another answer.
        """
        if exc_info is not None and self.has_begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if self.status is not None and exc_info is None:
            raise BadAnswer("start_response was called twice")
        code = check_status(status)
        self._left = check_headers(code, headers)
        self.status = code
        self._line = status if " " in status else status_line(code)
        self._headers = headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body.

        Raises:
            BadAnswer: There may be none, or no more.
            ClientGone: The client takes no more.
        """
        if not isinstance(cast("object", data), bytes | bytearray):
            raise BadAnswer(f"a body is made of bytes, not of {type(data).__qualname__}")
        if self.status in BODILESS and data:
            raise BadAnswer(f"a {self.status} has no body")
        if self._left is not None and not self._is_head:
            if len(data) > self._left:
                announced = f"{self._announced()} bytes it has announced"
                raise WrongLength(f"the answer has more than the {announced}")
            self._left -= len(data)
        if not self.has_begun:
            self._begin(data)
        else:
            self._send_part(data)

    def _announced(self) -> str:
        return next(value for name, value in self._headers if name.lower() == "content-length")

    def fail(self, reply: Reply) -> None:
        """Send *reply* in its place, unless it has begun; the connection ends in either case."""
        self.closes = True
        if not self.has_begun:
            self.status = None
            self.start_response(*reply.head())
            self.write(reply.body)

    # -- on the wire -----------------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        if self.status is None:
            raise BadAnswer("the application has not called start_response")
        headers = [f"{name}: {value}" for name, value in self._headers if not _is_ours(name)]
        named = {name.lower() for name, _ in self._headers}
        self.closes = self.closes or "connection" in named  # all it can say is close
        if "date" not in named:
            headers.append(_date(int(clock.wall())))
        if self.status not in BODILESS and "content-length" not in named:
            self._frame(headers, data)
        self.closes = self.closes or self._way.must_close()
        if self.closes:
            headers.append("Connection: close")
        elif not self._is_11:
            headers.append("Connection: keep-alive")
        head = "\r\n".join([f"HTTP/1.1 {self._line}", *headers, "", ""]).encode("latin-1")
        self.has_begun = True
        if data and not self._in_chunks and not self._is_head and len(data) <= _PIECE:
            # In one piece: two would wait for each other (Nagle and delayed acknowledgement).
            self._send(b"".join((head, data)))
        else:
            self._send(head)
            self._send_part(data)

    def _frame(self, headers: list[str], data: bytes) -> None:
        """Let the client know where the body ends, of which *data* is the first part."""
        if is_one(self._pieces, list, tuple) and (self._pieces or not self._is_head):
            length = sum(len(each) for each in self._pieces)
            headers.append(f"Content-Length: {length}")
            self._left = length - len(data)
        elif self._is_11:
            headers.append("Transfer-Encoding: chunked")
            self._in_chunks = True
        elif not self._is_head:
            self.closes = True  # nothing else can tell it to HTTP/1.0

    def _send_part(self, data: bytes) -> None:
        if not data or self._is_head:
            return
        if self._in_chunks:
            self._send(b"".join((b"%x\r\n" % len(data), data, b"\r\n")))
        else:
            self._send(data)

    def _end(self) -> None:
        if self._is_head or self.status in BODILESS:
            return
        if self._left:
            raise WrongLength(f"the answer has {self._left} bytes less than it has announced")
        if self._in_chunks:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        self._way.send(data)
        self.sent += len(data)


def _is_ours(name: str) -> bool:
    return name.lower() == "connection"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}"
