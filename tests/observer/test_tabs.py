"""Tabs of one browser: a worker or one of them reads for all, and each notices if none does."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from browser import CHROMIUM, SHOWN
from canned import Canned, iso, small
from sprag.observer.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from browser import Browser, Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: nobody looks"),
]


@contextmanager
def tabs(browser: Browser, app: Canned, count: int, *, before: str = "") -> Generator[list[Page]]:
    """Open so many tabs of one browser, which run *before* first."""
    bridge = Bridge(app)
    bridge.start()
    pages = [browser.page(800, 600) for _ in range(count)]
    try:
        for page in pages:
            if before:
                page.before_all(before)
            page.open(bridge.url)
            page.until(SHOWN)
        yield pages
        assert [page.errors for page in pages] == [[] for _ in pages]
    finally:
        for page in pages:
            page.close()
        bridge.stop()
        app.die()


_NO_WORKER = "delete globalThis.SharedWorker"
_READERS = "sprag.reads()"


def readers(pages: list[Page]) -> list[int]:
    return [n for n, page in enumerate(pages) if page.run(_READERS)]


def taken_over(pages: list[Page], seconds: float) -> None:
    """Wait until one of *pages* reads; a machine that is busy has three times as long."""
    deadline = time.monotonic() + 3 * seconds
    while not readers(pages):
        assert time.monotonic() < deadline, f"none of {len(pages)} tabs reads after {seconds} s"
        gevent.sleep(0.05)


def crashes(app: Canned, life: int) -> None:
    """Let the mailer crash; who listens is told, and who begins to later finds it so."""
    told = {"path": "shop/mailer", "at": iso(time.time())}
    mailer = next(each for each in app.lines if each["path"] == told["path"])
    mailer.update(incarnation=life, restarts=life - 1, started_at=told["at"])
    app.tell({"event": "crashed", "incarnation": life - 1, "exception": "E", **told})
    app.tell({"event": "restarted", "incarnation": life, **told})


def held_back(app: Canned) -> Event:
    """Let the page's streams of *app* say nothing while the event that is returned is not set."""
    goes_on = Event()
    goes_on.set()
    told = app.following.tab

    def tab() -> Iterator[bytes]:
        for each in told():
            goes_on.wait()
            yield each

    app.following.tab = tab  # type: ignore[method-assign]
    return goes_on


def lives(life: int) -> str:
    return f"sprag.state.model.nodes.get('shop/mailer').incarnation === {life}"


def test_five_tabs_are_one_stream_and_a_hidden_one_measures_nothing(browser: Browser) -> None:
    app = small()

    def top(_path: str, _query: dict[str, str]) -> dict[str, Any]:
        gevent.sleep(0.2)
        return {"cpu": {"services": 0, "others": 0}, "services": []}

    app.answers["top"] = top
    with tabs(browser, app, 5) as pages:
        assert app.streams == 1
        for page in pages:
            page.run("Object.defineProperty(document, 'hidden', {value: true})")
        gevent.sleep(1.0)
        before = app.asked["top"]
        gevent.sleep(1.0)
        assert app.asked["top"] == before
        assert before > 0


def test_without_a_worker_one_tab_reads_for_all_and_another_one_when_it_is_gone(
    browser: Browser,
) -> None:
    app = small()
    with tabs(browser, app, 3, before=_NO_WORKER) as pages:
        assert app.streams == 1
        assert readers(pages) == [0]
        crashes(app, 2)
        for page in pages:
            page.until(lives(2))
        # The one that reads is closed: another one begins within a second.
        pages.pop(0).close()
        taken_over(pages, 2.0)
        crashes(app, 3)
        for page in pages:
            page.until(lives(3))
            assert page.run("sprag.state.mode") == "live"
        assert len(readers(pages)) == 1


def test_a_tab_that_is_frozen_while_it_reads_for_all_is_followed_by_another(
    browser: Browser,
) -> None:
    app = small()
    with tabs(browser, app, 3, before=_NO_WORKER) as pages:
        assert readers(pages) == [0]
        pages[0].freeze()
        awake = pages[1:]
        taken_over(awake, 6.0)
        crashes(app, 2)
        for page in awake:
            page.until(lives(2))
            # It was silence of a few seconds, and no reason to say that nothing is known.
            assert page.run("document.getElementById('banner').hidden")
        # It thaws: it reads no more, and has heard what happened.
        pages[0].freeze("active")
        pages[0].until(lives(2))
        pages[0].until(f"!{_READERS}")
        crashes(app, 3)
        for page in pages:
            page.until(lives(3))
        assert len(readers(pages)) == 1


