"""What sprag does: plays a scenario on the virtual clock and notes what could be seen.

The observations have the shape of the oracle's lines; see oracle.escript.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import gevent

from sprag import DynamicSupervisor, Ignore, Lifecycle, Service, SpragError, State, Supervisor
from sprag.testing import virtual_time
from sprag_supervisor import Reason
from sprag_supervisor.exceptions import (
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    ChildRestarting,
    ChildRunning,
    NotRunning,
    StartFailed,
    UnknownChild,
)
from sprag_supervisor.life.by_hand import tree_of
from sprag_supervisor.life.managing import kind_of
from sprag_supervisor.tree.group import waits_with_others
from sprag_supervisor.tree.inbox import supervision_of
from sprag_supervisor.tree.names import name_of

if TYPE_CHECKING:
    from differential.scenario import Op, Path, Scenario, Spec
    from sprag.testing import VirtualClock
    from sprag_supervisor import Node
    from sprag_supervisor.tree.node import Item

Step = dict[str, Any]
Switches = Collection[str]

WINDOW = 3600.0
"""Seconds; nothing of a scenario takes any, so the limits are about numbers alone."""

_WORDS: dict[type[SpragError], str] = {
    AlreadyPresent: "already_present",
    AlreadyStarted: "already_started",
    BadPolicy: "bad_combination",
    ChildRestarting: "restarting",
    ChildRunning: "running",
    NotRunning: "gone",
    UnknownChild: "not_found",
}


class Planned(Exception):
    """What services are told to raise."""


class PlannedBase(BaseException):
    """The same, past every `except Exception`."""


# -- the services ----------------------------------------------------------------------------------


class Stage:
    """What all services of a tree share: what is planned, and what has happened."""

    def __init__(self, scenario: Scenario, switches: Switches) -> None:
        self.holds_for_stops = "holds_for_stops" in switches
        self.lets_siblings_down = "lets_siblings_down" in switches
        self.let_down = 0
        """How many siblings were let down as OTP's are."""
        self.names_mean_one_life = "names_mean_one_life" in switches
        self.past_lives = 0
        """How many calls meant a life that was over, as a process id does."""
        self.bent = 0
        """How often sprag was made to behave as OTP."""
        self.is_overtaken = False
        """A child was started again while its supervisor had an older try of it in its queue."""
        self.plans = scenario.plans
        self.starts: dict[Path, int] = {}
        self.leaving: set[Path] = set()
        """Those who end by themselves: a process of OTP's that exits is not stopped."""
        self.journal: list[list[str]] = []
        self.gave_up: list[str] = []
        self.answers: list[list[Any]] = []

    def begin_start(self, service: Service, path: Path) -> None:
        self.leaving.discard(path)
        self.journal.append(["start", "/".join(path)])
        number = self.starts.get(path, 0)
        self.starts[path] = number + 1
        supervisor = service._parent_
        if supervisor is not None and any(
            is_retry(item) and item[0] is service for item in supervision_of(supervisor).inbox
        ):
            self.is_overtaken = True
        plan = self.plans.get(path, ())
        if number >= len(plan):
            return
        start = plan[number]
        if start.meanwhile is not None:
            answer = [start.meanwhile.call, "gone"]
            self.answers.append(answer)
            assert supervisor is not None
            line = Line(supervisor, service)
            meant = life_meant(start.meanwhile, supervisor) if self.names_mean_one_life else None
            # It runs as soon as the loop is reached, before the supervisor's next try.
            gevent.spawn(self._ask, start.meanwhile, supervisor, line, answer, meant)
        if start.outcome == "ignore":
            raise Ignore
        if start.outcome == "exit":
            raise PlannedBase
        if start.outcome != "ok":
            raise Planned

    def _ask(
        self, op: Op, supervisor: Node, line: Line, answer: list[Any], meant: int | None
    ) -> None:
        while line.is_pending():
            gevent.sleep(0)
        turn = supervision_of(supervisor).turn
        assert turn.take()
        if op.call != "terminate_child":
            turn.holder = None  # the call takes it again at once, ahead of all who wait
        elif self.holds_for_stops:
            self.bent += 1
        else:
            turn.give()
        if meant is not None and is_up_again(op, supervisor, meant):
            self.past_lives += 1
            answer[1] = {"dynamic": "ok"}
        elif line.is_alive():
            answer[1] = call(self, op, supervisor)
        if turn.holder in (None, gevent.getcurrent()):
            turn.give()

    def stopped(self, path: Path) -> None:
        if path not in self.leaving:
            self.journal.append(["stop", "/".join(path)])

    def observe(self, record: Lifecycle) -> None:
        if record.event == "gave_up":
            self.gave_up.append(record.path.partition("/")[2])


