"""Who waits for whom: how a call that could only end in a deadlock is recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent import get_hub, getcurrent

from sprag_supervisor.loop.pool import Worker
from sprag_supervisor.loop.pools import pool_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenlet import greenlet

    from sprag_supervisor.loop.parking import Parking
    from sprag_supervisor.loop.pool import Held


def waiting_for(current: greenlet) -> Iterator[greenlet]:
    """Yield every greenlet that cannot go on before *current* does, itself first."""
    queue = queued().items()
    seen: set[int] = set()
    pending: list[greenlet | None] = [current]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending.extend(parking.greenlet for parking, turn in queue if turn.holder is one)
        if isinstance(one, Worker):
            if one.call is not None and one.call.waiter is not None:
                pending.append(one.call.waiter.greenlet)
            pending.extend(joiner.greenlet for joiners in one.serves for joiner in joiners)


def waits_for_caller(joiners: list[Parking]) -> bool:
    """Whether the end that *joiners* wait for cannot be over before the calling greenlet goes on.

    To join them would be to wait for oneself.
    """
    return any(
        each is joiners
        for one in waiting_for(getcurrent())
        if isinstance(one, Worker)
        for each in one.serves
    )


def queued() -> dict[Parking, Held]:
    """Return who waits for which turn, in the hub of the calling thread."""
    pool = pool_of(get_hub())
    return {} if pool is None else pool.queued


def joiners_served() -> list[list[Parking]]:
    """Return who waits for each end that the calling engine greenlet carries out, to be kept."""
    worker = getcurrent()
    assert isinstance(worker, Worker)
    return worker.serves
