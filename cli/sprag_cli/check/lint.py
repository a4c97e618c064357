"""What is likely wrong with a tree, as far as it can be told without starting it.

Each rule is a generator of `Finding`s over `Plan`s, the static picture of the tree; none
of them runs any code of the user's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor import Policy

CANNOT_START: Final = "cannot-start"
LIKELY_MISTAKE: Final = "likely-mistake"
_NAMED: Final = 3
_MANY_RESTARTS: Final = 100
"""More restarts than this before an app gives up are more than anybody expects."""


@dataclass(slots=True)
class Plan:
    """A service as it will be when the tree starts.

    Attributes:
        path: Where in the tree.
        policy: With what its parent gives it.
        stops_together: Its children are stopped at the same time.
        stop_takes_time: It defines `on_drain` or `on_stop`, or has a process.
        beats: Its code mentions `beat`, or its process says WATCHDOG=1.
        may_adopt: Its code adopts children when it runs; they are not among `children`.
        stop_within: Seconds within which it has to be down, as its lease is lost then; None: it
            has none.
        parent: The service above.
        cls: Its class, if that is known.
        children: Those it is made with, in start order.
    """

    path: str
    policy: Policy
    stops_together: bool = False
    stop_takes_time: bool = False
    beats: bool = False
    may_adopt: bool = False
    stop_within: float | None = None
    parent: Plan | None = None
    cls: type[object] | None = None
    children: list[Plan] = field(default_factory=list["Plan"])

    @property
    def name(self) -> str:
        """Its name below its parent."""
        return self.path.rpartition("/")[2]

    @property
    def has_children(self) -> bool:
        """Whether it has children, or will have."""
        return bool(self.children) or self.may_adopt

    def walk(self) -> Iterator[Plan]:
        """Go through the tree, parents before children."""
        pending: list[Plan] = [self]
        while pending:
            plan = pending.pop()
            yield plan
            pending.extend(reversed(plan.children))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is likely wrong.

    Attributes:
        rule: The name of the rule.
        path: The service.
        message: What will happen, and why.
        remedy: What to do.
    """

    rule: str
    path: str
    message: str
    remedy: str


def lint(root: Plan, budget: float, ignored: frozenset[str] = frozenset()) -> list[Finding]:
    """Return what is likely wrong with a tree.

    Args:
        root: The tree.
        budget: Seconds that the whole of it may take to stop.
        ignored: Rules that are not applied.
    """
    found: list[Finding] = []
    for name, rule in RULES.items():
        if name not in ignored:
            found += [Finding(name, *said) for said in rule(root, budget)]
    return found


class _Said(NamedTuple):
    """A finding, but for its rule."""

    path: str
    message: str
    remedy: str


