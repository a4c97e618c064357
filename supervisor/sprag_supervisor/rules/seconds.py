"""Numbers as users give them, and times: seconds as a number, or a `timedelta`. Pure.

Here they are made plain, so that whoever reckons with them later runs no code of anybody's, and
meets nothing that is too large for it. One rule says which times are accepted, wherever one is
given (`seconds_of`): a finite one, a millisecond at least. What repeats or watches in less would
keep the loop busy with nothing else, or end a service at once, for a loop cannot tell such times
apart. 0 is accepted only where it means something: at once, or no time at all.
"""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sprag_supervisor.exceptions import BadValue
from sprag_supervisor.foreign import is_a

if TYPE_CHECKING:
    from collections.abc import Callable

Seconds: TypeAlias = float | timedelta
"""Seconds, as a number or as a `timedelta`."""
LEAST: Final = 0.001
"""Seconds: the least time that is accepted where 0 means nothing."""


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


def seconds_of(
    argument: str,
    given: Any,
    least: float = LEAST,
    *,
    endless: bool = False,
    also: str = "",
    refusal: Callable[[str, object, str], Exception] = BadValue,
) -> float:
    """Return a time that a user has given, in seconds.

    Args:
        argument: What it was given as.
        given: Anything.
        least: Seconds that it has to have; 0.0 where 0 has a meaning.
        endless: Whether `math.inf` is one.
        also: What else is accepted, and dealt with by the caller: ", or None".
        refusal: The class of what is raised.

    Raises:
        BadValue: It is no time, or out of range; or *refusal*.
    """
    seconds = in_seconds(given)
    if least <= seconds < math.inf or (endless and seconds == math.inf):
        return seconds
    number = "seconds" if endless else "a finite number of seconds"
    raise refusal(argument, given, f"{number}, {least:g} or more{also}")
