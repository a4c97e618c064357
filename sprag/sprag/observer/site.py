"""The WSGI application of the page: its files, and what an app says, passed on."""

from __future__ import annotations

import json
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import quote

from gevent.event import AsyncResult

from sprag.observer import asking
from sprag.observer.gate import READING, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sprag.observer.following import Following

_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types sprag"
)
"""Nothing from elsewhere, nothing inline, and no text is ever taken for HTML."""
_ALWAYS: Final = [
    ("Content-Security-Policy", _CSP),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
]
_STREAMS: Final = ("logs", "tree")
"""What is passed on as it comes: without an end, or large."""
_LONGEST: Final = 8000
_IN_QUERY: Final = "%&=+,:;/?@!$'()*"
"""What stays as it is in a query; nobody but the page writes one, but anybody may."""


class _Gate(Protocol):
    @property
    def may_write(self) -> bool: ...
    def of_page(self, environ: Mapping[str, Any]) -> Refusal | None: ...
    def of_data(self, environ: Mapping[str, Any]) -> Refusal | None: ...


class Apps(Protocol):
    """The apps that can be looked at."""

    def listed(self) -> list[dict[str, Any]]:
        """Return what there is to choose from: each with its ``key``, ``name`` and ``pid``."""
        ...

    def get(self, key: str) -> Following | None:
        """Return the app called so in the list; one that is gone may come back."""
        ...


@cache
def page_files() -> dict[str, tuple[str, bytes]]:
    """Return the files of the page by name, each with its type."""
    return {
        each.name: (_KINDS[each.name.rpartition(".")[2]], each.read_bytes())
        for each in files("sprag.observer").joinpath("page").iterdir()
        if each.name.rpartition(".")[2] in _KINDS
    }


class ObserverSite:
    """Serves the page at the place where it is mounted.

    Args:
        gate: Who may ask what.
        apps: Whom the page is about.
    """

    def __init__(self, gate: _Gate, apps: Apps) -> None:
        self._gate = gate
        self._apps = apps
        self._asked: dict[tuple[str, str], AsyncResult[tuple[str, str, bytes]]] = {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        path: str = environ.get("PATH_INFO") or "/"
        try:
            status, kind, body = self._answer(environ, path)
        except asking.Gone as gone:
            status, kind, body = _refused(Refusal(HTTPStatus.BAD_GATEWAY, f"no answer: {gone}"))
        headers = [("Content-Type", kind), *_ALWAYS]
        if isinstance(body, bytes):
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            if not isinstance(body, bytes):
                _close(body)
            return []
        return [body] if isinstance(body, bytes) else body

    def _answer(
        self, environ: dict[str, Any], path: str
    ) -> tuple[str, str, bytes | Iterator[bytes]]:
        if not path.startswith("/v1/"):
            if refusal := self._gate.of_page(environ):
                return _refused(refusal)
            found = page_files().get(path.removeprefix("/") or "index.html")
            if found is None:
                return _refused(Refusal(HTTPStatus.NOT_FOUND, "there is no such file"))
            return "200 OK", found[0], found[1]
        if refusal := self._gate.of_data(environ):
            return _refused(refusal)
        if path == "/v1/apps":
            told = {"apps": self._apps.listed(), "write": self._gate.may_write}
            return "200 OK", "application/json", json.dumps(told).encode()
        _, _, at, key, rest = [*path.split("/", 4), "", ""][:5]
        following = self._apps.get(_decoded(key)) if at == "at" else None
        if following is None or not rest:
            return _refused(Refusal(HTTPStatus.NOT_FOUND, "there is no such app"))
        return self._of_app(environ, following, key, rest)

    def _of_app(
        self, environ: dict[str, Any], following: Following, key: str, rest: str
    ) -> tuple[str, str, bytes | Iterator[bytes]]:
        method: str = environ["REQUEST_METHOD"]
        if rest == "events" and method == "GET":
            return "200 OK", "application/x-ndjson", following.tab()
        if rest == "retry":
            following.poke()
            return "200 OK", "application/json", b"{}"
        # WSGI has a path decoded, as Latin-1.
        target = "/v1/" + quote(rest.encode("latin-1", "replace"))
        if query := environ.get("QUERY_STRING"):
            target = f"{target}?{quote(query.encode('latin-1', 'replace'), safe=_IN_QUERY)}"
        if len(target) > _LONGEST:
            return _refused(Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "that path is too long"))
        upstream = following.find()
        if upstream is None:
            raise asking.Gone("it does not run")
        is_stream = rest.partition("/")[0] in _STREAMS or "follow=" in target
        if is_stream or method not in READING:
            told = asking.ask(upstream, method, target, lasts=True)
            return f"{told.status} {told.reason}", told.kind, told.pieces
        return self._shared(upstream, key, target)

    def _shared(self, upstream: asking.Upstream, key: str, target: str) -> tuple[str, str, bytes]:
        """Ask once for all tabs that want to know the same now."""
        asked = self._asked.get((key, target))
        if asked is not None:
            return cast("tuple[str, str, bytes]", asked.get())
        result: AsyncResult[tuple[str, str, bytes]] = AsyncResult()
        self._asked[key, target] = result
        try:
            told = asking.ask(upstream, "GET", target)
            answer = f"{told.status} {told.reason}", told.kind, told.read()
        except BaseException as error:
            result.set_exception(
                error if isinstance(error, asking.Gone) else asking.Gone("who asked has left")
            )
            raise
        else:
            result.set(answer)
            return answer
        finally:
            del self._asked[key, target]


def _decoded(part: str) -> str:
    """Return a part of a path as it was meant; WSGI has it as Latin-1."""
    return part.encode("latin-1", "replace").decode("utf-8", "replace")


def _refused(refusal: Refusal) -> tuple[str, str, bytes]:
    body = json.dumps({"error": refusal.reason}).encode() + b"\n"
    return f"{refusal.status.value} {refusal.status.phrase}", "application/json", body


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()
