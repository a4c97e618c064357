"""Jinja templates: where they are looked for, and how data are shown without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    Template,
    TemplateNotFound,
)
from markupsafe import Markup

from sprag.web._encoding import plain
from sprag.web.exceptions import FileMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        self._environment.globals["max_items"] = _MAX_ITEMS
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
    if isinstance(value, bool):
        return "flag", value
    if isinstance(value, int | float):
        return "number", value
    if not isinstance(value, str):
        try:
            value = value if isinstance(value, dict | list | tuple) else plain(value)
        except TypeError:
            return "text", str(value)
    if depth >= _MAX_DEPTH or not isinstance(value, dict | list | tuple):
        return "text", value
    if isinstance(value, dict):
        return "fields", cast("dict[Any, Any]", value)
    rows = list(cast("list[Any]", value))
    records = [_record(row) for row in rows[:_MAX_ITEMS]]
    if rows and all(record is not None for record in records):
        columns = list(dict.fromkeys(key for record in records for key in record or ()))
        return "table", (columns, records, len(rows))
    return "list", (rows[:_MAX_ITEMS], len(rows))


def _record(row: object) -> Mapping[Any, Any] | None:
    if not isinstance(row, dict | str | int | float | list | tuple) and row is not None:
        try:
            row = plain(row)
        except TypeError:
            return None
    return cast("dict[Any, Any]", row) if isinstance(row, dict) and row else None
