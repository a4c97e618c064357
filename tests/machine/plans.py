"""What services are, and how hypothesis invents them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

# All times are dyadic, so that sums of them are exact.
SHUTDOWN: Final = 1 / 32
"""Seconds that a stop may take."""
SLOW: Final = 1 / 64
"""Seconds that a slow stop takes."""
GRACE: Final = 1 / 32
"""Seconds that the engine waits for what swallows its last kill."""
PATIENT: Final = 0.5
"""Seconds of the first backoff of who has none, when its first start is tried again."""
RESET_AFTER: Final = 4.0
"""Seconds of running after which a backoff begins anew."""
JUST: Final = 0.99
"""Of a heartbeat: no more is asked for."""
COSTS: Final = {
    ("slow", False): SLOW,
    ("deaf", False): SHUTDOWN + GRACE,
    ("deaf", True): GRACE,
}
"""Seconds that a stop takes with a trouble; True: it is brutal."""

AUTO: Final = ("any_significant", "all_significant")
STRATEGIES: Final = ("one_for_one", "one_for_all", "rest_for_one")

UP: Final = ("running", "restarting")
CLEAN: Final = ("finished", "shutdown")


class Unclear(Exception):
    """What comes now depends on the order of what happens at the same moment."""


class Refused(Exception):
    """A call had no success: its error in OTP's words, or the path of what did not start."""


@dataclass(frozen=True, repr=False)
class Spec:
    """A service with its policy, and those below it from the beginning.

    Attributes:
        kind: ``service``, ``supervisor`` or ``pool``.
        backoff: Seconds, doubled from try to try up to 1; 0 for none.
        tries: Restarts in a row with a backoff, at most; 0 for no limit.
        retry_start: A first start that fails is tried again.
        faults: Starts that raise, from the first on.
        needs: Of whom it needs what; None for all before it.
        autostart: It is started with its parent; else by hand, or by who needs it.
        is_late: In each life it is not ready when it has started.
        heartbeat: Seconds within which it has to beat; 0 for never.
    """

    name: str
    kind: str = "service"
    restart: str = "permanent"
    backoff: float = 0.0
    significant: bool = False
    is_brutal: bool = False
    tries: int = 0
    retry_start: bool = False
    faults: int = 0
    needs: tuple[tuple[str, str], ...] | None = None
    autostart: bool = True
    is_late: bool = False
    heartbeat: float = 0.0
    strategy: str = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 2.0
    auto_shutdown: str = "never"
    max_children: float = inf
    children: tuple[Spec, ...] = ()

    def __repr__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        told = [
            f"{each.name}={given[each.name]!r}"
            for each in fields(self)
            if given[each.name] != each.default
        ]
        return f"Spec({', '.join(told)})"


numbers = st.integers(0, 63)
restarts = st.sampled_from(["permanent", "permanent", "transient", "temporary"])
waits = {
    patient: st.sampled_from([patient, patient, patient, not patient]) for patient in (False, True)
}
kinds = ["supervisor", "supervisor", "service", "pool"]
WHAT: Final = ("ready", "started", "finished")
"""What one may need another to be."""


@st.composite
def specs(
    draw: Callable[..., Any], depth: int, *, above: str = "never", name: str = "root"
) -> Spec:
    """Return a strategy for services with so many levels below them."""
    kind = draw(st.sampled_from(kinds)) if depth else "service"
    restart = draw(restarts)
    is_plain = kind == "pool" or (kind == "service" and not depth)
    auto = "never" if is_plain else draw(st.sampled_from(["never", "never", *AUTO]))
    names = "abc"[: draw(st.integers(0, 3))] if depth and kind != "pool" else ""
    is_patient = draw(st.sampled_from([False, False, True]))
    return Spec(
        name,
        kind,
        restart,
        backoff=0.5 + draw(numbers) / 256 if draw(waits[is_patient]) else 0.0,
        significant=above != "never" and restart != "permanent" and draw(st.booleans()),
        is_brutal=draw(numbers) == 63,
        tries=draw(st.sampled_from([0, 0, 1, 2])),
        retry_start=is_patient,
        autostart=name == "root" or draw(numbers) % 8 != 7,
        faults=draw(st.sampled_from([0, 1, 3])) if is_patient and name != "root" else 0,
        is_late=draw(st.sampled_from([False, False, False, True])),
        heartbeat=2.0 if name != "root" and draw(numbers) % 4 == 1 else 0.0,
        strategy="one_for_one" if is_plain else draw(st.sampled_from(STRATEGIES)),
        max_restarts=draw(st.sampled_from([3, 5, 2, 1, 0])),
        max_seconds=draw(st.sampled_from([2.0, 1.0])),
        auto_shutdown=auto,
        max_children=draw(st.sampled_from([2, 3, inf])) if kind == "pool" else inf,
        children=draw(families(kind, depth - 1, auto, names)),
    )


@st.composite
def families(
    draw: Callable[..., Any], kind: str, depth: int, auto: str, names: str
) -> tuple[Spec, ...]:
    """Return a strategy for the children of one parent, of whom some need others.

    In a list these may come later, as long as there is no circle; who is adopted needs those that
    were adopted before.
    """
    children = [draw(specs(depth, above=auto, name=each)) for each in names]
    if not draw(st.booleans()):
        return tuple(children)
    if kind == "supervisor":
        children = draw(st.permutations(children))
    else:  # whom it calls up in its start comes some time after that
        children = [replace(each, autostart=True) for each in children]
    for place, child in enumerate(children):
        wanted = [(each, draw(st.sampled_from(["", *WHAT]))) for each in children[:place]]
        found = tuple(
            [
                (each.name, "ready" if what == "finished" and comes_back(each) else what)
                for each, what in wanted
                if what
            ]
        )
        children[place] = replace(child, needs=draw(st.sampled_from([found, found, None])))
    if kind == "supervisor":
        mixed = tuple(draw(st.permutations(children)))
        return mixed if in_order(mixed) else tuple(children)
    return tuple(children)


def comes_back(spec: Spec) -> bool:
    """Whether it is restarted or forgotten when it has finished."""
    return spec.restart != "transient"


def in_order(children: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Return *children*, each after those it needs; nothing if they need each other in a circle."""
    found: list[Spec] = []

    def take(child: Spec, way: tuple[Spec, ...]) -> bool:
        if child in way:
            return False
        before = children[: children.index(child)]
        names = [each.name for each in before] if child.needs is None else dict(child.needs)
        if not all(take(each, (*way, child)) for each in children if each.name in names):
            return False
        if child not in found:
            found.append(child)
        return True

    return tuple(found) if all(take(each, ()) for each in children) else ()


roots = specs(3).filter(lambda spec: spec.kind != "pool")
needs = st.sampled_from([None, None, (), *(((a, b),) for a in "abc" for b in WHAT)])
# Drawn on purpose without a look at the parent: some are significant where that is refused.
additions = st.one_of(specs(0, above="any"), specs(0), specs(1, above="any"), specs(2))
trouble = st.tuples(numbers, st.sampled_from(["slow", "deaf", "raises"]))
troubles: st.SearchStrategy[list[tuple[int, str]]] = st.just([]) | st.lists(trouble, max_size=3)
