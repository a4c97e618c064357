"""In which line each key of a TOML file stands.

`tomllib` tells no lines, and the libraries that keep a file's form (tomlkit) keep them to
themselves. So the text is gone through once more, after `tomllib` has found that it is TOML: what
is known to be well formed is easily told apart. Values are skipped, but for the keys in them.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_cli.up.faults import Key

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN: Final = re.compile(r"[^,\]}#\n]*")
"""A number, a truth or a time: it ends where nothing of it can be."""


def lines_of(text: str) -> dict[Key, int]:
    """Return the line of each key and table of *text*, counted from 1.

    A table that is only a part of others' names has the line of the first of them. The tables of
    ``[[name]]`` and the places of a list are called by their numbers, from 0.

    Args:
        text: What `tomllib` has read without complaint.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line = 1
        self._lines: dict[Key, int] = {}
        self._last: dict[Key, int] = {}

    def scan(self) -> dict[Key, int]:
        table: Key = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> Key:
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        line = self._line
        key: Key = ()
        names = self._names()
        for number in range(1, len(names) + 1):
            key = _below(key, names[number - 1])
            if number == len(names) and is_list:
                self._last[key] = self._last.get(key, -1) + 1
            self._note(key, line)
            if key in self._last:
                key = _below(key, str(self._last[key]))
        self._at += 2 if is_list else 1
        self._note(key, line)
        return key

    def _pair(self, table: Key) -> None:
        """Take ``a.b = value``; what is noted first stays."""
        line = self._line
        names = self._names()
        self._at += 1  # the equals sign
        for length in range(1, len(names) + 1):
            self._note((*table, *names[:length]), line)
        self._value((*table, *names))

    def _names(self) -> Key:
        names: list[str] = []
        while True:
            self._skip(_SPACE)
            found = _STRING.match(self._text, self._at) or _BARE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            names.append(_name(found[0]))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return tuple(names)
            self._at += 1

    def _value(self, key: Key) -> None:
        self._skip(_SPACE)
        letter = self._text[self._at]
        if letter == "{":
            self._inside("}", lambda _number: self._pair(key))
        elif letter == "[":
            self._inside("]", lambda number: self._item((*key, str(number))))
        else:
            found = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            assert found is not None
            self._take(found)

    def _item(self, key: Key) -> None:
        self._note(key, self._line)
        self._value(key)

    def _inside(self, closing: str, take: Callable[[int], None]) -> None:
        self._at += 1
        number = 0
        while self._skip(_BLANK) < len(self._text) and self._text[self._at] != closing:
            if self._text[self._at] == ",":
                self._at += 1
                continue
            take(number)
            number += 1
        self._at += 1

    def _skip(self, blank: re.Pattern[str]) -> int:
        found = blank.match(self._text, self._at)
        assert found is not None
        self._take(found)
        return self._at

    def _take(self, found: re.Match[str]) -> None:
        self._line += found[0].count("\n")
        self._at = found.end()

    def _note(self, key: Key, line: int) -> None:
        self._lines.setdefault(key, line)


def _below(key: Key, name: str) -> Key:
    return (*key, name)


def _name(written: str) -> str:
    if written[0] not in "\"'":
        return written
    name: str = tomllib.loads(f"name = {written}")["name"]
    return name
