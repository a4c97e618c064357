# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
"""Bare gevent: what a careful programmer writes without a library.

A service is an object with a greenlet that waits on the service's own Event; a parent keeps them
by name and respawns a greenlet that died. No start failures, no limits, no ownership: the floor of
what supervision by greenlets can cost.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from . import harness
from .harness import HOUR, MICRO, WARM_UP, Boom, Metrics, SkipCase, check, clock, rss, spread

if TYPE_CHECKING:
    from collections.abc import Callable


class Bus:
    def __init__(self) -> None:
        self.listeners: dict[str, dict[Callable[[object], object], None]] = {}

    def listen(self, event: str, fn: Callable[[object], object]) -> None:
        self.listeners.setdefault(event, {})[fn] = None

    def unlisten(self, event: str, fn: Callable[[object], object]) -> None:
        self.listeners[event].pop(fn, None)

    def emit(self, event: str, data: object = None) -> None:
        for fn in tuple(self.listeners.get(event, ())):
            fn(data)


class Idle:
    def __init__(self) -> None:
        self.poke = Event()
        self.crash = False
        self.greenlet: gevent.Greenlet[[], None]

    def run(self) -> None:
        self.poke.wait()
        if self.crash:
            raise Boom


class Named(Idle):
    def __init__(self, number: int, bus: Bus) -> None:
        super().__init__()
        self.number = number
        self.bus = bus
        self.heard = 0

    def run(self) -> None:
        self.bus.listen("tick", self.on_tick)
        try:
            super().run()
        finally:
            self.bus.unlisten("tick", self.on_tick)

    def on_tick(self, _data: object) -> None:
        self.heard += 1


class Parent:
    """Keeps services by name and respawns what dies before it is stopped."""

    def __init__(self, up: Callable[[], None] | None = None) -> None:
        self.services: dict[str, Idle] = {}
        self.by_greenlet: dict[object, tuple[str, Idle]] = {}
        self.stopping = False
        self.up = up

    def start(self, name: str, service: Idle) -> None:
        self.services[name] = service
        self.spawn(name, service)

    def spawn(self, name: str, service: Idle) -> None:
        service.greenlet = g = gevent.spawn(service.run)
        self.by_greenlet[g] = name, service
        g.link(self.died)

    def died(self, g: object) -> None:
        name, service = self.by_greenlet.pop(g)
        if not self.stopping:
            service.__init__()  # type: ignore[misc]  # its first state
            self.spawn(name, service)
            if self.up is not None:
                self.up()

    def stop(self) -> None:
        self.stopping = True
        greenlets = [s.greenlet for s in reversed(self.services.values())]
        for service in reversed(self.services.values()):
            service.poke.set()
        gevent.joinall(greenlets)
        self.services.clear()


def start_and_stop(n: int, make: Callable[[int], Idle]) -> Metrics:
    warm = Parent()
    for i in range(WARM_UP):
        warm.start(f"warm-{i}", make(i))
    gevent.sleep(0)
    warm.stop()
    gevent.sleep(0)

    parent = Parent()
    before = rss()
    began = clock()
    for i in range(n):
        parent.start(f"service-{i}", make(i))
    gevent.sleep(0)  # every greenlet runs to its wait
    started = clock() - began
    after = rss()
    check(n, sum(bool(s.greenlet) for s in parent.services.values()), "running")
    began = clock()
    parent.stop()
    stopped = clock() - began
    return harness.life(n, started, before, after, stopped)


def idle(n: int, _count: int) -> Metrics:
    return start_and_stop(n, lambda _i: Idle())


def named(n: int, _count: int) -> Metrics:
    bus = Bus()
    return start_and_stop(n, lambda i: Named(i, bus))


def crash(n: int, count: int, *, storm: bool = False, logged: bool = False) -> Metrics:
    if logged:
        sys.stderr = harness.nowhere()  # gevent prints a traceback of each
    else:
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, Boom)
    up = Event()
    left = 0

    def came_up() -> None:
        nonlocal left
        left -= 1
        if not left:
            up.set()

    parent = Parent(came_up)
    services = [Idle() for _ in range(n)]
    for i, service in enumerate(services):
        parent.start(f"service-{i}", service)
    gevent.sleep(0)

    def burst(victims: list[Idle]) -> float:
        nonlocal left
        left = len(victims)
        up.clear()
        began = clock()
        for victim in victims:
            victim.crash = True
            victim.poke.set()
        up.wait()
        return clock() - began

    victims = [services[i] for i in spread(count, n)]
    for victim in victims[:50]:
        burst([victim])
    gc.collect()
    taken = burst(victims) if storm else sum(burst([victim]) for victim in victims)
    gevent.sleep(0)
    check(n, sum(bool(s.greenlet) for s in services), "running")
    return {"crash_us": taken / count * MICRO}


def emit(_n: int, count: int) -> Metrics:
    bus = Bus()
    bus.listen("tick", Named(0, bus).on_tick)

    def batch(calls: int) -> float:
        began = clock()
        for _ in range(calls):
            bus.emit("tick", 1)
        return clock() - began

    return {"emit_us": harness.per_call(batch, count), "bare_us": harness.bare_call(count)}


def intervals(n: int, _count: int) -> Metrics:
    def tick() -> None:
        pass

    def every(seconds: float, fn: Callable[[], None]) -> None:
        while True:
            gevent.sleep(seconds)
            fn()

    gevent.killall([gevent.spawn(every, HOUR, tick) for _ in range(WARM_UP)])
    before = rss()
    began = clock()
    greenlets = [gevent.spawn(every, HOUR, tick) for _ in range(n)]
    gevent.sleep(0)
    started = clock() - began
    after = rss()
    alive = harness.greenlets()
    check(n, sum(bool(g) for g in greenlets), "greenlets waiting")
    return {"start_us": started / n * MICRO, "bytes": (after - before) / n, "greenlets": alive}


def snapshot(_n: int, _count: int) -> Metrics:
    raise SkipCase("bare gevent has no tree to take a picture of")


def cold_import(_n: int, _count: int) -> Metrics:
    raise SkipCase("it is the starting point")


if __name__ == "__main__":
    harness.main(
        {
            "idle": idle,
            "named": named,
            "crash": crash,
            "crash-spawned": crash,
            "crash-dynamic": crash,
            "crash-logged": lambda n, count: crash(n, count, logged=True),
            "storm": lambda n, count: crash(n, count, storm=True),
            "emit": emit,
            "intervals": intervals,
            "snapshot": snapshot,
            "import": cold_import,
        },
        lambda: f"gevent {gevent.__version__}",
    )
