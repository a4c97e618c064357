"""The machine: does the same to a tree of sprag and to the model of it, and compares."""

from __future__ import annotations

import difflib
import math
import pprint
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

import gevent
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lifecycle.model import GRACE, LATE, Model, Node, Refused, Spec
from lifecycle.scripted import Scripted, Stage, make, policy_of
from scripted import spawn
from sprag import SpragError, StartFailed
from sprag.testing import LeakCheck, check_invariants, virtual_time
from sprag_supervisor.life import managing as _managing
from sprag_supervisor.life import starting as _starting
from sprag_supervisor.life import steps as _steps
from sprag_supervisor.life.by_hand import tree_of
from sprag_supervisor.tree.group import next_try_of
from sprag_supervisor.tree.moves import settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from lifecycle.activities import Activity

# Each service adds a little of its own to its times, so that no two things are due at the same
# moment by accident: which comes first is the loop's business, and no promise of sprag. All times
# are dyadic, so that sums of them are exact.
LITTLE = 1 / 256
LATE_BY = 8e-9
"""Seconds by which sprag may be late where its part of a time is no dyadic number."""
AN_AGE = 1000.0
"""After it everything that can end has ended."""

delays = st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 8.0])
backoffs = st.none() | st.tuples(
    st.sampled_from([0.125, 0.25, 1.0]), st.sampled_from([1.0, 4.0]), st.sampled_from([3.0, 60.0])
)
shutdowns = st.sampled_from(
    [(5.0, False), (1.0, False), (0.0, False), (math.inf, False), (0.0, True)]
)
THE_ROOT = 11
numbers = st.integers(0, THE_ROOT)


def specs(
    below: st.SearchStrategy[list[Spec]], **instead: st.SearchStrategy[Any]
) -> st.SearchStrategy[Spec]:
    """Return a strategy for services, still without names.

    Args:
        below: For their children.
        instead: For single fields, instead of the strategies here.
    """
    fields = {
        "restart": st.sampled_from(["permanent", "permanent", "transient", "temporary"]),
        "backoff": backoffs,
        "strategy": st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        "max_restarts": st.sampled_from([3, 9, 9, 1, 0]),
        "max_seconds": st.sampled_from([5.0, 1.0]),
        "start_timeout": st.sampled_from([math.inf, math.inf, math.inf, 3.0]),
        "start_takes": delays,
        "drain_takes": st.none() | delays,
        "stop_takes": st.none() | delays,
        "stop_raises": st.booleans(),
        "has_run": st.booleans(),
        "is_stubborn": st.integers(0, 9).map(lambda dice: dice == 9),
        "keeps_children": st.booleans(),
        "shutdown": shutdowns,
        "children": below.map(tuple),
    }
    return st.fixed_dictionaries(fields | instead).map(_spec)


def _spec(plan: dict[str, Any]) -> Spec:
    plan["shutdown"], plan["is_brutal"] = plan["shutdown"]
    return Spec(**plan)


leaves = specs(st.just([]))
branches = specs(st.lists(leaves, max_size=3))
trees = specs(
    st.lists(branches, min_size=2, max_size=3),
    max_restarts=st.sampled_from([9, 9, 3, 1]),
    start_takes=st.sampled_from([0.0, 0.0, 0.0, 0.5]),
)

# A supervisor whose children take their time, so that everything comes in between a group restart.
slow = st.sampled_from([0.5, 2.0])
members = specs(
    st.just([]),
    restart=st.sampled_from(["permanent", "permanent", "permanent", "transient"]),
    backoff=st.none() | st.just((1.0, 4.0, 60.0)),
    start_timeout=st.just(math.inf),
    start_takes=st.just(0.0) | slow,
    stop_takes=st.none() | slow,
    drain_takes=st.none(),
    is_stubborn=st.just(False),
    shutdown=st.sampled_from([(5.0, False), (1.0, False)]),
)
families = specs(
    st.lists(members, min_size=2, max_size=4),
    strategy=st.sampled_from(["one_for_all", "rest_for_one", "one_for_one"]),
    max_restarts=st.sampled_from([9, 3, 2, 1]),
    start_takes=st.just(0.0),
    start_timeout=st.just(math.inf),
    is_stubborn=st.just(False),
)


