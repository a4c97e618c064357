"""From a request to its controller and back, with Werkzeug's test client."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, StartFailed, redirect
from sprag.control.figures import figures_of
from sprag.exceptions import BadValue
from sprag.web.exceptions import BadController, SameRoute
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Shop

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
DASHBOARD = """
    class DashboardController(Controller):
        route = "/dashboard"

        def load(self):
            metrics = self.service("metrics")
            return {"stats": metrics.current_stats()}
"""


class Metrics(Service):
    def on_start(self) -> None:
        self.heard: list[object] = []
        self.listen("seen", self.heard.append)

    def current_stats(self) -> dict[str, object]:
        return {"orders": 3}


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.DEBUG, "sprag")
    return lambda: [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_the_controller_of_the_page_works_as_written(shop: Callable[..., Shop]) -> None:
    one = shop(DASHBOARD, providers={"metrics": Metrics()})
    answer = one.ask("/dashboard")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json == {"stats": {"orders": 3}}
    page = one.page("/dashboard")
    assert "<title>Dashboard · shop</title>" in page
    assert '<dt>orders</dt><dd><span class="number">3</span></dd>' in page


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (HTML, True),
        ("text/html", True),
        ("text/*", True),
        ("application/xhtml+xml", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html, application/json;q=0.9", True),
        ("text/html, application/json", True),
        ("text/html;q=0", False),
        ("*/*", False),
        ("application/json", False),
        ("image/png", False),
        ("", False),
        ("text/html;q=x, ,;;", False),
    ],
)
def test_html_is_for_those_who_ask_for_it(
    shop: Callable[..., Shop], accept: str, html: bool
) -> None:
    answer = shop(DASHBOARD, providers={"metrics": Metrics()}).ask("/dashboard", accept=accept)
    assert answer.content_type.startswith("text/html" if html else "application/json")
    assert answer.headers["Vary"] == "Accept"


def test_routes_take_converters_and_several_forms(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Orders(Controller):
            route = ["/orders", "/orders/<int:id>"]

            def load(self, id=None):
                return {"id": id}

        class Files(Controller):
            route = "/files/<path:name>"

            def load(self, **params):
                return params
    """)
    assert one.ask("/orders").json == {"id": None}
    assert one.ask("/orders/17").json == {"id": 17}
    assert one.ask("/orders/x").status_code == 404
    assert one.ask("/files/a/b%20c").json == {"name": "a/b c"}


def test_each_method_has_its_function(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Orders(Controller):
            route = "/orders/<int:id>"

            def load(self, id): return {"did": "load", "method": self.request.method}
            def post(self, id): return {"did": "post", "sent": self.request.get_json()}, 201
            def put(self, id): return {"did": "put"}, 202, {"X-Kind": "put"}
            def patch(self, id): return {"did": "patch"}
            def delete(self, id): return None
    """)
    assert one.ask("/orders/1", "POST", json={"a": 1}).json == {"did": "post", "sent": {"a": 1}}
    assert one.ask("/orders/1", "POST", json={}).status_code == 201
    put = one.ask("/orders/1", "PUT")
    assert (put.status_code, put.headers["X-Kind"], put.json["did"]) == (202, "put", "put")
    assert one.ask("/orders/1", "PATCH").json == {"did": "patch"}
    gone = one.ask("/orders/1", "DELETE")
    assert (gone.status_code, gone.data) == (204, b"")
    head = one.ask("/orders/1", "HEAD")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len('{"did": "load", "method": "HEAD"}'))
    options = one.ask("/orders/1", "OPTIONS")
    assert (options.status_code, options.data) == (204, b"")
    assert options.headers["Allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def test_other_methods_are_refused_with_those_that_work(shop: Callable[..., Shop]) -> None:
    one = shop(DASHBOARD, providers={"metrics": Metrics()})
    for method in ("POST", "BREW"):
        answer = one.ask("/dashboard", method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert answer.json["error"] == "Method Not Allowed"


def test_each_request_has_a_controller_of_its_own(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Count(Controller):
            route = "/count"

            def __init__(self):
                self.n = 0
                self.asked = self.request.args.get("by", type=int, default=1)

            def load(self):
                self.n += self.asked
                return {"n": self.n}
    """)
    assert [one.ask("/count?by=2").json["n"] for _ in range(3)] == [2, 2, 2]


