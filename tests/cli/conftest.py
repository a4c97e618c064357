"""An app as the command line sees one: a Unix socket that answers ``GET /v1/tree``."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

import pytest

from servers import Sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class FakeApp:
    """What a test says the app answers, and what it was asked."""

    def __init__(self, path: Path, answer: Any) -> None:
        self.path = path
        self.answer = answer
        self.requests: list[str] = []

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{handler.command} {handler.path} {handler.request_version}")
        if callable(self.answer):
            self.answer(handler)
            return
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def serving(app: FakeApp) -> Generator[FakeApp]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            app.respond(self)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with _UnixServer(os.fspath(app.path), Handler) as server:
        app.path.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield app
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of sockets that the commands look into."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("SPRAG_RUNTIME_DIR", os.fspath(directory))
    for name in ("SPRAG_APP", "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return directory


@pytest.fixture
def serve(runtime: Path) -> Iterator[Callable[..., FakeApp]]:
    """Start an app that answers as told; several may run."""
    with ExitStack() as stack:

        def start(answer: Any, *, name: str = "shop", pid: int = 4242) -> FakeApp:
            return stack.enter_context(serving(FakeApp(runtime / f"{name}.{pid}.sock", answer)))

        yield start


def routes(table: dict[str, Any]) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer by the path of the request: with JSON, or with a status and JSON."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        target = handler.path.partition("?")[0]
        said = table.get(f"{handler.command} {target}", table.get(target))
        if said is None:
            said = 404, {"error": f"no service {target!r}", "name": "UnknownService"}
        status, body = cast("tuple[int, Any]", said) if isinstance(said, tuple) else (200, said)
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    return answer


@pytest.fixture
def answering(serve: Callable[..., FakeApp]) -> Callable[[dict[str, Any]], FakeApp]:
    """Start an app that answers by path: ``answering({"/v1/tree": {...}})``."""
    return lambda table: serve(routes(table))


def node(
    name: str, cls: str, state: str = "running", *children: Any, **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "class": cls,
        "kind": "worker",
        "state": state,
        "incarnation": 1,
        "uptime": 7380.4 if state == "running" else None,
        "restarts": 0,
        "owned": {"greenlets": 0, "timers": 0, "listeners": 0, "cleanups": 0},
        "last_failure": None,
        "next_try": None,
        "ended_at": None,
        "children": list(children),
        **more,
    }


NOW = 1_767_268_800.0  # 2026-01-01T12:00:00Z


@pytest.fixture
def make() -> Callable[..., dict[str, Any]]:
    """Make one node: ``make(name, class, state, *children, **more)``."""
    return node


@pytest.fixture
def now() -> float:
    """The time the ages of `shop` are counted from, 2026-01-01T12:00:00Z."""
    return NOW


@pytest.fixture
def shop() -> dict[str, Any]:
    """The tree of the design: one service waits for its restart, one has finished."""
    failure = {"type": "ValueError", "message": "bad order 17", "at": "2026-01-01T11:59:58Z"}
    courier = node("courier", "Courier", "restarting", restarts=3, next_try=1.6)
    courier["last_failure"] = failure
    printer = node("printer", "Printer", "finished", ended_at="2026-01-01T11:48:00+00:00")
    fleet = node("fleet", "Supervisor", "running", courier, printer, restarts=1, uptime=720.0)
    fleet |= {"kind": "supervisor", "policy": {"strategy": "one_for_all"}}
    metrics = node("metrics", "MetricsService", owned={"timers": 2, "listeners": 1})
    intake = node("intake", "Intake", owned={"greenlets": 14})
    root = node("shop", "App", "running", metrics, intake, fleet)
    return {**root, "kind": "supervisor", "app": "shop", "pid": 4242, "schema": 1}


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    """An sshd that leads to this machine."""
    server = Sshd()
    server.start()
    yield server
    server.close()
