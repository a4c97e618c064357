"""What an `App` tells its `on_crash` function: each crash, with the exception itself.

The hard part. The function is somebody else's, and does what takes time: it sends things away. And
a crash is known in two steps: what was raised, where it was raised; what is done about it, when
the supervisor has decided, and that may be never. So the exception is put into a row on the spot,
the decision is added when it comes, and a greenlet that no service owns takes one after another
out of the row. An exception keeps all its frames alive: the row is short, and what does not fit in
is counted.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, GreenletExit, Timeout

from sprag.services.grouping import place_of
from sprag_supervisor import (
    Pace,
    Parking,
    check_result,
    clock,
    is_a,
    meaning_of,
    path_of,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor import Node, Ruling, Tree

WAITING: Final = 100
"""Crashes that wait for the function; of more it is told how many."""
LONGEST: Final = 30.0
"""Seconds that one call may take."""
UNDECIDED: Final = 1.0
"""Seconds for which a crash waits for what is decided about it."""
_QUIET: Final = 60.0
"""Seconds between two records in the log about a function that fails."""
_NO_CRASH: Final = (GreenletExit, SystemExit, KeyboardInterrupt)


@dataclass(frozen=True, slots=True, eq=False)
class Crash:
    """A crash of a service, as the function of ``App(on_crash=…)`` is told of it.

    Attributes:
        exception: What was raised, itself. Its traceback holds the frames, and so all that was in
            their variables: keep it no longer than you need it.
        path: Of the service.
        group: The same with ``*`` for what there may be any number of, such as the children of a
            `DynamicSupervisor`: for who counts by place.
        incarnation: Which life of it, from 1.
        step: What of it: ``run``, ``on_start``, ``listener``, ``greenlet``, and the like.
        decision: What its supervisor does: ``restart``, ``back_off``, ``give_up``,
            ``gave_up_tries``, ``escalate``, ``exit``, ``shut_down``, or ``keep`` it down. None
            where nobody has decided within a second: a first start that has failed is up to
            who has asked for it, during a stop there is nothing to decide, a root is nobody's
            child, and what is held waits.
        at: Seconds since the epoch.
        missed: How many crashes since the last call were not told, because 100 were waiting.
    """

    exception: BaseException
    path: str
    group: str
    incarnation: int
    step: str
    decision: str | None
    at: float
    missed: int = 0


class _Waiting:
    """A crash that is to be told, maybe with a decision that is still to come."""

    __slots__ = ("at", "decision", "due", "error", "group", "incarnation", "path", "step")

    def __init__(
        self, error: BaseException, node: Node, incarnation: int, step: str, due: float
    ) -> None:
        self.error = error
        self.path = path_of(node)
        self.group = place_of(node)
        self.incarnation = incarnation
        self.step = step
        self.decision: str | None = None
        self.at = clock.wall()
        self.due = due
        """Until when it waits for a decision."""


class CrashReports:
    """Tells *fn* of each crash in *tree*, one after another, in a greenlet of its own.

    Attributes:
        told: Calls of *fn* that have returned.
        failed: Those that have raised, or took too long.
        dropped: Crashes that it was not told of, as too many were waiting.
    """

    def __init__(self, tree: Tree, fn: Callable[[Crash], object]) -> None:
        self._root = tree.root
        self._fn = fn
        self._row: deque[_Waiting] = deque()
        self._undecided: dict[tuple[str, int], _Waiting] = {}
        """Those in the row that wait for a decision."""
        self._parking = Parking()
        self._teller: _Teller | None = None  # Invariant: set while there is something in the row
        self._hurries = False
        self._missed = 0
        self._said_at: float | None = None
        self._unsaid = 0
        self.told = self.failed = self.dropped = 0
        tree.hears_crash = self.take
        tree.ledger.follow(self.decided)

    @property
    def waiting(self) -> int:
        """How many are to be told yet."""
        return len(self._row)

    def counts(self) -> dict[str, int]:
        """Return how many crashes became what."""
        return {
            "told": self.told,
            "failed": self.failed,
            "dropped": self.dropped,
            "waiting": len(self._row),
        }

    # -- called by the engine: must not block, nor raise --------------------------------------

    def take(self, node: Node, incarnation: int, step: str, error: BaseException) -> bool:
        """Take note of a crash. Always true: it is to be acted on."""
        with suppress(Exception):
            self._take(node, incarnation, step, error)
        return True

    def _take(self, node: Node, incarnation: int, step: str, error: BaseException) -> None:
        if any(is_a(meaning_of(error), kind) for kind in _NO_CRASH):
            return
        policy = node._policy_
        if policy.on_failure and policy.action_for(error) == "finish":
            return  # it is no crash for who has said so
        if len(self._row) >= WAITING:
            self.dropped += 1
            self._missed += 1
            return
        if any(each.error is error for each in self._row):
            return  # what has cut a start short comes again as the failure of the start
        waiting = _Waiting(error, node, incarnation, step, clock.now())
        if _awaits_decision(node, incarnation):
            waiting.due += UNDECIDED
            self._undecided.setdefault((waiting.path, incarnation), waiting)
        self._row.append(waiting)
        if self._teller is None:
            self._teller = _Teller(self._tell_all)
            self._teller.gr_context = contextvars.Context()
            # From the hub: it is to be nobody's, and the hub is no service.
            node_tree = node._tree_
            assert node_tree is not None
            node_tree.hub.loop.run_callback(self._teller.start)

    def decided(self, _number: int, ruling: Ruling) -> None:
        """Take note of what is done about a crash."""
        with suppress(Exception):
            waiting = self._undecided.pop((ruling.child, ruling.incarnation), None)
            if waiting is not None:
                waiting.decision, waiting.due = ruling.decision, 0.0
                if self._row[0] is waiting:
                    self._parking.poke()

    # -- the greenlet that tells ---------------------------------------------------------------

    def flush(self, seconds: float) -> None:
        """Wait until all are told, for so long at most; for decisions nobody waits any more."""
        teller = self._teller
        if teller is not None:
            self._hurries = True
            self._parking.poke()
            teller.join(seconds)
            self._hurries = False

    def _tell_all(self) -> None:
        pace = Pace()
        try:
            while self._row:
                first = self._row[0]
                if first.due > clock.now() and not self._hurries:
                    self._parking.park(first.due)
                    continue
                self._row.popleft()
                if self._undecided.get((first.path, first.incarnation)) is first:
                    del self._undecided[first.path, first.incarnation]
                self._tell(first)
                del first  # with the exception's frames
                pace()
        finally:
            self._teller = None

    def _tell(self, waiting: _Waiting) -> None:
        missed, self._missed = self._missed, 0
        crash = Crash(
            waiting.error,
            waiting.path,
            waiting.group,
            waiting.incarnation,
            waiting.step,
            waiting.decision,
            waiting.at,
            missed,
        )
        if missed:
            said = "crashes were not told to on_crash: too many at once"
            say(logging.WARNING, self._root, said, count=missed)
        limit = Timeout(LONGEST)
        try:
            with limit:
                check_result("on_crash", self._fn(crash))
        except KeyboardInterrupt:
            raise  # the program's
        except BaseException as error:  # noqa: BLE001 - whatever it is, the next crash is told
            self.failed += 1
            late = error is limit
            if late:
                self._complain("on_crash took too long", None, crash_of=crash.path, seconds=LONGEST)
            else:
                self._complain("on_crash has raised", error, crash_of=crash.path)
        else:
            self.told += 1

    def _complain(self, said: str, error: BaseException | None, **fields: Any) -> None:
        """Log what was wrong with the function; if it is so each time, once a minute."""
        now = clock.now()
        if self._said_at is not None and now - self._said_at < _QUIET:
            self._unsaid += 1
            return
        more = {"not_said": self._unsaid} if self._unsaid else {}
        self._said_at, self._unsaid = now, 0
        say(logging.ERROR, self._root, said, error, **fields, **more)


def _awaits_decision(node: Node, incarnation: int) -> bool:
    """Whether its parent will decide about the crash, for all that is known now."""
    operation = node._op_
    is_stopping = operation is not None and not operation.is_start
    return node._parent_ is not None and node._incarnation_ == incarnation and not is_stopping


class _Teller(Greenlet):  # type: ignore[type-arg]
    """Tells of crashes."""

    spawning_stack_limit = 0