def test_events_and_the_log_are_at_hand(
    shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sprag")
    metrics = Metrics()
    one = shop(
        """
        class See(Controller):
            route = "/see"

            def load(self):
                self.emit("seen", "it")
                self.log.info("looked", at="it")
                return {"id": self.request_id}
        """,
        providers={"metrics": metrics},
    )
    answer = one.ask("/see", headers={"X-Request-ID": "abc-1"})
    assert metrics.heard == ["it"]
    assert (answer.json["id"], answer.headers["X-Request-ID"]) == ("abc-1", "abc-1")
    (record,) = [each for each in caplog.records if "looked" in each.getMessage()]
    fields: Any = record
    assert fields.sprag == {
        "event": "looked",
        "service": "shop",
        "incarnation": 1,
        "controller": "See",
        "request_id": "abc-1",
        "at": "it",
    }


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\x1b[31m", "<b>"])
def test_a_request_id_of_the_clients_must_be_harmless(
    shop: Callable[..., Shop], given: str
) -> None:
    one = shop(DASHBOARD, providers={"metrics": Metrics()})
    answer = one.ask("/dashboard", headers={"X-Request-ID": given})
    assert len(answer.headers["X-Request-ID"]) == 16


def test_redirects_and_other_answers_of_werkzeugs_pass_through(shop: Callable[..., Shop]) -> None:
    one = shop("""
        from werkzeug.wrappers import Response

        class Old(Controller):
            route = "/old"
            def load(self): return redirect("/new")
            def post(self): return redirect("/new", 307)

        class Text(Controller):
            route = "/text"
            def load(self): return Response("plain", mimetype="text/plain", headers={"X-A": "b"})
    """)
    old = one.ask("/old")
    assert (old.status_code, old.headers["Location"]) == (303, "/new")
    assert one.ask("/old", "POST").status_code == 307
    text = one.ask("/text")
    assert (text.text, text.headers["X-A"], text.mimetype) == ("plain", "b", "text/plain")
    assert text.headers["X-Request-ID"]
    assert one.ask("/text", "HEAD").data == b""


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((17,), "location"),
        ((None,), "location"),
        (("/new", 200), "status"),
        (("/", "303"), "status"),
    ],
)
def test_what_sends_nobody_anywhere_is_no_redirect(given: Any, named: str) -> None:
    with pytest.raises(BadValue, match=f"{named}="):
        redirect(*given)


