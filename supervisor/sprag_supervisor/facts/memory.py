"""What is remembered of the services of a tree: their failures, and why they were restarted.

A `History` is one service's. The `Ledger` is the tree's: which exit led to which decision, and how
near the limit was; written where a supervisor decides, read by whoever asks why a service was
restarted. All of it is bounded in number and in size, and without live objects of the tree.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import ref

from sprag_supervisor.facts.failure import in_brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.straggler import Straggler
    from sprag_supervisor.loop.clock import Timer
    from sprag_supervisor.loop.parking import Parking
    from sprag_supervisor.rules.decide import Decision, Reason
    from sprag_supervisor.rules.policy import Backoff

_KEPT_FAILURES: Final = 10
_BYTES_OF_FAILURES: Final = 8_000_000
"""Of all failures that the services of one tree remember."""
_SPARE: Final = 64
"""Memories that are forgotten, and still in the row."""
_KEPT_RULINGS: Final = 1000
_BYTES_OF_RULINGS: Final = 3_000_000
"""Of all rulings together; older ones are kept in brief."""
_BYTES_OF_RULING: Final = 500
_NAMED: Final = 50
"""Of those covered by a ruling in brief."""


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

    def end(self, how: Exit, backoff: Backoff | None, uptime: float) -> None:
        """Take note of the end of a life of *uptime* seconds."""
        self.exit = how
        if backoff is not None and uptime >= backoff.reset_after:
            self.in_a_row = 0

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


class _Memory:
    """One failure that is remembered in full; None once it is not any more."""

    __slots__ = ("failure", "owner")

    failure: Failure | None
    owner: ref[History]


class Memories:
    """All that the services of one tree remember of their failures; the oldest go first.

    Ten failures are little in one service, and much in each of 100,000.
    """

    def __init__(self) -> None:
        self._kept: deque[_Memory] = deque()
        """The oldest first, with those among them that are forgotten."""
        self._live = 0  # Invariant: how many of them are not
        self._size = 0  # Invariant: bytes of these

    def add(self, history: History, failure: Failure) -> None:
        """Let *history* remember *failure*."""
        memories, kept = history.memories, self._kept
        if len(history.failures) == _KEPT_FAILURES:
            history.failures.popleft()
            if len(memories) == _KEPT_FAILURES:
                self._drop(memories.popleft())
        memory = _Memory()
        memory.failure, memory.owner = failure, ref(history)
        history.failures.append(failure)
        memories.append(memory)
        kept.append(memory)
        self._live += 1
        self._size += failure.size
        if self._size > _BYTES_OF_FAILURES or len(kept) > 2 * self._live + _SPARE:
            self._tidy()

    def join(self, history: History) -> None:
        """Count what *history* remembers already: its service comes to the tree, maybe again."""
        if not history.memories:
            before, history.failures = history.failures, deque()
            for failure in before:
                self.add(history, failure)

    def leave(self, history: History) -> None:
        """Count what *history* remembers no more: its service has left the tree."""
        for memory in history.memories:
            self._drop(memory)
        history.memories.clear()

    def _drop(self, memory: _Memory) -> None:
        failure = memory.failure
        if failure is not None:
            memory.failure = None
            self._live -= 1
            self._size -= failure.size

    def _tidy(self) -> None:
        """Forget the oldest while there is too much, and who has forgotten by itself."""
        kept = self._kept
        while self._size > _BYTES_OF_FAILURES:
            memory = kept.popleft()
            if memory.failure is not None:
                self._drop(memory)
                owner = memory.owner()
                if owner is not None:
                    owner.forget(memory)
        if len(kept) > 2 * self._live + _SPARE:
            self._kept = deque([each for each in kept if each.failure is not None])


class Ruling(NamedTuple):
    """One decision of one supervisor about one exit.

    Attributes:
        at: Seconds since the epoch.
        supervisor: Path of who decided.
        child: Path of whose end it was.
        incarnation: Which life of the child had ended.
        reason: Why it had.
        failure: The crash, if it was one.
        decision: ``restart`` at once, ``back_off`` and restart later, ``give_up`` because
            of the limit, ``escalate`` because the child's `on_failure` says so,
            ``shut_down`` because of a significant child, ``keep`` it down.
        names: Of all that are restarted with it, itself included, in start order; of an old
            ruling the first ones.
        strategy: The supervisor's.
        restarts: How many count within the window, this one included.
        max_restarts: How many are allowed …
        max_seconds: … within this many seconds.
        delay: Seconds until the restart; 0 for at once.
        covered_count: How many there are in `names`, or were.
    """

    at: float
    supervisor: str
    child: str
    incarnation: int
    reason: Reason
    failure: Failure | None
    decision: Decision
    names: tuple[str, ...]
    strategy: str
    restarts: int
    max_restarts: int
    max_seconds: float
    delay: float
    covered_count: int

    def covered(self, most: int) -> list[str]:
        """Return the paths of those restarted with it, at most *most* of them."""
        return [f"{self.supervisor}/{name}" for name in self.names[:most]]

    def concerns(self, path: str) -> bool:
        """Whether it is about the service at *path*: its own end, or what took it along."""
        if path in (self.supervisor, self.child) or path.startswith(f"{self.child}/"):
            return True
        if not path.startswith(f"{self.supervisor}/"):
            return False
        name, _, _below = path[len(self.supervisor) + 1 :].partition("/")
        return name in self.names

    def in_brief(self) -> Ruling:
        """Return it without what is large: the crash's traceback, and most names."""
        failure = None if self.failure is None else in_brief(self.failure)
        return self._replace(failure=failure, names=self.names[:_NAMED])

    def size(self) -> int:
        """Return about how many bytes it keeps in memory."""
        failure = 0 if self.failure is None else self.failure.size
        return _BYTES_OF_RULING + failure + 8 * len(self.names)


class Ledger:
    """The last rulings of a tree, the latest last."""

    def __init__(self) -> None:
        self._old: deque[Ruling] = deque()
        """In brief, all older than those in …"""
        self._recent: deque[Ruling] = deque()
        self._size = 0  # Invariant: of what is in `_recent`

    def enter(self, ruling: Ruling) -> None:
        """Write *ruling* down; the oldest is cut, then goes, when there is too much."""
        self._recent.append(ruling)
        self._size += ruling.size()
        while self._size > _BYTES_OF_RULINGS and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._size -= oldest.size()
            self._old.append(oldest.in_brief())
        if len(self._old) + len(self._recent) > _KEPT_RULINGS:
            if self._old:
                self._old.popleft()
            else:
                self._size -= self._recent.popleft().size()

    def __iter__(self) -> Iterator[Ruling]:
        """Go through all rulings as they are now, the oldest first."""
        return iter((*self._old, *self._recent))
