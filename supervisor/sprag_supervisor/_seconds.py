"""Times: seconds as a number, or a `timedelta`. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeAlias

Seconds: TypeAlias = float | timedelta
"""Seconds, as a number or as a `timedelta`."""


def is_number(given: Any) -> bool:
    """Whether *given* is a number; True and False are none."""
    return isinstance(given, int | float) and not isinstance(given, bool)


def in_seconds(given: Any) -> Any:
    """Return a timedelta as a number of seconds, and anything else as it is."""
    return timedelta.total_seconds(given) if isinstance(given, timedelta) else given
