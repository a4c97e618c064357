"""The ledger of causes: which exit led to which decision, and how near the limit was.

Written where a supervisor decides, read by whoever asks why a service was restarted.
Bounded in number and in size, and without live objects of the tree.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from sprag_supervisor.facts.failure import in_brief, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.rules.decide import Reason

_KEPT: Final = 1000
_BYTES: Final = 3_000_000
"""Of all rulings together; older ones are kept in brief."""
_BYTES_OF_RULING: Final = 500
_NAMED: Final = 50
"""Of those covered by a ruling in brief."""

Decision = Literal["restart", "back_off", "give_up", "escalate", "shut_down", "keep"]


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
        failure = 0 if self.failure is None else size_of(self.failure)
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
        while self._size > _BYTES and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._size -= oldest.size()
            self._old.append(oldest.in_brief())
        if len(self._old) + len(self._recent) > _KEPT:
            if self._old:
                self._old.popleft()
            else:
                self._size -= self._recent.popleft().size()

    def __iter__(self) -> Iterator[Ruling]:
        """Go through all rulings as they are now, the oldest first."""
        return iter((*self._old, *self._recent))
