"""Times: seconds as a number, or a `timedelta`. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeAlias

from sprag_supervisor.foreign import is_a

Seconds: TypeAlias = float | timedelta
"""Seconds, as a number or as a `timedelta`."""


def is_number(given: Any) -> bool:
    """Whether *given* is a number; True and False are none."""
    return (is_a(given, int) or is_a(given, float)) and type(given) is not bool


def in_seconds(given: Any) -> Any:
    """Return a timedelta as a number of seconds, and anything else as it is."""
    return timedelta.total_seconds(given) if is_a(given, timedelta) else given