def test_slashes_are_put_right_without_naming_a_host(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Folder(Controller):
            route = "/folder/"
            def load(self): return {}
    """)
    answer = one.ask("/folder?a=1", base_url="http://evil.example")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/folder/?a=1")
    doubled = one.ask("/folder//")
    assert (doubled.status_code, doubled.headers["Location"]) == (308, "/folder/")
    inside = one.ask("/folder", base_url="http://evil.example/below")
    assert inside.headers["Location"] == "/below/folder/"


def test_a_controller_says_what_went_wrong(
    shop: Callable[..., Shop], errors: Callable[[], list[Any]]
) -> None:
    one = shop("""
        from werkzeug.exceptions import abort

        class Wrong(Controller):
            route = "/wrong/<how>"

            def load(self, how):
                if how == "own":
                    raise HTTPError(409, "order <17> is taken", {"Retry-After": "10"})
                abort(418, "short and stout")
    """)
    own = one.ask("/wrong/own")
    assert (own.status_code, own.headers["Retry-After"]) == (409, "10")
    assert own.json["message"] == "order <17> is taken"
    assert one.ask("/wrong/other").json["message"] == "short and stout"
    assert "order &lt;17&gt; is taken" in one.page("/wrong/own")
    assert errors() == []


def test_nothing_there_is_404_in_either_form(shop: Callable[..., Shop]) -> None:
    one = shop(DASHBOARD, providers={"metrics": Metrics()})
    answer = one.ask("/nothing/<b>")
    assert answer.status_code == 404
    assert answer.json["error"] == "Not Found"
    page = one.page("/nothing")
    assert "<h1>Not Found</h1>" in page


ENDS = """
    import gevent

    class End(Controller):
        route = "/end/<how>"

        def load(self, how):
            inner = KeyboardInterrupt() if how == "interrupt" else gevent.GreenletExit()
            raise BaseExceptionGroup("all of it", [BaseExceptionGroup("part", [inner])])
"""


@pytest.mark.parametrize(
    ("how", "meant"), [("interrupt", KeyboardInterrupt), ("kill", gevent.GreenletExit)]
)
def test_a_group_that_holds_the_end_of_the_program_is_no_crash_of_a_request(
    shop: Callable[..., Shop],
    errors: Callable[[], list[Any]],
    how: str,
    meant: type[BaseException],
) -> None:
    one = shop(ENDS)
    with pytest.raises(meant) as caught:
        one.ask(f"/end/{how}")
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)
    (record,) = errors()
    assert record.sprag["event"] == "request crashed"


CRASHES = """
    import gevent

    class Crash(Controller):
        route = "/crash/<how>"

        def load(self, how):
            secret = "hush"
            if how == "error":
                raise ValueError("a secret " + secret)
            if how == "exit":
                raise SystemExit(7)
            if how == "exits":
                raise BaseExceptionGroup("exits", [SystemExit(7)])
            if how == "timeout":
                raise gevent.Timeout(1)
            if how == "json":
                return {"x": object()}
            if how == "text":
                return "text"
            if how == "status":
                return {}, 999
            if how == "header":
                return {}, 200, {"X-Name": "a\\r\\nX-Other: b"}
            self.service("nobody")
"""


@pytest.mark.parametrize(
    "how", ["error", "exit", "exits", "timeout", "json", "text", "status", "header", "service"]
)
def test_a_crash_is_logged_once_and_touches_nobody(
    shop: Callable[..., Shop], errors: Callable[[], list[Any]], how: str
) -> None:
    one = shop(CRASHES, providers={"metrics": Metrics()})
    answer = one.ask(f"/crash/{how}")
    assert answer.status_code == 500
    assert answer.json["error"] == "Internal Server Error"
    for leak in ("hush", "Traceback", "ValueError", ".py"):
        assert leak not in answer.text
    (record,) = errors()
    assert record.sprag["event"] == "request crashed"
    assert record.sprag["controller"] == "Crash"
    assert record.sprag["request_id"] == answer.headers["X-Request-ID"]
    assert record.exc_info is not None
    assert one.app.snapshot().restarts == 0
    assert [each.state.value for each in one.app.snapshot().children] == ["running"]


def test_the_traceback_in_the_log_begins_with_the_users_code(
    shop: Callable[..., Shop], errors: Callable[[], list[Any]]
) -> None:
    one = shop(CRASHES)
    assert "went wrong" in one.page("/crash/error")
    (record,) = errors()
    trace = record.exc_info[2]
    assert trace.tb_frame.f_code.co_filename == str(one.folder / "routes.py")


def test_a_service_that_does_not_run_makes_it_503(shop: Callable[..., Shop]) -> None:
    one = shop(
        """
        class Mail(Controller):
            route = "/mail"
            def load(self): self.service("metrics").interval(print, 1)
        """,
        providers={"metrics": Metrics()},
    )
    assert one.client
    one.app.service("metrics").stop()
    answer = one.ask("/mail")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_before_the_start_services_are_not_there_but_life_is(shop: Callable[..., Shop]) -> None:
    from werkzeug.test import Client

    one = shop(DASHBOARD, providers={"metrics": Metrics()})
    client = Client(one.app.wsgi)
    assert client.get("/dashboard").status_code == 503
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert {"path": "shop", "state": "new", "reason": ""} in ready.json["not_ready"]
    wsgi = one.app.wsgi
    one.app.start()
    assert client.get("/dashboard").status_code == 200
    one.app.stop()
    one.app.start()
    assert client.get("/dashboard").status_code == 200
    assert one.app.wsgi is wsgi


def test_bodies_have_a_limit_also_where_nobody_reads_them(shop: Callable[..., Shop]) -> None:
    from sprag import Limits

    one = shop(
        """
        class Small(Controller):
            route = "/small"
            def post(self): return {"read": len(self.request.get_data())}

        class Blind(Controller):
            route = "/blind"
            def post(self): return {}

        class Large(Controller):
            route = "/large"
            max_body = 2000
            def post(self): return {"read": len(self.request.get_data())}

        class Nothing(Controller):
            route = "/nothing"
            max_body = 0
            def post(self): return {"read": len(self.request.get_data())}
        """,
        limits=Limits(max_body=1000),
    )
    assert one.ask("/small", "POST", data=b"x" * 1000).json == {"read": 1000}
    for path in ("/small", "/blind"):
        answer = one.ask(path, "POST", data=b"x" * 1001)
        assert (answer.status_code, answer.json["message"]) == (413, "a body may have 1000 bytes")
    assert one.ask("/large", "POST", data=b"x" * 1001).json == {"read": 1001}
    assert one.ask("/large", "POST", data=b"x" * 2001).status_code == 413
    assert one.ask("/nothing", "POST").json == {"read": 0}
    assert one.ask("/nothing", "POST", data=b"x").status_code == 413


@pytest.mark.parametrize(
    "path", ["/%00", "/%ff%fe", "/..%2f..%2fetc/passwd", "/" + "a" * 5000, "/a%0a"]
)
def test_odd_paths_are_just_not_there(shop: Callable[..., Shop], path: str) -> None:
    assert shop(DASHBOARD, providers={"metrics": Metrics()}).ask(path).status_code == 404


def test_bad_json_is_the_clients_fault(
    shop: Callable[..., Shop], errors: Callable[[], list[Any]]
) -> None:
    one = shop("""
        class Sent(Controller):
            route = "/sent"
            def post(self): return {"got": self.request.get_json()}
    """)
    answer = one.ask("/sent", "POST", data=b"{", content_type="application/json")
    assert answer.status_code == 400
    for data in (b"[" * 100_000, b"9" * 5000, b"\xff", b""):
        answer = one.ask("/sent", "POST", data=data, content_type="application/json")
        assert answer.status_code == 400
    assert one.ask("/sent", "POST", data=b"{}", content_type="text/plain").status_code == 415
    assert errors() == []


def test_readiness_names_what_does_not_run(shop: Callable[..., Shop]) -> None:
    one = shop("x = 1", providers={"a": Service(), "b": Service()})
    assert one.ask("/healthz").json == {"alive": True}
    assert one.ask("/readyz").json == {"ready": True}
    one.app.service("a").stop()  # on purpose: it should not run
    assert one.ask("/readyz").status_code == 200
    one.app.stop()
    answer = one.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json["not_ready"][0] == {"path": "shop", "state": "stopped", "reason": ""}
    assert one.ask("/healthz").status_code == 200
    assert one.ask("/readyz", "POST").status_code == 405
    assert one.ask("/readyz", "HEAD").data == b""


def test_an_own_controller_may_take_the_place_of_a_health_page(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Health(Controller):
            route = "/healthz"
            def load(self): return {"mine": True}

        class All(Controller):
            route = "/<path:rest>"
            def load(self, rest): return {"rest": rest}
    """)
    assert one.ask("/healthz").json == {"mine": True}
    assert one.ask("/readyz").json == {"ready": True}
    assert one.ask("/other").json == {"rest": "other"}