def _limits_multiply(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        if not plan.has_children or any(child.has_children for child in plan.children):
            continue  # the lowest supervisors say it for those above
        chain = [plan]
        while (
            chain[-1].parent is not None
            and chain[-1].policy.restart != "temporary"
            and not math.isinf(chain[-1].parent.policy.max_restarts)  # it never gives up
        ):
            chain.append(chain[-1].parent)
        product = math.prod(each.policy.max_restarts + 1 for each in chain)
        if len(chain) < 2 or not _MANY_RESTARTS < product < math.inf:
            continue
        limits = ", ".join(f"{each.name} {each.policy.max_restarts}" for each in reversed(chain))
        yield _Said(
            plan.path,
            f"a child that keeps crashing is started {product} times before {chain[-1].path} "
            f"gives up: the limits multiply (max_restarts: {limits})",
            f"give the outer ones a smaller max_restarts: with 1 each it would be "
            f"{(plan.policy.max_restarts + 1) * 2 ** (len(chain) - 1)}",
        )


def _stop_over_budget(root: Plan, budget: float) -> Iterator[_Said]:
    seconds, way = _slowest_stop(root)
    if not math.isinf(seconds) and seconds > budget:
        slowest = sorted(way, key=lambda each: -each.policy.own_seconds)[:_NAMED]
        named = ", ".join(f"{each.name} {each.policy.own_seconds:g} s" for each in slowest)
        more = f" and {len(way) - len(slowest)} more" if len(way) > len(slowest) else ""
        those = f", one after another: {named}{more}" if len(way) > 1 else f": {named}"
        yield _Said(
            root.path,
            f"its services may take {seconds:g} s to stop{those}. The whole stop has "
            f"{budget:g} s: those that come last would be killed",
            "give those that stop quickly a smaller shutdown, or the app a longer "
            f"--shutdown-timeout (shutdown_timeout below [app] of a file): {seconds:g} at least",
        )


def _slowest_stop(root: Plan) -> tuple[float, list[Plan]]:
    """Return how long a stop may take, and whose stops come one after another for that.

    Who is needed stops behind those that need it; who says nothing needs all before. What has
    neither stop hooks nor a process is killed, which takes no time.
    """
    nothing: tuple[float, list[Plan]] = (0.0, [])
    taken: dict[int, tuple[float, list[Plan]]] = {}
    for plan in reversed(list(root.walk())):
        ways: dict[str, tuple[float, list[Plan]]] = {}
        longest = nothing
        for child in plan.children:
            needs = child.policy.needs
            behind = longest
            if plan.stops_together:
                behind = nothing
            elif needs is not None:
                found = [ways[name] for name in needs if name in ways]
                behind = max(found, key=_seconds, default=nothing)
            own = taken.pop(id(child))
            ways[child.name] = way = (behind[0] + own[0], [*behind[1], *own[1]])
            longest = max(longest, way, key=_seconds)
        seconds, those = longest
        if plan.stop_takes_time and plan.policy.own_seconds:
            seconds, those = seconds + plan.policy.own_seconds, [*those, plan]
        taken[id(plan)] = seconds, those
    return taken[id(root)]


def _seconds(way: tuple[float, list[Plan]]) -> float:
    return way[0]


def _stop_over_lease(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        seconds, _ = _slowest_stop(plan)
        if plan.stop_within is not None and seconds > plan.stop_within:
            other = "" if math.isinf(seconds) else f", or the cluster a ttl of {seconds * 4:g}"
            yield _Said(
                plan.path,
                f"it may take {seconds:g} s to stop, and has {plan.stop_within:g} s, a quarter of "
                "the cluster's ttl, when the engine is away: then the process is ended",
                f"give what is below it a shutdown of {plan.stop_within:g} s, all together{other}",
            )


def _stop_without_limit(root: Plan, budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        if plan.stop_takes_time and plan.policy.shutdown == "infinity":
            yield _Said(
                plan.path,
                'shutdown="infinity": if its end hangs it holds the stop of all others until '
                f"the app's {budget:g} s are over",
                "give it a number of seconds",
            )


def _permanent_auto_shutdown(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        policy = plan.policy
        if plan.parent and policy.auto_shutdown != "never" and policy.restart == "permanent":
            yield _Said(
                plan.path,
                f'auto_shutdown="{policy.auto_shutdown}" ends it, and restart="permanent" brings '
                f"it back at once: each time counts toward the limit of {plan.parent.path}",
                'give it restart="transient" to let it stay down',
            )


def _stays_down(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        policy = plan.policy
        if plan.parent is None or not plan.has_children:
            continue
        if policy.restart == "temporary":
            yield _Said(
                plan.path,
                'restart="temporary": when it gives up, it leaves the tree with all its children, '
                "and nothing brings them back",
                'give it restart="transient" or "permanent"',
            )
        kept = [each.name for each in plan.children if _wants_to_stay(each)]
        if policy.restart == "transient" and policy.auto_shutdown != "never" and kept:
            yield _Said(
                plan.path,
                f'auto_shutdown="{policy.auto_shutdown}" ends it for good (restart="transient"), '
                f"and with it {', '.join(kept)}, which are permanent",
                "put the permanent ones below a supervisor of their own",
            )


def _wants_to_stay(plan: Plan) -> bool:
    return plan.policy.restart == "permanent" and not plan.policy.significant


def _nothing_significant(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        if plan.policy.auto_shutdown == "never" or plan.may_adopt:
            continue
        if not any(child.policy.significant for child in plan.children):
            yield _Said(
                plan.path,
                f'auto_shutdown="{plan.policy.auto_shutdown}", and none of its children is '
                "significant: it never shuts down",
                "mark the children that count with significant=True, or leave auto_shutdown out",
            )


def _cannot_start(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        for child in plan.children:
            if child.policy.significant and plan.policy.auto_shutdown == "never":
                yield _Said(
                    child.path,
                    f'significant=True, and {plan.path} has auto_shutdown="never": it is refused '
                    "when the tree starts",
                    "set auto_shutdown of the parent, or leave significant out",
                )


def _backoff_in_vain(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        parent, backoff = plan.parent, plan.policy.backoff
        if parent is None or backoff is None or plan.policy.restart == "temporary":
            continue
        policy = parent.policy
        # With each further restart the delays grow; the last of them comes before it gives up.
        least = backoff.least(policy.max_restarts)
        if policy.max_restarts and 0 < least <= policy.max_seconds:
            enough = math.ceil(10 * backoff.initial * policy.max_seconds / least) / 10
            yield _Said(
                plan.path,
                f"its backoff waits {least:.1f} s in all, and {parent.path} gives up at restart "
                f"{policy.max_restarts + 1} within {policy.max_seconds:g} s: a dependency that is "
                "away for longer takes the whole of it down",
                f"to outlast that, give it a longer initial ({enough:g} or more); if it is to give "
                "up so early, ignore this rule",
            )


def _never_beats(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        if plan.policy.heartbeat is not None and not plan.beats:
            yield _Said(
                plan.path,
                f"heartbeat={plan.policy.heartbeat:g}, and nothing in its class mentions beat: it "
                "crashes each time that so many seconds have passed",
                "call self.beat() where its work is done, or leave heartbeat out",
            )


def _start_timeout_too_short(root: Plan, _budget: float) -> Iterator[_Said]:
    for plan in root.walk():
        limit = plan.policy.start_timeout
        below = [child.policy.start_timeout for child in plan.children]
        if limit is None or not below or None in below:
            continue
        total = sum(seconds for seconds in below if seconds is not None)
        if total > limit:
            yield _Said(
                plan.path,
                f"start_timeout={limit:g}, and its children, which start within it one after "
                f"another, may take {total:g} s",
                f"give it start_timeout={total:g} or more",
            )


RULES: Final[dict[str, Callable[[Plan, float], Iterator[_Said]]]] = {
    CANNOT_START: _cannot_start,
    "limits-multiply": _limits_multiply,
    "stop-over-budget": _stop_over_budget,
    "stop-over-lease": _stop_over_lease,
    "stop-without-limit": _stop_without_limit,
    "permanent-auto-shutdown": _permanent_auto_shutdown,
    "stays-down": _stays_down,
    "nothing-significant": _nothing_significant,
    "never-beats": _never_beats,
    "backoff-in-vain": _backoff_in_vain,
    "start-timeout-too-short": _start_timeout_too_short,
}
"""The rules by their names; the worst first."""
