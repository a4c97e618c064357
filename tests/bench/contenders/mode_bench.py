# mypy: disable-error-code="import-not-found,import-untyped,misc"
# pyright: basic, reportMissingImports=false
"""mode-streaming: the nearest Python relative with supervision; on asyncio, not on gevent.

Children are added to a running OneForOneSupervisor and started one by one, as sprag's `adopt` does.
A crash comes from a task the service owns; the supervisor wakes, looks through all of its services
and restarts those that crashed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

from . import harness
from .harness import HOUR, MICRO, WARM_UP, Boom, Metrics, SkipCase, check, clock, rss, spread

try:
    import mode
    from mode.signals import SyncSignal
except ImportError:
    harness.not_installed("mode-streaming")

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Idle(mode.Service):
    pass


class Named(mode.Service):
    tick = SyncSignal()

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.heard = 0
        super().__init__()

    def _repr_name(self) -> str:
        return self.name

    async def on_start(self) -> None:
        self.tick.connect(self.on_tick)

    async def on_stop(self) -> None:
        self.tick.disconnect(self.on_tick)

    def on_tick(self, _sender: object, _data: object = None, **_options: object) -> None:
        self.heard += 1


class Phoenix(mode.Service):
    def __init__(self, up: Callable[[], None]) -> None:
        self.up = up
        super().__init__()

    async def on_start(self) -> None:
        self.up()


async def boom() -> None:
    raise Boom


async def supervisor() -> mode.OneForOneSupervisor:
    parent = mode.OneForOneSupervisor(max_restarts=1e9, over=1.0)
    await parent.start()
    await asyncio.sleep(0)
    return parent


async def start_and_stop(n: int, make: Callable[[int], mode.Service]) -> Metrics:
    warm = await supervisor()
    for i in range(WARM_UP):
        service = make(i)
        warm.add(service)
        await warm.start_service(service)
    await warm.stop()

    parent = await supervisor()
    before = rss()
    began = clock()
    for i in range(n):
        service = make(i)
        parent.add(service)
        await parent.start_service(service)
    started = clock() - began
    after = rss()
    check("running", service.state, "state of the last one")
    began = clock()
    await parent.stop()
    stopped = clock() - began
    check(True, service.should_stop, "the last one stopped")
    return harness.life(n, started, before, after, stopped)


async def idle(n: int, _count: int) -> Metrics:
    return await start_and_stop(n, lambda _i: Idle())


async def named(n: int, _count: int) -> Metrics:
    return await start_and_stop(n, lambda i: Named(f"service-{i}", i))


async def crash(n: int, count: int, *, storm: bool = False, logged: bool = False) -> Metrics:
    if logged:
        logging.basicConfig(stream=harness.nowhere(), level=logging.INFO)
    else:
        logging.disable(logging.CRITICAL)
    if not storm:
        count = min(count, 200)  # each one walks over all siblings: 200 tell as much as 1,000
    up = asyncio.Event()
    left = 0

    def came_up() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            up.set()

    parent = await supervisor()
    services = [Phoenix(came_up) for _ in range(n)]
    for service in services:
        parent.add(service)
        await parent.start_service(service)

    async def burst(victims: list[mode.Service]) -> float:
        nonlocal left
        left = len(victims)
        up.clear()
        began = clock()
        for victim in victims:
            victim.add_future(boom())
        await up.wait()
        return clock() - began

    victims = [services[i] for i in spread(count, n)]
    for victim in victims[:5]:
        await burst([victim])
        await asyncio.sleep(0)
    gc.collect()
    taken = 0.0
    if storm:
        taken = await burst(victims)
    else:
        for victim in victims:
            taken += await burst([victim])
            await asyncio.sleep(0)
    check(n, sum(s.state == "running" for s in services), "running")
    return {"crash_us": taken / count * MICRO}


async def emit(_n: int, count: int) -> Metrics:
    await Named("ear", 0).start()
    mouth = Named("mouth", 1)

    def batch(calls: int) -> float:
        began = clock()
        for _ in range(calls):
            mouth.tick.send(mouth, 1)
        return clock() - began

    return {"emit_us": harness.per_call(batch, count), "bare_us": harness.bare_call(count)}


async def intervals(n: int, _count: int) -> Metrics:
    def tick() -> None:
        pass

    async def every(service: mode.Service) -> None:
        async for _ in service.itertimer(HOUR):
            tick()

    warm = Idle()
    await warm.start()
    for _ in range(WARM_UP):
        warm.add_future(every(warm))
    await asyncio.sleep(0)
    await warm.stop()

    service = Idle()
    await service.start()
    before = rss()
    began = clock()
    for _ in range(n):
        service.add_future(every(service))
    await asyncio.sleep(0)  # the task runs to its wait_for,
    await asyncio.sleep(0)  # and the wait inside it too
    started = clock() - began
    after = rss()
    tasks = len(asyncio.all_tasks()) - 1
    return {"start_us": started / n * MICRO, "bytes": (after - before) / n, "tasks": tasks}


async def snapshot(_n: int, _count: int) -> Metrics:
    raise SkipCase("mode has no picture of what a supervisor runs")


def cold_import(_n: int, _count: int) -> Metrics:
    return harness.import_ms("from mode import OneForOneSupervisor, Service", "asyncio")


def run(case: Callable[[int, int], Coroutine[object, object, Metrics]]) -> harness.Case:
    def start(n: int, count: int) -> Metrics:
        if mode is None:
            message = "mode-streaming is not installed"
            raise SkipCase(message)
        # Not asyncio.run: it would cancel 200,000 tasks one by one before the process may end.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(case(n, count))

    return start


if __name__ == "__main__":
    harness.main(
        {
            "idle": run(idle),
            "named": run(named),
            "crash": run(crash),
            "crash-spawned": run(crash),
            "crash-dynamic": run(crash),
            "crash-logged": run(lambda n, count: crash(n, count, logged=True)),
            "storm": run(lambda n, count: crash(n, count, storm=True)),
            "emit": run(emit),
            "intervals": run(intervals),
            "snapshot": run(snapshot),
            "import": cold_import,
        },
        lambda: f"mode-streaming {harness.version('mode-streaming')}",
    )
