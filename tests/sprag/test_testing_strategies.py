"""The strategies that sprag gives its users draw what they say, and find what is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from sprag import Service, State, Supervisor
from sprag.exceptions import BadPolicy, BadValue
from sprag.testing import LeakCheck, RunningTree, check_invariants, virtual_time
from sprag.testing.strategies import (
    Operation,
    ScriptedService,
    TreePlan,
    operations,
    policies,
    trees,
)
from sprag_supervisor import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

# The same examples every time: a new one that fails belongs into tests/lifecycle.
REPEATABLE = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],  # to explain takes longer than to find
    suppress_health_check=[HealthCheck.too_slow],
)
SEARCH = settings(REPEATABLE, max_examples=500)


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logger = logging.getLogger("sprag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@REPEATABLE
@given(policies())
def test_every_policy_drawn_is_accepted(policy: dict[str, Any]) -> None:
    Policy(**policy)


@REPEATABLE
@given(
    policies(restart=st.sampled_from(["transient", "temporary"]), significant=True, max_restarts=7)
)
def test_a_keyword_may_be_given_a_value_or_a_strategy(policy: dict[str, Any]) -> None:
    assert Policy(**policy).significant
    assert policy["restart"] != "permanent"
    assert policy["max_restarts"] == 7


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(BadPolicy, match="unknown policy keyword 'restarts'"):
        policies(restarts="permanent")


def depth_of(plan: TreePlan) -> int:
    return 1 + max(map(depth_of, plan.children), default=-1)


@REPEATABLE
@given(trees(max_depth=3, max_children=2))
def test_every_tree_drawn_can_be_started_and_its_paths_lead_to_its_services(plan: TreePlan) -> None:
    assert depth_of(plan) <= 3
    with virtual_time():
        root = plan.build()
        seen: list[str] = []
        # Some services end by themselves while later ones still start.
        with RunningTree(root) as tree:
            seen = [record.path for record in tree.events if record.event == "started"]
        assert set(seen) == {"root", *(f"root/{path}" for path in plan.paths)}
        assert root.snapshot().state in (State.STOPPED, State.FAILED)


class Poller(Service, restart="transient"):
    """One of a user's own."""


@REPEATABLE
@given(trees([Poller], max_depth=1, policy=st.just({"shutdown": 1.0})))
def test_the_services_and_policies_may_be_the_users_own(plan: TreePlan) -> None:
    with virtual_time(), RunningTree(plan.build()) as tree:
        for path in plan.paths:
            service = tree.service(path)
            assert type(service) is Poller
            policy = service.snapshot().policy
            assert (policy.restart, policy.shutdown) == ("transient", 1.0)


def test_trees_of_all_shapes_are_drawn() -> None:
    plans: list[TreePlan] = []

    @REPEATABLE
    @given(trees())
    def collect(plan: TreePlan) -> None:
        plans.append(plan)

    collect()
    assert {depth_of(plan) for plan in plans} == {0, 1, 2}
    assert max(len(plan.paths) for plan in plans) >= 5
    assert ("a", "a/a") in {plan.paths[:2] for plan in plans}


@pytest.mark.parametrize("wrong", [{"services": []}, {"max_depth": 0}, {"max_children": 0}])
def test_a_tree_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadValue):
        trees(**wrong)


@REPEATABLE
@given(operations(["a", "b/c"], kinds=["crash", "advance"], min_size=1, max_size=5))
def test_only_what_may_happen_happens(steps: list[Operation]) -> None:
    assert 1 <= len(steps) <= 5
    assert {step.kind for step in steps} <= {"crash", "advance"}
    assert {step.path for step in steps if step.kind == "crash"} <= {"a", "b/c"}


def test_wrong_kinds_are_refused() -> None:
    wrong: Any = ["crush"]
    with pytest.raises(BadValue, match="'crash'"):
        operations(["a"], kinds=wrong)


@REPEATABLE
@given(operations([], min_size=1))
def test_where_there_are_no_services_only_time_passes(steps: list[Operation]) -> None:
    assert {step.kind for step in steps} == {"advance"}


def plan_of(*makers: Any, **policy: Any) -> TreePlan:
    children = [TreePlan(name, make, policy) for name, make in zip("abc", makers, strict=False)]
    return TreePlan("root", Supervisor, {}, tuple(children))


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([Operation("crash", "a")], "running"),
        ([Operation("finish", "a")], "finished"),
        ([Operation("stop", "a")], "stopped"),
        ([Operation("stop", "a"), Operation("start", "a")], "running"),
        ([Operation("fail_next_start", "a"), Operation("crash", "a")], "running"),
        ([Operation("hang", "a"), Operation("stop", "a")], "stopping"),
        (
            [Operation("hang", "a"), Operation("stop", "a"), Operation("advance", "", 6.0)],
            "stopped",
        ),
        ([Operation("crash", "nobody")], "running"),
        ([Operation("start", "a")], "running"),
        ([Operation("stop", ""), Operation("start", "")], "running"),
    ],
)
def test_what_each_operation_does(steps: list[Operation], state: str) -> None:
    with virtual_time() as clock, LeakCheck():
        with RunningTree(plan_of(Service, restart="transient").build()) as tree:
            for step in steps:
                step.apply(tree, clock)
            assert tree.state("a").value == state
        clock.settle()


def test_a_scripted_service_takes_its_time_and_ends_by_itself() -> None:
    with virtual_time() as clock:
        service = ScriptedService(start_takes=1.0, stop_takes=2.0, crashes_after=3.0)
        with Supervisor([(service, {"restart": "temporary"})]) as top:
            assert clock.now == 1.0
            clock.advance(3.0)
            assert service.snapshot().state is State.STOPPING
            clock.advance(2.0)
            assert top.count_children().specs == 0
        finishing = ScriptedService(finishes_after=3.0)
        finishing.start()
        clock.advance(3.0)
        assert finishing.snapshot().state is State.FINISHED


stories = trees().flatmap(lambda plan: st.tuples(st.just(plan), operations(plan.paths)))


@REPEATABLE
@given(stories)
def test_whatever_happens_the_tree_is_in_order(story: tuple[TreePlan, list[Operation]]) -> None:
    plan, steps = story
    with virtual_time() as clock:
        with RunningTree(plan.build()) as tree:
            for step in steps:
                step.apply(tree, clock)
                check_invariants(tree.root)
        clock.settle()
        check_invariants(tree.root)


def test_a_fault_of_the_users_is_found_and_shrunk_to_its_essence() -> None:
    class Connection(Service):
        """Forgets to give back what it has taken, if it crashes."""

        taken = 0

        def on_start(self) -> None:
            type(self).taken += 1

        def on_stop(self) -> None:
            if self.snapshot().last_failure is None:
                type(self).taken -= 1

    def is_wrong(steps: list[Operation]) -> bool:
        Connection.taken = 0
        with virtual_time() as clock:
            with RunningTree(Supervisor([Connection()])) as tree:
                for step in steps:
                    step.apply(tree, clock)
            return Connection.taken != 0

    steps = find(operations(["Connection"]), is_wrong, settings=SEARCH)
    assert steps == [Operation("crash", "Connection")]
