"""What is sharded on nodes that have leases: it moves when its node is silent; in virtual time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gevent import sleep

from places import Line
from sprag import App, Cluster, Service, Sharded
from sprag.cluster.engines import open_engine
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag.testing import VirtualClock

WORK: dict[int, int] = {}
"""The token of who is at work in each partition."""
LAST: dict[int, int] = {}
"""The highest that there was."""
URL = ["memory://sharded"]
TTL = 10.0
WAIT = TTL + 1.1
"""Until something may be taken from an engine that nobody knows."""


class CartShard(Service):
    def __init__(self, partition: int) -> None:
        self.partition = partition

    def on_start(self) -> None:
        lease, partition = self.lease, self.partition
        assert lease is not None
        assert partition not in WORK
        assert lease.token > LAST.get(partition, 0)
        WORK[partition] = LAST[partition] = lease.token

    def on_stop(self) -> None:
        sleep(0.5)
        del WORK[self.partition]


def node(name: str) -> App:
    return App(
        name="shop",
        cluster=Cluster(URL[0], ttl=TTL, node=name, address=f"{name}:80"),
        providers={"carts": Sharded(CartShard, partitions=32)},
    )


@contextmanager
def nodes(*apps: App) -> Generator[list[Line]]:
    WORK.clear()
    LAST.clear()
    keeps = open_engine(URL[0], app="shop")
    lines: list[Line] = []
    for each in apps:
        each.start()
        member = tree_of(each).cluster
        line: Any = Line(member.engine)
        member.engine = member.keeper._engine = line
        lines.append(line)
    try:
        yield lines
    finally:
        for each in apps:
            each.stop()
        URL[0] += "x"  # the next test has another
        del keeps
        assert WORK == {}


def here(root: App) -> set[int]:
    children = root.snapshot().children[0].children
    return {int(each.name) for each in children if each.children}


def test_partitions_are_shared_once_leases_are_good(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second):
        assert WORK == {}
        clock.advance(WAIT)
        assert len(WORK) == 32
        assert here(first) | here(second) == set(range(32))
        assert here(first)
        assert here(second)
        other = first.service("carts", Sharded)
        for key in range(50):
            owner = other.owner(key)
            assert owner.node == ("n1" if owner.partition in here(first) else "n2")
            assert owner.address == f"{owner.node}:80"


def test_of_a_node_that_is_cut_off_others_take_all_and_give_back_a_few_at_a_time(
    clock: VirtualClock,
) -> None:
    first, second, third = node("n1"), node("n2"), node("n3")
    with nodes(first, second, third) as lines:
        clock.advance(WAIT + 100)
        before = [here(each) for each in (first, second, third)]
        began = clock.now
        lines[0].is_cut = True
        while here(second) | here(third) != set(range(32)):
            clock.advance(0.1)
            assert clock.now - began < TTL + 1.5
        assert here(first) == set()
        assert len(WORK) == 32
        assert here(second) >= before[1]
        assert here(third) >= before[2]
        lines[0].is_cut = False
        clock.advance(TTL)
        assert 0 <= len(here(first)) <= 4  # two in a ttl, of 32
        clock.advance(30 * TTL)
        assert [here(each) for each in (first, second, third)] == before
        assert first.service("carts", Sharded).owner("anna").partition == 14


def test_while_the_engine_is_away_for_a_moment_nobody_moves(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second) as lines:
        clock.advance(WAIT)
        before = dict(WORK)
        for each in lines:
            each.is_cut = True
        clock.advance(0.35 * TTL)
        for each in lines:
            each.is_cut = False
        clock.advance(5 * TTL)
        assert before == WORK


def test_while_the_engine_is_away_for_long_nothing_runs_and_then_all_again(
    clock: VirtualClock,
) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second) as lines:
        clock.advance(WAIT)
        before = here(first), here(second)
        for each in lines:
            each.is_cut = True
        clock.advance(TTL)
        assert WORK == {}
        assert "the line is cut" in (first.snapshot().children[0].status or "")
        for each in lines:
            each.is_cut = False
        clock.advance(20 * TTL)
        assert (here(first), here(second)) == before


def test_a_planned_hand_over_is_a_stop_and_a_start(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(first, second):
        clock.advance(WAIT)
        began = clock.now
        first.stop()
        while here(second) != set(range(32)):
            clock.advance(0.1)
        assert clock.now - began <= 0.5 + 0.5  # its own stop takes 0.5 s
