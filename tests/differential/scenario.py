"""Scenarios: a tree, what its starts will do, and what is done to it.

A scenario is plain data. `make` invents one from a seed, `to_erlang` writes it for the oracle,
`to_json` and `from_json` keep it as a file. Names of services are short and legal Erlang atoms;
a path is the names from the root's children downwards.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")
Path = tuple[str, ...]

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS = ("permanent", "transient", "temporary")
CLEAN = ("normal", "shutdown", "{shutdown,x}")
CALLS = (
    "start_child",
    "terminate_child",
    "restart_child",
    "delete_child",
    "get_childspec",
    "which_children",
    "count_children",
)


@dataclass(frozen=True)
class Spec:
    """A service and those below it.

    Attributes:
        id: Its name.
        kind: ``worker``, ``supervisor`` or ``dynamic``; the one child of a dynamic supervisor
            is the template of its children.
        restart, shutdown, significant: Its policy as a child; milliseconds.
        strategy, max_restarts, auto_shutdown: Its policy as a supervisor.
        children: Those started with it.
        is_busy: On sprag's side a worker holds a greenlet and a clean-up, so that it cannot end
            on the spot; a supervisor makes new children in each life instead of keeping them.
    """

    id: str
    kind: str = "worker"
    restart: str = "permanent"
    shutdown: int | str = 5000
    significant: bool = False
    strategy: str = "one_for_one"
    max_restarts: int = 3
    auto_shutdown: str = "never"
    children: tuple[Spec, ...] = ()
    is_busy: bool = False


@dataclass(frozen=True)
class Op:
    """Something done to the tree.

    Attributes:
        call: A management call of OTP; ``exits``, which lets children end by themselves, all
            before their supervisor can act on the first; or ``exit_root``.
        at: The supervisor.
        child: The child that the call names.
        spec: The child to start.
        exits: Pairs of name and reason.
    """

    call: str
    at: Path = ()
    child: str = "none"
    spec: Spec | None = None
    exits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Start:
    """What one start of a service does.

    Attributes:
        outcome: ``ok``, ``error``, ``raise``, ``exit`` or ``ignore``.
        meanwhile: A call that reaches the supervisor while this start goes on, so that it is
            answered after the start and before any other try.
    """

    outcome: str = "ok"
    meanwhile: Op | None = None


@dataclass(frozen=True)
class Scenario:
    """A story told twice: to OTP and to sprag.

    Attributes:
        root: The tree.
        plans: By path, what the first, second, … start there does; then all is well.
        ops: One after another, each after everything has come to rest.
        why: What it has shown, if it is kept.
    """

    root: Spec
    plans: dict[Path, tuple[Start, ...]] = field(default_factory=dict[Path, tuple[Start, ...]])
    ops: tuple[Op, ...] = ()
    why: str = ""


# -- inventing -------------------------------------------------------------------------------------


class _Inventor:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.added = 0
        self.supervisors: list[tuple[Path, Spec]] = []
        self.kinds: dict[Path, str] = {}
        self.made_in: dict[Path, tuple[Spec, ...]] = {}
        """Of each dynamic supervisor: what all its children are like."""
        self.places: list[tuple[Path, Spec]] = []
        """Where something is or may come to be: all services but the root."""

    def one_of(self, *choices: T) -> T:
        return self.random.choice(choices)

    def chance(self, of_a_hundred: int) -> bool:
        return self.random.randrange(100) < of_a_hundred

    def scenario(self) -> Scenario:
        root = self.supervisor("root", depth=3, auto_shutdown=self.auto_shutdown(15))
        root = dataclasses.replace(root, max_restarts=self.one_of(0, 1, 2, 3, 4, 4, 4, 4))
        self.register((), root)
        ops = tuple(self.op() for _ in range(self.random.randrange(3, 13)))
        plans = {path: self.plan(path[:-1], spec) for path, spec in self.places if self.chance(25)}
        if self.chance(3):
            plans[()] = (Start(self.one_of("raise", "ignore")),)
        return Scenario(root, plans, ops)

    # -- trees

    def auto_shutdown(self, of_a_hundred: int) -> str:
        wanted = self.chance(of_a_hundred)
        return self.one_of("any_significant", "all_significant") if wanted else "never"

    def supervisor(self, name: str, depth: int, auto_shutdown: str, **policy: Any) -> Spec:
        count = self.random.randrange(0, 5) if self.chance(90) else 0
        children = tuple(
            self.child("abcd"[number], depth - 1, auto_shutdown) for number in range(count)
        )
        return Spec(
            name,
            kind="supervisor",
            strategy=self.one_of(*STRATEGIES),
            max_restarts=self.one_of(0, 1, 2, 3, 4),
            auto_shutdown=auto_shutdown,
            children=children,
            is_busy=self.chance(30),
            shutdown="infinity",
            **policy,
        )

    def child(self, name: str, depth: int, above: str) -> Spec:
        restart = self.one_of("permanent", "permanent", *RESTARTS)
        significant = above != "never" and restart != "permanent" and self.chance(70)
        policy = {"restart": restart, "significant": significant}
        dice = self.random.randrange(100)
        if depth > 0 and dice < 35:
            return self.supervisor(name, depth, self.auto_shutdown(20), **policy)
        if depth > 0 and dice < 43:
            return self.dynamic(name, depth, **policy)
        return self.worker(name, **policy)

    def worker(self, name: str, **policy: Any) -> Spec:
        usual: int | str = 5000
        shutdown = self.one_of(usual, usual, usual, "brutal_kill", "infinity")
        return Spec(name, shutdown=shutdown, is_busy=self.chance(40), **policy)

    def dynamic(self, name: str, depth: int, **policy: Any) -> Spec:
        restart = self.one_of(*RESTARTS)
        if self.chance(20) and depth > 1:
            template = self.supervisor("template", 1, "never", restart=restart)
        else:
            template = self.worker("template", restart=restart)
        return Spec(
            name,
            kind="dynamic",
            shutdown="infinity",
            max_restarts=self.one_of(0, 1, 2, 3, 4),
            children=(template,),
            **policy,
        )

    def register(self, path: Path, spec: Spec) -> None:
        self.kinds[path] = spec.kind
        if spec.kind == "dynamic":
            self.made_in[path] = spec.children
        if path:
            self.places.append((path, spec))
        if spec.kind != "worker":
            self.supervisors.append((path, spec))
        if spec.kind == "supervisor":
            for child in spec.children:
                self.register((*path, child.id), child)

    def fits(self, path: Path, spec: Spec) -> bool:
        """Whether nothing of another kind was at *path* or below it."""
        below = spec.children if spec.kind == "supervisor" else ()
        is_alike = self.kinds.get(path, spec.kind) == spec.kind
        if spec.kind == "dynamic":
            is_alike = is_alike and self.made_in.get(path, spec.children) == spec.children
        return is_alike and all(self.fits((*path, child.id), child) for child in below)

    # -- operations

    def op(self) -> Op:
        dice = self.random.randrange(100)
        if dice < 2:
            return Op("exit_root", exits=(("root", self.reason(is_worker=False)),))
        if dice < 50:
            return self.exits()
        return self.call(*self.one_of(*self.supervisors))

    def exits(self) -> Op:
        at, spec = self.one_of(*self.supervisors)
        below = [(path[-1], each) for path, each in self.places if path[:-1] == at]
        if not below:
            return self.call(at, spec)
        count = min(len(below), self.one_of(1, 1, 1, 1, 2, 2, 3))
        chosen = self.random.sample(below, count)
        exits = tuple((name, self.reason(is_worker=each.kind == "worker")) for name, each in chosen)
        return Op("exits", at, exits=exits)

    def reason(self, *, is_worker: bool) -> str:
        return self.one_of("boom", "boom", *CLEAN, "killed" if is_worker else "boom")

    def call(self, at: Path, spec: Spec) -> Op:
        names = [path[-1] for path, _ in self.places if path[:-1] == at]
        if spec.kind == "dynamic":
            calls = ["start_child"] * 4 + ["terminate_child", "which_children", "count_children"]
        else:
            calls = ["start_child"] * 2 + ["terminate_child"] * 4 + ["restart_child"] * 3
            calls += ["delete_child"] * 2 + [*CALLS]
        call = self.one_of(*calls)
        if call == "start_child":
            return Op(call, at, spec=self.new_child(at, spec))
        if call in ("which_children", "count_children"):
            return Op(call, at)
        return Op(call, at, child=self.one_of(*names, *names, *names, "z"))

    def new_child(self, at: Path, parent: Spec) -> Spec:
        if parent.kind == "dynamic":
            self.added += 1
            template = parent.children[0]
            if template.kind == "worker":
                spec = dataclasses.replace(template, id=f"n{self.added}")
            else:
                policy = {"restart": template.restart}
                spec = self.supervisor(f"n{self.added}", 1, "never", **policy)
        else:
            spec = self.child(f"n{self.added + 1}", max(0, 2 - len(at)), parent.auto_shutdown)
            self.added += 1
            # What is at a path is of one kind for ever, so that an operation fits it.
            known = [path[-1] for path, _ in self.places if path[:-1] == at]
            alike = [name for name in known if self.kinds[*at, name] == spec.kind]
            if alike and spec.kind != "dynamic" and self.chance(50):
                renamed = dataclasses.replace(spec, id=self.one_of(*alike))
                spec = renamed if self.fits((*at, renamed.id), renamed) else spec
            if self.chance(5):
                spec = dataclasses.replace(spec, significant=not spec.significant)
        self.register((*at, spec.id), spec)
        return spec

    # -- plans

    def plan(self, at: Path, spec: Spec) -> tuple[Start, ...]:
        failures = ("error", "raise", "exit") if spec.kind == "worker" else ("raise",)
        starts: list[Start] = []
        if self.chance(85):
            starts.append(Start())
        for _ in range(self.random.randrange(1, 4)):
            outcome = self.one_of("ok", "ignore", *failures, *failures, *failures)
            if outcome == "ignore" and starts and self.kinds[at] == "dynamic":
                outcome = "raise"  # differences.py: POOL_FORGETS_IGNORED
            meanwhile = None
            if outcome in failures and self.chance(40):
                parent = next(each for path, each in self.supervisors if path == at)
                meanwhile = self.call(at, parent)
            starts.append(Start(outcome, meanwhile))
        return tuple(starts)


def make(seed: int) -> Scenario:
    """Invent the scenario number *seed*."""
    return _Inventor(Random(seed)).scenario()


# -- as Erlang -------------------------------------------------------------------------------------


def to_erlang(scenario: Scenario, switches: tuple[str, ...] = ()) -> str:
    """Write a scenario as one line for the oracle."""
    plans = (
        f"{{{_path(path)},[{','.join(map(_start, plan))}]}}"
        for path, plan in scenario.plans.items()
    )
    ops = ",".join(map(_op, scenario.ops))
    root = _spec(scenario.root)
    return f"{{{root},[{','.join(plans)}],[{ops}],[{','.join(switches)}]}}.\n"


def _path(path: Path) -> str:
    return f"[{','.join(path)}]"


def _spec(spec: Spec | None) -> str:
    if spec is None:
        return "none"
    fields = {each.name: getattr(spec, each.name) for each in dataclasses.fields(spec)}
    fields["significant"] = str(spec.significant).lower()
    fields["children"] = f"[{','.join(map(_spec, spec.children))}]"
    del fields["is_busy"]
    return f"#{{{','.join(f'{key}=>{value}' for key, value in fields.items())}}}"


def _op(op: Op | None) -> str:
    if op is None:
        return "none"
    exits = ",".join(f"{{{name},{reason}}}" for name, reason in op.exits)
    return f"{{{op.call},{_path(op.at)},{op.child},{_spec(op.spec)},[{exits}]}}"


def _start(start: Start) -> str:
    return f"{{{start.outcome},{_op(start.meanwhile)}}}"


# -- as JSON ---------------------------------------------------------------------------------------


def to_json(scenario: Scenario) -> str:
    """Write a scenario as a file, without what is as usual."""
    record: dict[str, Any] = _lean(scenario)
    record["plans"] = {"/".join(path): _lean(plan) for path, plan in scenario.plans.items()}
    return json.dumps(record, indent=1) + "\n"


def _lean(value: object) -> Any:
    items: Any = value
    if isinstance(value, tuple):
        return [_lean(each) for each in items]
    if dataclasses.is_dataclass(value):
        return {
            each.name: _lean(getattr(value, each.name))
            for each in dataclasses.fields(value)
            if getattr(value, each.name) != each.default
        }
    return value


def from_json(text: str) -> Scenario:
    """Read what `to_json` has written."""
    record = json.loads(text)
    plans = {
        tuple(path.split("/")) if path else (): tuple(map(_start_from, plan))
        for path, plan in record.get("plans", {}).items()
    }
    ops = tuple(map(_op_from, record.get("ops", [])))
    return Scenario(_spec_from(record["root"]), plans, ops, record.get("why", ""))


def _spec_from(record: dict[str, Any]) -> Spec:
    fields = dict(record)
    fields["children"] = tuple(map(_spec_from, record.get("children", [])))
    return Spec(**fields)


def _start_from(record: dict[str, Any]) -> Start:
    meanwhile = record.get("meanwhile")
    return Start(record.get("outcome", "ok"), None if meanwhile is None else _op_from(meanwhile))


def _op_from(record: dict[str, Any]) -> Op:
    spec = record.get("spec")
    return Op(
        record["call"],
        tuple(record.get("at", ())),
        record.get("child", "none"),
        None if spec is None else _spec_from(spec),
        tuple((name, reason) for name, reason in record.get("exits", [])),
    )
