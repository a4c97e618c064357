"""The real SDKs in a process that gevent has patched, sending to a receiver next door."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
from gevent import monkey; monkey.patch_all()
import sys
import gevent, sentry_sdk
from sprag import App, Service
from sprag.integrations import sentry

class Frail(Service):
    def run(self):
        gevent.sleep(0.01)
        raise ValueError("of the receiver's test")

sentry_sdk.init(sys.argv[1])
app = App(name="shop", providers={"till": (Frail(), {"restart": "temporary"})},
          on_crash=sentry.reporter())
app.start()
gevent.sleep(0.1)
app.stop()
sentry_sdk.flush(5)
"""


@pytest.fixture
def received() -> Iterator[tuple[str, list[bytes]]]:
    """Where a receiver listens, and what it was sent."""
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            bodies.append(gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield f"http://key@127.0.0.1:{server.server_port}/1", bodies
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.slow
def test_a_crash_arrives_at_a_receiver_of_sentrys(received: tuple[str, list[bytes]]) -> None:
    where, bodies = received
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [body for body in bodies if b'"exception"' in body]
    assert len(events) == 1, done.stderr
    assert b"of the receiver's test" in events[0]
    assert b'"sprag.path":"shop/till"' in events[0]
