"""The static folder: what is in it, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from sprag.web._static import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Shop

ROUTES = """
    class All(Controller):
        route = "/<path:rest>"
        def load(self, rest): return {"rest": rest}, 404
"""


@pytest.fixture
def files(shop: Callable[..., Shop]) -> Shop:
    one = shop(
        ROUTES,
        {
            "static/app.css": "body {}",
            "static/deep/a b.txt": "deep",
            "static/größe/naïve café.txt": "ünï",
            "static/日本.css": "body {}",
            "static/.env": "SECRET",
            "static/.git/config": "SECRET",
            "secret.txt": "SECRET",
        },
    )
    (one.folder / "static" / "link.txt").symlink_to(one.folder / "secret.txt")
    (one.folder / "static" / "loop").symlink_to("loop")
    (one.folder / "static" / "inside.css").symlink_to(one.folder / "static" / "app.css")
    return one


def test_files_are_served_with_their_type_and_asked_for_again(files: Shop) -> None:
    answer = files.ask("/static/app.css")
    assert (answer.text, answer.mimetype) == ("body {}", "text/css")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert files.ask("/static/deep/a%20b.txt").text == "deep"
    assert files.ask("/static/inside.css").status_code == 200
    again = files.ask("/static/app.css", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    part = files.ask("/static/app.css", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.text) == (206, "body")
    head = files.ask("/static/app.css", "HEAD")
    assert (head.data, head.headers["Content-Length"]) == (b"", "7")
    assert files.ask("/static/app.css", "POST").status_code == 405
    assert files.ask("/static/app.css", "OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_names_beyond_ascii_are_names(files: Shop) -> None:
    for path in (
        "/static/größe/naïve café.txt",
        "/static/gr%C3%B6%C3%9Fe/na%C3%AFve%20caf%C3%A9.txt",
    ):
        assert files.ask(path).text == "ünï"
    assert files.ask("/static/日本.css").mimetype == "text/css"
    url = StaticFiles([files.folder / "static"]).url_of("static/日本.css")
    assert url == "/static/%E6%97%A5%E6%9C%AC.css"


def test_a_name_that_is_no_utf_8_is_not_there(files: Shop) -> None:
    for name in (b"caf\xe9.txt", b"caf\\xe9.txt"):
        (files.folder / "static" / os.fsdecode(name)).write_text("SECRET")
    environ = EnvironBuilder("/").get_environ()
    environ["PATH_INFO"] = "/static/caf\xe9.txt"
    assert files.client
    pieces, status, _ = run_wsgi_app(files.app.wsgi, environ)
    assert status.startswith("404")
    assert b"SECRET" not in b"".join(pieces)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/..%5csecret.txt",
        "/static/deep/../../secret.txt",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/.env",
        "/static/.git/config",
        "/static/link.txt",
        "/static/loop",
        "/static/app.css%00.txt",
        "/static/%c0%ae%c0%ae/secret.txt",
        "/static/%e2%80%ae/secret.txt",
        "/static/%ff%fe",
        "/static/app.css/",
        "/static/deep",
        "/static/",
        "/static/" + "a" * 300,
        "/static/" + "a/" * 3000 + "b",
    ],
)
def test_nothing_else_is(files: Shop, path: str) -> None:
    answer = files.ask(path)
    assert answer.status_code in {404, 308}
    assert "SECRET" not in answer.text
    assert "root:" not in answer.text


def test_the_folder_of_a_package_lies_inside_or_beside_it(shop: Callable[..., Shop]) -> None:
    one = shop(
        files={
            "routes/__init__.py": "",
            "routes/static/inside.txt": "inside",
            "static/beside.txt": "beside",
        }
    )
    assert one.ask("/static/inside.txt").text == "inside"
    assert one.ask("/static/beside.txt").text == "beside"