def _is_up(machine: Any) -> bool:
    """Whether there is something to be done to a tree; if not, it is time to start it again."""
    return not settled(machine.real)


class LifecycleMachine(RuleBasedStateMachine):
    """One tree and its model. Steps may come while earlier ones are still in progress.

    What is left out, because no promise of sprag covers it: that somebody waits for his turn to
    change the children of a service that is itself starting, or to delete a child. The on_start,
    or the service, may end at the very moment at which the turn is given, and then either may
    come first.
    """

    steps: ClassVar[int] = 0
    """Steps made and compared so far, by all machines."""
    looks_for_leaks: ClassVar[bool] = False
    """Whether to search the memory for greenlets at the end, which takes a tenth of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ExitStack()
        self.clock = self.block.enter_context(virtual_time())
        for module in (_steps, _starting):
            self.block.enter_context(mock.patch.object(module, "KILL_GRACE", GRACE))
        self.leaks = LeakCheck()
        if self.looks_for_leaks:
            self.leaks.__enter__()
        self.stage = Stage()
        self.model = Model()
        self.count = 0
        self.calls: list[gevent.Greenlet[..., Any]] = []
        self.results: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        self.waiters: list[tuple[Scripted, gevent.Greenlet[..., Any]]] = []
        self.real: Scripted
        self.root: Node

    # -- finding and naming ---------------------------------------------------------------------

    def named(self, spec: Spec) -> Spec:
        """Return *spec* with a name of its own, and times of its own; so its children."""
        self.count += 1
        name, little = f"n{self.count}", self.count * LITTLE
        backoff = spec.backoff
        return replace(
            spec,
            name=name,
            start_timeout=spec.start_timeout + little,
            start_takes=spec.start_takes and spec.start_takes + little,
            drain_takes=spec.drain_takes and spec.drain_takes + little,
            stop_takes=spec.stop_takes and spec.stop_takes + little,
            shutdown=spec.shutdown and spec.shutdown + little,
            backoff=backoff and (backoff[0] + little, backoff[1] + little, backoff[2]),
            children=tuple(self.named(child) for child in spec.children),
        )

    def nodes(self) -> list[tuple[Node, Any]]:
        """Return all services of the tree, the root first: in the model and in sprag."""
        found: list[tuple[Node, Any]] = [(self.root, self.real)]
        for node, real in found:
            found.extend((child, real._children_[name]) for name, child in node.children.items())
        return found

    def pick(
        self, number: int, wanted: Callable[[Node], bool] = lambda _node: True
    ) -> tuple[Node, Any]:
        """Return one of the *wanted* services if there is any; the root by one number only."""
        nodes = self.nodes()
        if number == THE_ROOT or len(nodes) == 1:
            return nodes[0]
        nodes = [each for each in nodes[1:] if wanted(each[0])] or nodes[1:]
        return nodes[number % len(nodes)]

    # -- doing the same to both ------------------------------------------------------------------

    def do(self, word: str, node: Node, real: Callable[[], object], model: Activity) -> None:
        """Call *real* in a greenlet, since it may block, and let *model* go on beside it."""
        self.count += 1
        key = f"{word} {node.spec.name} #{self.count}"
        self.results[key] = self.expected[key] = "in progress"

        def call() -> None:
            try:
                real()
            except StartFailed as error:
                self.results[key] = "start_failed " + error.path.rpartition("/")[2]
            except SpragError:
                self.results[key] = "refused"
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
                self.results[key] = repr(error)
            else:
                self.results[key] = "ok"

        def activity() -> Activity:
            try:
                yield from model
            except Refused as refusal:
                why = str(refusal)
                self.expected[key] = why if why.startswith("start_failed") else "refused"
            else:
                self.expected[key] = "ok"

        self.calls.append(spawn(call))
        self.clock.settle()
        self.model.go(activity())
        self.model.settle()

    @initialize(spec=trees | families, waits=st.sampled_from([True, True, True, False]))
    def build(self, spec: Spec, waits: bool) -> None:
        spec = self.named(spec)
        self.root = Node(spec)
        self.real = self.stage.root = make(spec, self.stage)
        tree_of(self.real).observers.append(self.stage.observe)
        self.do("start", self.root, self.real.start, self.model.start_by_hand(self.root))
        if waits:
            self.advance(AN_AGE)

    # -- rules -----------------------------------------------------------------------------------

    @precondition(_is_up)
    @rule(number=numbers, spec=leaves | branches)
    def adopt(self, number: int, spec: Spec) -> None:
        parent, real = self.pick(number, Node.is_active)
        if _is_crowded(parent):
            return
        spec = self.named(spec)
        node, child = Node(spec), make(spec, self.stage)
        self.do(
            "adopt",
            node,
            lambda: real.adopt(child, name=spec.name, **policy_of(spec)),
            self.model.adopt(parent, node),
        )

    # One rule for each way to crash, so that there are many crashes.

    @precondition(_is_up)
    @rule(number=numbers)
    def crash_a_greenlet(self, number: int) -> None:
        self.crash_this(*self.pick(number, Node.is_active), "greenlet")

    @precondition(_is_up)
    @rule(number=numbers)
    def crash_a_timer(self, number: int) -> None:
        self.crash_this(*self.pick(number, Node.is_active), "timer")

    @precondition(_is_up)
    @rule(number=numbers)
    def crash_a_listener(self, number: int) -> None:
        """Crash somebody who may also be stopping: then it is a stop error, and no more."""
        node, real = self.pick(number, lambda node: node.is_active() or node.is_busy())
        self.crash_this(node, real, "listener")

    @precondition(_is_up)
    @rule(number=numbers)
    def crash_in_run(self, number: int) -> None:
        node, real = self.pick(number, lambda node: node.spec.has_run and node.is_active())
        self.crash_this(node, real, "run")

    def crash_this(self, node: Node, real: Any, way: str) -> None:
        if way == "listener":
            real.emit(f"crash {node.spec.name}")
        elif way == "run" and node.spec.has_run and node.state == "running":
            real.order.set("crash")
        elif not node.is_active():
            return
        elif way == "timer":
            real.timeout(real.fail, 0)
        else:
            real.spawn(real.fail)
        self.clock.settle()
        self.model.crash(node)
        self.model.settle()

    @precondition(_is_up)
    @rule(
        number=numbers,
        other=numbers,
        way=st.sampled_from(["greenlet", "run"]),
        then=st.sampled_from(["stop it", "crash", "stop", "start", "stop parent"]),
    )
    def crash_and_more(self, number: int, other: int, way: str, then: str) -> None:
        """Let something else happen while a service and its group go down."""
        node, real = self.pick(number, Node.is_active)
        self.crash_this(node, real, way)
        if then == "crash":
            self.crash_this(*self.pick(other, Node.is_active), way)
        elif then == "start":
            self.start(other)
        else:
            siblings = list((node.parent or node).children.values())
            among: dict[str, list[Any]] = {
                "stop it": [node],
                "stop parent": [node.parent],
                "stop": siblings,
            }
            ones = [each for each in self.nodes() if each[0] in among[then]]
            if ones:
                self.stop_this(*ones[other % len(ones)], None)

    @precondition(_is_up)
    @rule(number=numbers, off=st.sampled_from([-LITTLE / 2, 0.0, LITTLE / 2]))
    def crash_at_an_edge(self, number: int, off: float) -> None:
        """Crash a child just before, at or just after the end of its parent's restart window."""
        now = self.model.now
        edges = [
            (then + node.spec.max_seconds + off, child)
            for node, _ in self.nodes()
            for then in node.window
            for child in node.children.values()
        ]
        ahead = [(edge, child) for edge, child in edges if now < edge < math.inf]
        if ahead:
            edge, child = ahead[number % len(ahead)]
            self.advance(edge - now)
            places = [each for each, _ in self.nodes()]
            if child in places and child.is_active():
                self.crash_this(child, self.nodes()[places.index(child)][1], "greenlet")

    @precondition(_is_up)
    @rule(number=numbers, way=st.sampled_from(["outside", "inside", "run"]))
    def finish(self, number: int, way: str) -> None:
        node, real = self.pick(number, Node.is_active)
        if not node.is_active():
            return
        if way == "run" and node.spec.has_run and node.state == "running":
            real.order.set("finish")
        elif way == "inside":
            real.spawn(real.finish)
        else:
            real.finish()
        self.clock.settle()
        self.model.finish(node)
        self.model.settle()

    @precondition(_is_up)
    @rule(number=numbers, timeout=st.sampled_from([None, None, 0.0, 1.0]))
    def stop(self, number: int, timeout: float | None) -> None:
        node, real = self.pick(number, lambda node: node.state not in ("stopped", "failed"))
        self.stop_this(node, real, timeout)

    def stop_this(self, node: Node, real: Any, timeout: float | None) -> None:
        self.stage.stopped_by_hand.add(node.spec.name)
        self.do(
            "stop",
            node,
            lambda: self.stop_and_check(real, timeout),
            self.model.stop(node, math.inf if timeout is None else timeout),
        )

    def stop_and_check(self, real: Scripted, timeout: float | None) -> None:
        began, check = self.clock.now, self.stage.check
        report = real.stop(timeout)
        check(not report.stragglers or bool(self.stage.stubborn), f"no straggler: {report}")
        took = self.clock.now - began
        check(
            timeout is None or took <= timeout + LATE + 2 * GRACE,
            f"stopping {real!r} took {took} s",
        )

    @precondition(_is_up)
    @rule(number=numbers, inner=numbers)
    def stop_from_inside(self, number: int, inner: int) -> None:
        """Stop a service from a greenlet of it or of something below it."""
        node, real = self.pick(number)
        lineages = [(one, [*_lineage(one)], service) for one, service in self.nodes()]
        inside = [service for one, above, service in lineages if node in above and one.is_active()]
        if inside:
            self.stage.stopped_by_hand.add(node.spec.name)
            inside[inner % len(inside)].spawn(real.stop)
            self.clock.settle()
            self.model.go(self.model.stop(node))
            self.model.settle()

    @rule(number=numbers)
    def start(self, number: int) -> None:
        root = self.root
        number = number if root.is_active() or root.is_busy() else THE_ROOT
        node, real = self.pick(number, lambda node: not node.is_active())
        if node.parent is None or not _is_crowded(node.parent):
            self.do("start", node, real.start, self.model.start_by_hand(node))

    @precondition(_is_up)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        node, real = self.pick(number, lambda node: not node.is_active())
        parent = real._parent_
        if node.parent is not None and not node.parent.turn:
            self.do(
                "delete",
                node,
                lambda: _managing.delete_child(parent, real),
                self.model.delete(node),
            )

    @precondition(_is_up)
    @rule(number=numbers)
    def wait(self, number: int) -> None:
        _, real = self.pick(number)
        self.waiters.append((real, spawn(real.wait)))
        self.clock.settle()

    @precondition(_is_up)
    @rule(
        number=numbers, faults=st.lists(st.sampled_from(["raise", "raise", "ignore"]), max_size=4)
    )
    def break_starts(self, number: int, faults: list[str]) -> None:
        """Let the next starts of a service raise, or raise Ignore."""
        node, _ = self.pick(number)
        self.model.faults[node.spec.name] = list(faults)
        self.stage.faults[node.spec.name] = list(faults)

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0, 30.0]))
    def advance(self, seconds: float) -> None:
        self.model.advance(seconds)
        self.clock.advance(seconds)

    @precondition(_is_up)
    @rule(number=st.integers(0, 3), off=st.sampled_from([-LITTLE / 2, 0.0, LITTLE / 2]))
    def advance_to_an_edge(self, number: int, off: float) -> None:
        """Go to just before, to or just after the moment at which something is due.

        That is the end of a hook, of a shutdown limit, of a backoff, of a restart window.
        """
        now = self.model.now
        dues = {self.model.due(moment) for _, _, moment in self.model.waiting}
        edges = {due if (due / LITTLE * 2).is_integer() else due + LATE_BY for due in dues}
        for node, _ in self.nodes():
            edges.update(then + node.spec.max_seconds for then in node.window)
        ahead = sorted(at for at in (round(edge + off, 9) for edge in edges) if now < at < math.inf)
        if ahead:
            self.advance(ahead[number % len(ahead)] - now)

    # -- after every step --------------------------------------------------------------------------

    @invariant()
    def model_and_sprag_agree(self) -> None:
        if not hasattr(self, "real"):
            return
        LifecycleMachine.steps += 1
        same("time", self.clock.now, self.model.now)
        same("tree", picture_of_sprag(self.real), picture_of_model(self.root))
        same("results of calls", self.results, self.expected)
        same("log", in_order(self.stage.log), in_order(self.model.log))
        same("violations", self.stage.violations, [])
        for service, waiter in self.waiters:
            assert waiter.ready() or not settled(service), f"wait() missed the end of {service!r}"
        check_invariants(self.real)

    def teardown(self) -> None:
        try:
            if hasattr(self, "real"):
                self.stop_everything()
            if self.looks_for_leaks:
                self.leaks.assert_no_leaks()
        finally:
            self.block.close()

    def stop_everything(self) -> None:
        """Whatever has happened: a stop ends it all, and nothing is left."""
        # Once more for each start that has waited for the stop before.
        for _ in range(1 + sum(not call.ready() for call in self.calls)):
            self.calls.append(spawn(self.real.stop, AN_AGE / 2))
            self.clock.advance(AN_AGE)
        check_invariants(self.real)
        assert not self.real._children_
        assert settled(self.real), self.real
        assert all(call.ready() for call in self.calls), self.results
        same("violations", self.stage.violations, [])
        self.stage.is_over = True
        for each in self.stage.stubborn:
            each.kill(block=False)
        self.calls = self.calls[:0]
        for _, waiter in self.waiters:
            waiter.kill(block=False)  # it may wait for a service that has left the tree
        self.clock.settle()
        loop: Any = gevent.get_hub().loop
        assert [timer for timer in loop.active_timers() if timer.ref] == []


