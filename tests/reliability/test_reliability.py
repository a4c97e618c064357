"""An end, always: whatever a service does, the process ends within its budget and a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from reliability.bad_services import BAD, LATEST, SECOND, attempt

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from reliability.bad_services import Outcome

pytestmark = pytest.mark.slow

AT_ONCE = 4
"""They mostly wait."""
AGAIN = [name for name, bad in BAD.items() if bad.again]
STARTING = 8.0
"""Seconds that a process gets to start, on a machine that has much else to do."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Outcome]:
    """Return what came of a bad service; all are under way from the first question on."""
    directory = tmp_path_factory.mktemp("reliability")
    found: dict[tuple[str, bool], Future[Outcome]] = {}
    pool = ThreadPoolExecutor(AT_ONCE)
    for name, again in [*((name, False) for name in BAD), *((name, True) for name in AGAIN)]:
        place = directory / f"{name}{'-again' if again else ''}"
        found[name, again] = pool.submit(attempt, BAD[name], place, again=again)
    pool.shutdown(wait=False)

    def outcome(name: str, again: bool) -> Outcome:
        first = found[name, again].result()
        if first.seconds <= (SECOND if again else LATEST) or not BAD[name].asked:
            return first
        # Too late, perhaps for want of a processor: once more, with less going on.
        return attempt(BAD[name], directory / f"{name}-{again}-alone", again=again)

    return outcome


@pytest.mark.parametrize("name", list(BAD))
def test_it_ends(name: str, outcomes: Callable[[str, bool], Outcome]) -> None:
    bad = BAD[name]
    outcome = outcomes(name, False)
    said = outcome.out + outcome.err

    assert outcome.code == bad.code, said
    assert outcome.seconds <= (LATEST if bad.asked else STARTING), said
    assert [text for text in bad.says if text not in said] == [], said
    assert "in the child" not in outcome.out


@pytest.mark.parametrize("name", AGAIN)
def test_a_second_signal_ends_it_at_once(
    name: str, outcomes: Callable[[str, bool], Outcome]
) -> None:
    outcome = outcomes(name, True)

    assert outcome.code == 143
    assert outcome.seconds <= SECOND, outcome.err
