"""What an answer must be like before any of it is sent.

Whoever makes it, a control character in a header is a header of somebody else's, and a
status or a length that clients and proxies read differently is where the next answer is
forged. So it is the developer who gets an error, and the client a 500.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

_STATUS: Final = re.compile(r"([2-5][0-9]{2})(?: ([\t\x20-\x7e\xa0-\xff]*))?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_NO_CONTENT: Final = 204
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_PLAIN, _SINGLE, _SERVERS = range(3)
_ONLY_ONCE: Final = frozenset({"content-length", "content-type", "date", "location"})


class BadAnswer(ValueError):
    """An answer that must not be sent as it is."""


def check_status(status: object) -> int:
    """Return the number in *status*, ``404 Not Found``.

    Raises:
        BadAnswer: It is no final status: those are 200 to 599.
    """
    found = _STATUS.fullmatch(status) if isinstance(status, str) else None
    if found is None:
        raise BadAnswer(f"the status {status!r:.100} is not accepted: use 200 to 599")
    return int(found[1])


def check_headers(status: int, headers: Iterable[tuple[object, object]]) -> int | None:
    """Return the length that *headers* announce, if they do.

    Raises:
        BadAnswer: One of them cannot be sent, or is the server's to set.
    """
    length: int | None = None
    seen: set[str] = set()
    for given_name, given_value in headers:
        if not (isinstance(given_value, str) and _VALUE.fullmatch(given_value)):
            raise BadAnswer(_cannot_be_sent(given_name, given_value))
        kind = _kind_of(given_name)
        if kind == _PLAIN:
            continue
        name = cast("str", given_name).lower()
        if kind == _SERVERS and (name, given_value.lower()) != ("connection", "close"):
            raise BadAnswer(
                f"the header {name}: {given_value:.100} is the server's own to set: leave it out"
            )
        if name in seen:
            raise BadAnswer(f"the header {name} is there twice: send it once")
        seen.add(name)
        if name == "content-length":
            if _LENGTH.fullmatch(given_value) is None:
                raise BadAnswer(f"Content-Length: {given_value!r:.100} is no length: use digits")
            length = int(given_value)
    if status == _NO_CONTENT and length:
        raise BadAnswer(f"a {status} has no body, and this one announces {length} bytes")
    return length


@lru_cache(maxsize=256)
def _kind_of(name: object) -> int:
    """Return what a header of this name may be like; names come again and again."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        what = "use ASCII letters, digits and hyphens"
        raise BadAnswer(f"the name of the header {name!r:.100} is not accepted: {what}")
    if name.lower() in _HOP_BY_HOP:
        return _SERVERS
    return _SINGLE if name.lower() in _ONLY_ONCE else _PLAIN


def _cannot_be_sent(name: object, value: object) -> str:
    if not isinstance(value, str):
        return f"the header {name}={value!r:.200} is not accepted: use a text"
    return (
        f"the header {name}={value!r:.200} cannot be sent: it has control characters in it, or "
        "others beyond Latin-1; leave them out, or percent-encode them"
    )
