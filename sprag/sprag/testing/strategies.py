"""Strategies for hypothesis: random trees, and random things that happen to a tree.

::

    stories = trees().flatmap(lambda plan: st.tuples(st.just(plan), operations(plan.paths)))

    @given(stories)
    def test_whatever_happens_the_tree_is_in_order(story):
        plan, steps = story
        with virtual_time() as clock, RunningTree(plan.build()) as tree:
            for step in steps:
                step.apply(tree, clock)
                check_invariants(tree.root)

All that is drawn is plain data, so a failing example can be read and shrinks well; services
are made by `TreePlan.build`, inside the test. Needs hypothesis, which comes with
``pip install "sprag-otp[testing]"``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import gevent
from hypothesis import strategies as st

from sprag.services.service import Service
from sprag.services.supervisor import Supervisor
from sprag_supervisor import KEYWORDS, Backoff, Restart, Strategy, as_count
from sprag_supervisor.exceptions import BadPolicy, BadValue, SpragError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hypothesis.strategies import SearchStrategy

    from sprag.testing._tree import RunningTree
    from sprag.testing._virtual_time import VirtualClock

__all__ = ["Operation", "ScriptedService", "TreePlan", "operations", "policies", "trees"]

Kind = Literal["crash", "finish", "stop", "start", "fail_next_start", "hang", "advance"]
_USUAL: Final[tuple[Kind, ...]] = ("crash", "finish", "stop", "start", "fail_next_start", "advance")

# Few values, and such that one time limit is met before, at and after another.
_SECONDS: Final = (0.0, 0.5, 1.0, 5.0)
_CHOICES: Final[dict[str, SearchStrategy[Any]]] = {
    "restart": st.sampled_from(get_args(Restart)),
    "shutdown": st.sampled_from([5.0, 1.0, 0.0, "infinity", "brutal_kill"]),
    "backoff": st.none()
    | st.builds(
        Backoff,
        initial=st.sampled_from([0.001, 0.5, 2.0]),
        maximum=st.sampled_from([2.0, 8.0]),
        jitter=st.just(0.0),
        reset_after=st.sampled_from([5.0, 60.0]),
    ),
    "strategy": st.sampled_from(get_args(Strategy)),
    "max_restarts": st.integers(0, 3),
    "max_seconds": st.sampled_from([1.0, 5.0]),
}


def policies(**given: Any) -> SearchStrategy[dict[str, Any]]:
    """Draw policy keywords, as for `Service.adopt`: restart, shutdown, backoff, strategy, limit.

    Without jitter, so that the same example has the same course every time.

    Args:
        **given: Keywords with a value of their own, or with a strategy for it. Those that
            mean something beside certain others only (``significant``, ``needs``, …) are drawn
            only if they are given here.

    Raises:
        BadPolicy: A keyword is unknown.
    """
    for keyword, value in given.items():
        if keyword not in KEYWORDS:
            raise BadPolicy(keyword, value, ", ".join(map(repr, KEYWORDS)), is_known=False)
    chosen: dict[str, SearchStrategy[Any]] = {
        keyword: value if isinstance(value, st.SearchStrategy) else st.just(value)
        for keyword, value in given.items()
    }
    return st.fixed_dictionaries(_CHOICES | chosen)


# -- trees -----------------------------------------------------------------------------------


class ScriptedService(Service):
    """A service that takes its time, and may end by itself.

    Args:
        start_takes: Seconds that its `on_start` waits.
        stop_takes: Seconds that its `on_stop` waits.
        crashes_after: Seconds that it runs before it crashes, in each life; None for never.
        finishes_after: Seconds that it runs before it finishes; None for never.
    """

    def __init__(
        self,
        *,
        start_takes: float = 0.0,
        stop_takes: float = 0.0,
        crashes_after: float | None = None,
        finishes_after: float | None = None,
    ) -> None:
        self.start_takes = start_takes
        self.stop_takes = stop_takes
        self.crashes_after = crashes_after
        self.finishes_after = finishes_after

    def on_start(self) -> None:  # noqa: D102 - a hook
        if self.start_takes:
            gevent.sleep(self.start_takes)
        # Not before: a crash meanwhile would make the start fail.
        if self.crashes_after is not None:
            self.timeout(self._crash, self.crashes_after)
        if self.finishes_after is not None:
            self.timeout(self.finish, self.finishes_after)

    def on_stop(self) -> None:  # noqa: D102 - a hook
        if self.stop_takes:
            gevent.sleep(self.stop_takes)

    def _crash(self) -> None:
        raise RuntimeError(f"crashes after {self.crashes_after:g} s, as it was told to")


@dataclass(frozen=True)
class TreePlan:
    """A service to be made, and those below it.

    Attributes:
        name: Its name; that of the root is "root".
        make: Makes a service without children: its class, or a partial of it. The others are
            `Supervisor`.
        policy: Its policy keywords.
        children: Those below it, in start order.
    """

    name: str
    make: Callable[..., Service]
    policy: dict[str, Any] = field(default_factory=dict[str, Any])
    children: tuple[TreePlan, ...] = ()

    def build(self) -> Supervisor:
        """Make the services, and return their root, not yet started."""
        return Supervisor([each._pair() for each in self.children], name=self.name, **self.policy)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all below this one, parents before their children."""
        return tuple(self._paths(""))

    def _pair(self) -> tuple[Service, dict[str, Any]]:
        if self.make is Supervisor:
            return self.build(), {}
        return self.make(), {"name": self.name, **self.policy}

    def _paths(self, above: str) -> Iterator[str]:
        for child in self.children:
            path = above + child.name
            yield path
            yield from child._paths(f"{path}/")


