"""The WSGI application of the page, over an app that is made up."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import Greenlet, socket

from canned import Canned, live, snapshot
from sprag.observer import asking, following
from sprag.observer.asking import Gone, Upstream, ask
from sprag.observer.asking import lines as lines_of
from sprag.observer.gate import Gate
from sprag.observer.site import ObserverSite, page_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

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


def test_the_modules_of_the_page_fit_each_other() -> None:
    texts = {n: body.decode() for n, (_, body) in page_files().items() if n.endswith(".js")}
    exported = re.compile(r"^export (?:async )?(?:const|function|class) ([\w$]+)", re.MULTILINE)
    made = {name: set(exported.findall(text)) for name, text in texts.items()}
    loaded = {"start.js", "worker.js"}
    for name, text in texts.items():
        assert text.startswith("// "), f"{name} does not say what it is"
        assert text.count("\n") < 350, f"{name} has too many lines"
        own = re.sub(r"^import .*$", "", text, flags=re.MULTILINE)
        for words, source in re.findall(r'^import \{ (.*) \} from "\./(.*)";$', text, re.MULTILINE):
            loaded.add(source)
            for word in words.split(", "):
                assert word in made[source], f"{name}: {source} has no {word}"
                assert re.search(rf"(?<![\w$.]){re.escape(word)}(?![\w$])", own), (name, word)
        for source in re.findall(r'^import(?: \* as \w+ from |\()"\./(.*?)"', text, re.MULTILINE):
            loaded.add(source)
    assert texts.keys() == loaded


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


def test_what_is_no_ascii_in_a_name_or_a_query_is_passed_on(app: Canned) -> None:
    app.name = "café"
    app.answers["stacks"] = lambda _path, query: query
    asking = Asking(app)
    mojibake = "café".encode().decode("latin-1")  # so does WSGI have it
    assert asking.get(f"/v1/at/{mojibake}/stacks", query="path=a%2Fb&x=%C3%A9").json == {
        "path": "a/b",
        "x": "é",
    }
    # No browser writes it so.
    assert asking.get(f"/v1/at/{mojibake}/stacks", query=f"x={mojibake} \r\n").json == {
        "x": "café \r\n"
    }


def test_what_has_no_end_is_passed_on_as_it_comes(app: Canned) -> None:
    app.answers["loop"] = [{"lag": 1}]
    app.lasting.add("loop")
    answer = Asking(app).get("/v1/at/shop/loop", query="follow=1")
    with gevent.Timeout(5):
        assert json.loads(next(answer.pieces)) == {"lag": 1}
    answer.pieces.close()


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
    told: list[Any] = []
    tabs: list[Greenlet[[], None]] = [
        Greenlet.spawn(lambda: told.append(asking.get("/v1/at/shop/top").json)) for _ in range(5)
    ]
    gevent.joinall(tabs, timeout=5, raise_error=True)
    assert told == [{"seconds": 1}] * 5
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


def test_what_cannot_be_understood_is_left_out_and_the_rest_is_told(app: Canned) -> None:
    strange: list[Any] = [
        {"event": "snapshot", "path": ["shop"], "owned": 3},
        {"event": "snapshot", "path": "shop/mail", "last_failure": "none"},
        {"event": "snapshot", "path": "shop/mail", "policy": [1]},
        {"event": "crashed", "path": 7, "message": 5},
        {"event": "\ud800"},
        ["no object"],
    ]
    app.lines = [*strange, snapshot("shop", 1e9), live(app)]
    with tab(Asking(app)) as lines:
        seen = until(lines, "live")
        assert "shop" in [each.get("path") for each in seen if each["event"] == "snapshot"]
        assert not [each for each in seen if each["event"] == "gone"]


def broken(answer: bytes) -> Upstream:
    def connect() -> socket.socket:
        ours, theirs = socket.socketpair()

        def serve() -> None:
            with theirs:
                theirs.recv(65536)
                theirs.sendall(answer)

        gevent.spawn(serve)
        return ours

    return Upstream("shop", 1, connect)


def test_an_answer_that_is_none_or_is_cut_off_is_no_answer() -> None:
    for answer in (
        b"",
        b"nonsense\n\n",
        b"HTTP/1.1 9999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    ):
        with pytest.raises(Gone), gevent.Timeout(5):
            ask(broken(answer), "GET", "/v1/ping").read()
    deep = b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000 + b"\n{}\n"
    assert list(lines_of(ask(broken(deep), "GET", "/v1/events"))) == [{}]


def test_an_app_at_which_too_many_wait_is_tried_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "CONNECTING", 0.1)
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as waiting:
        listener.bind(str(place))
        listener.listen(0)
        connect = asking.at(place)
        with pytest.raises(TimeoutError):
            for _ in range(9):
                waiting.enter_context(connect())
        with pytest.raises(Gone, match="does not answer"):
            ask(Upstream("shop", 1, connect), "GET", "/v1/ping")
        # It has room again.
        monkeypatch.setattr(asking, "CONNECTING", 5.0)
        gevent.spawn_later(0.02, lambda: waiting.enter_context(listener.accept()[0]))
        connect().close()


@pytest.mark.parametrize(("count", "most"), [(20, 1 << 20), (50_000, 1000)])
def test_a_tab_that_does_not_keep_up_is_let_go(
    app: Canned, monkeypatch: pytest.MonkeyPatch, count: int, most: int
) -> None:
    monkeypatch.setattr(following, "QUEUE", count)
    monkeypatch.setattr(following, "LARGEST", most)
    with tab(Asking(app)) as lines:
        until(lines, "live")
        for n in range(1000):
            app.tell({"event": "ready", "path": f"shop/{n}"})
        gevent.sleep(0.05)
        assert len(list(lines)) < 100