def life_meant(op: Op, supervisor: Node) -> int | None:
    """Return which life of a child of a pool is to be ended; None: the call is no such one."""
    if op.call != "terminate_child" or not isinstance(supervisor, Pool):
        return None
    child = (supervisor._children_ or {}).get(op.child)
    return None if child is None else child._incarnation_


def is_up_again(op: Op, supervisor: Node, meant: int) -> bool:
    """Whether a life after the one that was meant is up."""
    child = (supervisor._children_ or {}).get(op.child)
    return child is not None and child._state_ is State.RUNNING and child._incarnation_ > meant


class Line:
    """What a supervisor has in its queue: a call that comes now is answered after it, in OTP."""

    def __init__(self, supervisor: Node, child: Service) -> None:
        self.supervisor = supervisor
        self.life = supervisor._incarnation_
        inbox = supervision_of(supervisor).inbox
        # The exit of the child that is being started counts with its group.
        self.ahead = [item for item in inbox if item[0] is not child]

    def is_alive(self) -> bool:
        supervisor = self.supervisor
        return supervisor._state_ is State.RUNNING and supervisor._incarnation_ == self.life

    def is_pending(self) -> bool:
        supervision = self.supervisor._supervision_
        if not self.is_alive() or supervision is None:
            return False
        return any(
            item in supervision.inbox
            or (
                item[0]._parent_ is self.supervisor
                and item[0]._state_ is State.RESTARTING
                and not waits_with_others(item[0])
                and item[0]._incarnation_ == item[1]
            )
            for item in self.ahead
        )


def is_retry(item: Item) -> bool:
    return item[-1] is True


class Worker(Service):
    def __init__(self, stage: Stage, path: Path, *, is_busy: bool) -> None:
        self.stage = stage
        self.path = path
        self.is_busy = is_busy

    def on_start(self) -> None:
        if self.is_busy:
            self.spawn(gevent.sleep, 1e9)
            self.add_cleanup(gevent.sleep, 0)
        self.stage.begin_start(self, self.path)

    def on_stop(self) -> None:
        self.stage.stopped(self.path)

    def fail(self) -> None:
        raise Planned


class Keeper(Supervisor):
    """Its children are given to it, the same in each life."""

    def __init__(self, stage: Stage, path: Path, children: Any, **policy: Any) -> None:
        self.stage = stage
        self.path = path
        super().__init__(children, **policy)

    def _prepare_(self) -> None:
        self.stage.begin_start(self, self.path)
        super()._prepare_()

    def fail(self) -> None:
        raise Planned


class Maker(Keeper):
    """It makes its children, new ones in each life."""

    def __init__(self, stage: Stage, path: Path, specs: tuple[Spec, ...], **policy: Any) -> None:
        super().__init__(stage, path, [pair(stage, path, spec) for spec in specs], **policy)


class Pool(DynamicSupervisor):
    def __init__(self, stage: Stage, path: Path, **policy: Any) -> None:
        self.stage = stage
        self.path = path
        super().__init__(**policy)

    def _prepare_(self) -> None:
        self.stage.begin_start(self, self.path)
        super()._prepare_()

    def fail(self) -> None:
        raise Planned


Told = Worker | Keeper | Pool


