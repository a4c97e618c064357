"""What is remembered of a service beyond its present state."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor._clock import Timer
    from sprag_supervisor._decide import Reason
    from sprag_supervisor._failure import Failure
    from sprag_supervisor._parking import Parking
    from sprag_supervisor._stragglers import Straggler

_KEPT_FAILURES: Final = 10


class Exit(NamedTuple):
    """How a service ended.

    Attributes:
        reason: Why: finished, shutdown, stopped, ignored, crashed, start_failed, gave_up.
        incarnation: Which life it was, from 1.
        failure: The crash, when it was one.
        code: The exit code asked for by a SystemExit in the tree; None without one.
    """

    reason: Reason
    incarnation: int
    failure: Failure | None = None
    code: int | None = None

    @property
    def is_clean(self) -> bool:
        """Whether it ended well: on purpose or by finishing."""
        return self.reason.is_clean


class History:
    """The failures, the last exit and the next try of one service."""

    __slots__ = (
        "exit",
        "failures",
        "in_a_row",
        "next_try",
        "retry_timer",
        "stragglers",
        "waiters",
    )

    def __init__(self) -> None:
        self.failures: deque[Failure] = deque(maxlen=_KEPT_FAILURES)
        self.exit: Exit | None = None
        self.in_a_row = 0  # restarts with backoff since the last healthy run
        self.next_try: float | None = None  # Invariant: a monotonic time while retry_timer is set
        self.retry_timer: Timer | None = None
        self.stragglers: list[tuple[Straggler, Callable[[], bool]]] = []
        """What earlier lives have left behind; the function says whether it is over."""
        self.waiters: list[Parking] = []
