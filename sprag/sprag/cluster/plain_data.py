"""What trees tell each other: what JSON can hold, as it is."""

from __future__ import annotations

import json
import math
from typing import Any, Final, cast

from sprag_supervisor import class_name
from sprag_supervisor.exceptions import BadValue

LARGEST: Final = 60_000
"""Bytes of it as JSON."""
_MOST_NESTED: Final = 500
"""Lists and objects in what nodes keep: JSON's own writer may run out of stack where its reader
has not."""
_ACCEPTED: Final = (
    "what JSON can hold: None, True, False, finite numbers, texts, lists, and dicts with texts as "
    "keys"
)


def as_json(data: object) -> str:
    """Return *data* as JSON.

    Raises:
        BadValue: It holds something else, is too large, or has no end.
    """
    wrong = _wrong_in(data)
    if wrong is not None:
        raise BadValue("data", data, f"{_ACCEPTED}; in it is {wrong}")
    try:
        text = json.dumps(data, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise BadValue("data", data, f"{_ACCEPTED}, not within themselves, nor too deep") from None
    if len(text) > LARGEST:
        accepted = f"{LARGEST:,} bytes as JSON, and it has {len(text):,}: send where it is found"
        raise BadValue("data", data, accepted)
    return text


def kept_in(value: bytes | None) -> dict[str, Any]:
    """Return the same of what is written again, with all that is unknown: so not of any depth."""
    text = value or b""
    return {} if text.count(b"[") + text.count(b"{") > _MOST_NESTED else object_in(text)


def object_in(value: bytes | None) -> dict[str, Any]:
    """Return the JSON object in *value*; empty: there is nothing, or what nobody of us has written.

    An engine may have other users, and nothing of theirs keeps us from our own.
    """
    try:
        said: object = json.loads(value or b"{}")
    except (ValueError, RecursionError):
        return {}
    return dict(cast("dict[str, Any]", said)) if isinstance(said, dict) else {}


def _wrong_in(data: object) -> str | None:
    """Return what is in *data* that JSON cannot hold; None: nothing."""
    pending: list[object] = [data]
    looked_at = 0
    while pending and looked_at <= LARGEST:  # what has more is too large, or within itself
        looked_at += 1
        given = pending.pop()
        kind = type(given)
        if kind is float:
            if not math.isfinite(cast("float", given)):
                return f"the number {given}"
        elif kind in (list, tuple):
            pending.extend(cast("list[object]", given))
        elif kind is dict:
            for key, value in cast("dict[Any, object]", given).items():
                if type(key) is not str:
                    return f"a key that is {_a(key)}"
                pending.append(value)
        elif given is not None and kind not in (str, int, bool):
            return _a(given)
    return None


def _a(given: object) -> str:
    name = class_name(type(given))
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"
