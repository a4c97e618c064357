# mypy: disable-error-code="import-not-found,import-untyped,misc"
# pyright: basic, reportMissingImports=false
"""specter-runtime: services on gevent that own timers, greenlets and listeners; no supervision.

Idle services are adopted by one Service, named ones go through its ServiceManager (registry and
all). It restarts nothing: an exception in a greenlet it owns is logged and swallowed.
"""

from __future__ import annotations

import gc
import statistics

import gevent

from . import harness
from .harness import HOUR, MICRO, MILLI, WARM_UP, Metrics, SkipCase, check, clock, rss

try:
    import specter
    from specter import Service, ServiceManager
except ImportError:
    harness.not_installed("specter-runtime")


class Idle(Service):
    def __init__(self) -> None:
        super().__init__("idle")


class Named(Service):
    def __init__(self, name: str, number: int) -> None:
        super().__init__(name)
        self.number = number
        self.heard = 0

    def on_start(self) -> None:
        self.listen("tick", self.on_tick)

    def on_tick(self, _data: object) -> None:
        self.heard += 1


def idle(n: int, _count: int) -> Metrics:
    def started_parent() -> Service:
        return Service("parent").start()

    warm = started_parent()
    for _ in range(WARM_UP):
        warm.adopt(Idle())
    warm.stop()

    parent = started_parent()
    before = rss()
    began = clock()
    for _ in range(n):
        parent.adopt(Idle())
    started = clock() - began
    after = rss()
    began = clock()
    parent.stop()
    stopped = clock() - began
    return harness.life(n, started, before, after, stopped)


def named(n: int, _count: int) -> Metrics:
    warm = ServiceManager().boot()
    for i in range(WARM_UP):
        warm.register_service(Named(f"warm-{i}", i))
    warm.shutdown()

    manager = ServiceManager().boot()
    before = rss()
    began = clock()
    for i in range(n):
        manager.register_service(Named(f"service-{i}", i))
    started = clock() - began
    after = rss()
    check(n, specter.bus.listener_count("tick"), "listeners")
    began = clock()
    manager.shutdown()
    stopped = clock() - began
    check(0, specter.bus.listener_count("tick"), "listeners")
    return harness.life(n, started, before, after, stopped)


def crash(_n: int, _count: int) -> Metrics:
    raise SkipCase("no supervision: a crash is logged and nothing is restarted")


def emit(_n: int, count: int) -> Metrics:
    Named("ear", 0).start()
    mouth = Idle().start()
    result: list[float] = []

    def batch(calls: int) -> float:
        began = clock()
        for _ in range(calls):
            mouth.emit("tick", 1)
        return clock() - began

    mouth.spawn(lambda: result.append(harness.per_call(batch, count))).join()
    return {"emit_us": result[0], "bare_us": harness.bare_call(count)}


def intervals(n: int, _count: int) -> Metrics:
    def tick() -> None:
        pass

    warm = Idle().start()
    for _ in range(WARM_UP):
        warm.interval(tick, HOUR)
    gevent.sleep(0)
    warm.stop()
    gevent.sleep(0)

    service = Idle().start()
    before = rss()
    began = clock()
    for _ in range(n):
        service.interval(tick, HOUR)
    gevent.sleep(0)
    started = clock() - began
    after = rss()
    alive = harness.greenlets()
    return {"start_us": started / n * MICRO, "bytes": (after - before) / n, "greenlets": alive}


def snapshot(n: int, _count: int) -> Metrics:
    manager = ServiceManager().boot()
    for i in range(n):
        manager.register_service(Named(f"service-{i}", i))
    gc.collect()

    def once() -> float:
        began = clock()
        health = manager.health()
        taken = clock() - began
        check(n, len(health["services"]), "services in the picture")
        return taken * MILLI

    total = statistics.median(once() for _ in range(3))
    return {"total_ms": total}


def cold_import(_n: int, _count: int) -> Metrics:
    return harness.import_ms("from specter import Service, ServiceManager", "gevent")


if __name__ == "__main__":
    harness.main(
        {
            "idle": idle,
            "named": named,
            "crash": crash,
            "crash-spawned": crash,
            "crash-dynamic": crash,
            "crash-logged": crash,
            "storm": crash,
            "emit": emit,
            "intervals": intervals,
            "snapshot": snapshot,
            "import": cold_import,
        },
        lambda: f"specter-runtime {harness.version('specter-runtime')}",
    )
