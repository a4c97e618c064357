"""The kinds of values that keys of ``sprag.toml`` take: what is accepted, in words and as a schema.

A kind says both in one place, so that the reader and the schema for editors cannot disagree. Each
turns a value of TOML into a plain one, and tells `Faults` what it does not accept.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from sprag._defaults import LEAST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag_cli.up.faults import Faults, Key

Schema = dict[str, Any]
_LONGEST: Final = 1e9
"""Seconds from which on nobody waits any more."""
REFUSED: Final = object()
"""What a kind returns for a value that it has told `Faults` of."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of values.

    Attributes:
        accepts: What is accepted, in words: "seconds, 0 or more".
        schema: The same in JSON Schema's.
        take: Returns a value in its plain form, or `REFUSED` after it has told why.
    """

    accepts: str
    schema: Schema
    take: Callable[[Any, Key, Faults], Any]


@dataclass(frozen=True, slots=True)
class Keyword:
    """A key: the kind of its values, and what it means."""

    kind: Kind
    means: str


def plain(accepts: str, schema: Schema, convert: Callable[[Any], Any]) -> Kind:
    """Make a kind whose *convert* raises ValueError for what is not accepted."""

    def take(value: Any, key: Key, faults: Faults) -> Any:
        try:
            return convert(value)
        except ValueError as error:
            faults.refuse(key, value, str(error) or accepts)
            return REFUSED

    return Kind(accepts, schema, take)


def either(*kinds: tuple[Callable[[Any], bool], Kind], accepts: str) -> Kind:
    """Make a kind of several; the first whose test is true takes the value."""

    def take(value: Any, key: Key, faults: Faults) -> Any:
        for test, kind in kinds:
            if test(value):
                return kind.take(value, key, faults)
        faults.refuse(key, value, accepts)
        return REFUSED

    return Kind(accepts, {"anyOf": [kind.schema for _, kind in kinds]}, take)


def table(keys: Mapping[str, Keyword], accepts: str) -> Kind:
    """Make the kind of a table with these keys, none of which has to be there."""

    def take(value: Any, key: Key, faults: Faults) -> Any:
        if not is_table(value):
            faults.refuse(key, value, accepts)
            return REFUSED
        return taken(value, key, faults, keys)

    return Kind(accepts, table_schema(keys), take)


def taken(
    given: Mapping[str, Any], key: Key, faults: Faults, keys: Mapping[str, Keyword]
) -> dict[str, Any]:
    """Return the values of *given*, each as its kind makes it; the others are told."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in keys:
            faults.unknown((*key, name), keys)
        elif (one := keys[name].kind.take(value, (*key, name), faults)) is not REFUSED:
            found[name] = one
    return found


def table_schema(keys: Mapping[str, Keyword]) -> Schema:
    """Return the schema of a table with these keys."""
    described = {
        name: {"description": each.means, **each.kind.schema} for name, each in keys.items()
    }
    return {"type": "object", "additionalProperties": False, "properties": described}


# -- plain values ----------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Whether *value* is a number of TOML's; a truth is none."""
    return type(value) in (int, float) and not math.isnan(value)


def is_text(value: Any) -> TypeGuard[str]:
    """Whether *value* is a text."""
    return type(value) is str


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether *value* is a list."""
    return type(value) is list


def is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether *value* is a table."""
    return type(value) is dict


def number(accepts: str, least: float, *, most: float = _LONGEST) -> Kind:
    """Make a kind of numbers from *least* on."""

    def convert(value: Any) -> float:
        if not is_number(value) or not least <= value <= most:
            raise ValueError
        return float(value)

    return plain(accepts, {"type": "number", "minimum": least, "maximum": most}, convert)


def whole(accepts: str, least: int, most: int = 2**31 - 1) -> Kind:
    """Make a kind of whole numbers."""

    def convert(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return plain(accepts, {"type": "integer", "minimum": least, "maximum": most}, convert)


def text(accepts: str, pattern: str = "", *, most: int = 100_000) -> Kind:
    """Make a kind of texts that are not empty, and match *pattern* as a whole."""

    def convert(value: Any) -> str:
        if type(value) is not str or not value or "\0" in value or len(value) > most:
            raise ValueError
        if pattern and not re.fullmatch(pattern, value):
            raise ValueError
        return value

    schema: Schema = {"type": "string", "minLength": 1}
    return plain(accepts, {**schema, "pattern": f"^(?:{pattern})$"} if pattern else schema, convert)


def choice(*words: str) -> Kind:
    """Make a kind of a few words."""

    def convert(value: Any) -> Any:
        if type(value) is not str or value not in words:
            raise ValueError
        return value

    return plain(one_of([f'"{word}"' for word in words]), {"enum": list(words)}, convert)


def one_of(words: list[str]) -> str:
    """Say a choice: ``a, b or c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def listed(kind: Kind, accepts: str, *, least: int = 0, most: int = 1000) -> Kind:
    """Make the kind of a list of values of *kind*."""

    def take(value: Any, key: Key, faults: Faults) -> Any:
        if not is_list(value) or not least <= len(value) <= most:
            faults.refuse(key, value, accepts)
            return REFUSED
        found = [kind.take(one, (*key, str(at)), faults) for at, one in enumerate(value)]
        return REFUSED if REFUSED in found else tuple(found)

    schema: Schema = {"type": "array", "items": kind.schema, "minItems": least, "maxItems": most}
    return Kind(accepts, schema, take)


def named(names: Kind, values: Kind, accepts: str) -> Kind:
    """Make the kind of a table whose keys are names of any kind, and its values of another."""

    def take(value: Any, key: Key, faults: Faults) -> Any:
        if not is_table(value):
            faults.refuse(key, value, accepts)
            return REFUSED
        found: dict[str, Any] = {}
        for name, each in value.items():
            one = values.take(each, (*key, name), faults)
            if names.take(name, (*key, name), faults) is not REFUSED and one is not REFUSED:
                found[name] = one
        return found

    schema: Schema = {
        "type": "object",
        "propertyNames": names.schema,
        "additionalProperties": values.schema,
    }
    return Kind(accepts, schema, take)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


FLAG: Final = plain("true or false", {"type": "boolean"}, _flag)
SECONDS: Final = number(f"a number of seconds, {LEAST:g} or more", LEAST)
SECONDS_OR_0: Final = number("a number of seconds, 0 or more", 0)
"""Where 0 has a meaning: at once, or no time at all."""
