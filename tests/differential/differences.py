"""Where sprag differs from OTP on purpose: all of it, and nothing else.

Each difference says why, and rewrites what OTP showed into what sprag must show; or, where
there is nothing to be compared, takes the same out of both. Each is held to be real: its
example differs without it and agrees with it (`test_each_difference_is_real`).

Not here, since nothing is lost: sprag's exceptions are OTP's results by name; the error of a
failed start is read as the path of the innermost service that failed; a worker that exits with
`shutdown` or `{shutdown,x}` is one that calls `finish()`, one that is killed has crashed; the
`on_stop` of a service that ends by itself is not written down, for OTP stops no such process.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

from differential.scenario import Op, Scenario, Spec, Start

if TYPE_CHECKING:
    from collections.abc import Callable

    from differential.scenario import Path

Step = dict[str, Any]
Journal = list[list[str]]
Differences = tuple["Difference", ...]


def _never(step: Step) -> bool:
    return False


def _same_answer(call: str, answer: Any) -> Any:
    return answer


def _same_tree(tree: Any) -> Any:
    return tree


def _same_journal(journal: Journal, pools: frozenset[str]) -> Journal:
    return journal


@dataclass(frozen=True)
class Difference:
    """One of them.

    Attributes:
        why: The reason.
        example: A scenario that shows it.
        otp_switch, sprag_switch: The oracle, or the engine, is to behave otherwise.
        ends_comparison: Tells by a step of sprag's that from it on there is nothing to compare.
        answer_of_otp: Rewrites OTP's answer to a call.
        answer_of_both: Rewrites the answer of either.
        tree_of_otp: Rewrites OTP's tree.
        journal_of_both: Rewrites the journal of either, given the paths of dynamic supervisors.
    """

    name: str
    why: str
    example: Scenario
    otp_switch: str | None = None
    sprag_switch: str | None = None
    ends_comparison: Callable[[Step], bool] = _never
    answer_of_otp: Callable[[str, Any], Any] = _same_answer
    answer_of_both: Callable[[str, Any], Any] = _same_answer
    tree_of_otp: Callable[[Any], Any] = _same_tree
    journal_of_both: Callable[[Journal, frozenset[str]], Journal] = _same_journal


def _supervisor(name: str, *children: Spec, **policy: Any) -> Spec:
    return Spec(name, kind="supervisor", shutdown="infinity", children=children, **policy)


def _pool(**policy: Any) -> Spec:
    template = Spec("template", **policy)
    return Spec("pool", kind="dynamic", shutdown="infinity", children=(template,))


def _grow(*names: str, **policy: Any) -> tuple[Op, ...]:
    return tuple(Op("start_child", ("pool",), spec=Spec(name, **policy)) for name in names)


# -- giving up -------------------------------------------------------------------------------------

GIVING_UP: Final = Difference(
    "giving up is abnormal",
    "Design 4.1: a transient supervisor that gave up is restarted. OTP's exits with `shutdown` "
    "and silently stays down (otp-rules 22). The oracle puts a process between such a "
    "supervisor and its parent, which exits abnormally in its place.",
    Scenario(
        _supervisor("root", _supervisor("a", Spec("b"), restart="transient", max_restarts=0)),
        ops=(Op("exits", ("a",), exits=(("b", "boom"),)),),
    ),
    otp_switch="giving_up_is_abnormal",
)

# -- order of children -----------------------------------------------------------------------------


def _reversed(call: str, answer: Any) -> Any:
    rows = answer
    return rows[::-1] if call == "which_children" and isinstance(answer, list) else answer


WHICH_CHILDREN: Final = Difference(
    "which_children lists in start order",
    "Design 4.4; OTP's lists the newest first (otp-rules 61).",
    Scenario(_supervisor("root", Spec("a"), Spec("b")), ops=(Op("which_children"),)),
    answer_of_otp=_reversed,
)

# -- dynamic supervisors ---------------------------------------------------------------------------


def _of_pool(answer: Any) -> Any:
    """Return what a dynamic supervisor has answered, None for the answers of others."""
    return cast("dict[str, Any]", answer)["dynamic"] if isinstance(answer, dict) else None


def _without_order(call: str, answer: Any) -> Any:
    if call == "which_children" and (rows := _of_pool(answer)) is not None:
        return {"dynamic": sorted([state, kind] for _, state, kind in rows)}
    return answer


POOL_HAS_NAMES: Final = Difference(
    "children of a DynamicSupervisor have names and an order",
    "Design 4: all children have; which_children of simple_one_for_one knows neither.",
    Scenario(_supervisor("root", _pool()), ops=(*_grow("x", "y"), Op("which_children", ("pool",)))),
    answer_of_both=_without_order,
)


def _no_counts(call: str, answer: Any) -> Any:
    if call == "count_children" and (counts := _of_pool(answer)) is not None:
        return {"dynamic": f"{len(counts)} counts"}
    return answer


POOL_COUNTS_CHILDREN: Final = Difference(
    "a DynamicSupervisor counts its children",
    "As Elixir's; simple_one_for_one has one spec for all (otp-rules 60), counts those that are "
    "gone because they ignored a restart, and is one short for ever (down to -1) when one is "
    "terminated while it waits for its restart.",
    Scenario(_supervisor("root", _pool()), ops=(Op("count_children", ("pool",)),)),
    answer_of_both=_no_counts,
)


def _forgotten_in_answer(call: str, answer: Any) -> Any:
    if call == "which_children" and (rows := _of_pool(answer)) is not None:
        return {"dynamic": [row for row in rows if row[0] != "undefined"]}
    return answer


def _forgotten(tree: Any) -> Any:
    return tree and [
        [name, state, _forgotten(inside)] for name, state, inside in tree if name != "undefined"
    ]


POOL_FORGETS_IGNORED: Final = Difference(
    "a child of a DynamicSupervisor that ignores its restart is forgotten",
    "As Elixir's; simple_one_for_one keeps an entry without name and process, that nothing can "
    "address, and fails over it in its own stop. So no invented scenario has such a start.",
    Scenario(
        _supervisor("root", _pool()),
        {("pool", "x"): (Start(), Start("ignore"))},
        ops=(*_grow("x"), Op("exits", ("pool",), exits=(("x", "boom"),))),
    ),
    answer_of_otp=_forgotten_in_answer,
    tree_of_otp=_forgotten,
)


def _unknown_is_ok(call: str, answer: Any) -> Any:
    is_unknown = call == "terminate_child" and _of_pool(answer) == "not_found"
    return {"dynamic": "ok"} if is_unknown else answer


POOL_KNOWS_ITS_OWN: Final = Difference(
    "terminating what is no child of a DynamicSupervisor is an error",
    "As Elixir's; simple_one_for_one says ok to the pid of any dead process (otp-rules 59).",
    Scenario(_supervisor("root", _pool()), ops=(Op("terminate_child", ("pool",), child="z"),)),
    answer_of_both=_unknown_is_ok,
)


POOL_NAMES_OUTLIVE: Final = Difference(
    "a name in a DynamicSupervisor means whichever life there is",
    "Design 4: a child keeps its name. The process id that terminate_child of simple_one_for_one "
    "takes is of one life: of one that has been restarted before the call is answered, it is that "
    "of a dead process. The engine passes such a call over in OTP's place.",
    Scenario(
        _supervisor("root", _pool()),
        {("pool", "y"): (Start(), Start("raise", Op("terminate_child", ("pool",), child="x")))},
        ops=(
            *_grow("x", "y"),
            Op("exits", ("pool",), exits=(("y", "boom"), ("x", "normal"))),
        ),
    ),
    sprag_switch="names_mean_one_life",
)


def _together(journal: Journal, pools: frozenset[str]) -> Journal:
    """Sort neighbouring stops below one pool by its children; within each, keep their order."""
    result: Journal = []
    for (word, pool), lines in groupby(
        journal, lambda line: (line[0], _pool_above(line[1], pools))
    ):
        if word == "stop" and pool is not None:
            depth = pool.count("/") + 1
            result.extend(sorted(lines, key=lambda line: line[1].split("/")[depth]))
        else:
            result.extend(lines)
    return result


def _pool_above(path: str, pools: frozenset[str]) -> str | None:
    return next((pool for pool in pools if path.startswith(f"{pool}/")), None)


STOPPING_TOGETHER: Final = Difference(
    "children that stop together stop in any order",
    "Both stop the children of a dynamic supervisor at the same time (otp-rules 46).",
    Scenario(_supervisor("root", _pool()), ops=_grow("x", "y")),
    journal_of_both=_together,
)

# -- calls between a failed restart and the next try -----------------------------------------------

STOPS_ARE_FREE: Final = Difference(
    "a stop does not hold the supervisor",
    "Design 5: stops get through while a supervisor is busy, and it goes on meanwhile; OTP's is "
    "deaf until the child has stopped (otp-rules 48). The engine takes the turn in its place, "
    "where a call falls between a failed restart and the next try.",
    Scenario(
        _supervisor("root", Spec("a"), Spec("b")),
        {("a",): (Start(), Start("error", Op("terminate_child", child="b")))},
        ops=(Op("exits", exits=(("a", "boom"),)),),
    ),
    sprag_switch="holds_for_stops",
)

STALE_RETRIES: Final = Difference(
    "a retry belongs to one incarnation",
    "Design 4: stale restarts are dropped. OTP's message for the next try names only the child: "
    "when a group restart has come between and failed in its turn, the old message does the work "
    "of the new one, ahead of calls that came before that. From the answers of such calls on, a "
    "scenario is not compared.",
    Scenario(
        _supervisor("root", Spec("a"), Spec("b"), strategy="rest_for_one", max_restarts=4),
        {("b",): (Start(), Start("error"), Start("error", Op("start_child", spec=Spec("c"))))},
        ops=(Op("exits", exits=(("b", "boom"), ("a", "boom"))),),
    ),
    ends_comparison=lambda step: bool(step["is_overtaken"] and step["answers"]),
)

WAITING_FOR_A_SIBLING: Final = Difference(
    "who waits for a sibling's next try is restarting",
    "Design 4: restarting is also who waits for the turn of its group; OTP's are `undefined` "
    "meanwhile (otp-rules 41). So nobody starts or deletes them, and a stop takes them out of the "
    "group, while OTP's come back with it (otp-rules 31). The engine lets them down in OTP's "
    "place, where a call falls between a failed restart and the next try.",
    Scenario(
        _supervisor("root", Spec("a"), Spec("b"), strategy="one_for_all"),
        {("a",): (Start(), Start("error", Op("terminate_child", child="b")))},
        ops=(Op("exits", exits=(("a", "boom"),)),),
    ),
    sprag_switch="lets_siblings_down",
)

DIFFERENCES: Final = (
    GIVING_UP,
    WHICH_CHILDREN,
    POOL_HAS_NAMES,
    POOL_COUNTS_CHILDREN,
    POOL_FORGETS_IGNORED,
    POOL_KNOWS_ITS_OWN,
    POOL_NAMES_OUTLIVE,
    STOPPING_TOGETHER,
    STOPS_ARE_FREE,
    STALE_RETRIES,
    WAITING_FOR_A_SIBLING,
)


def rewrite(
    scenario: Scenario, step: Step, number: int, *, is_otp: bool, differences: Differences
) -> tuple[Step, set[str]]:
    """Return what step *number* showed, in common terms, and the differences that mattered."""
    step = dict(step)
    call = scenario.ops[number - 1].call if 0 < number <= len(scenario.ops) else "start or stop"
    touched: set[str] = set()
    step.pop("is_overtaken", None)
    if step.pop("bent"):
        touched.add(GIVING_UP.name if is_otp else STOPS_ARE_FREE.name)
    if step.pop("let_down", 0):
        touched.add(WAITING_FOR_A_SIBLING.name)
    if step.pop("past_lives", 0):
        touched.add(POOL_NAMES_OUTLIVE.name)
    pools = pools_of(scenario)
    for each in differences:
        before = step
        step = dict(step)
        answers = [each.answer_of_both]
        if is_otp:
            answers.insert(0, each.answer_of_otp)
            step["tree"] = each.tree_of_otp(step["tree"])
        for rewritten in answers:
            step["result"] = rewritten(call, step["result"])
            step["answers"] = [[word, rewritten(word, answer)] for word, answer in step["answers"]]
        step["journal"] = each.journal_of_both(step["journal"], pools)
        if step != before:
            touched.add(each.name)
    return step, touched


def pools_of(scenario: Scenario) -> frozenset[str]:
    """Return the paths at which there may be a dynamic supervisor."""
    pools: set[str] = set()
    stack: list[tuple[Path, Spec]] = [((), scenario.root)]
    starts = (start for plan in scenario.plans.values() for start in plan)
    ops = (*scenario.ops, *(start.meanwhile for start in starts))
    stack += [((*op.at, op.spec.id), op.spec) for op in ops if op is not None and op.spec]
    while stack:
        path, spec = stack.pop()
        if spec.kind == "dynamic":
            pools.add("/".join(path))
        else:
            stack.extend(((*path, child.id), child) for child in spec.children)
    return frozenset(pools)
