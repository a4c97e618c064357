"""The engine against a small model of it: one operation at a time, each on a tree at rest.

Hypothesis looks for the story in which they differ. The stories are the same in each run;
SPRAG_STEPS makes more of them (``SPRAG_STEPS=100000``), SPRAG_SEED=1 others. Operations that
come while others are in progress are told in tests/lifecycle.
"""

from __future__ import annotations

import difflib
import logging
import math
import os
import pprint
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, cast
from unittest import mock

import gevent
import pytest
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lifecycle.profile import seeded, settings_for
from machine.model import Model
from machine.plans import (
    GRACE,
    PATIENT,
    Refused,
    Spec,
    Unclear,
    additions,
    needs,
    numbers,
    roots,
    troubles,
)
from machine.services import Stage, backoff_of, child_policy, make
from scripted import spawn
from sprag import DynamicSupervisor, Service, Snapshot, SpragError, StartFailed, State, Supervisor
from sprag.exceptions import (
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    ChildRestarting,
    ChildRunning,
    MaxChildren,
    UnknownChild,
)
from sprag.testing import check_invariants, virtual_time
from sprag_supervisor.life import steps as _steps
from sprag_supervisor.life import supervising as _supervising
from sprag_supervisor.life.by_hand import tree_of
from sprag_supervisor.life.guard import report_crash
from sprag_supervisor.life.holding import release_exits
from sprag_supervisor.rules import policy as _policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from machine.tree import Node


STEPS = int(os.environ.get("SPRAG_STEPS", "2000"))
BUSY = 0.25
"""More seconds than the troubles of one step can take, and no more than any backoff."""
EDGE = 1 / 512
"""Seconds between the moments just before, at, and just after; whole nanoseconds."""

Journal = list[tuple[float, str, str]]
Row = tuple[str, str, int, int, float, list["Row"]]

_REASONS = ("held", "late", "busy", "waits for ")
_WORDS: dict[type[SpragError], str] = {
    AlreadyPresent: "already_present",
    AlreadyStarted: "already_started",
    BadPolicy: "bad_combination",
    ChildRestarting: "restarting",
    ChildRunning: "running",
    MaxChildren: "max_children",
    UnknownChild: "not_found",
}


