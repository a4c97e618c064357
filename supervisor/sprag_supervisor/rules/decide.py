"""What to do after an exit: the decisions of an OTP supervisor as pure functions.

No gevent, no clock, no logging: time comes in as an argument, the result goes out
as a value, and the tests are tables.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from sprag_supervisor.rules.policy import OnFailure, Restart, Strategy

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
    CRASHED = "crashed"
    START_FAILED = "start_failed"
    GAVE_UP = "gave_up"
    """Its children were restarted too often."""

    __hash__ = object.__hash__  # as for State

    @property
    def is_clean(self) -> bool:
        """Whether OTP would call it a normal end (otp-rules 27)."""
        return self in _CLEAN


_CLEAN = frozenset({Reason.FINISHED, Reason.SHUTDOWN, Reason.STOPPED, Reason.IGNORED})


class After(enum.Enum):
    """What a child's own end means for the child."""

    RESTART = "restart"
    KEEP = "keep"
    """It stays in the tree, down."""
    DROP = "drop"
    """It leaves the tree."""


def after_exit(restart: Restart, reason: Reason, action: OnFailure | None = None) -> After:
    """Decide what becomes of a child that ended (otp-rules 4, 27, 32, 58).

    An end on purpose and an ignored start are never restarted; only there, and where
    its `on_failure` says so, a permanent child stays down.

    Args:
        restart: The child's restart type.
        reason: What it died of.
        action: What its `on_failure` says about the exception; None if nothing.
    """
    if action == "restart" and not reason.is_clean:
        return After.RESTART
    if restart == "temporary":
        return After.DROP
    if reason in (Reason.STOPPED, Reason.IGNORED) or action in ("stop", "escalate"):
        return After.KEEP
    if restart == "permanent":
        return After.RESTART
    return After.KEEP if reason.is_clean else After.RESTART


def covered(
    strategy: Strategy,
    siblings: Iterable[T],
    failed: T,
    depends: Callable[[T, Collection[T]], bool] = lambda _one, _others: True,
) -> Sequence[T]:
    """Return who is restarted with *failed*, itself included, in start order (otp-rules 35-37).

    *siblings* are all children in start order; they are looked at only where the
    strategy needs them, so that one_for_one costs the same beside 100,000 siblings.
    Under rest_for_one ``depends(one, others)`` says whether *one*, which comes after
    *failed*, needs any of *others*; OTP's answer is always yes.
    """
    if strategy == "one_for_one":
        return (failed,)
    everyone = tuple(siblings)
    if strategy == "one_for_all":
        return everyone
    rest = [failed]
    first = next(at for at, each in enumerate(everyone) if each is failed)  # index() goes by ==
    for sibling in everyone[first + 1 :]:
        if depends(sibling, rest):
            rest.append(sibling)
    return rest


class RestartWindow:
    """The restarts of one supervisor within the last *max_seconds* (otp-rules 11-20).

    More than *max_restarts* of them and the supervisor gives up. Exact monotonic
    seconds, both ends included; old entries go when a new one comes.
    """

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float, max_restarts: int, max_seconds: float) -> bool:
        """Count a restart at *now*; return whether the limit still allows it."""
        times = self._times
        times.append(now)
        oldest = now - max_seconds
        while times[0] < oldest:
            times.popleft()
        return len(times) <= max_restarts

    def __len__(self) -> int:
        """Return how many restarts counted when the last one came."""
        return len(self._times)


def shuts_down(
    auto_shutdown: str, ended: Reason, restart: Restart, others_active: Iterable[bool]
) -> bool:
    """Decide whether a significant child's end ends its supervisor too (otp-rules 64-66).

    *others_active* tells for each other significant child whether it still runs.
    An end caused from outside never does; a transient child's only when clean.
    """
    if auto_shutdown == "never" or ended in (Reason.STOPPED, Reason.IGNORED):
        return False
    if restart == "transient" and not ended.is_clean:
        return False
    return auto_shutdown == "any_significant" or not any(others_active)
