"""A node that stops hands over what it ran: nothing of it waits for what can go on beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag import App, Cluster, Service, Sharded, Singleton
from sprag.cluster.rows import row_of
from sprag.testing import as_nodes
from sprag_supervisor import clock as ticks

if TYPE_CHECKING:
    import pytest

    from sprag.testing import AsNodes, VirtualClock

TTL = 4.0
ENDED: dict[str, float] = {}
"""When each ended, by the clock of the test."""


class Billing(Service):
    def on_stop(self) -> None:
        ENDED["billing"] = ticks.now()


class Shard(Service):
    def __init__(self, partition: int) -> None:
        self.partition = partition

    def on_stop(self) -> None:
        ENDED["shards"] = ticks.now()


def make_app() -> App:
    return App(
        name="shop",
        cluster=Cluster("memory://", ttl=TTL, required=False),
        providers={"billing": Singleton(Billing), "carts": Sharded(Shard, partitions=32)},
    )


def owners(nodes: AsNodes) -> set[str | None]:
    rows = nodes.engine.scan("sprag/shop/rows/").value.values()
    return {row_of(each).owner for each in rows}


def test_a_singleton_does_not_wait_until_all_partitions_are_given_back(
    clock: VirtualClock,
) -> None:
    first = make_app()
    with as_nodes(first) as nodes, first:
        clock.advance(2 * TTL)
        assert None not in owners(nodes)
        nodes.of(first).delay(answers=0.1)  # 32 rows, a few at a time: most of a second
        began = clock.now
        first.stop()
        assert ENDED["billing"] - ENDED["shards"] < 0.05
        assert clock.now - began < 1.5
        assert owners(nodes) == {None}
        rows = nodes.engine.scan("sprag/shop/rows/").value.values()
        assert {row_of(each).why for each in rows} == {"node-1 has stopped it"}
        nodes.of(first).heal()
        clock.advance(1)


def test_where_the_engine_is_away_the_node_stops_all_the_same_and_says_what_it_keeps(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make_app(), make_app()
    with as_nodes(first, second) as nodes, second:
        with first:
            clock.advance(2 * TTL)
            nodes.of(first).refuse()
        kept = [each for each in caplog.messages if "partition is not handed over" in each]
        assert kept
        assert owners(nodes) != {None}
        clock.advance(2 * TTL)  # it is as silent as one that was killed
        assert len(owners(nodes)) == 1


def test_a_partition_alone_is_given_back_before_its_stop_is_over(clock: VirtualClock) -> None:
    first = make_app()
    with as_nodes(first) as nodes, first:
        clock.advance(2 * TTL)
        nodes.of(first).delay(answers=0.1)
        first.service("carts").stop()
        rows = nodes.engine.scan("sprag/shop/rows/carts/").value.values()
        assert {row_of(each).owner for each in rows} == {None}
        assert first.service("billing").lease is not None
        nodes.of(first).heal()
        clock.advance(1)
