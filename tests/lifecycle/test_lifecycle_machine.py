"""The engine against a model of it: hypothesis looks for a story in which they differ."""

from __future__ import annotations

import logging
import math
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lifecycle.model import Node, Refused, Spec, World
from lifecycle.scripted import Scripted, Stage, make, policy_of
from sprag import SpragError, StartFailed, State
from sprag.testing import LeakCheck, virtual_time
from sprag_supervisor._supervising import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lifecycle.model import Activity

# Dyadic, so that sums are exact; each service adds a little of its own, so that no two things
# are due at the same moment by accident: their order is the loop's, and no promise of sprag.
LITTLE = 1 / 256

steps_run = 0

delays = st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.0, 8.0])
backoffs = st.none() | st.tuples(
    st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([1.0, 4.0]), st.sampled_from([3.0, 60.0])
)


shutdowns = st.sampled_from(
    [(5.0, False), (1.0, False), (0.0, False), (math.inf, False), (0.0, True)]
)


def specs(depth: int) -> st.SearchStrategy[Spec]:
    """Return a strategy for services with so many levels below them, still without names."""
    below = st.lists(specs(depth - 1), max_size=3) if depth else st.just([])
    return st.fixed_dictionaries(
        {
            "restart": st.sampled_from(["permanent", "transient", "temporary"]),
            "backoff": backoffs,
            "strategy": st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
            "max_restarts": st.sampled_from([3, 1, 0]),
            "max_seconds": st.sampled_from([5.0, 1.0]),
            "start_takes": delays,
            "stop_takes": st.none() | delays,
            "stop_raises": st.booleans(),
            "is_stubborn": st.integers(0, 9).map(lambda dice: dice == 9),
            "keeps_children": st.booleans(),
            "shutdown": shutdowns,
            "children": below.map(tuple),
        }
    ).map(_spec)


def _spec(plan: dict[str, Any]) -> Spec:
    plan["shutdown"], plan["is_brutal"] = plan["shutdown"]
    return Spec(**plan)


who = st.integers(0, 11)
several = st.integers(1, 3)