def trees(
    services: Sequence[Callable[[], Service]] | None = None,
    *,
    max_depth: int = 2,
    max_children: int = 3,
    policy: SearchStrategy[dict[str, Any]] | None = None,
) -> SearchStrategy[TreePlan]:
    """Draw trees of supervisors with services below them.

    A tree that is drawn can be started: nothing in it fails at its first start, but for
    what *services* of yours do.

    Args:
        services: What makes the services at the leaves, each called without arguments: classes
            of your own, say. Default: plain services without hooks, and `ScriptedService`.
        max_depth: How many levels there are below the root, at most.
        max_children: How many children a supervisor has, at most.
        policy: What the policies of all but the root are drawn from; default: `policies`.

    Raises:
        BadValue: There is nothing to make a tree of.
    """
    if services is not None and not services:
        raise BadValue("services", services, "at least one")
    if as_count(max_depth) < 1 or as_count(max_children) < 1:
        raise BadValue("max_depth, max_children", (max_depth, max_children), "at least 1 each")
    makers = _scripted() if services is None else st.sampled_from(list(services))
    drawn = policies() if policy is None else policy
    leaves = st.builds(TreePlan, name=st.just(""), make=makers, policy=drawn)
    level = leaves
    for _ in range(max_depth - 1):
        level = leaves | _supervisors(drawn, level, max_children)
    # A root that gives up at the first crash makes short stories.
    at_the_root = st.fixed_dictionaries(
        {"strategy": _CHOICES["strategy"], "max_restarts": st.sampled_from([3, 10, 1])}
    )
    return _rooted(_supervisors(at_the_root, level, max_children))


def _scripted() -> SearchStrategy[Callable[[], Service]]:
    seconds = st.sampled_from(_SECONDS)
    ends = st.none() | st.sampled_from(_SECONDS[1:])
    scripted = st.builds(
        partial,
        st.just(ScriptedService),
        start_takes=seconds,
        stop_takes=seconds,
        crashes_after=ends,
        finishes_after=ends,
    )
    return st.just(Service) | scripted


def _supervisors(
    policy: SearchStrategy[dict[str, Any]], below: SearchStrategy[TreePlan], most: int
) -> SearchStrategy[TreePlan]:
    return st.builds(
        TreePlan,
        name=st.just(""),
        make=st.just(Supervisor),
        policy=policy,
        children=st.lists(below, max_size=most).map(tuple),
    )


@st.composite
def _rooted(draw: st.DrawFn, plans: SearchStrategy[TreePlan]) -> TreePlan:
    return _named(draw(plans), "root")  # not by map: an example is shown with its names


def _named(plan: TreePlan, name: str) -> TreePlan:
    """Return *plan* with that name, and its children with a, b, c, … below each parent."""
    children = tuple(
        _named(child, chr(ord("a") + at) if at < 26 else f"n{at}")
        for at, child in enumerate(plan.children)
    )
    return TreePlan(name, plan.make, plan.policy, children)


# -- operations ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """Something that happens to a tree.

    Attributes:
        kind: ``crash``, ``finish``, ``stop``, ``start``, ``fail_next_start``, ``hang``, or
            ``advance``, which lets time pass.
        path: The service, below the root; the empty path is the root.
        seconds: How much time passes.
    """

    kind: Kind
    path: str = ""
    seconds: float = 0.0

    def apply(self, tree: RunningTree, clock: VirtualClock) -> None:
        """Do it, and let everything run that is ready then.

        What blocks, such as a stop, goes on while the next operations are applied. What sprag
        refuses, since the service is in another state or has left the tree, is no error here.
        """
        if self.kind == "advance":
            clock.advance(self.seconds)
        elif self.kind in ("stop", "start"):
            gevent.spawn(self._do, tree)  # it may block
            clock.settle()
        else:
            self._do(tree)
            clock.settle()

    def _do(self, tree: RunningTree) -> None:
        try:
            match self.kind:
                case "crash":
                    tree.crash(self.path)
                case "hang":
                    tree.hang(self.path)
                case "fail_next_start":
                    tree.fail_next_start(self.path)
                case _:
                    getattr(tree.service(self.path), self.kind)()
        except SpragError:
            return  # refused: a test of its own says whether rightly


def operations(
    paths: Sequence[str],
    *,
    kinds: Sequence[Kind] | None = None,
    min_size: int = 0,
    max_size: int = 20,
) -> SearchStrategy[list[Operation]]:
    """Draw lists of things that happen to the services at *paths*.

    Args:
        paths: Those of `TreePlan.paths`, or of a tree of your own. With none, time passes.
        kinds: What may happen; default: everything but ``hang``, which makes stops slow.
        min_size: How many operations there are at least.
        max_size: And at most.

    Raises:
        BadValue: One of *kinds* is unknown.
    """
    for kind in kinds or ():
        if kind not in get_args(Kind):
            raise BadValue("kinds", kind, ", ".join(map(repr, get_args(Kind))))
    advance = st.builds(
        Operation, kind=st.just("advance"), seconds=st.sampled_from([0.5, 1.0, 5.0, 60.0])
    )
    wanted = _USUAL if kinds is None else tuple(kinds)
    others = [kind for kind in wanted if kind != "advance"]
    drawn: list[SearchStrategy[Operation]] = []
    if others and paths:
        drawn.append(
            st.builds(Operation, kind=st.sampled_from(others), path=st.sampled_from(list(paths)))
        )
    if "advance" in wanted or not drawn:
        drawn.append(advance)
    return st.lists(st.one_of(drawn), min_size=min_size, max_size=max_size)
