"""Whatever happens to nodes and their engine: never two at work, tokens rise, all find an owner."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

from gevent import sleep
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sprag import App, Backoff, Cluster, Service, Singleton, State
from sprag.testing import as_nodes, virtual_time

if TYPE_CHECKING:
    from sprag.testing import AsNodes, VirtualClock

TTL = 4.0
ROWS = ("alpha", "beta")
MANY = int(os.environ.get("SPRAG_HISTORIES", "12"))
NODES = int(os.environ.get("SPRAG_NODES", "30"))


class Witness:
    """Sees who is at work on what."""

    def __init__(self) -> None:
        self.at_work: dict[str, list[Any]] = {}
        self.highest: dict[str, int] = {}
        self.wrong: list[str] = []

    def begins(self, row: str, who: Service) -> None:
        assert who.lease is not None
        token = who.lease.token
        working = self.at_work.setdefault(row, [])
        working.append(who)
        if len(working) > 1:
            self.wrong.append(f"{len(working)} at work on {row}")
        if token < self.highest.get(row, 0):
            self.wrong.append(f"the token of {row} falls: {token} after {self.highest[row]}")
        self.highest[row] = max(token, self.highest.get(row, 0))

    def ends(self, row: str, who: Service) -> None:
        self.at_work[row].remove(who)


class Job(Service, shutdown=1):
    """Runs once."""

    def __init__(self, witness: Witness, row: str, stop: float) -> None:
        self.witness, self.row, self.takes = witness, row, stop

    def on_start(self) -> None:
        self.witness.begins(self.row, self)
        self.add_cleanup(self.witness.ends, self.row, self)

    def run(self) -> None:
        while True:
            sleep(1000)

    def on_stop(self) -> None:
        sleep(self.takes)


def _fail() -> None:
    raise ConnectionError("its database is away")


def make_app(witness: Witness, ttl: float = TTL, node: str | None = None) -> App:
    return App(
        name="shop",
        cluster=Cluster("memory://", ttl=ttl, node=node, required=False),
        providers={
            row: Singleton(Job(witness, row, ttl * 0.2 * at), backoff=Backoff(initial=0.5))
            for at, row in enumerate(ROWS)
        },
    )


class History:
    """Nodes of one app, an engine, and all that happens to them."""

    def __init__(self, nodes: AsNodes, clock: VirtualClock, ttls: tuple[float, ...]) -> None:
        self.nodes, self.clock = nodes, clock
        self.witness = Witness()
        self.ttls = ttls
        self.apps = [make_app(self.witness, ttl) for ttl in ttls]
        for app in self.apps:
            nodes.join(app)

    def do(self, step: tuple[Any, ...]) -> None:
        what, *args = step
        getattr(self, what)(*args)
        assert not self.witness.wrong, self.witness.wrong[0]

    def is_up(self, at: int) -> bool:
        return self.apps[at].snapshot().state is State.RUNNING

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def start(self, at: int) -> None:
        if not self.is_up(at):
            self.apps[at].start()

    def stop(self, at: int) -> None:
        self.apps[at].stop()

    def kill(self, at: int) -> None:
        """A new process comes in its place."""
        self.nodes.kill(self.apps[at])
        self.apps[at] = make_app(self.witness, self.ttls[at])
        self.nodes.join(self.apps[at])

    def cut(self, at: int, requests: bool) -> None:
        self.nodes.of(self.apps[at]).cut(requests=requests)

    def delay(self, at: int, requests: float, answers: float) -> None:
        self.nodes.of(self.apps[at]).delay(requests=requests, answers=answers)

    def lose(self, at: int, answers: int) -> None:
        self.nodes.of(self.apps[at]).lose(answers)

    def refuse(self, at: int) -> None:
        self.nodes.of(self.apps[at]).refuse()

    def heal(self, at: int) -> None:
        self.nodes.of(self.apps[at]).heal()

    def crash(self, at: int, row: str) -> None:
        for who in self.witness.at_work.get(row, []):
            if who.snapshot().state is State.RUNNING:
                who.timeout(_fail, 0)

    def save(self) -> None:
        self.nodes.engine.save()

    def revert(self) -> None:
        self.nodes.engine.revert()

    def empty(self) -> None:
        self.nodes.engine.empty()

    def step_wall(self, seconds: float) -> None:
        self.clock.set_wall(self.clock.wall + seconds)

    def end_faults(self) -> None:
        """All is well again: then all find an owner, and keep it."""
        for at in range(len(self.apps)):
            self.heal(at)
            self.start(at)
        longest = max(self.ttls)
        self.clock.advance(4 * longest + 10)
        assert not self.witness.wrong, self.witness.wrong[0]
        assert {row: len(who) for row, who in self.witness.at_work.items()} == dict.fromkeys(
            ROWS, 1
        )
        before = self.witness.highest.copy()
        self.clock.advance(2 * longest)
        assert self.witness.highest == before
        for app in self.apps:
            app.stop()
        self.clock.settle()
        assert not any(self.witness.at_work.values())


def steps(nodes: int) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    at = st.integers(0, nodes - 1)
    seconds = st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0])
    short = st.sampled_from([0.0, 0.01, 0.2, 0.4, 0.7, 2.0, 5.0])
    kinds: list[st.SearchStrategy[tuple[Any, ...]]] = [
        st.tuples(st.just("wait"), seconds),
        st.tuples(st.just("wait"), seconds),
        st.tuples(st.just("start"), at),
        st.tuples(st.just("stop"), at),
        st.tuples(st.just("kill"), at),
        st.tuples(st.just("cut"), at, st.booleans()),
        st.tuples(st.just("delay"), at, short, short),
        st.tuples(st.just("lose"), at, st.integers(1, 4)),
        st.tuples(st.just("refuse"), at),
        st.tuples(st.just("heal"), at),
        st.tuples(st.just("crash"), at, st.sampled_from(ROWS)),
        st.tuples(st.just("save")),
        st.tuples(st.just("revert")),
        st.tuples(st.just("empty")),
        st.tuples(st.just("step_wall"), st.sampled_from([-1000.0, -5.0, 5.0, 1000.0])),
    ]
    return st.lists(st.one_of(kinds), min_size=5, max_size=40)


def run(story: list[tuple[Any, ...]], ttls: tuple[float, ...]) -> None:
    with virtual_time() as clock, as_nodes() as nodes:
        history = History(nodes, clock, ttls)
        try:
            for at in range(len(ttls)):
                history.start(at)
            history.wait(0.1)
            for step in story:
                history.do(step)
            history.end_faults()
        finally:
            for app in history.apps:
                app.stop()
    gc.collect(0)


OURS = settings(
    max_examples=MANY,
    deadline=None,
    database=None,
    derandomize="SPRAG_HISTORIES" not in os.environ,
    suppress_health_check=[each for each in HealthCheck if isinstance(each, HealthCheck)],
    print_blob=True,
)


@OURS
@given(steps(3))
def test_never_two_at_work_and_all_find_an_owner(story: list[tuple[Any, ...]]) -> None:
    run(story, (TTL, TTL, TTL))


@OURS
@given(steps(3))
def test_nor_where_each_has_another_ttl(story: list[tuple[Any, ...]]) -> None:
    run([step for step in story if step[0] not in ("empty", "revert")], (TTL, 2.0, 8.0))


def test_who_was_cut_off_while_the_engine_was_emptied_waits_as_the_others_do() -> None:
    run([("refuse", 0), ("wait", 5.0), ("empty",), ("wait", 0.3)], (TTL, TTL, TTL))


def test_a_node_that_flaps_takes_nothing_twice_and_the_others_go_on() -> None:
    flaps = [("cut", 0, True), ("wait", 3.9), ("heal", 0), ("wait", 0.3)] * 12
    run(flaps, (TTL, TTL, TTL))


def test_two_nodes_of_one_name_are_two() -> None:
    with virtual_time() as clock, as_nodes() as nodes:
        witness = Witness()
        first, second = (make_app(witness, node="twin") for _ in range(2))
        nodes.join(first)
        nodes.join(second)
        with first, second:
            clock.advance(3 * TTL)
            nodes.of(first).cut()
            clock.advance(3 * TTL)
            nodes.of(first).heal()
            clock.advance(3 * TTL)
            assert not witness.wrong, witness.wrong[0]
            assert all(len(who) == 1 for who in witness.at_work.values())


def test_of_many_nodes_one_runs_it_and_one_of_the_others_takes_over() -> None:
    with virtual_time() as clock, as_nodes() as nodes:
        witness = Witness()
        apps = [make_app(witness) for _ in range(NODES)]
        for app in apps:
            nodes.join(app)
            app.start()
        clock.advance(1)
        for app in apps[:3]:
            nodes.kill(app)
        clock.advance(TTL + 1.5)
        assert not witness.wrong, witness.wrong[0]
        assert {row: len(who) for row, who in witness.at_work.items()} == dict.fromkeys(ROWS, 1)
        for app in apps[3:]:
            nodes.kill(app)  # a stop of each would move it each time
