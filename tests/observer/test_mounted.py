"""The page among the routes of an app."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from serving import Shop
from sprag import App, Service, exceptions
from sprag.observer import following
from sprag.observer.mounted import mounted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Mail(Service):
    pass


def asked(application: Any, path: str, **more: str) -> tuple[int, dict[str, str], Any]:
    begun: list[Any] = []

    def begin(*given: Any) -> None:
        begun.extend(given)

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_X_USER": "root", **more}
    body = application(environ, begin)
    return int(begun[0].split()[0]), dict(begun[1]), body


def below(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]


def test_the_page_is_beside_the_routes_and_shows_the_app_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "PULSE", 0.02)
    with App(providers={"mail": Mail()}, name="shop") as app:
        both = mounted(below, app, "/_sprag", lambda environ: environ.get("HTTP_X_USER"))
        assert asked(both, "/orders")[2] == [b"/orders"]
        assert asked(both, "/_spragg")[2] == [b"/_spragg"]
        status, headers, _ = asked(both, "/_sprag")
        assert (status, headers["Location"]) == (308, "/_sprag/")
        assert asked(both, "/_sprag/app.js")[0] == 200
        assert asked(both, "/_sprag/", HTTP_X_USER="")[0] == 403
        assert asked(both, "/_sprag/v1/apps", HTTP_X_USER="")[0] == 403
        listed = json.loads(asked(both, "/_sprag/v1/apps")[2][0])
        assert (listed["apps"][0]["key"], listed["write"]) == ("shop", False)
        status, _, body = asked(both, "/_sprag/v1/at/shop/service/shop/mail")
        assert (status, json.loads(body[0])["class"]) == (200, "Mail")
        path = "/_sprag/v1/at/shop/stop/shop/mail"
        assert asked(both, path, REQUEST_METHOD="POST")[0] == 403
        assert asked(both, "/_sprag/v1/at/other/ready")[0] == 404
        status, _, stream = asked(both, "/_sprag/v1/at/shop/events")
        with gevent.Timeout(5):
            told = b""
            while b'"live"' not in told:
                told += next(stream)
            assert b'"shop/mail"' in told
            # Whoever stops the app does not wait for who looks at it.
            gevent.spawn(app.stop)
            list(stream)
            stream.close()


def test_where_nobody_says_who_may_see_it_it_is_refused() -> None:
    def raised(**given: Any) -> str:
        with pytest.raises(exceptions.BadValue) as error:
            App(**given)
        return str(error.value)

    assert "observer_auth=None" in raised(observer="/_sprag", routes="shop.routes")
    assert "observer_auth='x'" in raised(observer="/_s", observer_auth="x", routes="shop.routes")
    assert "observer=None" in raised(observer_auth=bool, routes="shop.routes")
    assert "routes=" in raised(observer="/_sprag", observer_auth=bool)
    for path in ("_sprag", "/", "/_sprag/", "/a//b", "/../x", "/a b", 7):
        assert "observer=" in raised(observer=path, observer_auth=bool, routes="shop.routes"), path


def is_root(environ: dict[str, Any]) -> bool:
    return environ.get("HTTP_X_USER") == "root"


def test_an_app_with_routes_serves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    one = Shop(
        tmp_path / "shop_observed",
        {"routes.py": "from sprag import Controller\n"},
        observer="/_sprag",
        observer_auth=is_root,
    )
    headers = {"X-User": "root"}
    try:
        assert one.ask("/_sprag/", headers=headers).status_code == 200
        assert one.ask("/_sprag/").status_code == 403
        assert one.ask("/_sprag/v1/apps", headers=headers).json["apps"][0]["name"] == "shop"
        assert one.ask("/elsewhere").status_code == 404
    finally:
        one.app.stop()
        for name in ("shop_observed", "shop_observed.routes"):
            del sys.modules[name]
