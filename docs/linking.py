"""Where a page names what is public, the name leads to the reference. Hooks of mkdocs.

Pages and docstrings say `Service.interval` in code, as they always did; once all pages are made,
the first mention below each heading becomes a link. Nobody writes these links, so none can break.

And the first page of the site is the README; and who searches is led to the guides first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PARTS = re.compile(
    r"<h(?P<rank>\d)[^>]*\bid=\"(?P<id>[^\"]*)\".*?</h(?P=rank)>"
    r"|<(?P<left>pre|a|autoref|h\d)\b.*?</(?P=left)>"
    r"|<code>(?P<code>[^<]+)</code>",
    re.DOTALL,
)
NAME = re.compile(r"(?:self\.)?(?P<name>[A-Za-z_][\w.]*)(?P<call>\(.*\))?", re.DOTALL)
SERVICE = "sprag.Service"
README = Path(__file__).resolve().parent.parent / "README.md"


def of_the_site(readme: str) -> str:
    """Return what the README says, without its title and its list of pages, as a page of docs."""
    told = readme.partition("\n")[2].partition("\n## Read on\n")[0]
    told = re.sub(r'\b(src|srcset)="docs/', r'\1="', told)
    links = re.sub(r"\]\(docs/([\w./-]+?)/?([)#])", r"](\1\2", told)
    return re.sub(r"\]\((examples/\w+)([)#])", r"](\1/README.md\2", links)


def on_page_markdown(markdown: str, /, *, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001
    """Put the README where the first page has the place for it; rank what is for few behind all."""
    if page.parent is not None and page.parent.title == "Working on sprag":
        # A word of a heading counts a thousand times as much as one of a text.
        page.meta["search"] = {"boost": 0.0001}
    if page.file.src_uri != "index.md":
        return markdown
    begin, _, rest = markdown.partition("<!-- README.md")
    return begin + of_the_site(README.read_text(encoding="utf-8")) + rest.partition("-->")[2]


def short_names(known: Iterable[str]) -> dict[str, str]:
    """Return what each name may be called on a page; what could mean two things is left out.

    `sprag.Service.set_ready` is `Service.set_ready`, too, and a word with an underscore or a
    capital stands alone: `set_ready`, `Service`. A plain word does not: `start`.
    """
    found: dict[str, set[str]] = {}
    for name in known:
        parts = name.split(".")
        for first in range(len(parts)):
            short = ".".join(parts[first:])
            if "." in short or short[0].isupper() or "_" in short:
                found.setdefault(short, set()).add(name)
    nearest = {
        short: sorted(names, key=lambda name: (not name.startswith(SERVICE), name.count(".")))
        for short, names in found.items()
    }
    return {
        short: names[0]
        for short, names in nearest.items()
        if len(names) == 1
        or names[0].startswith(SERVICE)
        or names[0].count(".") < names[1].count(".")
    }


def target(text: str, section: str, names: Mapping[str, str]) -> str | None:
    """Return what a piece of code on a page names, in the section of that heading's id."""
    found = NAME.fullmatch(text)
    if found is None:
        return None
    name = found["name"]
    owner = section.rpartition(".")[0]
    of_service = f"{SERVICE}.{name}" if found["call"] or text.startswith("self.") else ""
    for full in (f"{section}.{name}", f"{owner}.{name}", name, of_service):
        if names.get(full) == full:  # a name with a dot stands for itself
            return full
    return names.get(name)


def linked(html: str, names: Mapping[str, str], url_of: Callable[[str], str]) -> str:
    """Return *html* with the first mention of each public name below a heading as a link."""
    section = ""
    seen: set[str] = set()

    def link(part: re.Match[str]) -> str:
        nonlocal section
        if part["id"] is not None:
            section = part["id"]
            seen.clear()
        if part["code"] is None:
            return part[0]
        name = target(part["code"], section, names)
        if name is None or name in seen or name == section:
            return part[0]
        seen.add(name)
        return f'<a class="sprag-name" href="{url_of(name)}">{part[0]}</a>'

    return PARTS.sub(link, html)


def on_env(env: Any, /, *, config: Any, files: Any) -> Any:
    """Link all pages, when all are made and none is written."""
    inventory = config.plugins["mkdocstrings"].handlers.inventory
    names = short_names(name for name in inventory if name.startswith("sprag."))
    autorefs = config.plugins["autorefs"]
    for file in files.documentation_pages():
        page = file.page

        def url_of(name: str, here: str = page.url) -> str:
            return str(autorefs.get_item_url(name, from_url=here)[0])

        page.content = linked(page.content, names, url_of)
    return env
