"""How much a client may ask of the server."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from sprag_supervisor._seconds import in_seconds
from sprag_supervisor.exceptions import BadValue


@dataclass(frozen=True, slots=True, kw_only=True)
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
        BadValue: One of them is not above 0 (``keep_alive``: below 0), or no number.
    """

    max_connections: int = 1000
    max_head: int = 32 * 1024
    max_body: int = 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    send_timeout: float = 30.0
    keep_alive: float = 15.0
    shutdown: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            least = "0 or more" if field.name == "keep_alive" else "above 0"
            counted = field.name.startswith("max_")
            kind = int if counted else (int, float)
            if not counted:
                given = in_seconds(given)
                object.__setattr__(self, field.name, given)
            enough = isinstance(given, kind) and not isinstance(given, bool)
            enough = enough and (given > 0 or (given == 0 and least == "0 or more"))
            if not enough or given == math.inf:
                what = "a whole number" if counted else "a finite number of seconds,"
                raise BadValue(field.name, given, f"{what} {least}")
