"""An app that is made up: it says over its "control socket" what a test has written down."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import gevent
from gevent import socket
from gevent.queue import Queue

from sprag.observer.asking import Upstream
from sprag.observer.following import Following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Canning: TypeAlias = (
        Callable[[str, dict[str, str]], Any] | dict[str, Any] | list[dict[str, Any]] | None
    )


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


class Canned:
    """One app, for the page.

    Attributes:
        lines: What a stream of events begins with.
        answers: By resource, as in ``service``, what is answered: a value, or a function of the
            path and the query.
        lasting: The resources of those lists that have no end.
        asked: How often each resource was asked for.
        posted: The targets of all POSTs.
        is_held: Nobody is answered, as if the process were stopped.
    """

    def __init__(self, name: str = "shop", pid: int = 4711) -> None:
        self.name = name
        self.pid = pid
        self.lines: list[dict[str, Any]] = []
        self.answers: dict[str, Canning] = {}
        self.lasting: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.posted: list[str] = []
        self.is_down = False
        self.is_held = False
        self.streams = 0
        self._listening: list[Queue[dict[str, Any] | None]] = []
        self.following = Following(self.find)

    # -- as an app of the page -------------------------------------------------------------

    def listed(self) -> list[dict[str, Any]]:
        return [] if self.is_down else [{"key": self.name, "name": self.name, "pid": self.pid}]

    def get(self, key: str) -> Following | None:
        return self.following if key == self.name else None

    def find(self) -> Upstream | None:
        return None if self.is_down else Upstream(self.name, self.pid, self._connect)

    # -- what a test lets happen -----------------------------------------------------------

    def tell(self, *lines: dict[str, Any]) -> None:
        """Let something happen, for all who listen."""
        for queue in self._listening:
            for line in lines:
                queue.put(line)

    def die(self) -> None:
        """End without a word, as by SIGKILL."""
        self.is_down = True
        for queue in self._listening:
            queue.put(None)

    def come_back(self, pid: int) -> None:
        self.pid = pid
        self.is_down = self.is_held = False

    # -- the socket ------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        gevent.spawn(self._serve, theirs)
        return ours

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(65536)
                if not piece:
                    return
                head += piece
            while self.is_held:
                gevent.sleep(0.02)
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            parts = urlsplit(target)
            resource, _, path = unquote(parts.path).removeprefix("/v1/").partition("/")
            query = dict(parse_qsl(parts.query))
            self.asked[resource] += 1
            if method == "POST":
                self.posted.append(target)
            if resource == "events":
                self._stream(sock)
                return
            canning = self.answers.get(resource)
            answer: Any = canning(path, query) if callable(canning) else canning
            if isinstance(answer, list):
                rows = cast("list[object]", answer)
                body = "".join(json.dumps(each) + "\n" for each in rows).encode()
                if resource in self.lasting:
                    sock.sendall(_STREAM + body)
                    sock.recv(1)
                else:
                    sock.sendall(_head(200, "application/x-ndjson", body))
            else:
                status = 404 if answer is None else answer.pop("_status", 200)
                body = json.dumps(answer or {"error": f"no {target}"}).encode()
                sock.sendall(_head(status, "application/json", body))

    def _stream(self, sock: socket.socket) -> None:
        queue: Queue[dict[str, Any] | None] = Queue()
        self._listening.append(queue)
        self.streams += 1
        try:
            sock.sendall(_STREAM)
            lines = [json.dumps(each) for each in self.lines]
            sock.sendall("".join(f"{each}\n" for each in lines).encode())
            while (line := queue.get()) is not None:
                while self.is_held:
                    gevent.sleep(0.02)
                sock.sendall(json.dumps(line).encode() + b"\n")
                if line.get("event") == "end":
                    return
        finally:
            self._listening.remove(queue)


def _head(status: int, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def snapshot(path: str, now: float, **more: Any) -> dict[str, Any]:
    """Return a line of the first picture of a service that has run for six days."""
    told: dict[str, Any] = {
        "event": "snapshot",
        "path": path,
        "name": path.rpartition("/")[2],
        "class": "Service",
        "kind": "worker",
        "state": "running",
        "incarnation": 1,
        "restarts": 0,
        "started_at": iso(now - 532_800),
        "ended_at": None,
        "owned": {"greenlets": 0, "timers": 0, "listeners": 0, "cleanups": 0, "tasks": 0},
        "last_failure": None,
        "next_try": None,
        "ready": True,
        "unready": None,
        "status": None,
        "held": None,
        "process": None,
        "policy": {"strategy": "one_for_one", "max_restarts": 3, "max_seconds": 5.0},
    }
    return {**told, **more}


def live(app: Canned) -> dict[str, Any]:
    return {
        "event": "live",
        "app": app.name,
        "pid": app.pid,
        "services": len(app.lines),
        "version": "0.9",
    }


def plain(count: int, now: float, *, name: str = "shop") -> Iterable[dict[str, Any]]:
    """Yield pictures of an app with *count* services, a hundred below each supervisor."""
    yield snapshot(name, now, kind="supervisor", **{"class": "App"})
    for n in range(count):
        group, each = divmod(n, 100)
        if not each:
            kind = {"kind": "supervisor", "class": "Supervisor"}
            yield snapshot(f"{name}/group-{group}", now, **kind)
        yield snapshot(f"{name}/group-{group}/service-{n}", now)


def small(now: float | None = None) -> Canned:
    """Return an app of three services, one supervisor and itself, all of which run."""
    now = time.time() if now is None else now
    app = Canned()
    group = {"kind": "supervisor", "class": "Supervisor"}
    app.lines = [snapshot("shop", now, kind="supervisor", **{"class": "App"})]
    app.lines.append(snapshot("shop/fleet", now, **group))
    app.lines += [snapshot(f"shop/fleet/{name}", now) for name in ("courier", "tracker")]
    app.lines += [snapshot("shop/mailer", now), live(app)]
    policy: dict[str, Any] = {"restart": "permanent", "shutdown": 5.0, "on_failure": {}}
    policy["backoff"] = None
    app.answers["service"] = lambda path, _query: {
        **next(each for each in app.lines if each["path"] == path),
        "policy": {**policy, "strategy": "one_for_one", "max_restarts": 3, "max_seconds": 5},
        "module": "shop",
        "counters": {"child_restarts_within_window": 0},
        "program": None,
        "arguments": {},
    }
    for verb in ("start", "stop", "restart"):
        app.answers[verb] = {"state": "running"}
    return app