class LifecycleMachine(RuleBasedStateMachine):
    """Does the same to a tree of sprag and to the model, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ExitStack()
        self.clock = self.block.enter_context(virtual_time())
        self.stage = Stage()
        self.world = World()
        self.count = 0
        self.results: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        self.refusals: dict[str, str] = {}
        self.real: Scripted
        self.root: Node

    # -- names, finding -----------------------------------------------------------------

    def named(self, spec: Spec) -> Spec:
        """Return *spec* with a name of its own, and seconds of its own; so its children."""
        self.count += 1
        name, little = f"n{self.count}", self.count * LITTLE
        backoff = spec.backoff
        return replace(
            spec,
            name=name,
            start_takes=spec.start_takes and spec.start_takes + little,
            stop_takes=spec.stop_takes and spec.stop_takes + little,
            shutdown=spec.shutdown and spec.shutdown + little,
            backoff=backoff and (backoff[0] + little, backoff[1] + little, backoff[2]),
            children=tuple(self.named(child) for child in spec.children),
        )

    def nodes(self) -> list[tuple[Node, Scripted]]:
        """Return all services of the tree, root first: in the model and in sprag."""
        found = []
        stack: list[tuple[Node, Any]] = [(self.root, self.real)]
        while stack:
            node, real = stack.pop()
            found.append((node, real))
            for name, child in reversed(node.children.items()):
                stack.append((child, real._children_[name]))
        return found

    def pick(self, number: int) -> tuple[Node, Scripted]:
        nodes = self.nodes()
        return nodes[number % len(nodes)]

    # -- doing the same to both ----------------------------------------------------------

    def do(self, word: str, real: Callable[[], object], model: Activity) -> None:
        """Call *real* in a greenlet, since it may block, and carry *model* on beside it."""
        self.count += 1
        key = f"{word} #{self.count}"

        def call() -> None:
            self.results[key] = "…"
            try:
                real()
            except StartFailed as error:
                self.results[key] = "start_failed " + error.path.rpartition("/")[2]
            except SpragError as error:
                self.results[key] = "refused"
                self.refusals[key] = type(error).__name__
            except BaseException as error:
                self.results[key] = repr(error)
            else:
                self.results[key] = "ok"

        def activity() -> Activity:
            self.expected[key] = "…"
            try:
                yield from model
            except Refused as refusal:
                self.expected[key] = "refused" if "_" not in str(refusal) else str(refusal)
            else:
                self.expected[key] = "ok"

        gevent.spawn(call)
        self.clock.settle()
        self.world.go(activity())
        self.world.settle()

    @initialize(spec=specs(2))
    def build(self, spec: Spec) -> None:
        spec = self.named(spec)
        self.real = make(spec, self.stage, **policy_of(spec))
        self.root = Node(spec)
        tree_of(self.real).observers.append(self.stage.observe)
        self.do(f"start {spec.name}", self.real.start, self.world.start_by_hand(self.root))

    # -- rules ---------------------------------------------------------------------------

    @rule(number=who, spec=specs(1))
    def adopt(self, number: int, spec: Spec) -> None:
        node, real = self.pick(number)
        if is_crowded(node):
            return
        spec = self.named(spec)
        child = make(spec, self.stage)

        def call() -> None:
            real.adopt(child, name=spec.name, **policy_of(spec))

        self.do(f"adopt {spec.name}", call, self.world.adopt(node, Node(spec)))

    @rule(number=who, way=st.sampled_from(["greenlet", "timer", "listener"]))
    def crash(self, number: int, way: str) -> None:
        node, real = self.pick(number)
        if not node.is_active():
            return
        if way == "greenlet":
            real.spawn(real.fail)
        elif way == "timer":
            real.timeout(real.fail, 0)
        else:
            real.emit(f"crash {node.spec.name}")
        self.clock.settle()
        self.world.crash(node)
        self.world.settle()

    @rule(number=who)
    def finish(self, number: int) -> None:
        node, real = self.pick(number)
        if not node.is_active():
            return
        real.finish()
        self.clock.settle()
        self.world.finish(node)
        self.world.settle()

    @rule(number=who, timeout=st.sampled_from([None, None, 0.0, 1.0]))
    def stop(self, number: int, timeout: float | None) -> None:
        node, real = self.pick(number)
        seconds = math.inf if timeout is None else timeout
        self.do(
            f"stop {node.spec.name}",
            lambda: real.stop(timeout),
            self.world.stop(node, seconds),
        )

    @rule(number=who)
    def start(self, number: int) -> None:
        node, real = self.pick(number)
        if node.parent and is_crowded(node.parent):
            return
        self.do(f"start {node.spec.name}", real.start, self.world.start_by_hand(node))

    @rule(number=who, faults=st.lists(st.sampled_from(["raise", "raise", "ignore"]), max_size=4))
    def break_starts(self, number: int, faults: list[str]) -> None:
        node, _ = self.pick(number)
        self.world.faults[node.spec.name] = list(faults)
        self.stage.faults[node.spec.name] = list(faults)

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0, 30.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass, in the model first: a mistake of sprag must not hang the test."""
        self.world.advance(seconds)
        self.clock.advance(seconds)

    @rule(number=st.integers(0, 3), off=st.sampled_from([-LITTLE / 2, 0.0, LITTLE / 2]))
    def advance_to_an_edge(self, number: int, off: float) -> None:
        """Go to just before, to or just after the moment of something that is due.

        That is the end of a hook, a shutdown limit, a backoff, or of a restart window.
        """
        now = self.world.now
        edges = {round(due(), 9) for _, _, due in self.world.waiting}
        for node, _ in self.nodes():
            edges.update(then + node.spec.max_seconds for then in node.window)
        ahead = sorted(edge + off for edge in edges if now < edge + off < math.inf)
        if ahead:
            self.advance(ahead[number % len(ahead)] - now)

    # -- after every step -------------------------------------------------------------------

    @invariant()
    def agree(self) -> None:
        global steps_run
        steps_run += 1
        if not hasattr(self, "real"):
            return
        assert self.clock.now == self.world.now
        assert picture(self.real) == [
            [
                node.spec.name,
                node.state,
                node.incarnation,
                node.restarts,
                node.next_try and round(node.next_try, 6),
            ]
            for node, _ in self.nodes_of_model()
        ]
        assert self.results == self.expected
        assert in_order(self.stage.log) == in_order(self.world.log)
        assert not self.stage.violations

    def nodes_of_model(self):
        stack = [self.root]
        while stack:
            node = stack.pop()
            yield node, None
            stack.extend(reversed(node.children.values()))

    def assert_nothing_left(self) -> None:
        loop: Any = gevent.get_hub().loop
        assert [timer for timer in loop.active_timers() if timer.ref] == []

    def teardown(self) -> None:
        try:
            self.stage.is_over = True
            for each in self.stage.stubborn:
                each.kill(block=False)
            if hasattr(self, "real"):
                gevent.spawn(self.real.stop)
                self.clock.advance(1000)
                assert self.real._state_ in (State.STOPPED, State.FINISHED, State.FAILED), self.real
            self.assert_nothing_left()
        finally:
            self.block.close()


def in_order(log: dict[str, list[tuple[float, str, str]]]) -> dict[str, list[Any]]:
    """Return the log such that equal ones are equal.

    Starts below one parent have an order. Its ends have one too, but for those that somebody
    else has begun, and who comes first at one moment is open: `Stage.observe` looks after it.
    """
    rounded = {key: [(round(at, 6), *what) for at, *what in log[key]] for key in log}
    return {
        key: sorted(rounded[key]) if key.startswith("ends") else rounded[key] for key in rounded
    }


def is_crowded(parent: Node) -> bool:
    """Whether somebody would wait for an on_start to go on, and perhaps end, at one moment with it.

    Who of the two comes first is no promise. The only thing that is left out.
    """
    return parent.state == "starting" and bool(parent.turn)


def picture(real: Any) -> list[list[Any]]:
    lines = []
    stack = [real]
    while stack:
        node = stack.pop()
        history = node._history_
        next_try = None if history is None else history.next_try
        next_try = next_try and round(next_try, 6)
        lines.append(
            [node._name_, node._state_.value, node._incarnation_, node._restarts_, next_try]
        )
        stack.extend(reversed((node._children_ or {}).values()))
    return lines


ENGINE = settings(
    max_examples=int(os.environ.get("EX", "100")),
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=not os.environ.get("RAND"),
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
    print_blob=False,
    report_multiple_bugs=False,
)


@pytest.fixture
def _silence() -> Iterator[None]:
    logger = logging.getLogger("sprag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("_silence")
def test_the_engine_does_what_the_model_does() -> None:
    run_state_machine_as_test(LifecycleMachine, settings=ENGINE)
