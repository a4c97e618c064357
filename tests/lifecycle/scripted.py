"""Services that do what a `Spec` says, and keep a diary of it."""

from __future__ import annotations

import math
import types
from functools import cache
from typing import TYPE_CHECKING, Any

import gevent
from gevent import GreenletExit
from gevent.event import AsyncResult

from sprag import Backoff, Ignore, Lifecycle, Service, State
from sprag_supervisor.loop import clock as _clock
from sprag_supervisor.rules.states import DOWN
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from lifecycle.model import Spec

HEARTBEAT = 0.75


class Stage:
    """What all services of one tree share: the diary, and what is to go wrong next.

    Attributes:
        log: As `Model.log`.
        faults: As `Model.faults`.
        violations: What should never have happened.
        stubborn: Greenlets that swallow their kill until the play `is_over`.
    """

    def __init__(self) -> None:
        self.log: dict[str, list[tuple[float, str, str]]] = {}
        self.faults: dict[str, list[str]] = {}
        self.violations: list[str] = []
        self.stubborn: list[gevent.Greenlet[..., Any]] = []
        self.stopped_by_hand: set[str] = set()
        self.is_over = False
        self._alive: set[str] = set()
        self.root: Service

    def note(self, path: str, what: str) -> None:
        above, _, name = path.rpartition("/")
        parent = above.rpartition("/")[2] or "nobody"
        kind = "starts" if what in ("on_start", "started", "restarted") else "ends"
        self.log.setdefault(f"{kind} below {parent}", []).append((_clock.now(), what, name))

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)

    def observe(self, record: Lifecycle) -> None:
        """Check that every start has one end, and that ends come in reverse post-order."""
        path, reason = record.path, record.reason
        if record.context == "restart_cancelled":  # its end was told before
            self.check(path not in self._alive, f"{path} ran while it waited")
            self.note(path, "called off")
            return
        self.note(path, reason or record.event)
        if reason is None:
            self.check(path not in self._alive, f"{path} was started twice")
            self._alive.add(path)
            return
        came_up = reason not in ("stopped", "ignored", "start_failed")
        self.check(path in self._alive or not came_up, f"{path} ended twice")
        self._alive.discard(path)
        below = [each for each in self._alive if each.startswith(f"{path}/")]
        self.check(not below, f"{path} ended before {below}")
        if reason == "stopped" and path.rpartition("/")[2] not in self.stopped_by_hand:
            self._check_later_siblings(path)

    def _check_later_siblings(self, path: str) -> None:
        """Whom its parent stops, it stops after all that were adopted later."""
        above, _, name = path.rpartition("/")
        parent: Any = self.root
        for part in above.split("/")[1:]:
            parent = parent._children_[part]
        if above and parent._state_ is State.STOPPING:
            siblings = list(parent._children_)
            later = siblings[siblings.index(name) + 1 :]
            left = [each for each in later if f"{above}/{each}" in self._alive]
            self.check(not left, f"{path} was stopped before {left}")


class Scripted(Service):
    def __init__(self, spec: Spec, stage: Stage, kept: tuple[Scripted, ...] = ()) -> None:
        self.spec = spec
        self.stage = stage
        self.kept = kept
        self.name = spec.name
        # As a child it is given its policy by adopt().
        self._policy_ = self._policy_.with_(policy_of(spec))

    def on_start(self) -> None:
        spec, stage = self.spec, self.stage
        stage.note(path_of(self), "on_start")
        self.order: AsyncResult[str] = AsyncResult()
        self.listen(f"crash {spec.name}", self.fail)
        self.interval(self.beat, HEARTBEAT)
        if spec.is_stubborn:
            stage.stubborn.append(self.spawn(self.hang_on))
            gevent.sleep(0)  # or a kill could come before it has begun to swallow them
        for child in self.kept or [make(each, stage) for each in spec.children]:
            self.adopt(child, name=child.spec.name, **policy_of(child.spec))
        if spec.start_takes:
            gevent.sleep(spec.start_takes)
        faults = stage.faults.get(spec.name)
        if faults:
            raise Ignore if faults.pop(0) == "ignore" else RuntimeError("was told not to start")

    def beat(self) -> None:
        """Check that nothing of the service runs while it is down."""
        self.stage.check(self._state_ not in DOWN, f"{self!r}: something of it runs")

    def fail(self, data: object = None) -> None:
        self.beat()
        raise RuntimeError("was told to crash")

    def hang_on(self) -> None:
        while not self.stage.is_over:
            try:
                gevent.sleep(1e6)
            except GreenletExit:
                pass


class Draining(Scripted):
    def on_drain(self) -> None:
        self.stage.note(path_of(self), "on_drain")
        self.beat()
        if self.spec.drain_takes:
            gevent.sleep(self.spec.drain_takes)


class Stopping(Scripted):
    def on_stop(self) -> None:
        self.stage.note(path_of(self), "on_stop")
        self.beat()
        if self.spec.stop_takes:
            gevent.sleep(self.spec.stop_takes)
        if self.spec.stop_raises:
            raise RuntimeError("was told to fail in on_stop")


class Running(Scripted):
    def run(self) -> None:
        if self.order.get() == "crash":
            self.fail()


@cache
def _class_of(bases: tuple[type[Scripted], ...]) -> type[Scripted]:
    return types.new_class("".join([base.__name__ for base in bases]), bases)


def make(spec: Spec, stage: Stage) -> Scripted:
    """Return a service that does what *spec* says, with just the hooks it needs."""
    bases: list[type[Scripted]] = []
    if spec.has_run:
        bases.append(Running)
    if spec.drain_takes is not None:
        bases.append(Draining)
    if spec.stop_takes is not None:
        bases.append(Stopping)
    kept = [make(child, stage) for child in spec.children] if spec.keeps_children else []
    return _class_of(tuple(bases or [Scripted]))(spec, stage, tuple(kept))


def policy_of(spec: Spec) -> dict[str, Any]:
    """Return the policy keywords of *spec*."""
    shutdown: float | str = "infinity" if spec.shutdown == math.inf else spec.shutdown
    backoff = None
    if spec.backoff:
        initial, maximum, reset_after = spec.backoff
        backoff = Backoff(initial=initial, maximum=maximum, reset_after=reset_after, jitter=0.0)
    return {
        "restart": spec.restart,
        "shutdown": "brutal_kill" if spec.is_brutal else shutdown,
        "start_timeout": None if spec.start_timeout == math.inf else spec.start_timeout,
        "backoff": backoff,
        "strategy": spec.strategy,
        "max_restarts": spec.max_restarts,
        "max_seconds": spec.max_seconds,
    }
