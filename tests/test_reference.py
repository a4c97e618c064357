"""The reference is made from the docstrings; here is what it must have, and who leads to it.

What is built of it is in `test_site.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linking import README, linked, of_the_site, short_names, target
from test_docs_facts import METHODS_OF, public_names, resolve

if TYPE_CHECKING:
    from types import ModuleType

API = Path(__file__).resolve().parent.parent / "docs" / "api"


def directives() -> list[str]:
    """Return what the pages of the reference show, in their order."""
    return [
        name
        for page in sorted(API.glob("*.md"))
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def members(module: ModuleType) -> list[str]:
    """Return what a module says is public, or what is at home in it and not private."""
    at_home = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return getattr(module, "__all__", at_home)


def shown() -> list[str]:
    """Return the names that have a place in the reference, without the members of classes."""
    names: list[str] = []
    for name in directives():
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            names.append(name)
        else:
            names += [f"{name}.{member}" for member in members(module)]
    return names


def test_every_public_name_has_one_place_in_the_reference() -> None:
    there = [id(pkgutil.resolve_name(name)) for name in shown()]
    wanted = {
        name: id(resolve(name))
        for name in public_names()
        if name.partition(".")[0] not in METHODS_OF
    }

    missing = [name for name, thing in wanted.items() if thing not in there]
    assert not missing, f"write ::: and the name on a page of docs/api: {missing}"
    assert sorted(shown()) == sorted(set(shown()))


def test_nothing_private_has_a_place_in_the_reference() -> None:
    parts = {part for name in shown() for part in name.split(".")} - {"__version__"}

    assert [part for part in parts if part.startswith("_")] == []


KNOWN = [
    "sprag.Service",
    "sprag.Service.interval",
    "sprag.Service.set_ready",
    "sprag.Service.stop",
    "sprag.App",
    "sprag.App.stop",
    "sprag.Event",
    "sprag.programs.Line",
    "sprag.testing.Line",
    "sprag.exceptions.BadValue",
]
NAMES = short_names(KNOWN)


@pytest.mark.parametrize(
    ("text", "section", "name"),
    [
        ("sprag.App", "", "sprag.App"),
        ("App(metrics=True)", "", "sprag.App"),
        ("Service.interval", "", "sprag.Service.interval"),
        ("self.interval(fn, 5)", "", "sprag.Service.interval"),
        ("interval(fn, 5)", "", "sprag.Service.interval"),
        ("set_ready", "", "sprag.Service.set_ready"),
        ("exceptions.BadValue", "", "sprag.exceptions.BadValue"),
        ("stop", "", None),  # a plain word
        ("stop", "sprag.App", "sprag.App.stop"),  # but not below the class that has it
        ("stop", "sprag.Service.interval", "sprag.Service.stop"),
        ("Line", "", None),  # which of the two?
        ("sprag run app:app", "", None),
        ("sprag", "", None),
        ('"stop"', "", None),
        ("Snapshot", "", None),  # has no place
    ],
)
def test_code_on_a_page_names_what_is_public(text: str, section: str, name: str | None) -> None:
    assert target(text, section, NAMES) == name


def test_the_first_mention_below_each_heading_is_a_link() -> None:
    html = (
        '<h2 id="one">of <code>App</code></h2><p><code>App</code>, <code>App()</code></p>'
        '<pre><code>App</code></pre><p><a href="x"><code>Event</code></a></p>'
        '<h2 id="sprag.Event">Event</h2><p><code>Event</code> of <code>App</code></p>'
    )

    assert linked(html, NAMES, lambda name: f"/{name}") == (
        '<h2 id="one">of <code>App</code></h2>'
        '<p><a class="sprag-name" href="/sprag.App"><code>App</code></a>, <code>App()</code></p>'
        '<pre><code>App</code></pre><p><a href="x"><code>Event</code></a></p>'
        '<h2 id="sprag.Event">Event</h2><p><code>Event</code> of '
        '<a class="sprag-name" href="/sprag.App"><code>App</code></a></p>'
    )


def test_the_first_page_of_the_site_is_the_readme() -> None:
    told = of_the_site(
        "# sprag\n\nA [page](docs/a.md#b), [more](docs/examples/orders).\n"
        '<img src="docs/b.png">\n\n## Read on\n\nno'
    )

    assert told == ('\nA [page](a.md#b), [more](examples/orders/README.md).\n<img src="b.png">\n')


def test_each_cell_of_the_comparison_leads_to_its_source() -> None:
    section = README.read_text(encoding="utf-8").partition("## Beside others")[2]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]

    assert {name for name, *_ in rows[1:]} == {
        "sprag", "OTP", "Elixir", "supervisord", "systemd", "process-compose", "gunicorn",
        "Celery", "mode", "triotp",
    }  # fmt: skip
    for name, *cells in rows[1:]:
        assert len(cells) == len(rows[0]) - 0, name
        for cell in cells:
            assert re.fullmatch(r"\[.+\]\((https://|docs/).+\)", cell), f"{name}: {cell}"
