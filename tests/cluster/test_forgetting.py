"""Engines that have lost all, and do not say so: who is at work goes on until it has seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent import sleep

from sprag import App, Cluster, Service, Singleton
from sprag.testing import as_nodes

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

TTL = 4.0


class Billing(Service):
    def run(self) -> None:
        while True:
            sleep(100)


def make_app() -> App:
    return App(
        name="shop",
        cluster=Cluster("memory://", ttl=TTL, required=False),
        providers={"billing": Singleton(Billing)},
    )


def owners(*apps: App) -> list[int]:
    return [at for at, app in enumerate(apps) if app.service("billing").lease is not None]


def test_a_row_that_is_free_as_all_was_lost_is_not_taken_before_that_was_seen(
    clock: VirtualClock,
) -> None:
    first, second = make_app(), make_app()
    with as_nodes(first, second) as nodes, first, second:
        clock.advance(TTL)
        assert owners(first, second) == [0]
        nodes.of(first).cut()
        nodes.engine.empty()  # which wakes the second: there is no row any more
        for _ in range(20):
            clock.advance(0.1)
            assert owners(second) == []  # the first does not know, and works
        clock.advance(2 * TTL)
        assert owners(first, second) == [1]


def test_who_has_waited_for_one_engine_has_not_for_the_next_that_is_as_empty(
    clock: VirtualClock,
) -> None:
    first, second = make_app(), make_app()
    with as_nodes(first, second) as nodes, first, second:
        clock.advance(TTL)
        nodes.engine.empty()
        clock.advance(1)
        nodes.of(second).cut()
        clock.advance(2 * TTL)
        assert owners(first) == [0]  # it has waited; the second cannot see that anybody has
        nodes.of(first).cut()
        nodes.engine.empty()
        nodes.of(second).heal()
        clock.advance(1)
        assert owners(first, second) == [0]
        clock.advance(2 * TTL)
        assert owners(first, second) == [1]
