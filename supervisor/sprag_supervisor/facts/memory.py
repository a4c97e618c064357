"""What is remembered of the services of a tree: their failures, and why they were restarted.

A `History` is one service's. The `Ledger` is the tree's: which exit led to which decision, and how
near the limit was; written where a supervisor decides, read by whoever asks why a service was
restarted. All of it is bounded in number and in size, and without live objects of the tree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sprag_supervisor.facts.failure import in_brief

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor.facts.asked import AskNote
    from sprag_supervisor.facts.because import Because
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.hold import HoldNote
    from sprag_supervisor.facts.move import MoveNote
    from sprag_supervisor.facts.replacement import ReplacementNote
    from sprag_supervisor.facts.straggler import Straggler
    from sprag_supervisor.rules.decide import Decision, Reason
    from sprag_supervisor.rules.policy import Policy

_KEPT_FAILURES: Final = 10
_BYTES_OF_FAILURES: Final = 8_000_000
"""Of all failures that the services of one tree remember."""
_SPARE: Final = 64
"""Memories that are forgotten, and still in the row."""
_KEPT_RULINGS: Final = 1000
_BYTES_OF_RULINGS: Final = 3_000_000
"""Of all rulings together; older ones are kept in brief."""
_BYTES_OF_RULING: Final = 500
_KEPT_HOLDS: Final = 100
_KEPT_MOVES: Final = 500
_KEPT_ASKS: Final = 100
_KEPT_REPLACEMENTS: Final = 100
_NAMED: Final = 50
"""Of those covered by a ruling in brief."""


class Exit(NamedTuple):
    """How a service ended.

    Attributes:
        reason: Why: finished, shutdown, stopped, ignored, recycled, crashed, start_failed, gave_up.
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


class Waiter(Protocol):
    """Who is to look at a service when it goes down."""

    def poke(self) -> None:
        """Look at it. Called in the midst of its end: must not block, nor call anybody."""


class Waiting(Protocol):
    """What a service that is down waits for: a timer, or what it needs."""

    def close(self) -> None:
        """Wait no longer."""


class History:
    """The failures, the last exit and the next try of one service."""

    # Defaults of the class: a first crash makes the whole object, and most need no more.
    exit: Exit | None = None
    in_a_row = 0
    """Restarts with backoff since the last healthy run."""
    next_try: float | None = None  # A monotonic time, while it waits for one
    retry_timer: Waiting | None = None
    stragglers: list[tuple[Straggler, Callable[[], bool]]] | None = None
    """What earlier lives have left behind; the function says whether it is over."""
    waiters: list[Waiter] | None = None
    """Who waits for the end of the service, or watches its lives."""
    waits_for: dict[str, None] = {}  # noqa: RUF012 - nobody changes this one
    """The names of the siblings that it needs and that are not yet what they have to be."""
    first_start: bool = False
    """It has never been up at this place, and is started again until it is (`retry_start`)."""
    recycled = 0
    """How often it was recycled (`life.recycling`)."""
    put_down: tuple[int, Because] | None = None
    """Why it was stopped, where its end does not tell: in which life that was noted, and why."""
    dues: Any = None
    """What the library's crons leave to the next life; see `owned.crons`."""

    def __init__(self) -> None:
        self.memories: list[_Memory] = []
        """Of the last failures, the oldest first."""

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last failures, the oldest first."""
        return tuple([failure for failure, _owner in self.memories])

    def end(self, how: Exit, policy: Policy, uptime: float) -> None:
        """Take note of the end of a life of *uptime* seconds."""
        self.exit = how
        if self.in_a_row and uptime >= policy.healthy_after:
            self.in_a_row = 0

    def forget(self, memory: _Memory) -> None:
        """Forget the failure of *memory*; if it is the last one, a line of it stays."""
        if memory is not self.memories[-1]:
            self.memories = [each for each in self.memories if each is not memory]
            return
        failure: Failure = memory[0]
        brief = in_brief(failure)
        self.memories[-1] = [brief, None]
        if self.exit is not None and self.exit.failure is failure:
            self.exit = self.exit._replace(failure=brief)


_Memory = list[Any]
"""A failure, and the History that it is counted for; None: it is not, or not any more.