# -- what is found out when the app starts -----------------------------------------------


def failure(one: Shop) -> StartFailed:
    with pytest.raises(StartFailed) as caught:
        one.app.start()
    return caught.value


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a", "/a"), ("/a/<int:id>", "/a/<int:number>"), ("/a/<x>", "/a/<y>")],
)
def test_two_controllers_with_one_route_are_both_named(
    shop: Callable[..., Shop], first: str, second: str
) -> None:
    one = shop(f"""
        class One(Controller):
            route = "{first}"
            def load(self, **_): return {{}}

        class Two(Controller):
            route = "{second}"
            def load(self, **_): return {{}}
    """)
    cause = failure(one).__cause__
    assert isinstance(cause, SameRoute)
    assert str(cause) == (
        f"route {second!r} belongs to both {one.name}.routes.One and {one.name}.routes.Two: "
        "give one of them another route"
    )


def test_routes_that_differ_may_look_alike(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Number(Controller):
            route = "/a/<int:id>"
            def load(self, id): return {"number": id}

        class Text(Controller):
            route = "/a/<id>"
            def load(self, id): return {"text": id}
    """)
    assert [one.ask("/a/1").json, one.ask("/a/b").json] == [{"number": 1}, {"text": "b"}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('route = "a"\n    def load(self): return {}', "begins with a slash"),
        ("route = 17\n    def load(self): return {}", "has route=17"),
        ("route = []\n    def load(self): return {}", "has route=[]"),
        ('route = "/<nope:x>"\n    def load(self, x): return {}', "Werkzeug refuses"),
        ('route = "/<x"\n    def load(self, x): return {}', "Werkzeug refuses"),
        ('route = "/a"', "nothing to answer with: define load(self)"),
        ('route = "/<int:id>"\n    def load(self): return {}', "write 'def load(self, id)'"),
        ('route = "/a"\n    async def load(self): return {}', "no plain method"),
        ('route = "/a"\n    load = 17', "no plain method"),
    ],
)
def test_a_controller_that_cannot_work_is_refused_by_name(
    shop: Callable[..., Shop], body: str, said: str
) -> None:
    one = shop(f"class Odd(Controller):\n    {body}\n")
    cause = failure(one).__cause__
    assert isinstance(cause, BadController)
    assert cause.controller == f"{one.name}.routes.Odd"
    assert said in str(cause)


def test_json_has_a_form_for_what_services_return(shop: Callable[..., Shop]) -> None:
    one = shop("""
        import datetime, decimal, enum, math, uuid
        from dataclasses import dataclass
        from pathlib import Path

        class Colour(enum.Enum):
            RED = "red"

        @dataclass(frozen=True, slots=True)
        class Order:
            id: int
            when: datetime.date

        class Things(Controller):
            route = "/things"
            def load(self):
                return {
                    "order": Order(1, datetime.date(2026, 1, 2)),
                    "colour": Colour.RED,
                    "took": datetime.timedelta(seconds=1.5),
                    "price": decimal.Decimal("1.10"),
                    "path": Path("/a"),
                    "set": {1},
                    "nan": [math.nan, math.inf, {"x": (1.5, Order(2, datetime.date(2026, 1, 3)))}],
                    "text": "ü\\ud800",
                }
    """)
    answer = one.ask("/things")
    assert json.loads(answer.data) == {
        "order": {"id": 1, "when": "2026-01-02"},
        "colour": "red",
        "took": 1.5,
        "price": "1.10",
        "path": "/a",
        "set": [1],
        "nan": [None, None, {"x": [1.5, {"id": 2, "when": "2026-01-03"}]}],
        "text": "ü?",
    }
    assert "2026-01-02" in one.page("/things")


def test_metrics_are_told_if_the_app_says_so(shop: Callable[..., Shop]) -> None:
    one = shop(DASHBOARD, providers={"metrics": Metrics()})
    assert one.ask("/metrics").status_code == 404
    one = shop(DASHBOARD, providers={"metrics": Metrics()}, metrics=True)
    answer = one.ask("/metrics")
    figures_of(tree_of(one.app)).close()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"sprag_ready 1.0" in answer.data
