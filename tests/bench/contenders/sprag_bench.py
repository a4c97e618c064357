# pyright: reportUnknownVariableType=false
"""sprag itself, through its public names only."""

from __future__ import annotations

import gc
import importlib.util
import logging
import statistics
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

import sprag
from sprag import Service, Supervisor

from . import harness
from .harness import HOUR, MICRO, MILLI, WARM_UP, Boom, Metrics, SkipCase, check, clock, rss, spread

if TYPE_CHECKING:
    from collections.abc import Callable

UNLIMITED = 10**9
STOP_BUDGET = 120.0
TICK = 0.010
STARTS_AT_ONCE = 20


class Idle(Service):
    pass


class Named(Service):
    def __init__(self, number: int) -> None:
        self.number = number
        self.heard = 0

    def on_start(self) -> None:
        self.listen("tick", self.on_tick)

    def on_tick(self, _data: object) -> None:
        self.heard += 1


class Phoenix(Service):
    """Says when it has come up, as the last thing its start does."""

    def __init__(self, _number: int, up: Callable[[], None]) -> None:
        self.up = up

    def on_start(self) -> None:
        self.up()

    def crash(self) -> None:
        self.spawn(boom)


class Hearing(Phoenix):
    """Crashes in a listener."""

    def __init__(self, number: int, up: Callable[[], None]) -> None:
        super().__init__(number, up)
        self.number = number

    def on_start(self) -> None:
        self.listen(f"crash:{self.number}", self.on_crash)
        self.up()

    def on_crash(self, _data: object) -> None:
        raise Boom

    def crash(self) -> None:
        self.emit(f"crash:{self.number}")


class Mouth(Service):
    def __init__(self, result: list[float], count: int) -> None:
        self.result = result
        self.count = count

    def talk(self) -> None:
        self.result.append(harness.per_call(self.batch, self.count))

    def batch(self, calls: int) -> float:
        began = clock()
        for _ in range(calls):
            self.emit("tick", 1)
        return clock() - began


def boom() -> None:
    raise Boom


def dynamic_parent() -> tuple[Service, Callable[[Service], object]]:
    """Return a started parent for many children of one kind, and the call that starts one."""
    kind: Any = getattr(sprag, "DynamicSupervisor", None)
    if kind is None:  # an older sprag
        return static_parent()
    parent = kind(max_restarts=UNLIMITED, max_seconds=1.0)
    parent.start()
    return parent, parent.start_child


def static_parent() -> tuple[Supervisor, Callable[[Service], object]]:
    parent = Supervisor(max_restarts=UNLIMITED, max_seconds=1.0)
    parent.start()
    return parent, parent.adopt


def running(service: Service) -> int:
    return sum(_state(child) == "running" for child in service.snapshot().children)


def _state(picture: object) -> str:
    state = getattr(picture, "state", "?")
    return str(getattr(state, "value", state))


def stop(parent: Service) -> float:
    began = clock()
    report = parent.stop(STOP_BUDGET)
    taken = clock() - began
    check("stopped", _state(parent.snapshot()), f"state after {report}")
    return taken


def idle(n: int, _count: int) -> Metrics:
    warm, start = dynamic_parent()
    for _ in range(WARM_UP):
        start(Idle())
    stop(warm)

    parent, start = dynamic_parent()
    before = rss()
    began = clock()
    for _ in range(n):
        start(Idle())
    started = clock() - began
    after = rss()
    check(n, running(parent), "running")
    gc.collect()
    taken = stop(parent)
    return harness.life(n, started, before, after, taken)


def named(n: int, _count: int) -> Metrics:
    warm, _ = static_parent()
    for i in range(WARM_UP):
        warm.adopt(Named(i), name=f"warm-{i}")
    stop(warm)

    parent, _ = static_parent()
    before = rss()
    began = clock()
    for i in range(n):
        parent.adopt(Named(i), name=f"service-{i}")
    started = clock() - began
    after = rss()
    check(n, running(parent), "running")
    gc.collect()
    taken = stop(parent)
    return harness.life(n, started, before, after, taken)


def crash(
    n: int,
    count: int,
    *,
    kind: type[Phoenix] = Hearing,
    storm: bool = False,
    logged: bool = False,
    dynamic: bool = False,
) -> Metrics:
    if logged:
        logging.basicConfig(stream=harness.nowhere(), level=logging.INFO)
    else:
        logging.getLogger("sprag").addHandler(logging.NullHandler())  # what is said is dropped
    up = Event()
    left = 0

    def came_up() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            up.set()

    parent, start = dynamic_parent() if dynamic else static_parent()
    services = [kind(number, came_up) for number in range(n)]
    for service in services:
        start(service)

    def burst(victims: list[Phoenix]) -> float:
        nonlocal left
        left = len(victims)
        up.clear()
        began = clock()
        for victim in victims:
            victim.crash()
        up.wait()
        return clock() - began

    victims = [services[i] for i in spread(count, n)]
    for victim in victims[:50]:
        burst([victim])
    before = [victim.snapshot().incarnation for victim in victims]
    gc.collect()
    taken = burst(victims) if storm else sum(burst([victim]) for victim in victims)
    gevent.sleep(0.05)
    check(
        [i + 1 for i in before],
        [victim.snapshot().incarnation for victim in victims],
        "incarnations",
    )
    check(n, running(parent), "running")
    return {"crash_us": taken / count * MICRO}


