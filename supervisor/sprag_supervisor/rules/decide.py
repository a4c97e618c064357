"""What to do after an exit: the decisions of an OTP supervisor as pure functions.

No gevent, no clock, no logging: time comes in as an argument, the result goes out
as a value, and the tests are tables.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from sprag_supervisor.foreign import is_a
from sprag_supervisor.rules.backoff import Backoff, ExitApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sprag_supervisor.rules.policy import OnFailure, Policy, Strategy

T = TypeVar("T")


class Reason(enum.Enum):
    """Why an incarnation ended."""

    FINISHED = "finished"
    """By itself and cleanly: OTP's `normal`."""
    SHUTDOWN = "shutdown"
    """By itself, because significant children ended: OTP's `shutdown`."""
    STOPPED = "stopped"
    """On purpose, by `stop()` or by its parent."""
    IGNORED = "ignored"
    """`on_start` raised Ignore."""
    RECYCLED = "recycled"
    """It had lived long enough: another life follows. Sprag's own."""
    CRASHED = "crashed"
    START_FAILED = "start_failed"
    GAVE_UP = "gave_up"
    """Its children were restarted too often."""

    __hash__ = object.__hash__  # as for State

    @property
    def is_clean(self) -> bool:
        """Whether OTP would call it a normal end (otp-rules 27)."""
        return self in _CLEAN


CRASHED: Final = Reason.CRASHED
"""Asked for often, and a module finds its own names ten times as fast as those of an enum."""
RECYCLED: Final = Reason.RECYCLED
_CLEAN = frozenset({Reason.FINISHED, Reason.SHUTDOWN, Reason.STOPPED, Reason.IGNORED, RECYCLED})
_FROM_OUTSIDE = frozenset({Reason.STOPPED, Reason.IGNORED, RECYCLED})

Decision = Literal[
    "restart", "back_off", "give_up", "gave_up_tries", "escalate", "exit", "shut_down", "keep"
]
"""What a supervisor does about the end of a child, in the ledger's words."""
RESTARTS: Final[frozenset[Decision]] = frozenset({"restart", "back_off", "give_up"})
"""Until one of these is carried out, the child is `restarting`."""


def ruling(  # noqa: C901, PLR0917 - a clause for each row; see `bringing_up._bring_up`
    child: Policy,
    reason: Reason,
    action: OnFailure | None,
    supervisor: Policy,
    restarts: int = 0,
    others_active: Iterable[bool] = (),
    tried: int = 0,
    is_first: bool = False,  # noqa: FBT001, FBT002
) -> Decision:
    """Rule on the end of a child: OTP's whole table, a clause for each row.

    Args:
        child: What the child asks for.
        reason: What it died of.
        action: What its `on_failure` says about the exception; None if nothing.
        supervisor: What its supervisor asks for.
        restarts: How many count within the supervisor's window, with the one that this end
            would lead to.
        others_active: Whether each other significant child still runs.
        tried: How often it was restarted in a row, as its `Backoff` counts.
        is_first: It is the first start that has failed, and is tried again (`retry_start`).
    """
    if reason in _FROM_OUTSIDE:
        # A recycled one at once, whatever its backoff, and without counting. Of all else nobody is
        # restarted, and nothing shut down (27, 32, 64).
        return "restart" if reason is RECYCLED and child.restart != "temporary" else "keep"
    is_clean, restart, backoff = reason in _CLEAN, child.restart, child.backoff
    if action is not None:
        if is_a(action, ExitApp):
            return "exit"
        if is_a(action, Backoff):
            backoff, action = action, "restart"
        elif action == "finish":
            is_clean, action = True, None  # as if it had said so itself
    if is_first and (action is None or action == "restart"):
        # Sprag's own, `retry_start`: whatever its type, and without counting.
        return _after_tries(backoff, supervisor, tried) or "back_off"
    if action is None or is_clean or action != "restart":  # else a restart, whatever its type
        if (
            child.significant
            and supervisor.auto_shutdown != "never"
            and (is_clean or restart != "transient")
            and (supervisor.auto_shutdown == "any_significant" or not any(others_active))
        ):
            return "shut_down"  # 64-66; after a failure a transient child comes back
        if action is not None and action != "restart":
            return "escalate" if action == "escalate" else "keep"
        if restart != "permanent" and (is_clean or restart == "temporary"):
            return "keep"  # 4, 27, 58
    if backoff is None:
        return "restart" if restarts <= supervisor.max_restarts else "give_up"  # 11, 21
    if (last := _after_tries(backoff, supervisor, tried)) is not None:
        return last
    return "back_off" if restarts <= supervisor.max_restarts else "give_up"


def _after_tries(backoff: Backoff | None, supervisor: Policy, tried: int) -> Decision | None:
    """Say what becomes of a child that has been tried so often in a row; None: another try.

    Where others are restarted with it they are down too, and must not stay so: their parent
    gives up.
    """
    if backoff is None or not backoff.is_over(tried):
        return None
    return "gave_up_tries" if supervisor.strategy == "one_for_one" else "give_up"


def covered(
    strategy: Strategy,
    siblings: Iterable[T],
    failed: T,
    depends: Callable[[T], bool] = lambda _one: True,
) -> Sequence[T]:
    """Return who is restarted with *failed*, itself included, in start order (otp-rules 35-37).

    *siblings* are all children in start order; they are looked at only where the
    strategy needs them, so that one_for_one costs the same beside 100,000 siblings.
    Under rest_for_one ``depends(one)`` says whether *one*, which comes after *failed*, needs that
    or any of which it has said so before; OTP's answer is always yes.
    """
    if strategy == "one_for_one":
        return (failed,)
    everyone = tuple(siblings)
    if strategy == "one_for_all":
        return everyone
    first = next(at for at, each in enumerate(everyone) if each is failed)  # index() goes by ==
    return [failed, *filter(depends, everyone[first + 1 :])]


class RestartWindow:
    """The restarts of one supervisor within the last *max_seconds* (otp-rules 11-20).

    Exact monotonic seconds, both ends included; old entries go when a new one comes.
    """

    __slots__ = ("_times", "count")

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self.count = 0
        """How many restarts counted when the last one came."""

    def add(self, now: float, max_seconds: float) -> int:
        """Count a restart at *now*; return how many count, itself included."""
        times = self._times
        times.append(now)
        oldest = now - max_seconds
        while times[0] < oldest:
            times.popleft()
        self.count = len(times)
        return self.count

    def since(self, then: float) -> int:
        """Return how many there were at *then* and later."""
        return sum(each >= then for each in self._times)

    def add_late(self, then: float, max_seconds: float) -> int:
        """Count a restart that was due at *then* and had to wait; return how many counted then."""
        times = self._times
        insort(times, then)
        self.count = sum(then - max_seconds <= each <= then for each in times)
        while times[0] < times[-1] - max_seconds:
            times.popleft()
        return self.count
