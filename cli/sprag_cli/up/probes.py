"""How a program says that it is ready, or is asked whether it is alive: ``ready``, ``alive``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.up.kinds import (
    REFUSED,
    SECONDS,
    Keyword,
    Kind,
    choice,
    is_table,
    is_text,
    one_of,
    plain,
    table_schema,
    taken,
    text,
    whole,
)
from sprag_cli.up.values import COMMAND

if TYPE_CHECKING:
    from sprag_cli.up.faults import Faults, Key


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked: its kind, ``port``, ``http``, ``line``, ``notify`` or ``command``, and how.

    Attributes:
        kind: One of those.
        value: What belongs to it: a port, a path or URL, a regular expression, a command; None
            where there is nothing to say.
        more: ``every``, ``timeout``, ``failures``, ``port`` and ``watchdog``, where they are given.
    """

    kind: str
    value: Any = None
    more: dict[str, float] = field(default_factory=dict[str, float])


HIGHEST_PORT: Final = 65535
PORT: Final = whole("a port, 1 to 65535", 1, HIGHEST_PORT)


def _port(value: Any) -> int | None:
    if value is True:
        return None
    if type(value) is not int or not 1 <= value <= HIGHEST_PORT:
        raise ValueError
    return value


def _true(value: Any) -> None:
    if value is not True:
        raise ValueError


def _expression(value: Any) -> str:
    if type(value) is not str or not value:
        raise ValueError
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"a regular expression: {error}") from None
    return value


_EVERY: Final = {
    "every": Keyword(SECONDS, "Seconds between two looks."),
    "timeout": Keyword(SECONDS, "Seconds within which it has to answer."),
    "failures": Keyword(
        whole("a whole number, 1 or more", 1), "So many failures in a row are a crash."
    ),
}
_TABLES: Final[dict[str, dict[str, Keyword]]] = {
    "line": {
        "line": Keyword(
            plain("a regular expression", {"type": "string", "minLength": 1}, _expression),
            "Ready when a line of its output matches this regular expression.",
        )
    },
    "http": {
        "http": Keyword(
            text('a path, as in "/healthz", or an http:// URL', r"/.*|http://.+"),
            "Well when this path, or URL, answers with 200 to 399.",
        ),
        "port": Keyword(PORT, "Its port, if it is not the program's own."),
        **_EVERY,
    },
    "notify": {
        "notify": Keyword(
            plain("true", {"const": True}, _true), "Ready when it says READY=1, as to systemd."
        ),
        "watchdog": Keyword(
            SECONDS, "Seconds within which it has to say WATCHDOG=1, again and again."
        ),
    },
    "command": {
        "command": Keyword(COMMAND, "Well when this command ends with 0."),
        **_EVERY,
    },
    "port": {
        "port": Keyword(
            plain(
                "a port, 1 to 65535, or true for the program's own",
                {"anyOf": [PORT.schema, {"const": True}]},
                _port,
            ),
            "Well when this port takes a connection; true: the program's own.",
        ),
        **_EVERY,
    },
}
"""The tables by their kinds: the first whose key is there is meant, so http may have a port."""
_WORDS: Final = ("port", "notify")
"""Kinds that a word is enough for."""


def _kind(kinds: tuple[str, ...]) -> Kind:
    words = [each for each in _WORDS if each in kinds]
    examples = {
        "port": "{ port = 8000 }",
        "http": '{ http = "/healthz" }',
        "line": '{ line = "ready to accept" }',
        "notify": "",
        "command": '{ command = ["pg_isready"] }',
    }
    named = [*(f'"{word}"' for word in words), *filter(None, (examples[each] for each in kinds))]
    accepts = one_of(named)

    def take(value: Any, key: Key, faults: Faults) -> Any:
        if is_text(value) and value in words:
            return Probe(value)
        if not is_table(value):
            faults.refuse(key, value, accepts)
            return REFUSED
        found = [each for each in kinds if each in value]
        if not found and "line" in value:
            faults.add(key, "a line is told once, so it can say ready, and never alive")
            return REFUSED
        if not found:
            faults.refuse(key, value, accepts)
            return REFUSED
        kind = min(found, key=list(_TABLES).index)
        others = set(found) - {kind} - set(_TABLES[kind])
        if others:
            faults.add(key, f"{one_of([kind, *sorted(others)])}: only one can be meant")
            return REFUSED
        given = taken(value, key, faults, _TABLES[kind])
        return Probe(kind, given.pop(kind), given) if kind in given else REFUSED

    schemas = [
        {**table_schema(_TABLES[each]), "required": [each]} for each in _TABLES if each in kinds
    ]
    return Kind(accepts, {"anyOf": [choice(*words).schema, *schemas]}, take)


READY: Final = _kind(("port", "http", "line", "notify", "command"))
ALIVE: Final = _kind(("port", "http", "command"))
