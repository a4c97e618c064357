"""Ask a running app: HTTP/1.1 over its Unix socket."""

from __future__ import annotations

import os
import socket
import struct
import time
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final, cast

from sprag_cli import _json
from sprag_cli._exit import ClientExit, CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from sprag_cli._discover import RunningApp
    from sprag_cli._node import Node

_SHORTEST_WAIT: Final = 0.001
_OK: Final = 200


class AppGone(CommandError):
    """Raised when nobody listens on the app's socket, or the app hangs up before it answered."""

    exit_code = ClientExit.NOT_FOUND

    def __init__(self, app: RunningApp, reason: str) -> None:
        """Say which app, where it should be, and how it is known to be gone."""
        self.app = app
        super().__init__(f"{app} is gone: {reason} ({app.socket}) — is it still running?")


class BadAnswer(CommandError):
    """Raised when the app answers, but not with what was asked for."""

    exit_code = ClientExit.NOT_FOUND

    def __init__(self, app: RunningApp, target: str, reason: str) -> None:
        """Say what was asked and what came back."""
        self.app = app
        super().__init__(
            f"{app} answered GET {target} with {reason} — a node of the tree in JSON was expected "
            "— do the app and this command have the same version of sprag?"
        )


class TimedOut(CommandError):
    """Raised when the answer was not there in time."""

    exit_code = ClientExit.TIMED_OUT

    def __init__(self, app: RunningApp, timeout: float) -> None:
        """Say who did not answer, in how many seconds."""
        self.app = app
        self.timeout = timeout
        super().__init__(
            f"{app} did not answer in {timeout:g} s — a service may be hogging the CPU or "
            "blocking in C — wait longer with --timeout"
        )


class _PromptSocket(socket.socket):
    """A Unix socket with one deadline, for the connection and for all that is read from it."""

    def __init__(self, timeout: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._deadline = time.monotonic() + timeout
        # Where the queue of connections is full, Linux waits for this long, and no time at all
        # with settimeout(); a busy app would look like one that is gone.
        microseconds = int(timeout * 1_000_000)
        limit = struct.pack("ll", *divmod(microseconds, 1_000_000))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read what there is; a timeout counts from when the socket was made."""
        self.settimeout(max(self._deadline - time.monotonic(), _SHORTEST_WAIT))
        return super().recv_into(buffer, nbytes, flags)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = _PromptSocket(self._seconds)
        self.sock.connect(os.fspath(self._path))


class Client:
    """Asks one app; each question uses a connection of its own."""

    def __init__(self, app: RunningApp, *, timeout: float) -> None:
        """Prepare to ask; nothing is connected yet.

        Args:
            app: Whom to ask.
            timeout: Seconds in which the whole answer must be there.
        """
        self.app = app
        self._timeout = timeout

    def tree(self) -> Node:
        """Return the root of the tree.

        Raises:
            AppGone: Nobody listens any more.
            BadAnswer: The app answered with something else.
            TimedOut: The answer was not there in time.
        """
        target = "/v1/tree"
        answer = self._get(target)
        if not isinstance(answer, dict) or not {"name", "state"} <= answer.keys():
            raise BadAnswer(self.app, target, "something else")
        return cast("Node", answer)

    def _get(self, target: str) -> object:
        connection = _UnixConnection(self.app.socket, self._timeout)
        try:
            headers = {"Accept": "application/json", "Connection": "close"}
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            body = response.read()
        except (TimeoutError, BlockingIOError):
            raise TimedOut(self.app, self._timeout) from None
        except (HTTPException, OSError) as error:
            raise AppGone(self.app, _reason(error)) from None
        finally:
            connection.close()
        if response.status != _OK:
            raise BadAnswer(self.app, target, f"{response.status} {response.reason}")
        try:
            return _json.loads(body.decode())
        except ValueError:
            raise BadAnswer(self.app, target, "text that is not JSON") from None


def _reason(error: HTTPException | OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens on its socket"
    if isinstance(error, FileNotFoundError):
        return "its socket does not exist"
    if isinstance(error, PermissionError):
        return "its socket belongs to another user"
    if isinstance(error, HTTPException | ConnectionError):
        return "it hung up before it had answered"
    return str(error)
