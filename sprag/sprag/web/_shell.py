"""Shells: the frame around every page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from sprag.web.exceptions import FileMissing
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sprag.web._page import Page
    from sprag.web._static import StaticFiles
    from sprag.web._templates import Templates

Frame: TypeAlias = "Callable[[Page], str]"

_DEFAULT: Final = "sprag/shell.html"
_ELSEWHERE: Final = re.compile(r"/|[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_END_OF_HEAD: Final = re.compile(r"</head\s*>", re.IGNORECASE)


class Shell:
    """A frame made from a Jinja template; see `shell`."""

    def __init__(self, template: str | None, css: tuple[str, ...]) -> None:
        self.template = template
        self.css = css

    def mounted(self, templates: Templates, static: StaticFiles) -> Frame:
        """Return the frame for one app, its files found and its template compiled.

        Raises:
            FileMissing: The template or a style sheet is nowhere to be found.
        """
        name = self.template or _DEFAULT
        template = templates.get(name, wanted_by="shell(template=…)")
        links = "".join(_styled(entry, templates, static) for entry in self.css)

        def frame(page: Page) -> str:
            html = template.render(
                sprag_slot=page.body,
                page=page,
                title=page.title,
                data=page.data,
                request=page.request,
                app=page.app,
            )
            return _with_links(html, links) if links else html

        return frame

    def __call__(self, page: Page) -> str:
        """Frame one page on its own; template and css are looked for below the current folder."""
        from sprag.web._static import StaticFiles
        from sprag.web._templates import Templates

        return self.mounted(Templates([Path.cwd()]), StaticFiles([]))(page)


def shell(template: str | None = None, *, css: Sequence[str] = ()) -> Shell:
    """Make the frame around every page from a Jinja template.

    The page goes where the template says ``{{ sprag_slot }}``. The template also has
    ``title``, ``data``, ``request``, ``app`` and the whole ``page``. Everything is escaped.

    Args:
        template: A file beside the routes, or below the folder the app is started from,
            as in ``"app/shell.html"``. Default: sprag's own.
        css: Style sheets, linked at the end of the head: URLs and paths that begin with a
            slash as they are, files of the static folder by their name; any other file
            that is found like a template is put into the page.

    Raises:
        BadValue: *template* or *css* is of another kind.
    """
    given: Any = template
    if given is not None and (not isinstance(given, str) or not given):
        raise BadValue("template", given, "the name of a file")
    sheets: Any = css
    if not isinstance(sheets, list | tuple) or not all(
        isinstance(each, str) and each for each in cast("Sequence[object]", sheets)
    ):
        raise BadValue("css", css, "a list of names, as in css=['app.css']")
    return Shell(template, tuple(css))


def _styled(entry: str, templates: Templates, static: StaticFiles) -> str:
    from markupsafe import escape

    if _ELSEWHERE.match(entry):
        return f'<link rel="stylesheet" href="{escape(entry)}">\n'
    if (url := static.url_of(entry)) is not None:
        return f'<link rel="stylesheet" href="{escape(url)}">\n'
    found = templates.find(entry)
    if found is None:
        raise FileMissing(entry, "shell(css=…)", ["the static folder beside the routes"])
    # Nothing but `</` could end the element, and CSS has no use for it.
    text = found.read_text(encoding="utf-8").replace("</", "<\\/")
    return f"<style>\n{text}</style>\n"


def _with_links(html: str, links: str) -> str:
    end = _END_OF_HEAD.search(html)
    at = end.start() if end else 0
    return f"{html[:at]}{links}{html[at:]}"
