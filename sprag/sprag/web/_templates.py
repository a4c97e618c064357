"""Jinja templates: where they are looked for, and how data are shown without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    Template,
    TemplateNotFound,
)
from markupsafe import Markup

from sprag.web._encoding import is_one, plain
from sprag.web.exceptions import FileMissing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_OURS: Final = "sprag/"
_MAX_DEPTH: Final = 12
"""Levels of nested data that are shown; deeper ones as text."""
_MAX_ITEMS: Final = 1000
"""Items of a list that are shown to a browser; JSON has them all."""


class Templates:
    """The templates of one app. Everything is escaped unless it is Markup."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(dict.fromkeys(folders))
        ours = PackageLoader("sprag.web", "templates")
        self._environment = Environment(
            autoescape=True,
            loader=ChoiceLoader([FileSystemLoader([str(each) for each in self._folders]), ours]),
        )
        self._environment.filters["view"] = view
        self._data = self._environment.get_template(f"{_OURS}data.html")

    def get(self, name: str, *, wanted_by: str) -> Template:
        """Return the template called *name*.

        Raises:
            FileMissing: No folder has it.
            jinja2.TemplateSyntaxError: It is not well formed.
        """
        try:
            return self._environment.get_template(name)
        except TemplateNotFound as error:
            if error.name != name:
                raise  # one that the template itself includes
            raise FileMissing(name, wanted_by, map(str, self._folders)) from None

    def find(self, name: str) -> Path | None:
        """Return the file called *name* beside the templates, if there is one."""
        found = (folder / name for folder in self._folders)
        return next((path for path in found if path.is_file()), None)

    def show(self, data: object) -> Markup:
        """Return *data* as tables and lists."""
        return Markup(self._data.render(data=data))  # noqa: S704 - rendered with autoescape


def view(value: Any, depth: int = 0) -> tuple[str, Any]:
    """Say how the default page shows *value*: a word for the form, and what is in it."""
    if value is None:
        return "nothing", None
    if is_one(value, bool):
        return "flag", value
    if is_one(value, int, float):
        return "number", value
    if not is_one(value, str, dict, list, tuple):
        try:
            value = plain(value)
        except TypeError:
            return "text", str(value)
    if depth >= _MAX_DEPTH or not is_one(value, dict, list, tuple):
        return "text", value
    if is_one(value, dict):
        return "fields", value
    records = [_record(row) for row in value[:_MAX_ITEMS]]
    if records and None not in records:
        columns = list(dict.fromkeys(key for record in records for key in record or ()))
        return "table", (columns, records, len(value))
    return "list", (value[:_MAX_ITEMS], len(value))


def _record(row: Any) -> dict[Any, Any] | None:
    """Return what one row of a table holds; None if it would be no table."""
    if not is_one(row, dict, str, int, float, list, tuple) and row is not None:
        try:
            row = plain(row)
        except TypeError:
            return None
    return row if row and is_one(row, dict) else None
