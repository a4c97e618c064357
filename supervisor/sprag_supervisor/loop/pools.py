"""Which pool of engine greenlets belongs to which hub: one to each that trees live in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sprag_supervisor.loop.left_behind import left_behind
from sprag_supervisor.loop.pool import Pool

if TYPE_CHECKING:
    from gevent.hub import Hub
    from greenlet import greenlet

_pools: dict[Any, Pool] = {}
_parting: WeakSet[Pool] = WeakSet()
"""Pools whose last tree has ended; their greenlets go in the next turn of the loop."""


def join_pool(hub: Hub) -> Pool:
    """Return the pool of *hub*, made on first use, for one more tree."""
    pool = _pools.get(hub)
    if pool is None:
        pool = _pools[hub] = Pool(hub)
    pool.trees += 1
    return pool


def leave_pool(pool: Pool) -> None:
    """Say that a tree has ended; with the last one of its hub the pool goes too."""
    pool.trees -= 1
    if pool.trees == 0:
        _pools.pop(pool.hub, None)
        _parting.add(pool)
        pool.drain()


def pool_of(hub: Hub) -> Pool | None:
    """Return the pool of *hub*; None: no tree of it lives."""
    return _pools.get(hub)


def forget(hub: Hub) -> None:
    """Let go of the pool of *hub*, whatever is in it."""
    _pools.pop(hub, None)


def forget_all() -> tuple[Any, ...]:
    """Let go of every pool, in a forked child; return whose they were."""
    hubs = tuple(_pools)
    _pools.clear()
    _parting.clear()
    left_behind.clear()
    return hubs


def idle_greenlets() -> list[greenlet]:
    """Return the greenlets that wait in a pool for work; leak checks ignore them."""
    return [worker for pool in (*_pools.values(), *_parting) for worker in pool.idle]
