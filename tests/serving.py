"""Apps with routes: in this process for a test client, and as processes with plain sockets."""

from __future__ import annotations

import http.client
import signal
import socket
from contextlib import ExitStack
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from werkzeug.test import Client

from processes import PATIENCE
from sprag import App

if TYPE_CHECKING:
    from pathlib import Path

    from processes import Process


class Shop:
    """An app whose files a test has written, and a client of it.

    Attributes:
        name: The name of its package.
        folder: The package's folder.
        app: The app itself; started by `get` and its like.
    """

    def __init__(self, folder: Path, files: dict[str, str], **options: Any) -> None:
        self.name = folder.name
        self.folder = folder
        (folder / "__init__.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        given: dict[str, Any] = {"routes": f"{self.name}.routes", "name": "shop", **options}
        self.app = App(**given)

    @property
    def client(self) -> Client:
        """A client of the app, started on first use."""
        if self.app.snapshot().state.value == "new":
            self.app.start()
        return Client(self.app.wsgi)

    def ask(self, path: str, method: str = "GET", accept: str = "*/*", **options: Any) -> Any:
        """Send a request and return Werkzeug's test response."""
        headers = {"Accept": accept, **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, buffered=True, **options)

    def page(self, path: str, **options: Any) -> str:
        """Return what a browser gets."""
        answer = self.ask(path, accept="text/html,application/xhtml+xml,*/*;q=0.8", **options)
        assert answer.content_type == "text/html; charset=utf-8"
        text: str = answer.text
        return text


class Served:
    """An app that serves, as a process, and plain sockets to it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._sockets = ExitStack()
        process.says('"up"')
        (record,) = process.events("serving")
        self.url: str = record["url"]
        self.port = int(self.url.rpartition(":")[2]) if self.url.startswith("http") else 0

    def connect(self) -> socket.socket:
        """Return a connection, patient but not for ever; it is closed with the rest."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return self._sockets.enter_context(made)

    def close(self) -> None:
        """Close all connections, and have the app stop as it should."""
        self._sockets.close()
        if self.process.popen.poll() is None:
            self.process.send(signal.SIGTERM)
            assert self.process.ends() == 0

    def get(
        self, path: str, *, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request on a connection of its own."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request(method, path, headers=headers)
            answer = client.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, named, answer.read()
        finally:
            client.close()

    def access_log(self) -> list[dict[str, Any]]:
        """Return the lines of the access log."""
        return self.process.events("request")


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer from a connection that may go on."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, answer.read()
    finally:
        answer.close()


def read_to_end(connection: socket.socket) -> bytes:
    """Read until the server closes, however rudely."""
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            return received
        if not piece:
            return received
        received += piece
