"""What `on_failure` may say besides a word: a `Backoff`, an `ExitApp`; and the numbers of a policy.

Pure.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final, Never, final

from sprag_supervisor.exceptions import BadPolicy
from sprag_supervisor.record import Record
from sprag_supervisor.rules.seconds import Seconds, as_count, as_number, seconds_of
from sprag_supervisor.wording import shown

if TYPE_CHECKING:
    from random import Random


class Backoff(Record):
    """The delay before a service is restarted: exponential, capped, with jitter.

    The n-th restart in a row waits ``initial * factor ** (n - 1)`` seconds, at most
    *maximum*, give or take the fraction *jitter*. A run of at least *reset_after*
    seconds starts the row anew; 0: each run does, `math.inf`: none. After *tries*
    restarts in a row the service is not restarted any more; None (default) for no
    limit. Times are seconds, or `timedelta`.

    *initial* is a millisecond at least: 0 would stay 0 however often it is multiplied,
    and a first start that is tried again counts toward no limit, so it would be tried
    without a pause for ever. To restart at once is to have no backoff.

    Raises:
        BadPolicy: A value is out of range.
    """

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1
    reset_after: float = 60.0
    tries: int | None = None

    def __init__(
        self,
        initial: Seconds = 0.1,
        *misplaced: Never,
        maximum: Seconds = 30.0,
        factor: float = 2.0,
        jitter: float = 0.1,
        reset_after: Seconds = 60.0,
        tries: int | None = None,
    ) -> None:
        if misplaced:
            accepted = f"keywords after the first, as in Backoff({shown(initial)}, maximum=30.0)"
            raise BadPolicy("backoff", misplaced[0], accepted)
        first = seconds_of("backoff.initial", initial, refusal=BadPolicy)
        highest = seconds_of("backoff.maximum", maximum, first, refusal=BadPolicy)
        factor = number_of("backoff.factor", factor, minimum=1.0)
        if math.isinf(factor):
            raise BadPolicy("backoff.factor", math.inf, "a finite number")
        jitter = number_of("backoff.jitter", jitter, minimum=0.0, maximum=1.0)
        object.__setattr__(self, "initial", first)
        object.__setattr__(self, "maximum", highest)
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "jitter", jitter)
        long_run = seconds_of(
            "backoff.reset_after", reset_after, 0.0, endless=True, refusal=BadPolicy
        )
        object.__setattr__(self, "reset_after", long_run)
        if tries is not None:
            count = as_count(tries)
            if count < 1:
                raise BadPolicy("backoff.tries", tries, "a whole number, 1 or more, or None")
            tries = count
        object.__setattr__(self, "tries", tries)

    def is_over(self, restarts_in_a_row: int) -> bool:
        """Whether so many restarts in a row were the last."""
        return self.tries is not None and restarts_in_a_row >= self.tries

    def delay(self, restarts_in_a_row: int, random: Random) -> float:
        """Return the seconds to wait before restart number *restarts_in_a_row* (from 1)."""
        try:
            delay = self.initial * self.factor ** (restarts_in_a_row - 1)
        except OverflowError:
            delay = self.maximum
        delay = min(delay, self.maximum)
        return min(delay * (1.0 + self.jitter * (2.0 * random.random() - 1.0)), _LONGEST)

    def least(self, restarts: float) -> float:
        """Return the least seconds that so many delays in a row, a whole number, take together."""
        total, delay = 0.0, min(self.initial, self.maximum)
        for _ in range(int(min(restarts, 10_000))):
            total += delay * (1.0 - self.jitter)
            delay = min(delay * self.factor, self.maximum)
        return total


@final
class ExitApp(Record):
    """What `on_failure` says of an exception that ends the app: as a SystemExit raised there.

    The root of the tree stops, and the process exits with *code*, 0 to 255; an embedded tree
    only stops.

    Raises:
        BadPolicy: *code* is no such number.
    """

    code: int

    def __init__(self, code: int) -> None:
        number = as_count(code)
        if not 0 <= number <= _HIGHEST_CODE:
            raise BadPolicy("ExitApp.code", code, "a whole number, 0 to 255")
        object.__setattr__(self, "code", number)


def number_of(keyword: str, given: Any, *, minimum: float, maximum: float = math.inf) -> float:
    """Return *given* as a float.

    Raises:
        BadPolicy: It is no number, or out of range.
    """
    number = as_number(given)
    if not minimum <= number <= maximum:
        upper = f" to {maximum:g}" if maximum != math.inf else " or more"
        raise BadPolicy(keyword, given, f"a number, {minimum:g}{upper}")
    return number


_LONGEST: Final = sys.float_info.max
"""Jitter would make it infinite."""
_HIGHEST_CODE: Final = 255
PATIENT: Final = Backoff()
"""What a first start that is tried again waits for, if nothing else is said."""
