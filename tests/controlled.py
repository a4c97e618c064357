"""A running app asked over its control socket, and the schema that its answers keep to.

What the socket answers is the same whoever runs the tree: `served` does so in this process, which
needs no other one to start, and can be measured. The loop must turn while somebody asks, so who
asks does it `aside`, in a native thread.
"""

from __future__ import annotations

import gc
import json
import socket
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pytest
from gevent.threadpool import ThreadPool
from jsonschema import Draft202012Validator

from sprag.control.server import ControlSocket
from sprag.testing import LeakCheck
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from sprag import Service

Told = TypeVar("Told")

SCHEMA_FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "control.schema.json"


@contextmanager
def served(root: Service, directory: Path) -> Generator[Path]:
    """Run *root* in real time, and yield the path of its control socket; nothing may be left."""
    gc.unfreeze()  # in which conftest hides what other tests have left: the hub, for instance
    with LeakCheck(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPRAG_RUNTIME_DIR", str(directory))
        tree_of(root)
        control = ControlSocket(root)
        control.open()
        try:
            root.start()
            yield control.path
        finally:
            root.stop()
            control.close()


def aside(fn: Callable[..., Told], *args: object) -> Told:
    """Call ``fn(*args)`` in a native thread, while the loop of this one turns."""
    threads = ThreadPool(1)
    try:
        return threads.apply(fn, args)
    finally:
        threads.kill()


class Connection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("app", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # In this order: with a timeout, Linux does not wait for a place in a full queue.
        self.sock.connect(str(self._path))
        self.sock.settimeout(20)


def ask(path: Path, method: str, target: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    with closing(Connection(path)) as connection:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def raw(path: Path, sent: bytes, *, seconds: float = 20.0) -> bytes:
    """Send bytes, whatever they are, and return all that comes back."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.settimeout(seconds)
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        got = b""
        while True:
            try:
                piece = client.recv(1 << 16)
            except OSError:
                return got
            if not piece:
                return got
            got += piece


def _strict(part: Any) -> Any:
    """Refuse keys that the schema does not name: what is answered must be documented."""
    if isinstance(part, list):
        return [_strict(each) for each in cast("Sequence[Any]", part)]
    if not isinstance(part, dict):
        return part
    given = cast("dict[str, Any]", part)
    closed = {key: _strict(value) for key, value in given.items()}
    if "properties" in closed and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


def check(name: str, answer: object) -> None:
    """Hold *answer* against one definition of the schema."""
    whole = _strict(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    Draft202012Validator({**whole, "$ref": f"#/$defs/{name}"}).validate(answer)  # pyright: ignore[reportUnknownMemberType]
