"""The port for whoever watches an app: `--ops-port`."""

from __future__ import annotations

import json
import socket
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from controlled import aside
from scripted import spawn
from sprag import Service, Supervisor
from sprag.process.listening import address_of, listen
from sprag.process.ops import OpsPort
from sprag.testing import LeakCheck
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

Address = tuple[str, int]


@contextmanager
def watched(root: Service) -> Generator[Address]:
    """Have the health of *root* told, which is not started yet; yields where."""
    with LeakCheck():
        tree_of(root)
        listener = listen(("127.0.0.1", 0))
        port = OpsPort(root, listener)
        port.open()
        try:
            found: Any = address_of(listener)
            yield found
        finally:
            port.close()


def ask(address: Address, path: str, method: str = "GET") -> tuple[int, Any]:
    with closing(HTTPConnection(*address, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None


def test_health_is_told_from_before_the_start_until_after_the_stop() -> None:
    may_start = Event()

    class Slow(Service):
        def on_start(self) -> None:
            may_start.wait()

    root = Supervisor([Slow()], name="shop")
    with watched(root) as address:
        assert aside(ask, address, "/healthz") == (200, {"alive": True})
        assert aside(ask, address, "/readyz")[0] == 503
        starting = spawn(root.start)
        status, told = aside(ask, address, "/readyz")
        assert status == 503
        assert [each["state"] for each in told["not_ready"]] == ["starting", "starting"]
        may_start.set()
        starting.join()
        assert aside(ask, address, "/readyz") == (200, {"ready": True})
        assert aside(ask, address, "/readyz", "HEAD") == (200, None)
        root.stop()
        assert aside(ask, address, "/readyz")[0] == 503


def test_nothing_else_is_told() -> None:
    with watched(Service()) as address:
        assert aside(ask, address, "/v1/tree")[0] == 404
        status, told = aside(ask, address, "/readyz", "POST")
        assert (status, told) == (405, {"error": "POST is not accepted: use GET"})


def silent_then_ask(address: Address) -> tuple[int, Any]:
    """Ask behind more connections than there may be, none of which says a word."""
    silent = [socket.create_connection(address) for _ in range(100)]
    try:
        return ask(address, "/healthz")
    finally:
        for each in silent:
            each.close()


def test_who_asks_is_answered_however_many_only_sit_there() -> None:
    with watched(Service()) as address:
        assert aside(silent_then_ask, address) == (200, {"alive": True})
