"""What a lease that is lost, late or in doubt does to what runs once; in virtual time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit, sleep
from gevent.event import Event

from sprag import App, Cluster, Service, Singleton, State
from sprag.cluster import joining
from sprag.cluster.engines import open_engine
from sprag.cluster.exceptions import EngineAway
from sprag.cluster.memory import MemoryEngine
from sprag.cluster.records import record_of
from sprag.cluster.rows import row_of
from sprag.control.health import health
from sprag.exceptions import BadValue, StartFailed
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock

TTL = 10.0
WAIT = TTL + 1.1
WORK: list[tuple[str, int]] = []
TOKENS: list[int] = []
MOST = [0]
ROW = "sprag/shop/rows/billing"


class Line:
    """The way of a node to an engine: it can be cut, be slow, or lose answers."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.is_cut = False
        self.loses = False
        self.late: dict[str, float] = {}
        """By prefix of the key: seconds by which answers to swaps come late."""

    def __getattr__(self, verb: str) -> Any:
        if verb not in {"get", "scan", "cas", "publish", "read"}:
            return getattr(self.engine, verb)

        def ask(*args: Any) -> Any:
            if self.is_cut:
                raise EngineAway("nowhere", "the line is cut")
            answer = getattr(self.engine, verb)(*args)
            if verb == "cas":
                for prefix, seconds in self.late.items():
                    if args[0].startswith(prefix):
                        sleep(seconds)
            if self.loses:
                raise EngineAway("nowhere", "the answer is lost")
            return answer

        return ask


class Billing(Service, shutdown=2.0):
    where = ""

    def on_start(self) -> None:
        assert self.lease is not None
        WORK.append((self.where, self.lease.token))
        TOKENS.append(self.lease.token)
        MOST[0] = max(MOST[0], len(WORK))

    def run(self) -> None:
        while True:
            sleep(1)

    def on_stop(self) -> None:
        sleep(0.5)
        WORK.pop(0)


