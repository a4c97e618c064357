"""`sprag run` of an app with routes: where it listens, and what it says when it cannot."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from processes import run
from serving import Served

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ROUTES = """
from sprag import Controller

class Start(Controller):
    route = "/"
    def load(self): return {"hello": "world"}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "routes.py").write_text(ROUTES)
    (tmp_path / "app.py").write_text(
        "from sprag import App, Service\n"
        "app = App(name='shop', routes='routes')\nplain = Service()\n"
        "bare = App(name='bare', providers={'one': Service()})\n"
    )
    return tmp_path


def test_a_port_that_is_taken_ends_the_run_with_3(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with run(shop, "--port", str(port)) as process:
            assert process.ends() == 3
    assert f"cannot listen on http://127.0.0.1:{port}: Address already in use" in process.err


def test_without_the_extra_the_run_says_what_to_install(shop: Path) -> None:
    (shop / "app.py").write_text(
        "import sys\nsys.modules['werkzeug'] = None\n" + (shop / "app.py").read_text()
    )
    with run(shop) as process:
        assert process.ends() == 3
    assert "pip install 'sprag-otp[web]'" in process.err


@pytest.mark.parametrize(
    ("target", "arguments", "said"),
    [
        ("app:app", ["--unix-socket", "a.sock", "--port", "1"], "leave out --port"),
        ("app:plain", ["--port", "0"], "is no App"),
        ("app:app", ["--port", "65536"], "65536"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    shop: Path, target: str, arguments: list[str], said: str
) -> None:
    with run(shop, *arguments, target=target) as process:
        assert process.ends() == 2
    assert said in process.err


def test_an_app_without_routes_serves_its_health_when_asked_to(shop: Path) -> None:
    with run(shop, "--port", "0", "--host", "127.0.0.1", target="app:bare") as process:
        one = Served(process)
        assert one.get("/readyz")[2] == b'{"ready": true}'
        assert one.get("/")[0] == 404
        process.send(signal.SIGTERM)
        assert process.ends() == 0
    with run(shop, target="app:bare") as quiet:
        quiet.says('"up"')
        assert quiet.events("serving") == []