def test_a_worker_that_crashes_is_noticed_and_a_tab_reads_instead(browser: Browser) -> None:
    app = small()
    with tabs(browser, app, 2) as pages:
        assert readers(pages) == []
        gevent.sleep(2.5)
        assert readers(pages) == []  # whoever speaks is trusted
        # Nobody tells a page of it: there is no event for that.
        assert browser.end_workers() == 1
        taken_over(pages, 6.0)
        crashes(app, 2)
        for page in pages:
            page.until(lives(2))
            assert page.run("sprag.state.mode") == "live"
        assert len(readers(pages)) == 1


def test_tabs_whose_stream_is_silent_say_so_all_of_them(browser: Browser) -> None:
    app = small()
    goes_on = held_back(app)
    # As soon as they may, tabs take over from one that says nothing.
    hasty = f"{_NO_WORKER}; Math.random = () => 0"
    with tabs(browser, app, 2, before=hasty) as pages:
        before = readers(pages)
        goes_on.clear()
        for page in pages:
            page.until("sprag.state.mode === 'gone'")
        assert readers(pages) == before  # who reads is there, and says that it hears nothing
        crashes(app, 2)
        goes_on.set()
        for page in pages:
            page.until(lives(2))
            page.until("sprag.state.mode === 'live'")


def test_a_tab_that_is_told_nothing_any_more_says_so_and_reads_itself(browser: Browser) -> None:
    app = small()
    goes_on = held_back(app)
    begin = {"event": "begin", "app": app.name, "pid": app.pid, "at": iso(time.time())}
    # It answers, and has forgotten whom it has to tell.
    forgetful = f"""globalThis.SharedWorker = class extends EventTarget {{
        constructor() {{
            super();
            const {{port1, port2}} = new MessageChannel();
            this.port = port1;
            port2.onmessage = ({{data}}) =>
                port2.postMessage(data.kind === 'open' ? {json.dumps([begin, *app.lines])} : []);
        }}
    }}"""
    goes_on.clear()
    with tabs(browser, app, 1, before=forgetful) as [page]:
        page.until("sprag.state.mode === 'gone'", seconds=40)
        assert page.run(lives(1))
        crashes(app, 2)
        goes_on.set()
        page.until(lives(2))
        page.until("sprag.state.mode === 'live'")
        assert page.run(_READERS)


def test_where_the_worker_does_not_run_a_tab_reads(browser: Browser) -> None:
    app = small()
    # As a browser that has one, and does not let it run.
    broken = """globalThis.SharedWorker = class extends EventTarget {
        port = new MessageChannel().port1;
        constructor() {
            super();
            setTimeout(() => this.dispatchEvent(new Event('error')), 50);
        }
    }"""
    with tabs(browser, app, 2, before=broken) as pages:
        assert app.streams == 1
        assert len(readers(pages)) == 1


def test_a_tab_that_was_forgotten_while_it_slept_is_told_all_again(browser: Browser) -> None:
    with tabs(browser, small(), 1) as [page]:
        begun = page.run(_SLEPT)
    assert begun == [1, 1, 2, 3]  # also by one that asks why it hears nothing


_SLEPT = """(async () => {
    const begun = [], looks = [], { setInterval } = globalThis;
    let count = 0, slept = 0;
    const now = performance.now.bind(performance);
    performance.now = () => now() + slept;
    globalThis.setInterval = (look, ms) =>
        ms === 30_000 ? looks.push(look) : setInterval(look, ms);
    globalThis.onconnect = null;
    await import('./worker.js');
    globalThis.setInterval = setInterval;
    const { port1, port2 } = new MessageChannel();
    globalThis.onconnect({ports: [port2]});
    port1.onmessage = ({data}) => (count += data.filter(e => e.event === 'begin').length);
    const open = {url: new URL('v1/at/shop/events', location.href).href,
        token: sessionStorage.getItem('sprag-token')};
    const pause = () => new Promise(done => setTimeout(done, 500));
    const say = async (kind) => {
        port1.postMessage({...open, kind});
        await pause();
        begun.push(count);
    };
    await say('open');
    await say('here');
    for (const kind of ['here', 'ping']) {
        slept += 3.6e6;
        for (const look of looks) look();
        await say(kind);
    }
    port1.postMessage({kind: 'bye'});
    slept = 0;
    return begun;
})()"""