In a row it then keeps its place, but no failure."""


class Memories:
    """All that the services of one tree remember of their failures; the oldest go first.

    Ten failures are little in one service, and much in each of 100,000.
    """

    def __init__(self) -> None:
        self._row: deque[_Memory] = deque()
        """The oldest first, with those among them that are not remembered any more."""
        self._gone = 0  # Invariant: how many of them are not
        self._size = 0  # Invariant: bytes of those that are

    def add(self, history: History, failure: Failure) -> None:
        """Let *history* remember *failure*."""
        memories = history.memories
        if len(memories) == _KEPT_FAILURES:
            oldest = memories.pop(0)
            if oldest[1] is not None:
                self._drop(oldest)
        memory: _Memory = [failure, history]
        memories.append(memory)
        self._row.append(memory)
        self._size += failure[-1]  # its size: by place, which costs a third
        if self._size > _BYTES_OF_FAILURES:
            self._forget_the_oldest()

    def join(self, history: History) -> None:
        """Count what *history* remembers already: its service comes to the tree, maybe again."""
        before = history.memories
        if before and before[-1][1] is None:
            history.memories = []
            for failure, _owner in before:
                self.add(history, failure)

    def leave(self, history: History) -> None:
        """Count what *history* remembers no more: its service has left the tree."""
        memories = history.memories
        for at, memory in enumerate(memories):
            if memory[1] is not None:
                memories[at] = [memory[0], None]
                self._drop(memory)

    def _drop(self, memory: _Memory) -> None:
        """Count *memory* no more, and keep nothing of it but its place in the row."""
        self._size -= memory[0].size
        self._gone += 1
        memory[0] = memory[1] = None
        if self._gone > len(self._row) // 2 + _SPARE:
            self._row = deque([each for each in self._row if each[1] is not None])
            self._gone = 0

    def _forget_the_oldest(self) -> None:
        while self._size > _BYTES_OF_FAILURES:
            memory = self._row.popleft()
            failure, owner = memory
            if owner is None:
                self._gone -= 1
            else:
                self._size -= failure.size
                memory[1] = None
                owner.forget(memory)


class Ruling(NamedTuple):
    """One decision of one supervisor about one exit.

    Attributes:
        at: Seconds since the epoch.
        supervisor: Path of who decided.
        name: Whose end it was: its name below the supervisor.
        incarnation: Which life of the child had ended.
        reason: Why it had.
        failure: The crash, if it was one.
        decision: ``restart`` at once, ``back_off`` and restart later, ``give_up`` because
            of the limit, ``escalate`` or ``exit`` of the app because the child's `on_failure` says
            so, ``shut_down`` because of a significant child, ``keep`` it down.
        names: Of all that are restarted with it, itself included, in start order; of an old
            ruling the first ones.
        policy: The supervisor's.
        restarts: How many count within the window, this one included.
        delay: Seconds until the restart; 0 for at once.
        covered_count: How many there are in `names`, or were.
    """

    at: float
    supervisor: str
    name: str
    incarnation: int
    reason: Reason
    failure: Failure | None
    decision: Decision
    names: tuple[str, ...]
    policy: Policy
    restarts: int
    delay: float
    covered_count: int

    @property
    def child(self) -> str:
        """The path of whose end it was."""
        return f"{self.supervisor}/{self.name}"

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
        # By place, which costs a third: asked for each ruling.
        failure, size = self[5], _BYTES_OF_RULING + 8 * self[-1]
        return size if failure is None else size + failure[-1]


Follower = Callable[[int, Ruling], object]
"""Who is told of each ruling, with its number."""


class Ledger:
    """The last rulings of a tree, the latest last."""

    def __init__(self) -> None:
        self.holds: deque[HoldNote] = deque(maxlen=_KEPT_HOLDS)
        """What was held and released, the latest last."""
        self.moves: deque[MoveNote] = deque(maxlen=_KEPT_MOVES)
        """Which singletons have come and gone, the latest last."""
        self.asks: deque[AskNote] = deque(maxlen=_KEPT_ASKS)
        """What was asked for from other nodes, the latest last."""
        self.replacements: deque[ReplacementNote] = deque(maxlen=_KEPT_REPLACEMENTS)
        """Which workers were replaced, or were to be, the latest last."""
        self._old: deque[Ruling] = deque()
        """In brief, all older than those in …"""
        self._recent: deque[Ruling] = deque()
        self._size = 0  # Invariant: of what is in `_recent`
        self._gone = 0
        """How many are not kept any more."""
        self._followers: tuple[Follower, ...] = ()

    @property
    def first(self) -> int:
        """The number of the oldest ruling that is kept, from 1; one more than `last` if none is."""
        return self._gone + 1

    @property
    def last(self) -> int:
        """How many rulings there have been: the number of the latest."""
        return self._gone + len(self._old) + len(self._recent)

    def numbered(self) -> Iterator[tuple[int, Ruling]]:
        """Go through all rulings as they are now, the oldest first, each with its number."""
        return enumerate(self, self.first)

    def follow(self, follower: Follower) -> None:
        """Have *follower* called with each ruling and its number. It must not block, nor raise."""
        self._followers = (*self._followers, follower)

    def leave(self, follower: Follower) -> None:
        """Tell *follower* no more. Harmless a second time."""
        self._followers = tuple([each for each in self._followers if each != follower])

    def enter(self, ruling: Ruling) -> None:
        """Write *ruling* down; the oldest is cut, then goes, when there is too much."""
        recent = self._recent
        recent.append(ruling)
        self._size += ruling.size()
        if self._size > _BYTES_OF_RULINGS or len(recent) + len(self._old) > _KEPT_RULINGS:
            self._cut()
        for follower in self._followers:
            follower(self.last, ruling)

    def _cut(self) -> None:
        while self._size > _BYTES_OF_RULINGS and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._size -= oldest.size()
            self._old.append(oldest.in_brief())
        if len(self._old) + len(self._recent) > _KEPT_RULINGS:
            self._gone += 1
            if self._old:
                self._old.popleft()
            else:
                self._size -= self._recent.popleft().size()

    def __iter__(self) -> Iterator[Ruling]:
        """Go through all rulings as they are now, the oldest first."""
        return iter((*self._old, *self._recent))
