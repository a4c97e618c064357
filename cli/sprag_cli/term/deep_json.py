"""JSON of any depth.

The standard module recurses and stops at a nesting of about a thousand, which is a tree of five
hundred levels. Beyond that a loop takes over here, with the same result.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, TypeGuard

_PARTS: Final = r'\s*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"]+))'


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Tell whether a value that was read is what JSON calls an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[object]]:
    """Tell whether a value that was read is what JSON calls an array."""
    return isinstance(value, list)


def loads(text: str) -> object:
    """Return what *text* says.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        return _loads_deep(text)


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return *value* as JSON, in ASCII, with *indent* spaces per level or on one line."""
    try:
        text = json.dumps(value, indent=indent)
    except RecursionError:
        text = "".join(_pieces(value, indent))
    return text.replace("\x7f", "\\u007f")  # DEL is the one control that JSON lets pass


def _loads_deep(text: str) -> object:
    """Read JSON with a loop. Truncated text is noticed, not every mistake is."""
    top: list[object] = []
    holders: list[list[object] | dict[str, object]] = [top]
    keys: list[str | None] = [None]
    for mark, quoted, bare in re.findall(_PARTS, text):
        if mark in {"}", "]"}:
            if len(holders) == 1:
                raise ValueError("more brackets closed than opened")
            holders.pop()
            keys.pop()
        elif mark in {"", "{", "["}:
            made: list[object] | dict[str, object] = {} if mark == "{" else []
            value: object = made if mark else json.loads(quoted or bare)
            holder = holders[-1]
            if isinstance(holder, list):
                holder.append(value)
            elif (key := keys[-1]) is None:
                keys[-1] = str(value)
            else:
                holder[key], keys[-1] = value, None
            if mark:
                holders.append(made)
                keys.append(None)
    if len(holders) != 1 or len(top) != 1:
        raise ValueError("not one whole JSON value")
    return top[0]


def _pieces(value: object, indent: int | None) -> Iterator[str]:
    items: list[tuple[str, Iterator[tuple[str, object]]]] = []

    def margin() -> str:
        return "" if indent is None else "\n" + " " * (indent * len(items))

    between = ", " if indent is None else ","
    prefix, current = "", value
    while True:
        yield prefix
        opened = len(items)
        if is_object(current) and current:
            pairs = current.items()
            items.append(("}", ((json.dumps(key) + ": ", each) for key, each in pairs)))
            yield "{"
        elif is_array(current) and current:
            items.append(("]", (("", each) for each in current)))
            yield "["
        else:
            yield json.dumps(current)
        first = len(items) > opened
        while items:
            closing, rest = items[-1]
            following = next(rest, None)
            if following is not None:
                key, current = following
                prefix = ("" if first else between) + margin() + key
                break
            items.pop()
            yield margin() + closing
            first = False
        else:
            return
