"""How much a client may ask of the server."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from sprag_supervisor import LEAST, Seconds, as_count, seconds_of
from sprag_supervisor.exceptions import BadValue

_MOST: Final = 1_000_000_000
"""What the pool of greenlets, and a read of a line, can count to."""


@dataclass(frozen=True, slots=True, init=False)
class Limits:
    """Bounds for clients; given as ``App(limits=Limits(...))``.

    Attributes:
        max_connections: Connections at a time. With more, those that wait idly for a
            request are closed, the longest first; if there are none, new ones wait in
            the system's queue.
        max_head: Bytes of the request line and the headers together. A body in chunks may
            have so many in extensions and trailers, and so many around its chunks.
        max_body: Bytes of a request's body; a controller's own ``max_body`` wins.
        head_timeout: Seconds for the request line and the headers to arrive.
        body_timeout: Seconds for the whole body to arrive, counted while it is read.
        send_timeout: Seconds for the client to take each 64 KiB of the answer.
        keep_alive: Seconds that a connection may stay idle between two requests; 0 closes
            it after each answer.
        shutdown: Seconds that requests in progress get when the server stops.

    Seconds may be given as a `timedelta`.

    Raises:
        BadValue: A count is below 1, a time below a millisecond (``keep_alive``: below 0), or one
            of them is no number.
    """

    max_connections: int
    max_head: int
    max_body: int
    head_timeout: float
    body_timeout: float
    send_timeout: float
    keep_alive: float
    shutdown: float

    def __init__(
        self,
        *,
        max_connections: int = 1000,
        max_head: int = 32 * 1024,
        max_body: int = 1024 * 1024,
        head_timeout: Seconds = 10.0,
        body_timeout: Seconds = 30.0,
        send_timeout: Seconds = 30.0,
        keep_alive: Seconds = 15.0,
        shutdown: Seconds = 10.0,
    ) -> None:
        counts = {
            "max_connections": (max_connections, _MOST),
            "max_head": (max_head, _MOST),
            "max_body": (max_body, sys.maxsize),
        }
        times = {
            "head_timeout": head_timeout,
            "body_timeout": body_timeout,
            "send_timeout": send_timeout,
            "keep_alive": keep_alive,
            "shutdown": shutdown,
        }
        for name, (number, most) in counts.items():
            count = as_count(number)
            if not 0 < count <= most:
                raise BadValue(name, number, f"a whole number, 1 to {most}")
            object.__setattr__(self, name, count)
        for name, given in times.items():
            least = 0.0 if name == "keep_alive" else LEAST
            object.__setattr__(self, name, seconds_of(name, given, least))