def build(stage: Stage, path: Path, spec: Spec) -> Told:
    if spec.kind == "worker":
        return Worker(stage, path, is_busy=spec.is_busy)
    limits = {"max_restarts": spec.max_restarts, "max_seconds": WINDOW}
    if spec.kind == "dynamic":
        return Pool(stage, path, **limits)
    policy = {**limits, "strategy": spec.strategy, "auto_shutdown": spec.auto_shutdown}
    if spec.is_busy:
        return Maker(stage, path, spec.children, **policy)
    return Keeper(stage, path, [pair(stage, path, child) for child in spec.children], **policy)


def pair(stage: Stage, path: Path, spec: Spec) -> tuple[Told, dict[str, Any]]:
    return build(stage, (*path, spec.id), spec), {"name": spec.id, **policy_of(spec)}


def policy_of(spec: Spec) -> dict[str, Any]:
    shutdown = spec.shutdown
    return {
        "restart": spec.restart,
        "significant": spec.significant,
        "shutdown": shutdown if isinstance(shutdown, str) else shutdown / 1000,
    }


# -- playing a scenario ----------------------------------------------------------------------------


def play(scenario: Scenario, switches: Switches = ()) -> list[Step]:
    """Return what could be seen at the start, after each operation, and after the stop.

    Args:
        scenario: What to play.
        switches: In what a call that comes while a child is restarted behaves as with OTP: see
            differences.py.
    """
    with virtual_time() as clock:
        return _Play(scenario, clock, switches).steps()


class _Play:
    def __init__(self, scenario: Scenario, clock: VirtualClock, switches: Switches) -> None:
        self.ops = scenario.ops
        self.clock = clock
        self.stage = Stage(scenario, switches)
        self.root = build(self.stage, (), scenario.root)
        tree_of(self.root).observers.append(self.stage.observe)

    def steps(self) -> list[Step]:
        steps = [self.observe(self.start())]
        ops = list(self.ops)
        while steps[-1]["ended"] is None:
            if ops:
                steps.append(self.observe(self.perform(ops.pop(0))))
            else:
                self.root.stop()
                steps.append(self.observe("ok"))
        return steps

    def start(self) -> Any:
        try:
            self.root.start()
        except StartFailed as error:
            return failed(error)
        return "ok" if self.root._state_ is State.RUNNING else "ignore"

    def observe(self, result: Any) -> Step:
        self.clock.settle()
        ended = self.how_it_ended()
        stage = self.stage
        step = {
            "result": result,
            "answers": stage.answers,
            "journal": stage.journal,
            "gave_up": stage.gave_up,
            "bent": stage.bent,
            "let_down": stage.let_down,
            "past_lives": stage.past_lives,
            "is_overtaken": stage.is_overtaken,
            "tree": None if ended else picture(self.root),
            "ended": ended,
        }
        stage.answers, stage.journal, stage.gave_up = [], [], []
        stage.bent, stage.let_down, stage.past_lives, stage.is_overtaken = 0, 0, 0, False
        return step

    def how_it_ended(self) -> str | None:
        root = self.root
        if root._state_ is State.RUNNING:
            return None
        end = root.wait(0)
        if end is None:
            return f"is {root._state_.value}"
        if end.reason in (Reason.START_FAILED, Reason.IGNORED):
            return "failed"
        if end.reason is Reason.GAVE_UP:
            return "gave_up"
        return "clean" if end.is_clean else "crash"

    def perform(self, op: Op) -> Any:
        if op.call == "exit_root":
            return self.leave(self.root, op.exits[0][1])
        supervisor = find(self.root, op.at)
        if not isinstance(supervisor, Keeper | Pool) or supervisor._state_ is not State.RUNNING:
            return "gone"
        if op.call != "exits":
            return call(self.stage, op, supervisor)
        if len(op.exits) == 1:
            return [self.leave(child_of(supervisor, name), reason) for name, reason in op.exits]
        turn = supervision_of(supervisor).turn
        assert turn.take()
        try:
            results: list[str] = []
            for name, reason in op.exits:
                results.append(self.leave(child_of(supervisor, name), reason))
                self.clock.settle()
        finally:
            turn.give()
        return results

    def leave(self, service: Told | None, reason: str) -> str:
        """Let a service end by itself."""
        if service is None or service._state_ is not State.RUNNING:
            return "dead"
        if isinstance(service, Worker):
            self.stage.leaving.add(service.path)
        if reason in ("boom", "killed"):
            service.spawn(service.fail)
        else:
            service.finish()
        return "done"