def same(what: str, sprag: object, model: object) -> None:
    """Fail unless the two are the same, and show where they differ."""
    if sprag != model:
        lines = difflib.unified_diff(
            pprint.pformat(model, width=100).splitlines(),
            pprint.pformat(sprag, width=100).splitlines(),
            "model",
            "sprag",
            lineterm="",
        )
        raise AssertionError("\n".join([f"the {what} differ:", *lines]))


def picture_of_sprag(root: Scripted) -> list[tuple[Any, ...]]:
    """Return every service: depth, name, state, incarnation, restarts, next try."""
    lines: list[tuple[Any, ...]] = []
    stack: list[tuple[int, Any]] = [(0, root)]
    while stack:
        depth, one = stack.pop()
        next_try = counted(next_try_of(one))
        line = one._name_, one._state_.value, one._incarnation_, one._restarts_, next_try
        lines.append((depth, *line))
        below: dict[str, Any] = one._children_ or {}
        stack.extend((depth + 1, child) for child in reversed(below.values()))
    return lines


def picture_of_model(root: Node) -> list[tuple[Any, ...]]:
    """Return the same of the model."""
    lines: list[tuple[Any, ...]] = []
    stack = [(0, root)]
    while stack:
        depth, one = stack.pop()
        next_try = counted(one.waits_until())
        line = one.spec.name, one.state, one.incarnation, one.restarts, next_try
        lines.append((depth, *line))
        stack.extend((depth + 1, child) for child in reversed(one.children.values()))
    return lines


def in_order(log: dict[str, list[tuple[float, str, str]]]) -> dict[str, list[Any]]:
    """Return the log such that equal ones are equal.

    The starts below one parent have an order. Its ends have one too, but for those that somebody
    else has begun, and who comes first at one moment is open: `Stage.observe` looks after it.
    Open as well is whether a start failed or was stopped, when both happen at one moment.
    """
    words = {"start_failed": "stopped"}
    counted_in = {
        key: [(counted(at), words.get(what, what), name) for at, what, name in log[key]]
        for key in log
    }
    return {
        key: sorted(lines) if key.startswith("ends") else lines for key, lines in counted_in.items()
    }


def counted(moment: float | None) -> float | None:
    """Return *moment* such that what is late by rounding alone is not late.

    Of no dyadic number is the nanosecond certain; none of these is near to where this rounds.
    """
    return None if moment is None else round(moment + 2e-7, 6)


def _is_crowded(parent: Node) -> bool:
    return parent.state == "starting" and bool(parent.turn)


def _lineage(node: Node | None) -> list[Node]:
    return [] if node is None else [node, *_lineage(node.parent)]
