"""Where a story takes place, and what must be true when it is over, whatever was planted."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from scripted import spawn
from sprag import Supervisor
from sprag.testing import check_invariants
from sprag_supervisor.life.by_hand import tree_of
from sprag_supervisor.rules.states import DOWN, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag import Lifecycle, Service
    from sprag.testing import VirtualClock

_STARTS = ("started", "restarted")
_FOREVER = 10_000.0


class World(logging.Handler):
    """One run of one story.

    Attributes:
        clock: The hand on its time.
        raised: What public calls have raised, to the one who called.
        heard: What was said at warning level or above.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(logging.WARNING)
        self.clock = clock
        self.raised: list[BaseException] = []
        self.heard: list[str] = []
        self._roots: list[Any] = []
        self._waiting: list[tuple[str, Any]] = []
        self._events: list[Lifecycle] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.heard.append(f"{record.getMessage()} {_chain(error)}")

    # -- for stories ---------------------------------------------------------------

    def keep(self, root: Service) -> None:
        """See to it that *root* is stopped at the end; nobody hears what happens to it."""
        self._roots.append(root)

    def watch(self, root: Service) -> None:
        """See to it that *root* is stopped at the end, and hear of all that happens to it."""
        self.keep(root)
        tree_of(root).observers.append(self._events.append)

    def top(self, children: Any = (), **policy: Any) -> Supervisor:
        """Start a tree."""
        top = Supervisor(children, name="top", **policy)
        self.watch(top)
        self.do(top.start)
        return top

    def do(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call that may raise."""
        try:
            return call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - the story goes on
            self.raised.append(error)
            return None

    def go(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call in a greenlet of nobody's; it must be over at the end."""
        one = spawn(lambda: self.do(call, *args, **kwargs))
        self._waiting.append((getattr(call, "__qualname__", "a call"), one))
        return one

    def advance(self, seconds: float) -> None:
        """Let time pass, whatever comes to the main greenlet meanwhile."""
        until = self.clock.now + seconds
        for _ in range(5):
            self.do(self.clock.advance, max(until - self.clock.now, 0.0))
            if self.clock.now >= until:
                break

    def settle(self) -> None:
        self.advance(0.0)

    # -- at the end ----------------------------------------------------------------

    def end(self) -> None:
        """Stop what is up."""
        for root in self._roots:
            self.go(root.stop)
        self.settle()
        for root in self._roots:
            if root._state_ is State.RUNNING:  # the call itself was cut short, and has said so
                self.go(root.stop)
        self.advance(_FOREVER)

    def faults(self) -> list[str]:
        """Return what is not as it should be, when all has been stopped."""
        faults: list[str] = []
        for root in self._roots:
            if root._state_ not in DOWN:
                faults.append(f"{root!r} does not stop")
            try:
                check_invariants(root)
            except AssertionError as error:
                faults.extend(str(error).splitlines())
        faults.extend(f"{call} never returns" for call, one in self._waiting if not one.ready())
        faults.extend(self._unpaired())
        for _call, one in self._waiting:
            one.kill(block=False)
        self.settle()
        timers = self.clock._loop.active_timers()
        faults.extend(f"a timer is left: {timer!r}" for timer in timers if timer.ref)
        return faults

    def _unpaired(self) -> list[str]:
        """Name the lives whose start has not exactly one end.

        The stop of a service that waits for its restart is told, too: it has ended before.
        """
        starts: Counter[tuple[str, int]] = Counter()
        ends: Counter[tuple[str, int]] = Counter()
        for event in self._events:
            life = event.path, event.incarnation
            if event.event in _STARTS:
                starts[life] += 1
            elif event.event not in ("ready", "unready") and (
                event.context != "restart_cancelled" or not ends[life]
            ):
                ends[life] += 1
        return [
            f"{path} #{number}: {starts[path, number]} starts and {ends[path, number]} ends"
            for path, number in sorted({*starts, *ends})
            if starts[path, number] > 1 or ends[path, number] != 1
        ]

    def has_heard(self, text: str) -> bool:
        """Whether anybody was told of an error with this text: in the log, as its caller, …

        What Python raises at the very entry of a callback in the hub, gevent itself prints.
        """
        return (
            any(text in line for line in self.heard)
            or any(text in _chain(error) for error in self.raised)
            or any(text in (event.message or "") for event in self._events)
            or any(
                text in entry.detail for root in self._roots for entry in root._tree_.report.entries
            )
        )


def _chain(error: BaseException | None) -> str:
    told = ""
    while error is not None and len(told) < 10_000:
        told += f"{error!r} "
        error = error.__cause__ or error.__context__
    return told
