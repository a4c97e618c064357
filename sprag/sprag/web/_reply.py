"""An answer as it goes out: JSON or HTML, as the client prefers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"

_NAMES_HTML: Final = re.compile(r"text/html|application/xhtml\+xml|text/\*", re.IGNORECASE)
_LONGEST_ACCEPT: Final = 1000
"""Characters; no browser sends more, and to weigh them takes its time."""
BODILESS: Final = frozenset({204, 304})
"""Their answers end with the head."""
NO_CONTENT: Final = BODILESS | {205}
"""There is nothing to be said with these."""


@dataclass(slots=True)
class Reply:
    """Status, headers and body of an answer that is complete in memory.

    Attributes:
        status: As a number.
        content_type: Of the body.
        body: All of it.
        headers: In addition to Content-Type and Content-Length.
    """

    status: int
    content_type: str = JSON
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def head(self) -> tuple[str, list[tuple[str, str]]]:
        """Return the status line and all headers."""
        if self.status in BODILESS:
            return status_line(self.status), self.headers
        named = {name.lower() for name, _ in self.headers}
        standard = [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if named:
            standard = [each for each in standard if each[0].lower() not in named]
        return status_line(self.status), [*standard, *self.headers]


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """Return the status as WSGI wants it: ``404 Not Found``."""
    return f"{status} {phrase(status)}"


def phrase(status: int) -> str:
    """Return what HTTP calls a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error" if status >= 400 else "OK"


@lru_cache(maxsize=256)
def wants_html(accept: str) -> bool:
    """Whether a client with this ``Accept`` is a browser rather than a program.

    Only who names HTML gets it, and only if nothing is said for JSON that weighs more: curl
    with its ``*/*`` gets JSON.
    """
    if len(accept) > _LONGEST_ACCEPT or not _NAMES_HTML.search(accept):
        return False
    weights = parse_accept_header(accept, MIMEAccept)
    html = max(weights.quality("text/html"), weights.quality("application/xhtml+xml"))
    explicit = max((weight for name, weight in weights if name.lower() == JSON), default=0.0)
    return 0 < html >= explicit
