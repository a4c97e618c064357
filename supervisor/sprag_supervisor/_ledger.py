"""The ledger of causes: which exit led to which decision, and how near the limit was.

Written where a supervisor decides, read by whoever asks why a service was restarted.
Bounded, and without live objects of the tree.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor._decide import Reason
    from sprag_supervisor._failure import Failure

_KEPT: Final = 1000

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
        covered: Paths of all that are restarted with it, itself included, in start order.
        strategy: The supervisor's.
        restarts: How many count within the window, this one included.
        max_restarts: How many are allowed …
        max_seconds: … within this many seconds.
        delay: Seconds until the restart; 0 for at once.
    """

    at: float
    supervisor: str
    child: str
    incarnation: int
    reason: Reason
    failure: Failure | None
    decision: Decision
    covered: tuple[str, ...]
    strategy: str
    restarts: int
    max_restarts: int
    max_seconds: float
    delay: float

    def concerns(self, path: str) -> bool:
        """Whether it is about the service at *path*: its own end, or what took it along."""
        return path == self.supervisor or any(
            path == one or path.startswith(f"{one}/") for one in (self.child, *self.covered)
        )


class Ledger:
    """The last rulings of a tree, the latest last."""

    def __init__(self) -> None:
        self._rulings: deque[Ruling] = deque(maxlen=_KEPT)

    def enter(self, ruling: Ruling) -> None:
        """Write *ruling* down; the oldest goes when there are too many."""
        self._rulings.append(ruling)

    def __iter__(self) -> Iterator[Ruling]:
        """Go through all rulings as they are now, the oldest first."""
        return iter(tuple(self._rulings))

    def about(self, path: str) -> Iterator[Ruling]:
        """Yield the rulings that concern the service at *path*, the oldest first."""
        return (ruling for ruling in self if ruling.concerns(path))
