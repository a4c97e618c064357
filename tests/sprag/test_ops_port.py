"""The port for whoever watches an app: `--ops-port`."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from controlled import aside
from scripted import spawn
from sprag import Service, Supervisor
from sprag.control.figures import figures_of
from sprag.process.listening import address_of, listen
from sprag.process.ops import OpsPort
from sprag.testing import LeakCheck
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    import pytest

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


def test_metrics_are_told_as_prometheus_reads_them() -> None:
    root = Supervisor([Service()], name="shop")
    with watched(root) as address, root:

        def ask_for_text() -> tuple[int, str | None, str]:
            with closing(HTTPConnection(*address, timeout=10)) as connection:
                connection.request("GET", "/metrics")
                answer = connection.getresponse()
                return answer.status, answer.getheader("Content-Type"), answer.read().decode()

        status, kind, text = aside(ask_for_text)
        figures_of(tree_of(root)).close()
    assert status == 200
    assert kind is not None
    assert kind.startswith("text/plain; version=")
    assert 'sprag_services{path="shop/Service",state="running"} 1.0' in text


def test_without_their_extra_metrics_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sprag.metrics", None)
    monkeypatch.delattr("sprag.metrics", raising=False)
    with watched(Supervisor(name="shop")) as address:
        assert aside(ask, address, "/metrics")[0] == 501
