"""An end, always: whatever a service does, the process ends within its budget and a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from reliability.bad_services import BAD, GRACE, SECOND, attempt

if TYPE_CHECKING:
    from pathlib import Path

    from reliability.bad_services import Outcome

pytestmark = pytest.mark.slow

AT_ONCE = 4
"""Processes of one test: they mostly wait."""
OVER_BUDGET = 4
STARTING = 10.0
"""Seconds for one that ends by itself, on a machine that has much else to do."""
AGAIN = [name for name, bad in BAD.items() if bad.again]


def batches(names: list[str]) -> list[list[str]]:
    return [names[begin : begin + AT_ONCE] for begin in range(0, len(names), AT_ONCE)]


def attempt_all(names: list[str], directory: Path, *, again: bool) -> dict[str, Outcome]:
    """Try them at the same time, and one that was late once more, by itself."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        attempts = [
            pool.submit(attempt, BAD[name], directory / name, again=again) for name in names
        ]
        found = dict(zip(names, [each.result() for each in attempts], strict=True))
    for name, outcome in found.items():
        code = 143 if again else BAD[name].code
        # Time limits of a second mean little where many processes share two processors. Any
        # other exit code than that of an exceeded budget is a fault the first time.
        over_budget = outcome.code == OVER_BUDGET != code
        if outcome.seconds > latest(name, again=again) or over_budget:
            found[name] = attempt(BAD[name], directory / f"{name}-alone", again=again)
    return found


def latest(name: str, *, again: bool) -> float:
    bad = BAD[name]
    if again:
        return SECOND
    return bad.budget + GRACE if bad.asked else STARTING


@pytest.mark.parametrize("names", batches(list(BAD)), ids="+".join)
def test_it_ends(names: list[str], tmp_path: Path) -> None:
    for name, outcome in attempt_all(names, tmp_path, again=False).items():
        said = f"{name}: {outcome.out}\n{outcome.err}"
        assert outcome.code == BAD[name].code, said
        assert outcome.seconds <= latest(name, again=False), said
        assert [text for text in BAD[name].says if text not in said] == [], said
        assert "in the child" not in outcome.out


@pytest.mark.parametrize("names", batches(AGAIN), ids="+".join)
def test_a_second_signal_ends_it_at_once(names: list[str], tmp_path: Path) -> None:
    for name, outcome in attempt_all(names, tmp_path, again=True).items():
        assert outcome.code == 143, name
        assert outcome.seconds <= SECOND, f"{name}: {outcome.err}"
