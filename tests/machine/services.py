"""Services that are what a `Spec` says, and keep a journal."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import gevent
from gevent import GreenletExit
from gevent.event import AsyncResult

from machine.plans import RESET_AFTER, SHUTDOWN, SLOW
from sprag import Backoff, DynamicSupervisor, Ignore, Lifecycle, Service, Supervisor
from sprag_supervisor.loop import clock as _clock
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from machine.plans import Spec


class Planned(Exception):
    """What services are told to raise."""


class Stage:
    """What the services of one tree share.

    Attributes:
        journal, faults, troubles: As the model's. A trouble more: ``"raises"``, in `on_stop`.
        alive: Whose start has had no end yet, by path.
        wrong: What should never have happened.
        releases: Set to let go of what swallows its kill.
    """

    def __init__(self) -> None:
        self.journal: list[tuple[float, str, str]] = []
        self.faults: dict[str, list[str]] = {}
        self.troubles: dict[str, str] = {}
        self.alive: set[str] = set()
        self.wrong: list[str] = []
        self.released = False
        self.deaf: list[gevent.Greenlet[..., Any]] = []

    def note(self, word: str, path: str) -> None:
        self.journal.append((_clock.now(), word, path))

    def observe(self, record: Lifecycle) -> None:
        """Check that each start has one end, children's first, and write both down."""
        path, reason = record.path, record.reason
        if record.context == "restart_cancelled":  # its end was told before
            self.check(path not in self.alive, f"{path} ran while it waited")
            self.note("called off", path)
            return
        if record.context == "readiness":
            self.note(record.event, path)
            return
        self.note(reason or record.event, path)
        if reason is None:
            self.check(path not in self.alive, f"{path} was started twice")
            self.alive.add(path)
        else:
            never_up = reason in ("start_failed", "ignored")
            self.check((path in self.alive) is not never_up, f"{path} ended without a start")
            self.alive.discard(path)
            below = [each for each in self.alive if each.startswith(f"{path}/")]
            self.check(not below, f"{path} ended before {below}")

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def make_deaf(self, service: Service) -> None:
        self.deaf.append(service.spawn(self._swallow))

    def _swallow(self) -> None:
        while not self.released:
            try:
                gevent.sleep(1e6)
            except GreenletExit:
                pass

    def release(self) -> None:
        """Let all who swallow their kill end."""
        self.released = True
        for greenlet in self.deaf:
            greenlet.kill()
        self.deaf.clear()
        self.released = False


class Hooks(Service):
    """What services of all kinds do."""

    spec: Spec
    stage: Stage

    def set_up(self, spec: Spec, stage: Stage) -> None:
        self.spec = spec
        self.stage = stage

    def on_start(self) -> None:
        path = path_of(self)
        self.order: AsyncResult[str] = AsyncResult()
        self.listen(f"crash {path}", self.fail)
        self.stage.note("on_start", path)
        if self.spec.is_late:
            self.set_ready(False, "late")
        if faults := self.stage.faults.get(path):
            raise Ignore if faults.pop(0) == "ignore" else Planned

    def on_stop(self) -> None:
        path = path_of(self)
        self.stage.check(path in self.stage.alive, f"{path}: on_stop while it is down")
        self.stage.note("on_stop", path)
        trouble = self.stage.troubles.get(path)
        if trouble in ("slow", "raises"):
            del self.stage.troubles[path]
        if trouble == "slow":
            gevent.sleep(SLOW)
        if trouble == "raises":
            raise Planned

    def fail(self, data: object = None) -> None:
        raise Planned


class Plain(Hooks):
    """It adopts its children in `on_start`, the same ones in each life."""

    def __init__(self, spec: Spec, stage: Stage, children: list[Made]) -> None:
        self.set_up(spec, stage)
        self.name = spec.name
        self._policy_ = self._policy_.with_(own_policy(spec))
        self.kept = children

    def on_start(self) -> None:
        for child in self.kept:
            self.adopt(child, name=child.spec.name, **child_policy(child.spec))
        super().on_start()

    def run(self) -> None:
        if self.order.get() == "crash":
            raise Planned


class Keeper(Supervisor, Hooks):
    def __init__(self, spec: Spec, stage: Stage, children: list[Made]) -> None:
        self.set_up(spec, stage)
        pairs = [(each, {"name": each.spec.name, **child_policy(each.spec)}) for each in children]
        super().__init__(pairs, name=spec.name, **own_policy(spec))


class Pool(DynamicSupervisor, Hooks):
    def __init__(self, spec: Spec, stage: Stage) -> None:
        self.set_up(spec, stage)
        limit = None if spec.max_children == inf else int(spec.max_children)
        super().__init__(max_children=limit, name=spec.name, **own_policy(spec))


Made = Plain | Keeper | Pool


def make(spec: Spec, stage: Stage) -> Made:
    """Return the service that *spec* describes, with all below it."""
    if spec.kind == "pool":
        return Pool(spec, stage)
    children = [make(child, stage) for child in spec.children]
    return (Keeper if spec.kind == "supervisor" else Plain)(spec, stage, children)


def own_policy(spec: Spec) -> dict[str, Any]:
    policy = {
        "max_restarts": spec.max_restarts,
        "max_seconds": spec.max_seconds,
        "shutdown": "brutal_kill" if spec.is_brutal else SHUTDOWN,
    }
    if spec.kind != "pool":
        policy |= {"strategy": spec.strategy, "auto_shutdown": spec.auto_shutdown}
    return policy


def backoff_of(initial: float, *, tries: int | None = None) -> Backoff:
    return Backoff(initial, maximum=1.0, jitter=0.0, reset_after=RESET_AFTER, tries=tries)


def child_policy(spec: Spec) -> dict[str, Any]:
    """Return what its parent gives it."""
    backoff = backoff_of(spec.backoff, tries=spec.tries or None) if spec.backoff else None
    return {
        "restart": spec.restart,
        "significant": spec.significant,
        "retry_start": spec.retry_start,
        "autostart": spec.autostart,
        "heartbeat": spec.heartbeat or None,
        "needs": None if spec.needs is None else dict(spec.needs),
        "backoff": backoff,
    }
