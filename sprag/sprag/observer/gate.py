"""Who may ask what of the page: decided by the head of the request alone."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READING: Final = ("GET", "HEAD")
_SCHEME: Final = "Bearer "


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: HTTPStatus
    reason: str


class Gate:
    """Lets in who knows the token, from the one address that the page is served at.

    A page from elsewhere that a browser was led to (DNS rebinding) names another host; one that
    sends a form here has another origin. No cookie is ever asked for: cookies are not bound to a
    port.

    Args:
        address: What ``Host`` has to be, to the letter, as in ``127.0.0.1:4711``.
        token: What ``Authorization`` has to bear.
        may_write: Whether POST is answered at all.
    """

    def __init__(self, address: str, token: str, *, may_write: bool = False) -> None:
        self._address = address
        self._token = token.encode()
        self.may_write = may_write

    def of_page(self, environ: Mapping[str, Any]) -> Refusal | None:
        """Say why *environ* is not given a file of the page; None: it is. Files hold no data."""
        if environ.get("HTTP_HOST") != self._address:
            reason = f"this is served at http://{self._address} only: open that address"
            return Refusal(HTTPStatus.MISDIRECTED_REQUEST, reason)
        if environ["REQUEST_METHOD"] not in READING:
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "a page is only read: use GET")
        return None

    def of_data(self, environ: Mapping[str, Any]) -> Refusal | None:
        """Say why *environ* is told nothing of an app; None: it is told."""
        if environ.get("HTTP_HOST") != self._address:
            return self.of_page(environ)
        given: str = environ.get("HTTP_AUTHORIZATION") or ""
        borne = given.removeprefix(_SCHEME).encode() if given.startswith(_SCHEME) else b""
        if not hmac.compare_digest(borne, self._token):
            reason = "no token, or an old one: open the address that 'sprag observe' prints"
            return Refusal(HTTPStatus.UNAUTHORIZED, reason)
        origin = environ.get("HTTP_ORIGIN")
        is_ours = origin == f"http://{self._address}"
        if origin is not None and not is_ours:
            return Refusal(HTTPStatus.FORBIDDEN, "another page has no business here")
        if environ["REQUEST_METHOD"] in READING:
            return None
        if not self.may_write:
            reason = "this is read-only: start it with 'sprag observe --write'"
            return Refusal(HTTPStatus.FORBIDDEN, reason)
        if not is_ours:
            return Refusal(HTTPStatus.FORBIDDEN, f"Origin must be http://{self._address}")
        return None


class MountedGate:
    """Lets in whom the app's own function lets in; nobody changes anything.

    Args:
        auth: Called with the WSGI environ of each request for data; true: it is answered.
    """

    def __init__(self, auth: Callable[[Mapping[str, Any]], object]) -> None:
        self._auth = auth
        self.may_write = False

    def of_page(self, environ: Mapping[str, Any]) -> Refusal | None:
        """Say why *environ* is not given a file of the page; None: it is."""
        if environ["REQUEST_METHOD"] not in READING:
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "a page is only read: use GET")
        # As the data: to whom the app shows nothing it need not say that there is something.
        return None if self._auth(environ) else _UNKNOWN

    def of_data(self, environ: Mapping[str, Any]) -> Refusal | None:
        """Say why *environ* is told nothing of the app; None: it is told."""
        if environ["REQUEST_METHOD"] not in READING:
            return Refusal(HTTPStatus.FORBIDDEN, "this is read-only: use 'sprag observe --write'")
        return None if self._auth(environ) else _UNKNOWN


_UNKNOWN: Final = Refusal(HTTPStatus.FORBIDDEN, "the app's observer_auth says no")
