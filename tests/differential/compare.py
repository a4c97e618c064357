"""Tells both a scenario and compares; makes one that differs small, and shows it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Self

from differential import engine
from differential.differences import DIFFERENCES, Difference, Step, rewrite
from differential.scenario import Op, Scenario, Spec, Start, make, to_erlang, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

ORACLE = File(__file__).with_name("oracle.escript")


class OracleFailed(Exception):
    """The oracle ended, or did not understand."""


class Oracle:
    """OTP, in one process for any number of scenarios."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["escript", str(ORACLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, scenario: Scenario, differences: Iterable[Difference] = DIFFERENCES) -> None:
        """Begin to play *scenario* there."""
        assert self._process.stdin is not None
        self._process.stdin.write(to_erlang(scenario, switches(differences, "otp_switch")))
        self._process.stdin.flush()

    def listen(self) -> list[Step]:
        """Return what was seen of the scenario told before."""
        assert self._process.stdout is not None
        steps: list[Step] = []
        for line in self._process.stdout:
            step = json.loads(line)
            if "broken" in step:
                raise OracleFailed(step["broken"])
            if "end" in step:
                return steps
            steps.append(step)
        raise OracleFailed(f"ended with {self._process.wait()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


# -- comparing -------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What a comparison found.

    Attributes:
        differs_at: The number of the step: 0 is the start; None when they agree.
        otp, sprag: That step in common terms.
        touched: Names of the deliberate differences that mattered.
    """

    scenario: Scenario
    differs_at: int | None = None
    otp: Step | None = None
    sprag: Step | None = None
    touched: set[str] = field(default_factory=set[str])
    steps: int = 0

    def __str__(self) -> str:
        """Show the scenario and the step in which they differ, side by side."""
        number, scenario = self.differs_at, self.scenario
        if number is None:
            return "no difference"
        otp, sprag = self.otp or {}, self.sprag or {}
        lines = [to_json(scenario), "The tree:", *_outline(scenario.root, 1), ""]
        for path, plan in scenario.plans.items():
            starts = ", ".join(map(_start, plan))
            lines.append(f"Starts of {'/'.join(path) or 'the root'}: {starts}")
        for index, op in enumerate(scenario.ops[:number], 1):
            lines.append(f"Step {index}: {_op(op)}")
        what = "the start" if number == 0 else f"step {number}"
        lines.append(f"They differ in {what}:")
        for key in {**otp, **sprag}:
            if otp.get(key) != sprag.get(key):
                lines.append(f"  {key}")
                lines.append(f"    OTP:   {_flat(otp.get(key))}")
                lines.append(f"    sprag: {_flat(sprag.get(key))}")
        return "\n".join(lines)


def _outline(spec: Spec, depth: int) -> Iterator[str]:
    policy = f"{spec.restart} {'significant ' if spec.significant else ''}{spec.kind}"
    if spec.kind != "worker":
        policy += f" {spec.strategy} max_restarts={spec.max_restarts}"
    if spec.auto_shutdown != "never":
        policy += f" {spec.auto_shutdown}"
    if spec.is_busy:
        policy += " busy"
    yield f"{'  ' * depth}{spec.id}: {policy}"
    for child in spec.children:
        yield from _outline(child, depth + 1)


def _op(op: Op) -> str:
    at = "/".join(op.at) or "the root"
    if op.call == "exit_root":
        return f"the root ends with {op.exits[0][1]}"
    if op.call == "exits":
        exits = ", ".join(f"{name} with {reason}" for name, reason in op.exits)
        return f"below {at} end: {exits}"
    what = op.child if op.spec is None else "; ".join(line.strip() for line in _outline(op.spec, 0))
    return f"{op.call} at {at}" + (f" ({what})" if what != "none" else "")


def _start(start: Start) -> str:
    return start.outcome + (
        "" if start.meanwhile is None else f" (meanwhile {_op(start.meanwhile)})"
    )


def _flat(value: Any) -> str:
    return json.dumps(value).replace('"', "")


def compare(
    oracle: Oracle,
    scenarios: Iterable[Scenario],
    differences: tuple[Difference, ...] = DIFFERENCES,
) -> Iterator[Verdict]:
    """Yield a verdict on each of *scenarios*."""
    for scenario in scenarios:
        oracle.tell(scenario, differences)
        try:
            sprag = engine.play(scenario, switches(differences, "sprag_switch"))
        except Exception as error:  # noqa: BLE001 - a difference like any other
            sprag = [_broken(error)]
        yield _verdict(scenario, oracle.listen(), sprag, differences)


def switches(differences: Iterable[Difference], side: str) -> tuple[str, ...]:
    """Return the switches of *differences* on a side: "otp_switch" or "sprag_switch"."""
    found = (getattr(each, side) for each in differences)
    return tuple(switch for switch in found if switch is not None)


def _broken(error: Exception) -> Step:
    step: Step = dict.fromkeys(("answers", "journal", "gave_up"), ())
    step.update(
        result=f"raised {error!r}",
        ended="broken",
        tree=None,
        bent=0,
        let_down=0,
        past_lives=0,
        is_overtaken=False,
    )
    return step


def _verdict(
    scenario: Scenario,
    otp: list[Step],
    sprag: list[Step],
    differences: tuple[Difference, ...],
) -> Verdict:
    verdict = Verdict(scenario, steps=len(otp))
    for number in range(max(len(otp), len(sprag))):
        ended_by = _ends_comparison(sprag[number:][:1], differences)
        if ended_by:
            verdict.touched |= ended_by
            break
        seen: list[Step | None] = []
        for steps in (otp, sprag):
            if number >= len(steps):
                seen.append(None)
                continue
            step, touched = rewrite(
                scenario, steps[number], number, is_otp=steps is otp, differences=differences
            )
            seen.append(step)
            verdict.touched |= touched
        if seen[0] != seen[1]:
            verdict.differs_at = number
            verdict.otp, verdict.sprag = seen
            break
    return verdict


def _ends_comparison(steps: list[Step], differences: tuple[Difference, ...]) -> set[str]:
    return {each.name for each in differences for step in steps if each.ends_comparison(step)}


# -- making it small -------------------------------------------------------------------------------


def reduced(oracle: Oracle, verdict: Verdict, tries: int = 2000) -> Verdict:
    """Return a verdict on a smaller scenario that differs too: take away what is not needed."""
    goes_on = True
    while goes_on:
        goes_on = False
        for smaller in _smaller(verdict.scenario):
            tries -= 1
            if tries <= 0:
                return verdict
            (found,) = compare(oracle, [smaller])
            if found.differs_at is not None:
                verdict = found
                goes_on = True
                break
    return verdict


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    def having(**fields: Any) -> Scenario:
        return dataclasses.replace(scenario, **fields)

    ops = scenario.ops
    for count in (len(ops) // 2, len(ops) - 1):
        if 0 < count < len(ops):
            yield having(ops=ops[:count])
    for index in reversed(range(len(ops))):
        yield having(ops=ops[:index] + ops[index + 1 :])
    for path in scenario.plans:
        yield having(plans={each: plan for each, plan in scenario.plans.items() if each != path})
    for root in _smaller_specs(scenario.root):
        yield having(root=root)
    for index, op in enumerate(ops):
        for other in _smaller_ops(op):
            yield having(ops=(*ops[:index], other, *ops[index + 1 :]))
    for path, plan in scenario.plans.items():
        for shorter in _smaller_plans(plan):
            yield having(plans={**scenario.plans, path: shorter})


def _smaller_specs(spec: Spec) -> Iterator[Spec]:
    children = spec.children
    if spec.kind != "dynamic":
        for index in range(len(children)):
            rest = children[:index] + children[index + 1 :]
            yield dataclasses.replace(spec, children=rest)
    usual: dict[str, Any] = {"is_busy": False, "strategy": "one_for_one", "significant": False}
    if not any(child.significant for child in children):
        usual["auto_shutdown"] = "never"
    if not spec.significant:
        usual["restart"] = "permanent"
    if spec.kind == "worker":
        usual["shutdown"] = 5000
    for name, value in usual.items():
        if getattr(spec, name) != value:
            yield dataclasses.replace(spec, **{name: value})
    for index, child in enumerate(children):
        for other in _smaller_specs(child):
            others = (*children[:index], other, *children[index + 1 :])
            yield dataclasses.replace(spec, children=others)


def _smaller_ops(op: Op) -> Iterator[Op]:
    for index in range(len(op.exits) if len(op.exits) > 1 else 0):
        yield dataclasses.replace(op, exits=op.exits[:index] + op.exits[index + 1 :])
    for index, (name, reason) in enumerate(op.exits):
        for simpler in ("boom", "normal"):
            if reason not in ("boom", "normal"):
                exits = (*op.exits[:index], (name, simpler), *op.exits[index + 1 :])
                yield dataclasses.replace(op, exits=exits)
    if op.spec is not None:
        for spec in _smaller_specs(op.spec):
            yield dataclasses.replace(op, spec=spec)


def _smaller_plans(plan: tuple[Start, ...]) -> Iterator[tuple[Start, ...]]:
    for index, start in enumerate(plan):
        yield plan[:index] + plan[index + 1 :]
        if start.meanwhile is not None:
            yield (*plan[:index], Start(start.outcome), *plan[index + 1 :])


# -- many of them ----------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of many scenarios."""

    scenarios: int = 0
    steps: int = 0
    touched: Counter[str] = field(default_factory=Counter[str])
    differing: list[tuple[int, Verdict]] = field(default_factory=list[tuple[int, Verdict]])

    def __str__(self) -> str:
        """Count, in a few lines."""
        lines = [
            f"{self.scenarios} scenarios, {self.steps} steps, {len(self.differing)} differing;",
            "deliberate differences mattered in:",
            *(f"  {count:6} {name}" for name, count in self.touched.most_common()),
        ]
        return "\n".join(lines)


def compare_seeds(
    oracle: Oracle,
    seeds: Iterable[int],
    *,
    at_most: int = 3,
    goes_on: Callable[[], bool] = lambda: True,
) -> Tally:
    """Compare the scenarios of *seeds*, until *at_most* differ, which are made small."""
    tally = Tally()
    for seed in seeds:
        if len(tally.differing) >= at_most or not goes_on():
            break
        (verdict,) = compare(oracle, [make(seed)])
        tally.scenarios += 1
        tally.steps += verdict.steps
        tally.touched.update(verdict.touched)
        if verdict.differs_at is not None:
            tally.differing.append((seed, reduced(oracle, verdict)))
    return tally
