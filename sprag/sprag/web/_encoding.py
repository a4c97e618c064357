"""Turn what a controller returns into JSON, and into plain values for templates."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, cast


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


def plain(value: object) -> Any:
    """Return *value* in a form that JSON has.

    Raises:
        TypeError: There is none.
    """
    match value:
        case enum.Enum():
            return value.value
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal() | uuid.UUID() | PurePath():
            return str(value)
        case Mapping():
            return dict(cast("Mapping[Any, Any]", value))
        case bytes() | bytearray() | memoryview():
            pass
        case Iterable():
            return list(cast("Iterable[Any]", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return {name: getattr(value, name) for name in names}
        case _:
            pass
    kind = type(value)
    raise TypeError(
        f"{kind.__module__}.{kind.__qualname__} has no form in JSON: "
        "return dicts, lists, texts, numbers, dates, dataclasses"
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in cast("list[Any]", value)]
    if value is None or isinstance(value, str | int):
        return value
    return _without_nan(plain(value))