class Machine(RuleBasedStateMachine):
    steps: ClassVar[int] = 0
    """Steps made and compared so far, by all machines."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ExitStack()
        self.clock = self.block.enter_context(virtual_time())
        self.block.enter_context(mock.patch.object(_steps, "KILL_GRACE", GRACE))
        for module in (_policy, _supervising):
            self.block.enter_context(mock.patch.object(module, "PATIENT", backoff_of(PATIENT)))
        self.stage = Stage()
        self.pools: list[str] = []
        self.agrees = False

    @initialize(spec=roots)
    def begin(self, spec: Spec) -> None:
        self.model = Model(spec)
        self.real = make(spec, self.stage)
        tree_of(self.real).observers.append(self.stage.observe)
        self.break_first(spec, spec.name)
        self.step(lambda: self.model.start(self.model.root), self.real.start)

    def teardown(self) -> None:
        if self.agrees:
            self.step(lambda: self.model.stop(self.model.root), self.real.stop)
            assert not self.stage.alive
        self.block.close()

    # -- finding ----------------------------------------------------------------------------------

    def any_of(self, number: int, *states: str, kind: str = "") -> Node | None:
        """Return one of those in *states*, and of *kind*."""
        nodes = [
            node
            for node in self.model.nodes()
            if (not states or node.state in states) and kind in ("", node.spec.kind)
        ]
        return nodes[number % len(nodes)] if nodes else None

    def real_of(self, node: Node) -> Any:
        if node.parent is None:
            return self.real
        parent = cast("Service", self.real_of(node.parent))
        return (parent._children_ or {})[node.spec.name]

    # -- stepping ---------------------------------------------------------------------------------

    def step(self, expected: Callable[[], object], happens: Callable[[], object]) -> None:
        """Do the same to the model and to the tree, let it come to rest, and compare."""
        self.agrees, model, stage = False, self.model, self.stage
        began = model.now
        model.step += 1
        wanted, got = _result(expected, model.wake), _result(happens)
        if wanted == got:
            self.clock.advance(max(0.0, model.now - self.clock.now))
        self.clock.settle()
        stage.release()
        self.clock.settle()
        model.troubles.clear()
        stage.troubles.clear()
        assert got == wanted, f"model: {wanted}; sprag: {got}"
        pools = {node.path for node in model.nodes() if node.is_side_by_side}
        self.pools = sorted(pools | model.together | {*self.pools})
        _compare(_in_order(stage.journal, self.pools), _in_order(model.journal, self.pools))
        assert self.clock.now == model.now, f"it took {self.clock.now - began} seconds"
        stage.journal.clear()
        model.journal.clear()
        _compare(_picture(self.real.snapshot(), model.now), _rows(model.root))
        _compare(_lacks(self.real), model.not_ready())
        assert not stage.wrong
        assert stage.faults == model.faults
        check_invariants(self.real)
        Machine.steps += 1
        self.agrees = True

    def trouble(self, troubles: list[tuple[int, str]]) -> None:
        """Let stops that come in the next step be slow, or not go well."""
        model, stage = self.model, self.stage
        soon = model.now + BUSY
        if any(min(node.next_try, model.is_missed(node)) <= soon for node in model.nodes()):
            return  # one thing at a time
        for number, what in troubles:
            node = self.any_of(number, "running")
            if node is not None and node.path not in model.troubles:
                model.troubles[node.path] = stage.troubles[node.path] = what
                if what == "deaf":
                    stage.make_deaf(self.real_of(node))
        self.clock.settle()

    # -- what is done -----------------------------------------------------------------------------

    @rule(number=numbers, how=st.sampled_from(["body", "greenlet", "timer", "listener", "now"]),
          troubles=troubles)  # fmt: skip
    def crash(self, number: int, how: str, troubles: list[tuple[int, str]]) -> None:
        node = self.any_of(number, "running")
        if node is None:
            self.start(0)
            return
        self.trouble(troubles)
        service = self.real_of(node)
        ways: dict[str, Callable[[], object]] = {
            "body": lambda: service.order.set("crash"),
            "greenlet": lambda: service.spawn(service.fail),
            "timer": lambda: service.timeout(service.fail, 0),
            "listener": lambda: self.real.emit(f"crash {node.path}"),
            "now": lambda: report_crash(service, service._incarnation_, "test", RuntimeError()),
        }
        if how == "body" and node.spec.kind != "service":
            how = "greenlet"
        self.step(lambda: self.model.leave(node, "crashed"), ways[how])

    @rule(number=numbers, how=st.sampled_from(["body", "inside", "outside"]),
          troubles=troubles)  # fmt: skip
    def finish(self, number: int, how: str, troubles: list[tuple[int, str]]) -> None:
        node = self.any_of(number, "running")
        if node is None:
            self.start(0)
            return
        self.trouble(troubles)
        service = self.real_of(node)
        ways: dict[str, Callable[[], object]] = {
            "body": lambda: service.order.set("return"),
            "inside": lambda: service.spawn(service.finish),
            "outside": service.finish,
        }
        if how == "body" and node.spec.kind != "service":
            how = "inside"
        self.step(lambda: self.model.leave(node, "finished"), ways[how])

    @rule(number=numbers, how=st.sampled_from(["once", "twice", "inside"]), troubles=troubles)
    def stop(self, number: int, how: str, troubles: list[tuple[int, str]]) -> None:
        node = self.any_of(number)
        assert node is not None
        self.trouble(troubles)
        service = self.real_of(node)
        ways: dict[str, Callable[[], object]] = {
            "once": service.stop,
            "twice": lambda: gevent.joinall([spawn(service.stop), spawn(service.stop)]),
            "inside": lambda: service.spawn(service.stop),
        }
        if how == "inside" and node.state != "running":
            how = "once"
        self.step(lambda: self.model.stop(node), ways[how])

    @rule(number=numbers)
    def start(self, number: int) -> None:
        node = self.any_of(number, "stopped", "finished", "failed")
        if node is not None:
            service = self.real_of(node)
            self.step(lambda: self.model.start_again(node), service.start)

    @rule(
        number=numbers, what=st.sampled_from(["raise", "raise", "ignore"]), times=st.integers(1, 4)
    )
    def break_starts(self, number: int, what: str, times: int) -> None:
        node = self.any_of(number)
        assert node is not None
        for faults in (self.model.faults, self.stage.faults):
            faults[node.path] = [what] * times
        Machine.steps += 1

    def break_first(self, spec: Spec, path: str) -> None:
        """Let starts of what is new raise, at and below *path*."""
        for faults in (self.model.faults, self.stage.faults):
            faults[path] = ["raise"] * spec.faults
        for child in spec.children:
            self.break_first(child, f"{path}/{child.name}")

    @rule(number=numbers, spec=additions, name=st.sampled_from("abcdef"), needs=needs,
          troubles=troubles)  # fmt: skip
    def start_child(
        self,
        number: int,
        spec: Spec,
        name: str,
        needs: tuple[tuple[str, str], ...] | None,
        troubles: list[tuple[int, str]],
    ) -> None:
        parent = self.any_of(number, "running")
        if parent is None:
            self.start(number)
            return
        self.trouble(troubles)
        supervisor = self.real_of(parent)
        spec = replace(spec, name=name, needs=needs)
        self.break_first(spec, f"{parent.path}/{name}")
        child = make(spec, self.stage)
        call = supervisor.adopt if parent.spec.kind == "service" else supervisor.start_child
        self.step(
            lambda: self.model.start_child(parent, spec),
            lambda: call(child, name=name, **child_policy(spec)),
        )

    @rule(number=numbers, which=numbers, call=st.sampled_from(["terminate", "restart", "delete"]),
          troubles=troubles)  # fmt: skip
    def manage(self, number: int, which: int, call: str, troubles: list[tuple[int, str]]) -> None:
        parent = self.any_of(number, "running", kind="supervisor")
        if number % 4 == 0:
            call, parent = "terminate", self.any_of(number, "running", kind="pool")
        if parent is None:
            self.start(number)
            return
        self.trouble(troubles)
        supervisor = self.real_of(parent)
        names = [*parent.children, *parent.children, "z"]
        name = names[which % len(names)]
        happens = getattr(supervisor, f"{call}_child")
        self.step(lambda: self.model.manage(parent, call, name), lambda: happens(name))

    @rule(number=numbers, reason=st.sampled_from(["", "busy"]))
    def say(self, number: int, reason: str) -> None:
        """Let a service that runs say that it is ready, or why it is not."""
        node = self.any_of(number, "running")
        awaited = [each for each in self.model.nodes() if each.state == "running" and each.lack]
        if awaited and number % 4:
            node, reason = awaited[number % len(awaited)], ""
        if node is None:
            self.start(0)
            return
        service = self.real_of(node)
        self.step(
            lambda: self.model.say(node, reason),
            lambda: service.set_ready(not reason, reason),
        )

    @rule(number=numbers)
    def beat(self, number: int) -> None:
        """Let one that has to beat do so."""
        running = [each for each in self.model.nodes() if each.state == "running"]
        beating = [each for each in running if each.spec.heartbeat]
        if not running:
            self.start(0)
            return
        node = (beating or running)[number % len(beating or running)]
        self.step(lambda: self.model.beat(node), self.real_of(node).beat)

    @rule(number=numbers)
    def hold(self, number: int) -> None:
        node = self.any_of(number)
        assert node is not None
        if self.model.root.state != "running" or len(self.model.holds) > 1:
            self.release(number)
            return
        self.step(lambda: self.model.hold(node.path), self.real_of(node).hold_exits)

    @rule(number=numbers)
    def release(self, number: int) -> None:
        """Release what is held, where one supervisor has to decide: several would do so at once."""
        model = self.model
        tree = self.real._tree_
        if not model.holds or len({node.parent for node, *_ in model.to_decide()}) > 1:
            self.ask()
            return
        assert tree is not None
        path = sorted(model.holds)[number % len(model.holds)]
        self.step(lambda: model.release(path), lambda: release_exits(tree, path))

    @rule(number=numbers, edge=st.sampled_from([-EDGE, 0.0, EDGE]))
    def advance(self, number: int, edge: float) -> None:
        """Go to just before, to, or just after a moment at which something changes."""
        model = self.model
        edges = {3.0 + model.now}
        for node in model.nodes():
            edges |= {each + node.spec.max_seconds for each in node.window}
            edges |= {node.next_try, model.is_missed(node)} - {math.inf}
        ahead = sorted(each + edge for each in edges if each + edge > model.now)
        until = ahead[number % min(len(ahead), 3)]
        seconds = until - model.now
        self.step(lambda: model.pass_time(until), lambda: self.clock.advance(seconds))

    @rule()
    def ask(self) -> None:
        """Ask each supervisor for its children: 60, 61, appendix A."""
        for node in self.model.nodes():
            if node.spec.kind == "service":
                continue
            supervisor = self.real_of(node)
            assert isinstance(supervisor, Supervisor | DynamicSupervisor)
            below = node.children.values()
            rows = [(each.name, each.state.value) for each in supervisor.which_children()]
            assert rows == [(each.spec.name, each.state) for each in below]
            counts = supervisor.count_children()
            active = sum(each.state == "running" for each in below)
            workers = sum(each.spec.kind == "service" for each in below)
            supervisors = len(below) - workers
            assert counts == type(counts)(len(below), active, supervisors, workers)
        Machine.steps += 1


def _compare(real: object, model: object) -> None:
    if real == model:
        return
    wanted, got = (pprint.pformat(each, width=100).splitlines() for each in (model, real))
    raise AssertionError(
        "\n".join(difflib.unified_diff(wanted, got, "model", "sprag", lineterm=""))
    )


def _result(call: Callable[[], object], then: Callable[[], object] = bool) -> str:
    try:
        try:
            call()
        finally:
            then()
    except Refused as refusal:
        return str(refusal)
    except Unclear:
        reject()
    except StartFailed as error:
        return error.path
    except SpragError as error:
        return _WORDS[type(error)]
    return "ok"


def _rows(node: Node) -> Row:
    below = [_rows(each) for each in node.children.values()]
    counts = node.incarnation, node.restarts
    next_try = (node.waits_for or node).next_try
    return node.spec.name, node.state, *counts, next_try, below


def _picture(snapshot: Snapshot, now: float) -> Row:
    if snapshot.state is not State.RUNNING:
        assert not any(snapshot.owned), f"{snapshot.path} owns {snapshot.owned}"
    next_try = math.inf if snapshot.next_try is None else now + snapshot.next_try
    below = [_picture(each, now) for each in snapshot.children]
    counts = snapshot.incarnation, snapshot.restarts
    return snapshot.name, snapshot.state.value, *counts, next_try, below


def _lacks(root: Service) -> dict[str, tuple[str, str]]:
    """Return who is not ready, as the model has it: failures are told in the journal."""
    told = {path: (lack.state.value, lack.reason) for path, lack in root.not_ready().items()}
    return {
        path: (state, _in_any_order(reason) if reason.startswith(_REASONS) else "")
        for path, (state, reason) in told.items()
    }


def _in_any_order(reason: str) -> str:
    before, waits, names = reason.rpartition("waits for ")
    return f"{before}{waits}{', '.join(sorted(names.split(', ')))}" if waits else reason


def _in_order(journal: Journal, pools: list[str]) -> Journal:
    """Sort what happens below one pool by time and child: these stop together, in any order."""
    for pool in sorted(pools, key=lambda path: path.count("/")):
        journal = _sorted_below(f"{pool}/", journal)
    return journal


def _sorted_below(pool: str, journal: Journal) -> Journal:
    depth = pool.count("/")
    ordered: Journal = []
    for is_below, lines in groupby(journal, lambda line: line[2].startswith(pool)):
        if is_below:
            ordered.extend(sorted(lines, key=lambda line: (line[0], line[2].split("/")[depth])))
        else:
            ordered.extend(lines)
    return ordered


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Nobody listens to the log: thousands of crashes are of no interest."""
    logger = logging.getLogger("sprag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.long
def test_sprag_does_what_the_model_does() -> None:
    number = os.environ.get("SPRAG_SEED")
    machine = Machine if number is None else seeded(Machine, int(number))
    run_state_machine_as_test(machine, settings=settings_for(STEPS, is_random=number is not None))
    print(f"{Machine.steps:,} steps made and compared")
    # Of few stories it is more or less: hypothesis draws from numbers in the modules it finds, too.
    assert Machine.steps > 0.5 * STEPS, "most of what hypothesis draws should be possible"
