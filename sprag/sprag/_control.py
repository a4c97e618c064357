"""The control socket of a running app: HTTP and JSON for this user's eyes only.

    curl --unix-socket "$XDG_RUNTIME_DIR/sprag/shop.4711.sock" http://app/v1/tree

It lives beside the tree, not in it: it answers while the tree starts, fails and
stops. The socket has mode 0600 in a directory of mode 0700, and the peer's user is
checked once more when it connects. pywsgi speaks the HTTP.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gevent import sleep
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from sprag._json import SCHEMA, encode
from sprag_supervisor import _clock, snapshot
from sprag_supervisor._node import name_of
from sprag_supervisor._tree import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sprag._service import Service

_MAX_CONNECTIONS: Final = 16
_PRIVATE: Final = 0o700
_METHODS: Final = ("GET", "HEAD")
_HOLD: Final = 0.005
"""Seconds for which an answer may hold the loop at a time."""
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid


def runtime_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory in which running apps put their sockets."""
    if given := environ.get("SPRAG_RUNTIME_DIR"):
        return Path(given)
    if given := environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "sprag"
    return Path(f"/tmp/sprag-{os.getuid()}")  # noqa: S108 - its owner and mode are checked


class ControlSocket:
    """Serves the living tree of one root until it is closed."""

    def __init__(self, root: Service) -> None:
        self._root = root
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", name_of(root)) or "app"
        self.path = runtime_directory() / f"{name}.{os.getpid()}.sock"
        self._server: _Server | None = None

    def open(self) -> None:
        """Listen and serve in greenlets of their own.

        Raises:
            OSError: The directory or the socket cannot be made, or belongs to somebody else.
        """
        _make_private(self.path.parent)
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.path))
            self.path.chmod(0o600)
            listener.listen()
            listener.setblocking(False)
            self._server = _Server(
                listener, self._answer, spawn=Pool(_MAX_CONNECTIONS), log=None, error_log=logger
            )
            self._server.start()
        except BaseException:
            listener.close()
            raise

    def close(self) -> None:
        """Stop serving and remove the socket."""
        if self._server is not None:
            self._server.stop(timeout=0.2)
            self._server = None
        self.unlink()

    def unlink(self) -> None:
        """Remove the socket and nothing else: all that may be done in a signal handler."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _answer(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        try:
            status, pieces = self._respond(method, path)
            body = _joined(pieces)
        except Exception:  # noqa: BLE001 - logged, and answered
            logger.exception("the control socket cannot answer", extra={"sprag": {"path": path}})
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            body = _error("see the app's log").encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", ", ".join(_METHODS)))
        start_response(f"{status.value} {status.phrase}", headers)
        return [b"" if method == "HEAD" else body]

    def _respond(self, method: str, path: str) -> tuple[HTTPStatus, Iterable[str]]:
        if path != "/v1/tree":
            return HTTPStatus.NOT_FOUND, [_error(f"no {path!r} here: there is GET /v1/tree")]
        if method not in _METHODS:
            error = _error(f"{method} is not for /v1/tree: use GET")
            return HTTPStatus.METHOD_NOT_ALLOWED, [error]
        root = self._root
        about = {"app": name_of(root), "pid": os.getpid(), "schema": SCHEMA}
        return HTTPStatus.OK, encode(snapshot(root, pause=_pause), **about)


def _error(message: str) -> str:
    return json.dumps({"error": message})


def _joined(pieces: Iterable[str]) -> bytes:
    """Join the pieces, and let the services work meanwhile: a big tree takes its time."""
    body: list[str] = []
    held_since = _clock.now()
    for piece in pieces:
        body.append(piece)
        if _clock.now() - held_since > _HOLD:
            _pause()
            held_since = _clock.now()
    return "".join(body).encode()


def _pause() -> None:
    sleep(0)


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    found = directory.stat(follow_symlinks=False)
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{directory} must belong to this user and have mode 0700: "
            f"run 'chmod 700 {directory}', or set SPRAG_RUNTIME_DIR to another directory"
        )


class _Server(WSGIServer):
    """pywsgi on a Unix socket, for peers of the same user (or root)."""

    def handle(self, sock: socket.socket, address: Any) -> None:
        if _peer(sock) in (os.getuid(), 0):
            super().handle(sock, address)
        else:
            sock.close()


def _peer(sock: socket.socket) -> int:
    """Return the user at the other end, on Linux; elsewhere the socket's mode must do."""
    if sys.platform != "linux":
        return os.getuid()
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(credentials)
    return int(uid)
