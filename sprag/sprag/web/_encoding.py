"""Turn what a controller returns into JSON, and into plain values for templates."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import uuid
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, Final

_FIELDS: Final = "__dataclass_fields__"


def to_json(data: object) -> bytes:
    """Return *data* as JSON.

    Dataclasses become objects, sets and other iterables lists, dates ISO 8601, enums their
    values, decimals, UUIDs and paths texts. What is no number (NaN, infinity) becomes null.

    Raises:
        TypeError: There is something in it that has no form in JSON.
    """
    try:
        text = json.dumps(data, default=plain, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = _without_nan(data)
        text = json.dumps(finite, default=plain, ensure_ascii=False, allow_nan=False)
    # A lone surrogate has no form in UTF-8, and one field must not cost the whole answer.
    return text.encode("utf-8", "replace")


def plain(value: Any) -> Any:
    """Return *value* in a form that JSON has.

    Raises:
        TypeError: There is none.
    """
    if is_one(value, enum.Enum):
        return value.value
    if is_one(value, dt.datetime, dt.date, dt.time):
        return value.isoformat()
    if is_one(value, dt.timedelta):
        return value.total_seconds()
    if is_one(value, decimal.Decimal, uuid.UUID, PurePath):
        return str(value)
    if is_one(value, Mapping):
        return dict(value)
    if not is_one(value, type) and (names := getattr(value, _FIELDS, None)) is not None:
        return {name: getattr(value, name) for name in names}
    if is_one(value, Iterable) and not is_one(value, bytes, bytearray, memoryview, type):
        return list(value)
    raise TypeError(
        f"{_kind(value)} has no form in JSON: "
        "return dicts, lists, texts, numbers, dates, dataclasses"
    )


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def is_one(value: object, *kinds: type) -> bool:
    """Do what isinstance does, and leave a user's data what they are to a type checker: Any."""
    return isinstance(value, kinds)


def _without_nan(value: Any) -> Any:
    if is_one(value, float):
        return value if math.isfinite(value) else None
    if is_one(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if is_one(value, list, tuple):
        return [_without_nan(each) for each in value]
    if value is None or is_one(value, str, int):
        return value
    return _without_nan(plain(value))
