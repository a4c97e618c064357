"""The page in a real browser: one chromium for all of them."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import pytest

from browser import CHROMIUM, Browser
from canned import Canned, live, snapshot
from sprag.observer.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from browser import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: nobody looks"),
]
SHOWN = "document.documentElement.dataset.live && document.querySelectorAll('.row').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@contextmanager
def opened(
    browser: Browser, app: Canned, *, size: tuple[int, int] = (1440, 900), write: bool = False
) -> Generator[Page]:
    bridge = Bridge(app, write=write)
    bridge.start()
    page = browser.page(*size, alone=True)
    try:
        page.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
        page.open(bridge.url)
        page.until(SHOWN)
        yield page
        assert page.errors == []
    finally:
        page.close()
        bridge.stop()
        app.die()


def small(now: float | None = None) -> Canned:
    now = time.time() if now is None else now
    app = Canned()
    group = {"kind": "supervisor", "class": "Supervisor"}
    app.lines = [snapshot("shop", now, kind="supervisor", **{"class": "App"})]
    app.lines.append(snapshot("shop/fleet", now, **group))
    app.lines += [snapshot(f"shop/fleet/{name}", now) for name in ("courier", "tracker")]
    app.lines += [snapshot("shop/mailer", now), live(app)]
    policy = {"restart": "permanent", "shutdown": 5.0, "on_failure": {}, "backoff": None}
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


def test_the_parts_that_are_pure(browser: Browser) -> None:
    with opened(browser, small()) as page:
        told = page.run("import('./words.js').then(w => [w.duration(6.24), w.duration(182), "
            "w.duration(9660), w.duration(532800), w.duration(NaN), w.span(60), w.span(600), "
            "w.bytes(2790000000).join(' '), w.list(['a','b','c','d']), w.within('shop/a/b'), "
            "w.cut('x'.repeat(9), 3), w.percent(0.417), w.counted(NaN)])")  # fmt: skip
        assert told == [
            "6.2 s", "3 m 02 s", "2 h 41 m", "6 d 4 h", "?", "60 s", "10 min", "2.6 GB",
            "a, b, c and 1 more", "a/b", "xxx…", "41.7", "?",
        ]  # fmt: skip
        told = page.run("import('./rows.js').then(r => [[0, 0, 270], [100000, 1350000, 540], "
            "[5, 0, 9000], [0, 9, 900]].map(([n, top, h]) => { const w = r.windowOf(n, 27, top, h);"
            " return [w.from, w.to]; }))")  # fmt: skip
        assert told == [[0, 0], [49992, 50028], [0, 5], [0, 0]]
        told = page.run((Path(__file__).parent / "verdict.js").read_text(encoding="utf-8"))
        assert told == [
            "Nothing is known yet", "All 3 services that should run, run",
            "shop/a is down, and is being restarted", "shop/a", True, "Yes,", "6.0 s", 1,
            "KeyError: x; takes b along", "All 3 services that should run, run", 3, "running",
            "shop/a is down and will not come back by itself", "✗1 shop", 2, 0, "running",
        ]  # fmt: skip


def test_the_token_leaves_the_address_and_nothing_comes_from_elsewhere(browser: Browser) -> None:
    with opened(browser, small()) as page:
        assert "token" not in page.run("location.href")
        assert len(page.run("sessionStorage.getItem('sprag-token')")) > 40
        assert page.run("document.cookie") == ""
        names = page.run("performance.getEntriesByType('resource').map(e => e.name)")
        origin = page.run("location.origin")
        assert names
        assert all(name.startswith((origin, "data:")) for name in names), names
        page.run("location.reload()")
        gevent.sleep(0.2)
        page.until(SHOWN)
