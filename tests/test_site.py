"""The documentation as it is built: what the reference has, what is found, how wide it is."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from browser import CHROMIUM, Browser
from test_docs_facts import ROOT, public_names

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("mkdocstrings") is None,  # to load it takes long, and each worker would
        reason="the tools of the documentation are not installed",
    ),
    pytest.mark.skipif(not (ROOT / "sprag").exists(), reason="the sources are not here"),
]


def is_up_to_date(site: Path) -> bool:
    """Say whether *site* was built from what there is now; `make check` and `make docs` do that."""
    built = site / "sitemap.xml"  # which is written when the pages are
    if not built.exists():
        return False
    sources = [ROOT / "mkdocs.yml"]
    for folder in ("docs", "sprag", "supervisor"):
        # Folders, too: they are changed by what is not there any more.
        sources += [each for each in (ROOT / folder).rglob("*") if "__pycache__" not in each.parts]
    return all(each.stat().st_mtime < built.stat().st_mtime for each in sources)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the workers of one run share it."""
    if is_up_to_date(ROOT / "site"):
        return ROOT / "site"
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "index.html").exists():
            command = [
                sys.executable,
                "-m",
                "mkdocs",
                "build",
                "--strict",
                "--site-dir",
                str(place),
            ]
            env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
            done = subprocess.run(
                command, cwd=ROOT, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    return place


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(site: Path) -> set[str]:
    """Return the anchors of the reference."""
    return {
        anchor
        for page in site.glob("api/*/index.html")
        for anchor in re.findall(r'id="(sprag[\w.]*)"', text_of(page))
    }


def test_every_public_name_has_an_anchor_and_no_private_one(site: Path) -> None:
    there = anchors(site)
    ends = {".".join(name.split(".")[first:]) for name in there for first in range(4)}
    # What is in sprag.exceptions, too, is shown there.
    wanted = set(public_names()) - {"sprag.SpragError", "sprag.StartFailed", "sprag.Ignore"}

    assert sorted(wanted - ends) == []
    assert [name for name in there if re.search(r"\._", name) and "__version__" not in name] == []


def test_what_has_arguments_shows_their_types(site: Path) -> None:
    services = text_of(site / "api" / "services" / "index.html")
    of_interval = services.partition('id="sprag.Service.interval"')[2]
    signature = re.sub(r"<[^>]+>", "", of_interval.partition("<pre>")[2].partition("</pre>")[0])

    assert "jitter: float = 0.0" in signature


def test_guides_lead_to_the_reference(site: Path) -> None:
    guide = text_of(site / "guides" / "services" / "index.html")
    overview = text_of(site / "reference" / "index.html")

    assert 'href="../../api/services/#sprag.Service.adopt"' in guide
    for name in ("sprag.Service.interval", "sprag.testing.RunningTree.crash"):
        assert f'#{name}"' in overview, name


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("readyz", "operations/"),
        ("deploy", "deploy/"),
        ("redis", "guides/cluster/"),
        ("retry", "guides/supervision/"),
        ("interval", "api/services/"),
        ("timeout", "api/exceptions/"),
    ],
)
def test_the_search_finds(site: Path, word: str, page: str) -> None:
    index = json.loads(text_of(site / "search" / "search_index.json"))
    separator = re.compile(index["config"]["separator"])
    found = {
        entry["location"].partition("#")[0]
        for entry in index["docs"]
        for token in separator.split(re.sub(r"<[^>]+>", " ", entry["title"] + " " + entry["text"]))
        if token.lower().startswith(word)
    }

    assert page in found


def test_the_search_leads_to_the_guides_before_the_internals(site: Path) -> None:
    index = json.loads(text_of(site / "search" / "search_index.json"))
    ranks = {entry["location"].partition("/")[0]: entry.get("boost", 1) for entry in index["docs"]}

    assert ranks["internals"] < 0.001
    assert ranks["performance"] < 0.001
    assert ranks["guides"] == ranks["tutorial"] == 1


def test_pages_follow_the_system_and_one_another(site: Path) -> None:
    guide = text_of(site / "guides" / "supervision" / "index.html")

    assert 'data-md-color-media="(prefers-color-scheme: dark)"' in guide
    assert "md-footer__link--prev" in guide
    assert "md-footer__link--next" in guide
    assert "https://fonts." not in guide


def test_a_list_that_goes_on_after_code_is_a_list(site: Path) -> None:
    torn: dict[str, str] = {}
    for each in site.rglob("index.html"):
        shown = re.sub(r"<pre.*?</pre>", "", text_of(each), flags=re.DOTALL)
        for paragraph in re.findall(r"<(?:p|li)>(.*?)</(?:p|li)>", shown, re.DOTALL):
            if found := re.search(r"^ *(?:\d+\.|[-*]) .*", paragraph, re.MULTILINE):
                torn[each.parent.relative_to(site).as_posix()] = found[0]

    assert torn == {}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: nobody looks at the pages")
def test_who_came_by_day_finds_the_pages_dark_at_night(site: Path) -> None:
    scheme = "document.body.dataset.mdColorScheme"
    with Browser() as browser:
        page = browser.page()
        page.open((site / "index.html").as_uri())
        page.until("localStorage.length")  # it remembers the visit
        assert page.run(scheme) == "default"
        page.prefer(prefers_color_scheme="dark")
        page.open((site / "tutorial" / "index.html").as_uri())
        page.until(f"location.href.includes('tutorial') && {scheme} == 'slate'")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: nobody looks at the pages")
def test_no_page_is_wider_than_a_phone(site: Path) -> None:
    wide: dict[str, int] = {}
    with Browser() as browser:
        page = browser.page(390, 844)
        start = site / "index.html"
        for each in (start, *sorted(site.glob("*/**/index.html"))):
            page.open(each.as_uri())
            page.until(f"document.readyState == 'complete' && location.href == '{each.as_uri()}'")
            width = page.run("document.documentElement.scrollWidth")
            if width > 390:
                wide[each.parent.relative_to(site).as_posix()] = width
            page.run_none()  # three fifths of the time; what all pages have is here by now

    assert wide == {}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: nobody looks at the pages")
def test_a_comparison_that_is_moved_sideways_still_says_whose_row_it_is(site: Path) -> None:
    with Browser() as browser:
        page = browser.page(390, 844)
        page.open((site / "index.html").as_uri())
        page.until("document.readyState == 'complete'")
        moved, left = page.run(
            "(() => {"
            "const cell = document.querySelector('.md-typeset__table td');"
            "const box = cell.closest('.md-typeset__scrollwrap');"
            "box.scrollLeft = 1000;"
            "return [box.scrollLeft, cell.getBoundingClientRect().left]})()"
        )

    assert moved > 50
    assert left >= 0
