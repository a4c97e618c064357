"""A tree in virtual time that is made, driven and read in one line.

::

    lambda w: w.runs(*"abc", strategy="rest_for_one").crash("b").told == "-b -c +b +c"

A `World` is truthy, and so is what it returns of itself: steps are joined by dots or by ``and``.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from gevent import sleep

from scripted import Journal, Scripted, states
from sprag import Service, Supervisor
from sprag.testing import RunningTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from types import TracebackType

    from sprag import Exit, Lifecycle, Snapshot, StopReport
    from sprag.testing import VirtualClock

SIGNS = {"start": "+", "stop": "-", "drain": "~", "clean": "x"}
"""How a line of the journal is told: ``+a`` when a starts, ``-a`` when it stops, and so on."""


class World:
    """One tree, called ``top``, and what it has done.

    Attributes:
        clock: The hand on the virtual clock.
        log: What sprag has logged.
        heard: To be given to a `Told`; what `hears` has heard.
        tree: The tree, once `runs` or `starts` has made it run.
    """

    tree: RunningTree

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.log = _Log()
        self.heard: list[str] = []
        self._journal = Journal(*SIGNS)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        logger = logging.getLogger("sprag")
        logger.addHandler(self.log)
        self._stack.callback(logger.removeHandler, self.log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # -- making a tree ---------------------------------------------------------------

    def part(self, name: str, **orders: Any) -> Scripted:
        """Make a service that writes the journal; *orders* are policy, or those of a `Script`."""
        return Scripted(name, self._journal, **orders)

    def runs(self, *children: Any, **policy: Any) -> Self:
        """Run a supervisor of *children*, of whom a bare name makes a `part`."""
        made = [self.part(each) if isinstance(each, str) else each for each in children]
        return self.starts(Supervisor(made, name="top", **policy))

    def starts(self, root: Service) -> Self:
        """Run *root*; what it has told by then is of no interest."""
        self.tree = self._stack.enter_context(RunningTree(root))
        self.clock.settle()
        self._journal.take()
        return self

    # -- driving it ------------------------------------------------------------------

    def crash(
        self, path: str, error: BaseException | None = None, *, times: int = 1, every: float = 0.0
    ) -> Self:
        """Let the service at *path* crash, *every* so many seconds."""
        for _ in range(times):
            self.tree.crash(path, error)
            self.after(every)
        return self

    def finish(self, path: str) -> Self:
        """Let the service at *path* say that it is done."""
        self.service(path).finish()
        return self.after(0)

    def after(self, seconds: float) -> Self:
        """Let that much time pass; 0: let everything run that is ready."""
        if seconds:
            self.clock.advance(seconds)
        self.clock.settle()
        return self

    def hang(self, path: str) -> Self:
        """Give the service at *path* a greenlet that swallows its kill."""
        self.tree.hang(path)
        return self

    def hold(self, path: str) -> Self:
        """Let the ends at and below *path* wait undecided."""
        self.service(path).hold_exits()
        return self

    def release(self, path: str) -> Self:
        """Let them be decided."""
        self.service(path).release_exits()
        return self.after(0)

    def fail_next_start(self, path: str, *, times: int) -> Self:
        """Let the next starts of the service at *path* fail."""
        self.tree.fail_next_start(path, times=times)
        return self

    def stopped(self, timeout: float | None = None) -> StopReport:
        """Stop the tree."""
        return self.tree.stop(timeout)

    def hears(self, record: Lifecycle) -> None:
        """Be a listener of ``sprag:…``, and note whom the record is about."""
        self.heard.append(record.path)

    def keeps(self, lent: socket) -> socket:
        """Close *lent* at the end; return it."""
        return self._stack.enter_context(lent)

    # -- reading it ------------------------------------------------------------------

    @property
    def told(self) -> str:
        """Which services have started and stopped since it was last asked: ``"-b +b"``."""
        return " ".join(step for step in self.steps if step[0] in "+-")

    @property
    def steps(self) -> list[str]:
        """All that services have done since it was last asked; see `SIGNS`."""
        lines = (line.split(" ", 1) for line in self._journal.take())
        return [SIGNS[word] + name for word, name in lines]

    @property
    def root(self) -> Any:
        """The root of the tree."""
        return self.tree.root

    @property
    def states(self) -> dict[str, str]:
        """The states of the root's children, by name."""
        return states(self.tree.root)

    @property
    def events(self) -> list[str]:
        """What has happened to services so far: ``"crashed top/b"``."""
        return [f"{record.event} {record.path}" for record in self.tree.events]

    def service(self, path: str) -> Any:
        """Return the service at *path*."""
        return self.tree.service(path)

    def state(self, path: str = "") -> str:
        """Return the state of the service at *path*."""
        return self.tree.state(path).value

    def ended(self, path: str = "") -> Exit:
        """Return how the service at *path* has ended, which it must have."""
        end: Exit | None = self.service(path).wait(0)
        assert end is not None
        return end

    def picture(self, path: str) -> Snapshot:
        """Return the snapshot of the service at *path*."""
        picture: Snapshot = self.service(path).snapshot()
        return picture


def raised(fn: Callable[..., object], *args: object, **kwargs: object) -> str:
    """Return the name of the class that ``fn(*args, **kwargs)`` raises, or nothing."""
    try:
        fn(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - any of them is an answer
        return type(error).__name__
    return ""


class _Log(logging.Handler):
    """Keeps the text of what is logged, with tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)


# -- services of a user's --------------------------------------------------------------------


class Tally(Service):
    """Counts from where its argument says; wakes up 60 times an hour."""

    def __init__(self, first: int = 0) -> None:
        self.count = first

    def on_start(self) -> None:
        self.timer = self.interval(self.add, 60)
        self.listen("add", self.add)

    def add(self, number: int = 1) -> int:
        self.count += number
        return self.count


class Warm(Service):
    """Is ready when it says so, and tells how far it is."""

    def on_start(self) -> None:
        self.set_ready(False, "warming up")
        self.set_status("1 of 3 shelves")
        self.timeout(self.set_ready, 5)


class Told(Service):
    """Notes which of its hooks run."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def on_start(self) -> None:
        self.heard.append("on_start")

    def run(self) -> None:
        self.heard.append("run")
        sleep(60)

    def on_ready(self) -> None:
        self.heard.append("on_ready")

    def on_drain(self) -> None:
        self.heard.append("on_drain")

    def on_stop(self) -> None:
        self.heard.append("on_stop")
