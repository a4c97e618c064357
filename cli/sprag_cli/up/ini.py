"""Read ``supervisord.conf`` as supervisord does: its sections, its ``%(…)s``, what it includes."""

from __future__ import annotations

import configparser
import os
import platform
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sprag_cli.up.faults import BadFile, read_text, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NAMED: Final = re.compile(r"%\(([^)]*)\)([a-z0-9]*[a-z])|%(%)")
_TRUE: Final = ("yes", "true", "on", "1")
_FALSE: Final = ("no", "false", "off", "0")


class Unreadable(ValueError):
    """A value is none that supervisord would read; its text says which are."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section: ``[program:web]`` is of kind *program* and called *web*.

    Attributes:
        kind: What stands before the colon.
        name: What stands behind it; "" without one.
        file: The file that it stands in.
        values: Its keys, in lower case, as they are written.
    """

    kind: str
    name: str
    file: Path
    values: Mapping[str, str]

    @property
    def title(self) -> str:
        """Return how it is written: ``[program:web]``."""
        return f"[{self.kind}:{self.name}]" if self.name else f"[{self.kind}]"


@dataclass(slots=True)
class Ini:
    """All sections of a file, and of those that it includes; of one name the later keys count.

    Attributes:
        file: The file.
        sections: In the order in which they come.
    """

    file: Path
    sections: list[Section] = field(default_factory=list[Section])

    def of_kind(self, kind: str) -> list[Section]:
        """Return the sections of a kind."""
        return [each for each in self.sections if each.kind == kind]


def read_ini(file: Path) -> Ini:
    """Return what stands in *file*, with what its ``[include]`` names.

    Raises:
        BadFile: It cannot be read, or has another form.
    """
    parser = _parsed(file)
    files = [(file, parser)]
    if parser.has_section("include"):
        if not parser.has_option("include", "files"):
            raise BadFile(f"{shown_path(file)}: [include] has no files")
        base = file.absolute().parent
        try:
            said = expanded(parser.get("include", "files"), {"here": str(base), **_of_host()})
        except Unreadable as error:
            raise BadFile(f"{shown_path(file)}: [include] files: {error}") from None
        for pattern in said.split():
            files += [(each, _parsed(each)) for each in sorted(_matching(base, pattern))]
    merged: dict[str, Section] = {}
    for where, each in files:
        for title in each.sections():
            kind, _, name = title.partition(":")
            before: Mapping[str, str] = merged[title].values if title in merged else {}
            values = {**before, **dict(each.items(title))}
            merged[title] = Section(kind.strip(), name.strip(), where, values)
    return Ini(file, list(merged.values()))


def _matching(base: Path, pattern: str) -> Iterator[Path]:
    import glob

    for found in glob.glob(os.path.join(base, pattern)):  # noqa: PTH118, PTH207 - may be absolute
        yield base / found


def _parsed(file: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(read_text(file), shown_path(file))
    except configparser.Error as error:
        said = " ".join(str(error).split())
        raise BadFile(f"{shown_path(file)}: {said}") from None
    return parser


def expanded(text: str, names: Mapping[str, object]) -> str:
    """Return *text* with its ``%(name)s`` filled in, as Python's ``%`` does.

    Raises:
        Unreadable: There is no such name, or a ``%`` that means nothing.
    """
    without = _NAMED.sub("", text)
    if "%" in without:
        raise Unreadable(f"{text!r} has a % that means nothing: write %%")
    try:
        return text % dict(names)
    except KeyError as error:
        raise Unreadable(f"%({error.args[0]})s is not known here") from None
    except (TypeError, ValueError) as error:
        raise Unreadable(f"{text!r}: {error}") from None


def names_in(text: str) -> list[str]:
    """Return the names that *text* has filled in: ``here``, ``ENV_HOME`` …."""
    return [found[1] for found in _NAMED.finditer(text) if found[1]]


def _of_host() -> dict[str, object]:
    return {
        "host_node_name": platform.node(),
        **{f"ENV_{name}": value for name, value in os.environ.items()},
    }


def truth(text: str) -> bool:
    """Return a truth as supervisord reads it.

    Raises:
        Unreadable: It is none.
    """
    word = text.lower()
    if word not in (*_TRUE, *_FALSE):
        raise Unreadable(f"{text!r} is neither true nor false")
    return word in _TRUE


def whole(text: str) -> int:
    """Return a whole number.

    Raises:
        Unreadable: It is none.
    """
    try:
        return int(text)
    except ValueError:
        raise Unreadable(f"{text!r} is not a whole number") from None


def names(text: str) -> list[str]:
    """Return the names of a list with commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


def variables(text: str) -> dict[str, str]:
    """Return the variables of ``KEY="value",KEY2='value'``.

    Raises:
        Unreadable: It has another form.
    """
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():"
    try:
        tokens = list(lexer)
    except ValueError as error:
        raise Unreadable(f"{error}".lower()) from None
    found: dict[str, str] = {}
    for at in range(0, len(tokens), 4):
        group = tokens[at : at + 4]
        if len(group) < 3 or group[1] != "=" or group[3:] not in ([], [","]):
            raise Unreadable('write it as KEY="value",KEY2="value"')
        found[group[0]] = group[2].strip("'\"")
    return found
