"""Numbers as users give them, and times: seconds as a number, or a `timedelta`. Pure.

Here they are made plain, so that whoever reckons with them later runs no code of anybody's, and
meets nothing that is too large for it.
"""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from typing import Any, TypeAlias

from sprag_supervisor.foreign import is_a

Seconds: TypeAlias = float | timedelta
"""Seconds, as a number or as a `timedelta`."""


def as_number(given: Any) -> float:
    """Return a number as a plain float; NaN, which is in no range, for what is none.

    That is a truth, too, and a whole number too large for a float.
    """
    if is_a(given, float):
        return float.__float__(given)
    if is_a(given, int) and type(given) is not bool:
        try:
            return int.__float__(given)
        except OverflowError:
            return math.nan
    return math.nan


def in_seconds(given: Any) -> float:
    """Return a number, or a timedelta, in seconds; NaN, which is in no range, for what is none."""
    return timedelta.total_seconds(given) if is_a(given, timedelta) else as_number(given)


def as_count(given: Any) -> int:
    """Return a whole number as a plain int; -1, which is less than any count, for what is none.

    That is a truth, too, and more than there can be things.
    """
    if is_a(given, int) and type(given) is not bool:
        number = int.__int__(given)
        if 0 <= number <= sys.maxsize:
            return number
    return -1
