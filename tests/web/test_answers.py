"""Answers that must not be sent, methods and forms, with Werkzeug's test client."""

from __future__ import annotations

import io
import logging
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import EnvironBuilder

from sprag.web._request import WebRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Shop

DASHBOARD = """
    class Dashboard(Controller):
        route = "/dashboard"
        def load(self): return {}
"""


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.DEBUG, "sprag")
    return lambda: [each for each in caplog.records if each.levelno >= logging.ERROR]


# -- answers are checked -------------------------------------------------------------------------

BAD_ANSWERS = {
    "HTTPError('404')": "status='404' is not accepted: use a number from 400 to 599",
    "HTTPError('no such order')": "status='no such order' is not accepted",
    "HTTPError(404.0)": "status=404.0 is not accepted",
    "HTTPError(True)": "status=True is not accepted",
    "HTTPError(200)": "status=200 is not accepted",
    "HTTPError(600)": "status=600 is not accepted",
    "HTTPError(-1)": "status=-1 is not accepted",
    "HTTPError(404, {'a': 1})": "message={'a': 1} is not accepted",
    "HTTPError(404, 'x', 5)": "headers=5 is not accepted",
    "HTTPError(404, 'x', {'A': 'b\\r\\nC: d'})": "the header A=",
    "HTTPError(404, 'x', {'A:': 'b'})": "the name of the header 'A:' is not accepted",
    "Own()": "the status '101 Switching Protocols' is not accepted",
    "{}, 101": "with a status from 200 to 599",
    "{}, -1": "with a status from 200 to 599",
    "{}, 600": "with a status from 200 to 599",
    "{}, '200'": "with a status from 200 to 599",
    "{'a': 1}, 204": "returned data with status 204, which has no body",
    "{'a': 1}, 304": "returned data with status 304, which has no body",
    "{'a': 1}, 205": "returned data with status 205, which has no body",
    "{}, 200, {'A': 'b\\x00c'}": "the header A=",
    "{}, 200, {'A': 'b\\nc'}": "the header A=",
    "{}, 200, {'A': '\\x1b[31m'}": "the header A=",
    "{}, 200, {'A': 'b\\x7f'}": "the header A=",
    "{}, 200, {'A': '\u0142'}": "others beyond Latin-1",
    "{}, 200, {'': 'b'}": "the name of the header '' is not accepted",
    "{}, 200, {'A\\n': 'b'}": "the name of the header 'A\\n' is not accepted",
    "{}, 200, {'A b': 'b'}": "the name of the header 'A b' is not accepted",
    "{}, 200, {'\u00c4': 'b'}": "the name of the header",
    "{}, 200, {'Transfer-Encoding': 'chunked'}": "the server's own to set: leave it out",
    "{}, 200, {'transfer-encoding': 'gzip'}": "the server's own to set: leave it out",
    "{}, 200, {'Connection': 'keep-alive'}": "the server's own to set: leave it out",
    "{}, 200, {'Upgrade': 'h2c'}": "the server's own to set: leave it out",
    "{}, 200, {'Content-Length': '+2'}": "is no length: use digits",
    "twice()": "the header content-length is there twice",
    "Response('x', headers={'Transfer-Encoding': 'chunked'})": "the server's own to set",
    "Response('x', headers={'A': 'b\\x00'})": "the header A=",
    "Response('x', 101)": "the status '101 SWITCHING PROTOCOLS' is not accepted",
    "Response('x', -1)": "the status '-1 UNKNOWN' is not accepted",
    "Response('x', 999)": "the status '999 UNKNOWN' is not accepted",
    "Response('x', '200 OK\\x1b')": "is not accepted: use 200 to 599",
    "Response('x', 204)": "a 204 has no body",
    "Response(iter(['x']), 204)": "a 204 has no body",
    "cookie()": "the header Set-Cookie=",
}


@pytest.mark.parametrize("made", BAD_ANSWERS)
def test_what_must_not_be_sent_is_the_developers_error(
    shop: Callable[..., Shop], errors: Callable[[], list[Any]], made: str
) -> None:
    verb = "raise" if made.startswith(("HTTPError", "Own")) else "return"
    one = shop(f"""
        from werkzeug.exceptions import HTTPException
        from werkzeug.wrappers import Response

        class Own(HTTPException):
            code = 101

        def cookie():
            answer = Response("x")
            answer.headers.add("Set-Cookie", "a=b\\x01")
            return answer

        def twice():
            answer = Response("x")
            answer.headers.add("content-length", "2")
            return answer

        class Made(Controller):
            route = "/made"
            def load(self):
                {verb} {made}
    """)
    answer = one.ask("/made")
    assert answer.status_code == 500
    assert answer.json["error"] == "Internal Server Error"
    assert "A" not in answer.headers
    (record,) = errors()
    assert BAD_ANSWERS[made] in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("made", "status"),
    [
        ("None", 204),
        ("{}, 204", 204),
        ("None, 304", 304),
        ("{}, 205", 205),
        ("{}, HTTPStatus.CREATED", 201),
        ("{}, 299, {'A': 'caf\u00e9\\tx'}", 299),
        ("{}, 200, {'Connection': 'close'}", 200),
        ("Response(status=204)", 204),
    ],
)
def test_what_is_well_formed_is_sent(shop: Callable[..., Shop], made: str, status: int) -> None:
    one = shop(f"""
        from http import HTTPStatus
        from werkzeug.wrappers import Response
        class Made(Controller):
            route = "/made"
            def load(self): return {made}
    """)
    assert one.ask("/made").status_code == status


