"""The WSGI application of the page, over an app that is made up."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from canned import Canned, live, snapshot
from sprag.observer import following
from sprag.observer.gate import Gate
from sprag.observer.site import ObserverSite, page_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HERE = "127.0.0.1:4711"
BEARER = {"HTTP_AUTHORIZATION": "Bearer t"}


class Answer:
    def __init__(self, site: ObserverSite, path: str, method: str, more: dict[str, str]) -> None:
        environ = {"REQUEST_METHOD": method, "HTTP_HOST": HERE, "PATH_INFO": path, **more}
        self.pieces: Any = site(environ, self._begin)

    def _begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = int(status.split(maxsplit=1)[0])
        self.headers = dict(headers)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asking:
    def __init__(self, app: Canned, *, write: bool = False) -> None:
        self.site = ObserverSite(Gate(HERE, "t", may_write=write), app)

    def get(self, path: str, *, query: str = "", method: str = "GET", **more: str) -> Answer:
        return Answer(self.site, path, method, {**BEARER, "QUERY_STRING": query, **more})


@pytest.fixture
def app() -> Iterator[Canned]:
    made = Canned()
    made.lines = [snapshot("shop", 1e9), snapshot("shop/mail", 1e9), live(made)]
    yield made
    made.die()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY", 0.02)
    monkeypatch.setattr(following, "PULSE", 0.02)


@contextmanager
def tab(asking: Asking) -> Generator[Iterator[dict[str, Any]]]:
    pieces = asking.get("/v1/at/shop/events").pieces

    def lines() -> Iterator[dict[str, Any]]:
        for piece in pieces:
            yield from map(json.loads, piece.splitlines())

    try:
        with gevent.Timeout(5):
            yield lines()
    finally:
        pieces.close()


def until(lines: Iterator[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    for line in lines:
        if line["event"] != "pulse" or event == "pulse":
            seen.append(line)
        if line["event"] == event:
            break
    return seen


def test_the_page_is_served_to_everybody_with_a_strict_policy(app: Canned) -> None:
    asking = Asking(app)
    for path in ("/", "/index.html", "/app.js", "/style.css", "/worker.js"):
        answer = asking.get(path, HTTP_AUTHORIZATION="")
        assert answer.status == 200, path
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert len(answer.body) == int(answer.headers["Content-Length"])
    assert asking.get("/", method="HEAD").body == b""
    for path in ("/../gate.py", "/page/app.js", "/gate.py", "/app.js/", "/v1"):
        assert asking.get(path).status == 404, path


def test_the_page_has_all_its_files_and_asks_nobody_else() -> None:
    files = page_files()
    assert {"index.html", "style.css", "app.js", "worker.js", "model.js"} <= files.keys()
    for name, (kind, body) in files.items():
        text = body.decode()
        assert kind.partition(";")[0] in ("text/html", "text/css", "text/javascript"), name
        elsewhere = text.replace("http://www.w3.org/", "")  # a namespace
        assert "http://" not in elsewhere, name
        assert "https://" not in elsewhere, name
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert sink not in text, (name, sink)


def test_data_needs_the_token_and_an_app_that_there_is(app: Canned) -> None:
    asking = Asking(app)
    assert asking.get("/v1/apps", HTTP_AUTHORIZATION="").status == 401
    assert asking.get("/v1/at/shop/ready", HTTP_AUTHORIZATION="Bearer x").status == 401
    listed = asking.get("/v1/apps").json
    assert listed == {"apps": [{"key": "shop", "name": "shop", "pid": 4711}], "write": False}
    for path in ("/v1/at/other/ready", "/v1/at/shop", "/v1/at/shop/", "/v1/else"):
        assert asking.get(path).status == 404, path
    assert asking.get("/v1/at/shop/" + "x" * 9000).status == 414
    assert app.asked.total() == 0


def test_what_is_asked_of_an_app_is_passed_on_as_it_is(app: Canned) -> None:
    app.answers["why"] = lambda path, query: {"path": path, **query}
    app.answers["logs"] = [{"kind": "record"}, {"kind": "end"}]
    asking = Asking(app)
    # WSGI has a path decoded, as Latin-1.
    answer = asking.get("/v1/at/shop/why/shop/caf\u00c3\u00a9 %", query="lines=3")
    assert (answer.status, answer.json) == (200, {"path": "shop/café %", "lines": "3"})
    assert asking.get("/v1/at/shop/nothing").status == 404
    logs = asking.get("/v1/at/shop/logs")
    assert logs.headers["Content-Type"] == "application/x-ndjson"
    assert logs.body.count(b"\n") == 2
    app.is_down = True
    assert asking.get("/v1/at/shop/why/x").status == 502


def test_a_post_is_passed_on_only_with_the_flag_and_from_the_page(app: Canned) -> None:
    app.answers["restart"] = {"state": "running"}
    ours = f"http://{HERE}"
    path = "/v1/at/shop/restart/shop/mail"
    assert Asking(app).get(path, method="POST", HTTP_ORIGIN=ours).status == 403
    writing = Asking(app, write=True)
    assert writing.get("/v1/apps").json["write"] is True
    assert writing.get(path, method="POST", HTTP_ORIGIN="http://evil.example").status == 403
    assert app.posted == []
    answer = writing.get(path, method="POST", query="wait=0", HTTP_ORIGIN=ours)
    assert answer.json == {"state": "running"}
    assert app.posted == ["/v1/restart/shop/mail?wait=0"]


def test_what_several_tabs_want_to_know_at_once_is_asked_once(app: Canned) -> None:
    def top(_path: str, _query: dict[str, str]) -> dict[str, Any]:
        gevent.sleep(0.03)
        return {"seconds": 1}

    app.answers["top"] = top
    asking = Asking(app)
    tabs = [gevent.spawn(lambda: asking.get("/v1/at/shop/top").json) for _ in range(5)]
    gevent.joinall(tabs, timeout=5, raise_error=True)
    assert [each.value for each in tabs] == [{"seconds": 1}] * 5
    assert app.asked["top"] == 1
    assert asking.get("/v1/at/shop/top").json == {"seconds": 1}
    assert app.asked["top"] == 2


def test_five_tabs_are_one_stream_and_each_is_told_all(app: Canned) -> None:
    asking = Asking(app)
    with tab(asking) as first:
        assert [each["event"] for each in until(first, "live")] == [
            "begin", "snapshot", "snapshot", "live",
        ]  # fmt: skip
        app.tell({"event": "crashed", "path": "shop/mail", "incarnation": 1})
        until(first, "crashed")
        with tab(asking) as second, tab(asking) as third:
            for each in (second, third):
                seen = until(each, "crashed")
                assert [one["event"] for one in seen] == [
                    "begin", "snapshot", "snapshot", "live", "crashed",
                ]  # fmt: skip
            app.tell({"event": "restarted", "path": "shop/mail", "incarnation": 2})
            for each in (first, second, third):
                assert until(each, "restarted")[-1]["incarnation"] == 2
        assert app.streams == 1
    # With the last tab the stream ends, and what was known is forgotten.
    gevent.sleep(0.05)
    with tab(asking) as again:
        assert until(again, "live")[-1]["event"] == "live"
    assert app.streams == 2


def test_an_app_that_is_killed_is_gone_and_its_next_life_begins_anew(app: Canned) -> None:
    with tab(Asking(app)) as lines:
        until(lines, "live")
        app.die()
        gone = until(lines, "gone")[-1]
        assert gone["retry"] == following.RETRY
        app.come_back(4712)
        begun = until(lines, "live")
        assert [each.get("pid") for each in begun if each["event"] == "begin"] == [4712]


def test_an_app_that_ends_says_so_and_is_not_called_gone(app: Canned) -> None:
    with tab(Asking(app)) as lines:
        until(lines, "live")
        app.tell({"event": "end", "reason": "the app has ended"})
        assert [each["event"] for each in until(lines, "end")] == ["end"]
        app.is_down = True
        seen = [next(lines)["event"] for _ in range(4)]
        assert set(seen) == {"pulse"}
        app.come_back(4713)
        assert until(lines, "live")[0]["pid"] == 4713


def test_how_long_an_app_owes_an_answer_is_told(app: Canned) -> None:
    app.answers["loop"] = [{"lag": 0.004}]
    app.lasting.add("loop")
    with tab(Asking(app)) as lines:
        until(lines, "live")
        while (pulse := until(lines, "pulse")[-1])["loop"] is None:
            pass
        assert pulse["loop"] == {"lag": 0.004}
        app.is_held = True
        while (pulse := until(lines, "pulse")[-1])["behind"] < 0.06:
            pass
        app.is_held = False
        while until(lines, "pulse")[-1]["behind"] > 0.03:
            pass


def test_a_tab_that_does_not_keep_up_is_let_go(app: Canned, monkeypatch: Any) -> None:
    monkeypatch.setattr(following, "QUEUE", 20)
    with tab(Asking(app)) as lines:
        until(lines, "live")
        for n in range(1000):
            app.tell({"event": "ready", "path": f"shop/{n}"})
        gevent.sleep(0.05)
        assert len(list(lines)) < 100
