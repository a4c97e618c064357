"""Services that do as they are told, and a journal of what they did.

::

    journal = Journal()
    feed = Scripted("feed", journal, fail_starts=1)
    store = Scripted("store", journal, restart="transient")
    with virtual_time() as clock, Supervisor(children=[store, feed]) as top:
        crash(store)
        clock.settle()
        assert journal.take() == ["start store", ...]
        assert states(top) == {"store": "running", "feed": "running"}

A `Scripted` takes policy keywords and orders. The orders live in its `script`, which all
its lives share and a test may change at any time: ``feed.script.fail_starts = 2``. An
`Idle` has no hooks at all, so the engine takes its quick paths with it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import gevent
from gevent import GreenletExit, sleep

from sprag import Ignore, Service
from sprag_supervisor import Policy, arguments_of, remember_arguments
from sprag_supervisor.life import guard as _guard
from sprag_supervisor.loop import clock as _clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sprag_supervisor import Node


class Crash(Exception):
    """What scripted services raise."""


class Journal:
    """What happened, in order: lines such as ``"start a"``, ``"stop b"``.

    Args:
        *words: Only these are written down; default: start and stop. A `Scripted` says
            ``start`` (on_start begins), ``up`` (it is about to return), ``drain``, ``stop``
            (on_drain, on_stop begin), ``clean`` (a clean-up runs), ``killed`` (something that
            waited got GreenletExit). Lines of other words are dropped.
    """

    def __init__(self, *words: str) -> None:
        self.words = words or ("start", "stop")
        self.lines: list[str] = []

    def write(self, word: str, name: str) -> None:
        """Write ``"word name"`` down, if that is a word of interest."""
        if word in self.words:
            self.lines.append(f"{word} {name}")

    def take(self) -> list[str]:
        """Return the lines since the last time."""
        lines, self.lines = self.lines, []
        return lines


@dataclass
class Script:
    """Orders for one service, valid in all its lives. Times are seconds.

    Attributes:
        fail_starts: So many of the next starts raise Crash.
        ignore_starts: So many of the next starts raise Ignore (after the failing ones).
        start_takes: on_start waits so long before it raises or returns.
        drain_takes: on_drain likewise.
        stop_takes: on_stop likewise.
        cleanup_takes: The clean-up likewise; without it and *cleanup_raises* there is none.
        drain_raises: on_drain raises Crash.
        stop_raises: on_stop raises Crash.
        cleanup_raises: The clean-up raises Crash.
        works: A greenlet is spawned in on_start that waits so long.
        deaf: All these waits swallow GreenletExit and last as long as they were told to.
        in_on_start: Called with the service before on_start waits: adopts children, …
        in_on_drain: Called with the service in on_drain.
        in_on_stop: Called with the service in on_stop.
        body: Called with the service as the `run` of a `ScriptedBody`.
        starts: How often on_start was entered.
    """

    fail_starts: int = 0
    ignore_starts: int = 0
    start_takes: float = 0.0
    drain_takes: float = 0.0
    stop_takes: float = 0.0
    cleanup_takes: float | None = None
    drain_raises: bool = False
    stop_raises: bool = False
    cleanup_raises: bool = False
    works: float | None = None
    deaf: bool = False
    in_on_start: Callable[[Scripted], object] | None = None
    in_on_drain: Callable[[Scripted], object] | None = None
    in_on_stop: Callable[[Scripted], object] | None = None
    body: Callable[[Scripted], object] | None = None
    starts: int = 0


_POLICY = frozenset(field.name for field in dataclasses.fields(Policy))


class Scripted(Service):
    """A service whose every hook follows its `script` and is written into the journal.

    Args:
        name: Its name, in the tree and in the journal.
        journal: Where it writes.
        script: Orders to share with others; default: its own, made from *orders*.
        **orders: Policy keywords, and fields of `Script`.
    """

    def __init__(
        self, name: str, journal: Journal, script: Script | None = None, **orders: Any
    ) -> None:
        self.name = name
        self.journal = journal
        policy = {key: orders[key] for key in orders if key in _POLICY}
        self._policy_ = self._policy_.with_(policy)
        if script is None:
            script = Script(**{key: orders[key] for key in orders if key not in _POLICY})
            # The next life is constructed with the arguments of the first.
            remember_arguments(self, arguments_of(self)[0], {**policy, "script": script})
        self.script = script

    def on_start(self) -> None:
        script = self.script
        script.starts += 1
        self.say("start")
        if script.cleanup_takes is not None or script.cleanup_raises:
            self.add_cleanup(self._clean)
        if script.works is not None:
            self.spawn(self._wait, script.works)
        if script.in_on_start is not None:
            script.in_on_start(self)
        self._wait(script.start_takes)
        if script.fail_starts > 0:
            script.fail_starts -= 1
            raise Crash(f"{self.name} does not start")
        if script.ignore_starts > 0:
            script.ignore_starts -= 1
            raise Ignore(f"{self.name} is not needed")
        self.say("up")

    def on_drain(self) -> None:
        self.say("drain")
        if self.script.in_on_drain is not None:
            self.script.in_on_drain(self)
        self._wait(self.script.drain_takes)
        if self.script.drain_raises:
            raise Crash(f"{self.name} does not drain")

    def on_stop(self) -> None:
        self.say("stop")
        if self.script.in_on_stop is not None:
            self.script.in_on_stop(self)
        self._wait(self.script.stop_takes)
        if self.script.stop_raises:
            raise Crash(f"{self.name} does not stop")

    def say(self, word: str) -> None:
        """Write *word* and the service's name into the journal."""
        self.journal.write(word, self.name)

    def _clean(self) -> None:
        self.say("clean")
        self._wait(self.script.cleanup_takes or 0.0)
        if self.script.cleanup_raises:
            raise Crash(f"{self.name} does not clean up")

    def _wait(self, seconds: float) -> None:
        until = _clock.now() + seconds
        while _clock.now() < until:
            try:
                sleep(until - _clock.now())
            except GreenletExit:
                self.say("killed")
                if not self.script.deaf:
                    raise


class ScriptedBody(Scripted):
    """One with a `run`."""

    def run(self) -> None:
        assert self.script.body is not None
        self.script.body(self)


class Idle(Service):
    """A service without hooks.

    Args:
        name: Its name in the tree.
        **policy: Policy keywords.
    """

    def __init__(self, name: str, **policy: Any) -> None:
        self.name = name
        self._policy_ = self._policy_.with_(policy)


def spawn(function: Callable[..., object], *args: object) -> Any:
    """Run *function* in a greenlet of nobody's; gevent's own types are only partly known."""
    return cast("Any", gevent.spawn(function, *args))


def crash(service: Node, error: BaseException | None = None) -> None:
    """Let something of *service* crash at this very moment. Does not block."""
    error = error if error is not None else Crash(f"{service!r} was told to crash")
    _guard.report_crash(service, service._incarnation_, "test", error)


def states(parent: Service) -> dict[str, str]:
    """Return the states of the children of *parent* by name, in start order."""
    return {child.name: child.state.value for child in parent.snapshot().children}


def restarts(parent: Service) -> dict[str, int]:
    """Return how often each child of *parent* was restarted, by name, in start order."""
    return {child.name: child.restarts for child in parent.snapshot().children}


def family(names: Iterable[str], journal: Journal, **orders: Any) -> list[Scripted]:
    """Return a `Scripted` for each of *names* (``"abc"`` makes three), all with *orders*."""
    return [Scripted(name, journal, **orders) for name in names]
