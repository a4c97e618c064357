"""sprag and OTP do the same, but for the differences listed in differences.py."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import pytest

from differential.compare import Oracle, compare, compare_seeds
from differential.differences import DIFFERENCES, STOPPING_TOGETHER, Difference
from differential.scenario import CALLS, RESTARTS, STRATEGIES, Spec, from_json, make, to_json
from sprag_supervisor import Reason
from sprag_supervisor.life import regrouping as _regrouping
from sprag_supervisor.life import settling as _settling
from sprag_supervisor.life import supervising as _supervising
from sprag_supervisor.rules.decide import Decision, RestartWindow, covered, ruling

SEEDS = range(500)


def below(spec: Spec) -> list[Spec]:
    return [spec, *chain.from_iterable(map(below, spec.children))]


def levels(spec: Spec) -> int:
    """Count the supervisors above the deepest worker."""
    return 0 if spec.kind == "worker" else 1 + max(map(levels, spec.children), default=0)


def test_otp_and_sprag_agree(oracle: Oracle) -> None:
    tally = compare_seeds(oracle, SEEDS)
    report = "\n\n".join(f"Scenario {seed}, made small: {found}" for seed, found in tally.differing)
    assert not tally.differing, report
    assert tally.scenarios == len(SEEDS)
    assert tally.steps > 5 * len(SEEDS)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.name)
def test_each_difference_is_real(difference: Difference, oracle: Oracle) -> None:
    """Without it its example differs; with it OTP and sprag agree, and it mattered."""
    (listed,) = compare(oracle, [difference.example])
    assert listed.differs_at is None, str(listed)
    assert difference.name in listed.touched
    if difference is STOPPING_TOGETHER:
        return  # OTP's order is no promise, and may happen to be ours
    others = tuple(each for each in DIFFERENCES if each is not difference)
    (unlisted,) = compare(oracle, [difference.example], others)
    assert unlisted.differs_at is not None


def ruling_of_other_types(*args: Any, **more: Any) -> Decision:
    right = ruling(*args, **more)
    return "restart" if right == "keep" and args[1] is Reason.FINISHED else right


def covered_short_of_the_last(*args: Any) -> tuple[Any, ...]:
    return tuple(covered(*args))[:2]


def one_less(self: RestartWindow, now: float, max_seconds: float) -> int:
    return add(self, now, max_seconds) - 1


def never_with_others(child: Any) -> bool:
    return child is None


def shuts_down_at_once(*args: Any, others_active: Any = (), **more: Any) -> Decision:
    del others_active
    return ruling(*args, **more)


add = RestartWindow.add

MISTAKES: list[tuple[object, str, Any]] = [
    (_settling, "ruling", ruling_of_other_types),
    (_regrouping, "covered", covered_short_of_the_last),
    (_supervising, "ruling", shuts_down_at_once),
    (_supervising, "waits_with_others", never_with_others),
    (RestartWindow, "add", one_less),
]


@pytest.mark.parametrize(
    ("place", "name", "wrong"), MISTAKES, ids=[each[2].__name__ for each in MISTAKES]
)
def test_a_mistake_is_found_and_made_small(
    place: object, name: str, wrong: Any, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, wrong)
    tally = compare_seeds(oracle, SEEDS, at_most=1)
    assert tally.differing
    ((_, small),) = tally.differing
    assert len(small.scenario.ops) <= 3
    assert len(below(small.scenario.root)) <= 8
    assert "They differ in" in str(small)
    assert from_json(to_json(small.scenario)) == small.scenario


def test_scenarios_are_the_same_from_the_same_seed_and_survive_a_file() -> None:
    for seed in SEEDS[::10]:
        assert from_json(to_json(make(seed))) == make(seed)


def test_scenarios_have_everything_in_them() -> None:
    scenarios = [make(seed) for seed in SEEDS]
    specs = [spec for scenario in scenarios for spec in below(scenario.root)]
    ops = [op for scenario in scenarios for op in scenario.ops]
    starts = [start for each in scenarios for plan in each.plans.values() for start in plan]
    exits = [reason for op in ops for _, reason in op.exits]
    supervisors = [spec for spec in specs if spec.kind == "supervisor"]
    assert {spec.strategy for spec in supervisors} == set(STRATEGIES)
    assert {spec.restart for spec in supervisors} == set(RESTARTS)
    assert {spec.restart for spec in specs if spec.kind == "worker"} == set(RESTARTS)
    assert {spec.max_restarts for spec in supervisors} == {0, 1, 2, 3, 4}
    assert {spec.auto_shutdown for spec in supervisors} == {
        "never",
        "any_significant",
        "all_significant",
    }
    assert any(spec.significant for spec in specs)
    assert {spec.shutdown for spec in specs} == {5000, "brutal_kill", "infinity"}
    assert max(levels(scenario.root) for scenario in scenarios) == 3
    assert {op.call for op in ops} == {*CALLS, "exits", "exit_root"}
    assert {start.meanwhile.call for start in starts if start.meanwhile} == set(CALLS)
    assert set(exits) == {"normal", "shutdown", "{shutdown,x}", "boom", "killed"}
    assert {len(op.exits) for op in ops if op.call == "exits"} == {1, 2, 3}
    assert {start.outcome for start in starts} == {"ok", "error", "raise", "exit", "ignore"}
    dynamic = sum(spec.kind == "dynamic" for spec in specs)
    assert dynamic > len(SEEDS) / 5


def test_scenarios_do_not_depend_on_the_state_of_the_random_module() -> None:
    random.seed(1)
    one = make(7)
    random.seed(2)
    assert make(7) == one
