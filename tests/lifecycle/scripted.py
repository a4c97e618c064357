"""Services that do what a `Spec` says, and keep a diary of it."""

from __future__ import annotations

import math
import types
from typing import TYPE_CHECKING, Any

import gevent
from gevent import GreenletExit

from sprag import Backoff, Ignore, Lifecycle, Service, State
from sprag_supervisor import _clock
from sprag_supervisor._node import path_of
from sprag_supervisor._states import DOWN

if TYPE_CHECKING:
    from lifecycle.model import Spec

HEARTBEAT = 0.75


class Stage:
    """What all services of one tree share: the diary, and what is to go wrong next."""

    def __init__(self) -> None:
        self.log: dict[str, list[tuple[float, str, str]]] = {}  # as in the model
        self.alive: set[str] = set()
        self.events: list[Lifecycle] = []
        self.faults: dict[str, list[str]] = {}
        self.violations: list[str] = []
        self.stubborn: list[gevent.Greenlet[..., Any]] = []
        self.is_over = False

    def note(self, path: str, what: str) -> None:
        above, _, name = path.rpartition("/")
        parent = above.rpartition("/")[2] or "nobody"
        kind = "starts" if what in ("on_start", "started", "restarted") else "ends"
        self.log.setdefault(f"{kind} below {parent}", []).append((_clock.now(), what, name))

    def observe(self, record: Lifecycle) -> None:
        self.events.append(record)
        path = record.path
        self.note(path, record.event if record.reason is None else record.reason)
        if record.reason is None:
            self.check(path not in self.alive, f"{path} was started twice")
            self.alive.add(path)
        else:
            never_came_up = record.reason in ("stopped", "ignored", "start_failed")
            self.check(path in self.alive or never_came_up, f"{path} ended twice")
            self.alive.discard(path)
            left = [each for each in self.alive if each.startswith(f"{path}/")]
            self.check(not left, f"{path} ended before {left}")

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)


class Scripted(Service):
    """No on_stop: such a service can end on the spot."""

    def __init__(self, spec: Spec, stage: Stage, kept: tuple[Scripted, ...] = ()) -> None:
        self.spec = spec
        self.stage = stage
        self.kept = kept
        self.name = spec.name

    def on_start(self) -> None:
        spec, stage = self.spec, self.stage
        stage.note(path_of(self), "on_start")
        self.listen(f"crash {spec.name}", self.fail)
        self.interval(self.beat, HEARTBEAT)
        if spec.is_stubborn:
            stage.stubborn.append(self.spawn(self.hang_on))
            gevent.sleep(0)  # or a kill could come before it has begun to swallow them
        for child in self.kept or (make(each, stage) for each in spec.children):
            self.adopt(child, name=child.spec.name, **policy_of(child.spec))
        if spec.start_takes:
            gevent.sleep(spec.start_takes)
        faults = stage.faults.get(spec.name)
        if faults:
            fault = faults.pop(0)
            raise Ignore if fault == "ignore" else RuntimeError("on_start was told to fail")

    def beat(self) -> None:
        if self._state_ in DOWN:
            self.stage.violations.append(f"{self!r}: its timer runs")

    def fail(self, data: object = None) -> None:
        self.beat()
        raise RuntimeError("was told to crash")

    def hang_on(self) -> None:
        while not self.stage.is_over:
            try:
                gevent.sleep(1e6)
            except GreenletExit:
                pass


class WithStop(Scripted):
    def on_stop(self) -> None:
        self.stage.note(path_of(self), "on_stop")
        self.beat()
        gevent.sleep(self.spec.stop_takes or 0)
        if self.spec.stop_raises:
            raise RuntimeError("on_stop was told to fail")


class WithRun(WithStop):
    """Its end is the end of its `run`."""


def make(spec: Spec, stage: Stage, **policy: Any) -> Scripted:
    cls = Scripted if spec.stop_takes is None else WithStop
    if policy:
        cls = types.new_class("Root", (cls,), policy)
    kept = [make(child, stage) for child in spec.children] if spec.keeps_children else []
    return cls(spec, stage, tuple(kept))


def policy_of(spec: Spec) -> dict[str, Any]:
    shutdown: float | str = "infinity" if spec.shutdown == math.inf else spec.shutdown
    backoff = None
    if spec.backoff:
        initial, maximum, reset_after = spec.backoff
        backoff = Backoff(initial=initial, maximum=maximum, reset_after=reset_after, jitter=0.0)
    return {
        "restart": spec.restart,
        "shutdown": "brutal_kill" if spec.is_brutal else shutdown,
        "backoff": backoff,
        "strategy": spec.strategy,
        "max_restarts": spec.max_restarts,
        "max_seconds": spec.max_seconds,
    }