def child_of(parent: Node, name: str) -> Any:
    return (parent._children_ or {}).get(name)


def find(root: Node, path: Path) -> Any:
    node: Node | None = root
    for name in path:
        node = None if node is None else child_of(node, name)
    return node


def picture(parent: Node) -> list[list[Any]]:
    """Return name, state and children of each child: those that run, in start order."""
    rows: list[list[Any]] = []
    for child in (parent._children_ or {}).values():
        is_supervisor = kind_of(child) == "supervisor" and child._state_ is State.RUNNING
        rows.append(
            [name_of(child), word(child._state_), picture(child) if is_supervisor else None]
        )
    return sorted(rows) if isinstance(parent, Pool) else rows


def word(state: State) -> str:
    """Return what OTP would call a state."""
    if state in (State.RUNNING, State.RESTARTING):
        return str(state.value)
    if state in (State.STARTING, State.STOPPING):
        return f"still {state.value}"
    return "undefined"


# -- management calls ------------------------------------------------------------------------------


def call(stage: Stage, op: Op, supervisor: Any) -> Any:
    """Make a management call; return its result in OTP's words."""
    if stage.lets_siblings_down:
        let_siblings_down(stage, supervisor)
    try:
        result = _call(stage, op, supervisor)
    except StartFailed as error:
        result = failed(error)
    except SpragError as error:
        result = _WORDS[type(error)]
    if stage.lets_siblings_down:
        for group in supervision_of(supervisor).groups:
            group.taken_out.clear()
    return {"dynamic": result} if isinstance(supervisor, Pool) else result


def let_siblings_down(stage: Stage, supervisor: Node) -> None:
    """Let those rest that wait for the next try of another, until that covers them."""
    for child in (supervisor._children_ or {}).values():
        if child._state_ is State.RESTARTING and waits_with_others(child):
            child._state_ = State.STOPPED
            stage.let_down += 1


def started(child: Service) -> str:
    return {"running": "started", "undefined": "ignored"}.get(word(child._state_), "broken")


def failed(error: StartFailed) -> list[str]:
    return ["start_failed", error.path.partition("/")[2]]


def _call(stage: Stage, op: Op, supervisor: Any) -> Any:
    match op.call:
        case "start_child":
            spec = op.spec
            assert spec is not None
            child = build(stage, (*supervisor.path, spec.id), spec)
            supervisor.start_child(child, name=spec.id, **policy_of(spec))
            return started(child)
        case "restart_child":
            return started(supervisor.restart_child(op.child))
        case "terminate_child":
            supervisor.terminate_child(op.child)
            return "ok"
        case "delete_child":
            supervisor.delete_child(op.child)
            return "ok"
        case "get_childspec":
            spec = supervisor.get_childspec(op.child)
            return [spec.policy.restart, spec.kind, spec.policy.significant]
        case "which_children":
            return [
                [each.name, word(each.state), each.kind] for each in supervisor.which_children()
            ]
        case "count_children":
            counts = supervisor.count_children()
            if isinstance(supervisor, Pool):  # OTP's are otherwise: differences.py
                states = [each.state for each in supervisor.which_children()]
                assert counts.active == states.count(State.RUNNING)
                assert counts.specs == counts.workers + counts.supervisors == len(states)
            return [counts.specs, counts.active, counts.supervisors, counts.workers]
        case _:
            raise AssertionError(op.call)
