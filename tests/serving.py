"""An app that serves, as a process, and plain sockets to it."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any

from processes import PATIENCE

if TYPE_CHECKING:
    from processes import Process



class Served:
    """An app that serves, as a process, and plain sockets to it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        process.says('"up"')
        (record,) = process.events("serving")
        self.url: str = record["url"]
        self.port = int(self.url.rpartition(":")[2]) if self.url.startswith("http") else 0

    def connect(self) -> socket.socket:
        """Return a connection, patient but not for ever."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def get(self, path: str, *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
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
    answer.begin()
    named = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, named, answer.read()


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
