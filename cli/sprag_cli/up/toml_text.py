"""Write TOML as people would: tables, short lines, comments."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.up.faults import is_bare
from sprag_cli.up.kinds import is_list, is_table

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH: Final = 100


@dataclass(slots=True)
class Table:
    """A table to be written.

    Attributes:
        key: Its name, part by part.
        values: What stands in it, in this order: plain values, lists, and dicts, in one line.
        remarks: Comments above it.
        beside: Comments behind values, by their keys.
    """

    key: tuple[str, ...]
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    remarks: list[str] = field(default_factory=list[str])
    beside: dict[str, str] = field(default_factory=dict[str, str])


def written(head: list[str], tables: list[Table]) -> str:
    """Return the text of a file: a comment at its head, then the tables."""
    lines = [_comment(each) for each in head]
    for table in tables:
        lines += ["", *_lines(table)] if lines else _lines(table)
    return "\n".join(lines) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield from map(_comment, table.remarks)
    yield f"[{'.'.join(map(key_text, table.key))}]"
    for name, value in table.values.items():
        line = f"{key_text(name)} = {value_text(value)}"
        if is_list(value) and len(line) > _WIDTH:
            yield f"{key_text(name)} = ["
            yield from (f"    {value_text(each)}," for each in value)
            line = "]"
        beside = table.beside.get(name)
        yield f"{line}  {_comment(beside)}" if beside else line


def _comment(text: str) -> str:
    return f"# {text}".rstrip()


def key_text(name: str) -> str:
    """Return a key, in quotes if it needs them."""
    return name if is_bare(name) else value_text(name)


def value_text(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if is_table(value):
        pairs = [f"{key_text(name)} = {value_text(each)}" for name, each in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if is_list(value):
        return f"[{', '.join(map(value_text, value))}]"
    return value.text if isinstance(value, Octal) else str(value)


def _text(text: str) -> str:
    if ('"' in text or "\\" in text) and "'" not in text and text.isprintable():
        return f"'{text}'"
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class Octal:
    """A number that is written in base 8."""

    number: int

    @property
    def text(self) -> str:
        """Return it as TOML writes it."""
        return f"0o{self.number:03o}"