# -- methods and paths ---------------------------------------------------------------------------


def test_methods_are_told_apart_by_case(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Any(Controller):
            route = "/any"
            def load(self): return {}
            def post(self): return {"method": self.request.method}
    """)
    for method in ("get", "Get", "post", "GETX", "options"):
        for path in ("/any", "/healthz"):
            environ = EnvironBuilder(path).get_environ()
            environ["REQUEST_METHOD"] = method
            answer = one.client.open(environ)
            assert answer.status_code == 405, (method, path)
            assert "OPTIONS" in answer.headers["Allow"]
    assert one.ask("/any", "POST").json == {"method": "POST"}
    assert one.ask("/healthz", "OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_server_as_a_whole_says_what_it_knows(shop: Callable[..., Shop]) -> None:
    one = shop(DASHBOARD)
    environ = EnvironBuilder("/").get_environ()
    environ |= {"REQUEST_METHOD": "OPTIONS", "PATH_INFO": "*"}
    answer = one.client.open(environ)
    assert answer.status_code == 204
    assert answer.headers["Allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def test_a_form_has_as_many_fields_as_parts(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Form(Controller):
            route = "/form"
            def post(self): return {"fields": len(self.request.form)}
    """)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    def fields(count: int) -> bytes:
        return b"&".join(b"a%d=b" % number for number in range(count))

    assert one.ask("/form", "POST", headers=kind, data=fields(1000)).json == {"fields": 1000}
    assert one.ask("/form", "POST", headers=kind, data=fields(1001)).status_code == 413
    assert one.ask("/form", "POST", headers=kind, data=b"a" * 500_001).status_code == 413


def test_the_boundary_of_a_form_is_no_longer_than_one_may_be(shop: Callable[..., Shop]) -> None:
    one = shop(
        """
        class Form(Controller):
            route = "/form"
            def post(self): return {"fields": len(self.request.form)}
        """
    )

    def sent(boundary: str) -> Any:
        text = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--{boundary}--'
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return one.ask("/form", "POST", headers=kind, data=text.encode())

    assert sent("b" * 100).json == {"fields": 1}
    answer = sent("b" * 101)  # of 30,000 the loop is held for a quarter of a second
    assert (answer.status_code, answer.json["message"]) == (
        400,
        "a boundary may have 100 characters",
    )


UPLOADS = """
    class Upload(Controller):
        route = "/upload"
        def post(self):
            stream = self.request.files["a"].stream
            how = self.request.form["how"]
            if how == "streamed":
                from werkzeug.wrappers import Response
                return Response(stream)
            if how == "crash":
                raise ValueError
            return {"closed": stream.closed}
"""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is made of uploads: files on the disk, however small they are."""
    files: list[Any] = []

    def make(*_args: Any, **_given: Any) -> Any:
        files.append(tempfile.SpooledTemporaryFile(10))  # noqa: SIM115
        return files[-1]

    monkeypatch.setattr(WebRequest, "_get_file_stream", make)
    return files


@pytest.mark.parametrize(("how", "status"), [("read", 200), ("streamed", 200), ("crash", 500)])
def test_what_was_uploaded_is_closed_when_the_answer_is_over(
    shop: Callable[..., Shop], made: list[Any], how: str, status: int
) -> None:
    one = shop(UPLOADS)
    sent = {"a": (io.BytesIO(b"line\n" * 20_000), "a.txt"), "how": how}
    answer = one.ask("/upload", "POST", data=sent)
    assert answer.status_code == status
    if how == "read":
        assert answer.json == {"closed": False}
    if how == "streamed":
        assert len(answer.data) == 100_000
    assert [each.closed for each in made] == [True]


def test_what_had_come_of_a_form_that_is_refused_is_closed(
    shop: Callable[..., Shop], made: list[Any]
) -> None:
    one = shop(UPLOADS)
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + b"x" * 100
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert one.ask("/upload", "POST", data=part, headers=kind).status_code == 400
    assert [each.closed for each in made] == [True]
