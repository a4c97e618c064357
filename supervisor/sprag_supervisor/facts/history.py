"""What is remembered of a service beyond its present state."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import ref

from sprag_supervisor.facts.failure import in_brief, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.straggler import Straggler
    from sprag_supervisor.loop.clock import Timer
    from sprag_supervisor.loop.parking import Parking
    from sprag_supervisor.rules.decide import Reason

_KEPT_FAILURES: Final = 10
_BYTES: Final = 8_000_000
"""Of all failures that the services of one tree remember."""


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
        "__weakref__",
        "exit",
        "failures",
        "in_a_row",
        "memories",
        "next_try",
        "retry_timer",
        "stragglers",
        "waiters",
    )

    def __init__(self) -> None:
        self.failures: deque[Failure] = deque()
        self.memories: deque[_Memory] = deque()
        """Of those of the failures that are remembered in full, the last ones."""
        self.exit: Exit | None = None
        self.in_a_row = 0  # restarts with backoff since the last healthy run
        self.next_try: float | None = None  # Invariant: a monotonic time while retry_timer is set
        self.retry_timer: Timer | None = None
        self.stragglers: list[tuple[Straggler, Callable[[], bool]]] = []
        """What earlier lives have left behind; the function says whether it is over."""
        self.waiters: list[Parking] = []

    def forget(self, memory: _Memory) -> None:
        """Forget the failure of *memory*; if it is the last one, a line of it stays."""
        at = next(at for at, each in enumerate(self.memories) if each is memory)
        place = len(self.failures) - len(self.memories) + at
        del self.memories[at]
        if place < len(self.failures) - 1:
            del self.failures[place]
            return
        last = self.failures[place]
        self.failures[place] = brief = in_brief(last)
        if self.exit is not None and self.exit.failure is last:
            self.exit = self.exit._replace(failure=brief)


class _Memory(ref[History]):
    """One failure that a history remembers in full, and about how many bytes that takes."""

    __slots__ = ("owner", "size")

    owner: Memories
    size: int


class Memories:
    """All that the services of one tree remember of their failures; the oldest go first.

    Ten failures are little in one service, and much in each of 100,000.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[int, _Memory] = OrderedDict()
        """By identity, the oldest first."""
        self._size = 0  # Invariant: of all in `_kept`

    def add(self, history: History, failure: Failure) -> None:
        """Let *history* remember *failure*."""
        if len(history.failures) == _KEPT_FAILURES:
            if len(history.memories) == _KEPT_FAILURES:
                first = history.memories.popleft()
                first.owner._drop(first)
            history.failures.popleft()
        memory = _Memory(history, self._drop)
        memory.owner = self
        memory.size = size_of(failure)
        history.failures.append(failure)
        history.memories.append(memory)
        self._kept[id(memory)] = memory
        self._size += memory.size
        while self._size > _BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size
            owner = oldest()
            if owner is not None:
                owner.forget(oldest)

    def _drop(self, memory: ref[History]) -> None:
        """Count *memory* no more: its failure is forgotten, or its service is gone."""
        dropped = self._kept.pop(id(memory), None)
        if dropped is not None:
            self._size -= dropped.size