def constancy(n: int, count: int) -> Metrics:
    warm, start = dynamic_parent()
    for _ in range(WARM_UP):
        start(Idle())
    stop(warm)

    parent, start = dynamic_parent()
    remove: Any = getattr(parent, "terminate_child", None)
    if remove is None:
        raise SkipCase("an older sprag: a parent cannot remove a child")
    services = [Idle() for _ in range(n)]
    gc.collect()
    first_starts = harness.typical(start, services[:count])
    for service in services[count:-count]:
        start(service)
    last_starts = harness.typical(start, services[-count:])
    check(n, running(parent), "running")
    gc.collect()
    # In the order of starts, for all contenders: others would measure the processor's caches.
    first_removals = harness.typical(remove, services[:count])
    for service in services[count:-count]:
        remove(service)
    last_removals = harness.typical(remove, services[-count:])
    check(0, len(parent.snapshot().children), "left")
    stop(parent)
    return {
        "start_ratio": last_starts / first_starts,
        "remove_ratio": first_removals / last_removals,
        "few_start_us": first_starts,
        "many_start_us": last_starts,
        "many_remove_us": first_removals,
        "few_remove_us": last_removals,
    }


def emit(_n: int, count: int) -> Metrics:
    result: list[float] = []
    parent, start = static_parent()
    ear, mouth = Named(0), Mouth(result, count)
    start(ear)
    start(mouth)
    mouth.spawn(mouth.talk).join()
    check(True, ear.heard > count, "heard")
    stop(parent)
    return {"emit_us": result[0], "bare_us": harness.bare_call(count)}


def intervals(n: int, _count: int) -> Metrics:
    def tick() -> None:
        pass

    warm = Idle()
    warm.start()
    for _ in range(WARM_UP):
        warm.interval(tick, HOUR)
    gevent.sleep(0)
    warm.stop(STOP_BUDGET)

    service = Idle()
    service.start()
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
    parent, start = dynamic_parent()
    for _ in range(n):
        start(Idle())
    gc.collect()

    def once() -> float:
        began = clock()
        picture = parent.snapshot()
        taken = clock() - began
        check(n, len(picture.children), "nodes in the picture")
        return taken * MILLI

    return {"total_ms": statistics.median(once() for _ in range(3))}


class Ticker:
    """Measures how long the loop is held: the longest time between two ticks of a 10 ms timer."""

    def __init__(self) -> None:
        self.last = clock()
        self.longest = 0.0
        self.timer: Any = gevent.get_hub().loop.timer(TICK, TICK)
        self.timer.start(self.tick)

    def tick(self) -> None:
        now = clock()
        self.longest = max(self.longest, now - self.last)
        self.last = now

    def held(self, work: Callable[[], object]) -> float:
        """Return the longest hold in ms while *work* is done; what was before does not count."""
        gevent.sleep(TICK * 2)
        self.longest = 0.0
        result = work()
        gevent.sleep(TICK * 2)
        del result  # not in the midst of the work: what it costs to drop it is its user's
        return self.longest * MILLI


def hold(n: int, _count: int) -> Metrics:
    """Start, picture and stop n services, as a program does that wants to stay responsive."""
    parent, start = dynamic_parent()
    ticker = Ticker()

    def begin() -> None:
        for number in range(n):
            start(Idle())
            if not number % STARTS_AT_ONCE:
                gevent.sleep(0)

    metrics = {"start_ms": ticker.held(begin)}
    check(n, running(parent), "running")
    metrics["snapshot_ms"] = ticker.held(lambda: parent.snapshot(gevent.sleep))
    metrics["stop_ms"] = ticker.held(lambda: stop(parent))
    return metrics


def cold_import(_n: int, _count: int) -> Metrics:
    return harness.import_ms("from sprag import App, Service, Supervisor", "gevent")


def command(_n: int, _count: int) -> Metrics:
    if importlib.util.find_spec("sprag_cli") is None:
        raise SkipCase("sprag_cli is not there")
    return {
        "help_ms": harness.command_ms("-m", "sprag_cli", "--help"),
        "python_ms": harness.command_ms("-c", "pass"),
    }


if __name__ == "__main__":
    harness.main(
        {
            "idle": idle,
            "named": named,
            "crash": crash,
            "crash-spawned": lambda n, count: crash(n, count, kind=Phoenix),
            "crash-dynamic": lambda n, count: crash(n, count, dynamic=True),
            "crash-logged": lambda n, count: crash(n, count, logged=True),
            "storm": lambda n, count: crash(n, count, storm=True),
            "constancy": constancy,
            "emit": emit,
            "intervals": intervals,
            "snapshot": snapshot,
            "hold": hold,
            "import": cold_import,
            "help": command,
        },
        lambda: f"sprag {getattr(sprag, '__version__', '?')}",
    )
