"""The frame around pages, templates, and what data look like without one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from sprag import Page, StartFailed, shell
from sprag.exceptions import BadValue
from sprag.web.exceptions import FileMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Shop

EVIL = "<script>alert(1)</script>{{ 7*7 }}{% for x in ().__class__.__bases__ %}x{% endfor %}"
ROUTES = f"""
    class Evil(Controller):
        route = "/evil"
        title = "<Evil> & co"

        def load(self):
            evil = {EVIL!r}
            return {{evil: evil, "rows": [{{evil: evil}}, {{"b": [evil]}}]}}
"""
FRAME = (
    "<html><head><title>{{ title }}</title></HEAD >"
    "<body>{{ sprag_slot }}|{{ app }}|{{ request.path }}|{{ data | length }}</body></html>"
)


def harmless(page: str) -> bool:
    return "<script" not in page and "49" not in page and page.count("&lt;script") >= 1


def test_data_never_become_markup_or_template(shop: Callable[..., Shop]) -> None:
    page = shop(ROUTES).page("/evil")
    assert harmless(page)
    assert "<title>&lt;Evil&gt; &amp; co · shop</title>" in page
    assert "{{ 7*7 }}" in page


def test_a_shell_is_any_function_of_the_page(shop: Callable[..., Shop]) -> None:
    seen: list[Page] = []

    def frame(page: Page) -> str:
        seen.append(page)
        return f"<main>{page.body}</main>"

    page = shop(ROUTES, shell=frame).page("/evil")
    assert page.startswith("<main><dl>")
    assert harmless(page)
    assert (seen[0].title, seen[0].request.path, seen[0].app) == ("<Evil> & co", "/evil", "shop")
    assert set(seen[0].data) == {EVIL, "rows"}


def test_a_shell_from_a_template_with_css(shop: Callable[..., Shop]) -> None:
    one = shop(
        ROUTES,
        {
            "shell.html": FRAME,
            "static/app.css": "body {}",
            "print.css": "@media print { p::after { content: '</style>' } }",
        },
        shell=shell(
            template="shell.html",
            css=[
                "app.css",
                "static/app.css",
                "/other.css",
                "https://x.example/a.css?a&b",
                "print.css",
            ],
        ),
    )
    page = one.page("/evil")
    assert harmless(page)
    assert page.endswith("|shop|/evil|2</body></html>")
    head = page.partition("</HEAD >")[0]
    assert head.count('<link rel="stylesheet" href="/static/app.css">') == 2
    assert '<link rel="stylesheet" href="/other.css">' in head
    assert '<link rel="stylesheet" href="https://x.example/a.css?a&amp;b">' in head
    assert "content: '<\\/style>' } }</style>" in head
    assert one.ask("/static/app.css").text == "body {}"


def test_the_template_is_also_found_from_the_folder_above_the_package(
    shop: Callable[..., Shop], tmp_path: Any
) -> None:
    one = shop(ROUTES, {"shell.html": FRAME})
    again = shop(ROUTES, shell=shell(template=f"{one.name}/shell.html"))
    assert "|shop|/evil|" in again.page("/evil")


def test_a_shell_without_a_head_gets_its_css_all_the_same(shop: Callable[..., Shop]) -> None:
    one = shop(ROUTES, {"s.html": "{{ sprag_slot }}"}, shell=shell("s.html", css=["/a.css"]))
    assert one.page("/evil").startswith('<link rel="stylesheet" href="/a.css">\n<dl>')


def test_the_default_shell_can_have_css(shop: Callable[..., Shop]) -> None:
    page = shop(ROUTES, shell=shell(css=["/mine.css"])).page("/evil")
    assert '<link rel="stylesheet" href="/mine.css">\n</head>' in page


@pytest.mark.parametrize(
    "options", [{"template": "no.html"}, {"css": ["no.css"]}], ids=["template", "css"]
)
def test_missing_files_are_named_at_the_start(
    shop: Callable[..., Shop], options: dict[str, Any]
) -> None:
    with pytest.raises(StartFailed) as caught:
        shop(ROUTES, shell=shell(**options)).app.start()
    assert isinstance(caught.value.__cause__, FileMissing)
    assert "no." in str(caught.value)


def test_templates_are_checked_at_the_start(shop: Callable[..., Shop]) -> None:
    missing = shop(ROUTES + '        template = "no.html"\n')
    with pytest.raises(StartFailed, match=r"routes\.Evil: no file 'no\.html': put it into"):
        missing.app.start()
    broken = shop(ROUTES, {"s.html": "{% if %}"}, shell=shell("s.html"))
    with pytest.raises(StartFailed, match="TemplateSyntaxError"):
        broken.app.start()
    parent = shop(ROUTES, {"s.html": "{% extends 'no.html' %}"}, shell=shell("s.html"))
    assert parent.client
    assert parent.ask("/evil", accept="text/html").status_code == 500


@pytest.mark.parametrize("given", [17, ""])
def test_a_template_must_be_a_name(given: Any) -> None:
    with pytest.raises(BadValue, match="template="):
        shell(given)


@pytest.mark.parametrize("given", ["app.css", [17], [""], 17, None, {"app.css"}])
def test_css_must_be_a_list_of_names(given: Any) -> None:
    with pytest.raises(BadValue, match="css="):
        shell(css=given)


def test_a_controllers_template_renders_its_data(shop: Callable[..., Shop]) -> None:
    one = shop(
        """
        class Orders(Controller):
            route = "/orders"
            template = "orders.html"
            def load(self): return {"orders": ["<a>", "b"], "request": "mine"}

        class Lists(Controller):
            route = "/lists"
            template = "list.html"
            def load(self): return [1, 2]
        """,
        {
            "templates/orders.html": "{% for o in orders %}<p>{{ o }}</p>{% endfor %}{{ request }}",
            "templates/list.html": "{{ data | join('+') }} {{ request.path }} {{ app }}",
        },
    )
    assert "<p>&lt;a&gt;</p><p>b</p>mine" in one.page("/orders")
    assert "1+2 /lists shop" in one.page("/lists")
    assert one.ask("/orders").json["orders"] == ["<a>", "b"]


def test_a_shell_that_is_broken_does_not_hide_the_error_page(
    shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "sprag")

    def broken(_page: Page) -> str:
        raise RuntimeError("the shell is broken")

    one = shop(ROUTES, shell=broken)
    page = one.page("/evil")
    assert "<h1>Internal Server Error</h1>" in page
    assert "the shell is broken" not in page
    assert [vars(record)["sprag"]["event"] for record in caplog.records] == ["request crashed"]


def test_the_default_page_has_a_form_for_all_data(shop: Callable[..., Shop]) -> None:
    one = shop("""
        import datetime
        from dataclasses import dataclass

        @dataclass
        class Row:
            a: int
            b: object = None

        class Data(Controller):
            route = "/data"
            def load(self):
                deep = "bottom"
                for _ in range(40):
                    deep = {"d": deep}
                return {
                    "table": [Row(1), {"a": 2, "c": [3]}],
                    "list": ["x", 1, None],
                    "none": None, "yes": True, "no": False, "empty": [], "nothing": {},
                    "when": datetime.date(2026, 1, 2),
                    "object": object,
                    "many": list(range(1003)),
                    "tuples": (1, 2),
                    "deep": deep,
                }
    """)
    page = one.page("/data")
    assert '<th scope="col">a</th><th scope="col">b</th><th scope="col">c</th>' in page
    assert "<li>x</li>" in page
    assert '<span class="yes">yes</span>' in page
    assert '<span class="no">no</span>' in page
    assert "2026-01-02" in page
    assert "1000 of 1003" in page
    assert "&lt;class &#39;object&#39;&gt;" in page
    assert "bottom" in page


def test_the_default_page_loads_nothing_from_elsewhere(shop: Callable[..., Shop]) -> None:
    page = shop(ROUTES).page("/evil")
    assert "http" not in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_a_shell_can_be_tried_on_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from markupsafe import Markup
    from werkzeug.test import EnvironBuilder

    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.html").write_text("[{{ sprag_slot }}]")
    request = EnvironBuilder("/").get_request()
    assert shell("s.html")(Page(Markup("<p>"), "t", {}, request)) == "[<p>]"