class World:
    """Nodes that share an engine, each by a line of its own."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.lines: list[Line] = []
        self.apps: list[App] = []
        self.line: Line | None = None

    def open(self, _url: str, **_options: Any) -> Any:
        line = self.line or Line(self.engine)
        self.line = None
        self.lines.append(line)
        return line

    def node(self, billing: Any = Billing, **options: Any) -> App:
        name = f"n{len(self.apps) + 1}"
        app = App(
            name="shop",
            cluster=Cluster("memory://", ttl=TTL, node=name, **options),
            providers={"billing": Singleton(billing)},
        )
        self.apps.append(app)
        return app

    def row(self) -> Any:
        return row_of(self.engine.get(ROW).value)


@pytest.fixture
def world(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    WORK.clear()
    TOKENS.clear()
    MOST[0] = 0
    found = World()
    monkeypatch.setattr(joining, "open_engine", found.open)
    yield found
    for each in found.lines:
        each.is_cut = each.loses = False
        each.late.clear()
    for app in found.apps:
        app.stop()
    clock.settle()
    assert WORK == []
    assert MOST[0] <= 1
    assert sorted(set(TOKENS)) == TOKENS
    found_then = found.engine.scan("sprag/shop/nodes/").value.values()
    assert all(record_of(value).is_tombstone for value in found_then)


def two(world: World, clock: VirtualClock) -> tuple[App, App]:
    """Start two nodes, of which the first is at work."""
    first, second = world.node(), world.node()
    first.start()
    clock.advance(WAIT)
    second.start()
    assert len(WORK) == 1
    return first, second


def status(root: App) -> str:
    return root.snapshot().children[0].status or ""


def test_an_engine_that_is_away_for_a_third_of_a_ttl_moves_nobody(
    world: World, clock: VirtualClock
) -> None:
    first, second = two(world, clock)
    for into in range(10):  # whenever in the course of a renewal
        token = TOKENS[-1]
        clock.advance(into * 0.17)
        for line in world.lines:
            line.is_cut = True
        clock.advance(0.35 * TTL)
        for line in world.lines:
            line.is_cut = False
        clock.advance(TTL)
        assert TOKENS[-1] == token
        assert status(first).startswith("runs here")
        assert status(second) == "standby: runs in n1"


def test_one_that_is_away_for_longer_stops_it_and_the_app_stays_ready(
    world: World, clock: VirtualClock
) -> None:
    first, _second = two(world, clock)
    assert health("/readyz", first) == (200, {"ready": True})
    for line in world.lines:
        line.is_cut = True
    clock.advance(0.6 * TTL - 2)
    assert health("/readyz", first) == (200, {"ready": True, "cluster": "away"})
    assert len(WORK) == 1
    clock.advance(2.6)
    assert WORK == []
    assert first.snapshot().state is State.RUNNING
    assert health("/readyz", first) == (200, {"ready": True, "cluster": "away"})
    clock.advance(60)
    for line in world.lines:
        line.is_cut = False
    clock.advance(TTL + 5)
    assert len(WORK) == 1
    assert health("/readyz", first) == (200, {"ready": True})


def test_an_app_that_asks_for_it_is_not_ready_without_its_engine(
    world: World, clock: VirtualClock
) -> None:
    first = world.node(ready="engine")
    first.start()
    assert health("/readyz", first)[0] == 200
    world.lines[0].is_cut = True
    clock.advance(TTL)
    assert health("/readyz", first) == (503, {"ready": False, "cluster": "away"})


def test_without_the_engine_an_app_does_not_start_within_a_ttl(
    world: World, clock: VirtualClock
) -> None:
    first = world.node()
    world.line = Line(world.engine)
    world.line.is_cut = True
    with pytest.raises(StartFailed, match="the line is cut"):
        first.start()
    assert TTL <= clock.now < TTL + 2


def test_one_that_does_not_require_it_starts_and_runs_it_later(
    world: World, clock: VirtualClock
) -> None:
    first = world.node(required=False)
    world.line = Line(world.engine)
    world.line.is_cut = True
    first.start()
    assert status(first) == "standby: no lease yet: the line is cut"
    clock.advance(30)
    world.lines[0].is_cut = False
    clock.advance(WAIT + 3)
    assert len(WORK) == 1


def test_an_answer_that_comes_after_the_lease_is_lost_begins_nothing(
    world: World, clock: VirtualClock
) -> None:
    first, second = two(world, clock)
    world.lines[1].late[ROW] = 9.5
    first.stop()  # the second swaps the row at once, and does not hear of it
    clock.settle()
    assert world.row().where == "n2"
    world.lines[1].is_cut = True
    clock.advance(9.4)
    life = tree_of(second).cluster.life
    assert tree_of(second).cluster.keeper.standing.value != "held"
    clock.advance(0.2)  # the answer is there
    assert WORK == []
    assert world.row().owner not in {None, life}
    world.lines[1].is_cut = False
    world.lines[1].late.clear()
    clock.advance(30)
    assert len(WORK) == 1
    assert status(second).startswith("runs here")


def test_a_claim_whose_answer_was_lost_is_begun_with_a_token_of_its_own(
    world: World, clock: VirtualClock
) -> None:
    first, second = two(world, clock)
    world.lines[1].loses = True
    first.stop()
    clock.settle()
    lost = world.row()
    assert lost.where in {"n1", "n2"}
    world.lines[1].loses = False
    clock.advance(3)
    assert status(second).startswith("runs here")
    assert world.row().epoch > lost.epoch


def test_a_row_that_names_us_and_that_nobody_here_runs_is_freed(
    world: World, clock: VirtualClock
) -> None:
    first, _second = two(world, clock)
    _second.terminate_child("billing")
    first.terminate_child("billing")
    clock.settle()
    row = world.row()
    life = tree_of(first).cluster.life
    late = row.taken(life, "n1", row.epoch + 5)  # a swap that was made when nobody waited for it
    world.engine.cas(ROW, world.engine.get(ROW).value, late.as_bytes())
    clock.advance(TTL / 6 + 0.1)
    assert world.row().owner is None
    assert world.row().why == "nobody runs it in n1"


def test_a_node_that_was_taken_for_dead_stops_and_comes_back_with_another_life(
    world: World, clock: VirtualClock
) -> None:
    first, second = two(world, clock)
    life = tree_of(first).cluster.life
    world.lines[0].is_cut = True
    while not status(second).startswith("runs here"):
        clock.advance(0.1)
    assert record_of(world.engine.get(f"sprag/shop/nodes/{life}").value).owner == ""
    world.lines[0].is_cut = False
    clock.advance(5)
    assert tree_of(first).cluster.life not in {"", life}
    assert status(first) == "standby: runs in n2"


@pytest.mark.parametrize("back", [1.0, 4.0, 9.0, 20.0])
def test_an_engine_that_loses_its_last_writes_never_has_two_at_work(
    world: World, clock: VirtualClock, back: float
) -> None:
    first, second = two(world, clock)
    clock.advance(3)
    kept: list[dict[str, bytes]] = []

    def note() -> None:
        kept.append(dict(world.engine.scan("").value))

    note()
    first.terminate_child("billing")  # it moves to the second
    clock.advance(back)
    assert len(WORK) == 1
    lost = MemoryEngine()
    for key, value in kept[0].items():
        lost.cas(key, None, value)
    world.engine = lost
    for line in world.lines:
        line.engine = lost
    first.restart_child("billing")
    third = world.node()
    third.start()
    for _ in range(400):
        clock.advance(0.1)
        assert len(WORK) <= 1
    assert len(WORK) == 1
    assert second.snapshot().state is State.RUNNING


def test_a_start_that_is_under_way_when_the_lease_is_lost_is_called_off(
    world: World, clock: VirtualClock
) -> None:
    class Slow(Billing):
        def on_start(self) -> None:
            sleep(20)
            super().on_start()

    first = world.node(Slow)
    first.start()
    clock.advance(WAIT + 1)
    assert first.service("billing").snapshot().state is State.STARTING
    world.lines[0].is_cut = True
    clock.advance(0.6 * TTL + 0.2)
    assert first.service("billing").snapshot().state is State.STOPPED
    assert status(first).startswith("standby: the engine is away")
    clock.advance(60)
    assert WORK == []


def test_what_still_runs_keeps_the_node_from_another_lease(
    world: World, clock: VirtualClock
) -> None:
    over = Event()

    class Stubborn(Service, shutdown=0.5):
        def run(self) -> None:
            while not over.is_set():
                try:
                    over.wait()
                except GreenletExit:
                    pass

    first = world.node(Stubborn)
    first.start()
    clock.advance(WAIT)
    life = tree_of(first).cluster.life
    world.lines[0].is_cut = True
    clock.advance(TTL)
    world.lines[0].is_cut = False
    clock.advance(3 * TTL)  # a process of its own had ended at the deadline
    keeper = tree_of(first).cluster.keeper
    assert (keeper.standing.value, keeper.life) == ("over", life)
    assert list(keeper.held) == ["billing"]
    over.set()
    keeper.end("billing")
    clock.advance(1)


def test_a_forked_child_has_no_lease(world: World, clock: VirtualClock) -> None:
    first, _second = two(world, clock)
    billing = first.service("billing")
    keeper = tree_of(first).cluster.keeper
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        told = f"{billing.lease} {keeper.life!r} {keeper.held}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    assert os.read(reading, 1000) == b"None '' {}"
    os.close(reading)
    assert billing.lease is not None
    assert keeper.held


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ({"url": "nowhere"}, "as in 'redis://localhost'"),
        ({"ttl": 0.1}, "seconds, 0.5 to 3,600"),
        ({"ttl": "10"}, "seconds, 0.5"),
        ({"node": "a/b"}, "without a slash"),
        ({"node": ""}, "a name of 1 to 200"),
        ({"address": 3}, "a text"),
        ({"required": 1}, "True or False"),
        ({"ready": "yes"}, "'tree' or 'engine'"),
        ({"control": "on"}, "'off' or 'read' or 'full'"),
    ],
)
def test_a_cluster_refuses_what_makes_no_sense(given: dict[str, Any], accepted: str) -> None:
    arguments: dict[str, Any] = {"url": "memory://", **given}
    with pytest.raises(BadValue, match=accepted):
        Cluster(**arguments)
    with pytest.raises(BadValue, match="Cluster"):
        App(cluster="redis://localhost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert open_engine("memory://", app="shop") is not None
