"""The dashboard of docs/examples, under `sprag run`: as JSON, as HTML, and in a browser."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser import CHROMIUM
from processes import run
from serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "dashboard"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

pytestmark = pytest.mark.slow


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(EXAMPLE / "app", tmp_path / "app")
    with run(tmp_path, "--port", "0", environ={"ORDERS_PACE": "0.05"}) as process:
        yield Served(process)
        process.send(signal.SIGTERM)
        assert process.ends() == 0


def test_curl_gets_json_and_a_browser_the_page(dashboard: Served) -> None:
    status, headers, body = dashboard.get("/dashboard", Accept="*/*")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert set(json.loads(body)) == {"stats", "mails", "orders"}
    status, headers, body = dashboard.get("/dashboard", Accept=BROWSER)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = body.decode()
    assert '<link rel="stylesheet" href="/static/app.css">' in page
    assert page.index("<header>") < page.index("<h1>Today</h1>") < page.index("</main>")
    for file in ("/static/app.css", "/static/live.js"):
        assert dashboard.get(file)[0] == 200
    status, headers, _ = dashboard.get("/", Accept=BROWSER)
    assert (status, headers["location"]) == (303, "/dashboard")
    assert dashboard.get("/orders/999999", Accept=BROWSER)[0] == 404


def test_the_page_survives_the_crashes_of_the_intake(dashboard: Served) -> None:
    dashboard.process.says('"service crashed", "service": "dashboard/orders"')
    stats = json.loads(dashboard.get("/dashboard")[2])
    assert stats["stats"]["orders"] >= 39
    dashboard.process.says('"service restarted", "service": "dashboard/orders"')
    number = json.loads(dashboard.get("/dashboard")[2])["stats"]["latest"][0]["number"]
    assert json.loads(dashboard.get(f"/orders/{number}")[2])["order"]["number"] == number
    assert {each["status"] for each in dashboard.access_log()} == {200}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: nobody looks at the page")
def test_the_page_lives_in_a_browser(dashboard: Served, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    picture = tmp_path / "dashboard.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=390,844"]
    url = f"{dashboard.url}/dashboard"
    taken = [*flags, "--virtual-time-budget=3000", f"--screenshot={picture}", url]
    subprocess.run([CHROMIUM, *taken], check=True, capture_output=True, timeout=50)
    header = picture.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert struct.unpack(">II", header[16:24]) == (390, 844)
    assert picture.stat().st_size > 10_000  # a blank page has 3,000
    # The script of the page has asked for the numbers again.
    asked = [each for each in dashboard.access_log() if each["path"] == "/dashboard"]
    assert len(asked) >= 2
    assert {each["status"] for each in dashboard.access_log()} == {200}
