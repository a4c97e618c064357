"""`app.wsgi` under gunicorn's gevent worker, as docs/guides/web.md says."""

from __future__ import annotations

import http.client
import json
import re
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from processes import PATIENCE, Process

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CONF = """
bind = "127.0.0.1:0"
worker_class = "gevent"
workers = 2
graceful_timeout = 10
control_socket_disable = True

def post_worker_init(worker):
    from shop import app
    app.start()

def worker_exit(server, worker):
    from shop import app
    print("stopped", app.stop(timeout=5).clean, flush=True)
"""
SHOP = """
import os
from sprag import App, Controller, Service

class Counter(Service):
    def on_start(self):
        self.n = 0
        self.listen("asked", self._asked)

    def _asked(self, _data):
        self.n += 1

    def break_down(self):
        self.spawn(lambda: 1 / 0)

app = App(name="shop", routes="shop_routes", providers={"counter": Counter()})
application = app.wsgi
"""
ROUTES = """
import os, time
from sprag import Controller

class Count(Controller):
    route = "/count"
    def load(self):
        self.emit("asked")
        return {"n": self.service("counter").n, "pid": os.getpid()}
    def post(self):
        self.service("counter").break_down()
        return {"read": len(self.request.get_data())}

class Slow(Controller):
    route = "/slow"
    def load(self):
        time.sleep(1)
        return {"slept": True}
"""


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None) -> Any:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        client.request(method, path, body)
        answer = client.getresponse()
        assert answer.status == 200, answer.read()
        return json.loads(answer.read())
    finally:
        client.close()


def test_each_worker_has_a_tree_of_its_own_which_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(CONF)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "shop_routes.py").write_text(ROUTES)
    with Process("-m", "gunicorn", "shop:application", directory=tmp_path) as process:
        process.says("Booting worker with pid", times=2)
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.err)
        assert found is not None
        port = int(found[1])
        answers = [ask(port, "/count") for _ in range(20)]
        for pid in {each["pid"] for each in answers}:
            counted = [each["n"] for each in answers if each["pid"] == pid]
            assert counted == list(range(1, len(counted) + 1))
        assert ask(port, "/count", "POST", b"x" * 1000) == {"read": 1000}
        assert ask(port, "/readyz") == {"ready": True}
        slow: list[Any] = []
        asking = threading.Thread(target=lambda: slow.append(ask(port, "/slow")))
        asking.start()
        threading.Event().wait(0.3)
        process.send(signal.SIGTERM)
        asking.join()
        assert slow == [{"slept": True}]
        assert process.ends() == 0
        # Root and provider of each worker, all clean.
        assert process.out.splitlines() == ["stopped 2"] * 2
        # Nothing but the crash that was asked for.
        assert process.err.count("Traceback") == process.err.count("\nZeroDivisionError") > 0
