"""The rules of the lease, explored: with all nothing breaks, without any one something does.

`SPRAG_MODEL=large` takes minutes, for rules whose absence only shows after more faults.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from cluster.exploring import Explored, explore
from cluster.model import Bounds, Rules, names_of_rules

pytestmark = pytest.mark.skipif(
    sys.gettrace() is not None, reason="nothing of sprag's runs here that could be measured"
)

_SLOW_RENEWAL = Bounds(
    faults=3, slow=1, cut=2, work=(4, 4), lives=2, of="A", calls="renew", ticks=8
)
_EMPTIED = Bounds(faults=2, empty=1, cut=1, of="A", ticks=4)
_REVERTED = Bounds(faults=2, revert=1, cut=1, is_free=True, of="A", ticks=2)

SMALL: dict[str, Bounds] = {
    "deadline": Bounds(faults=1, cut=1, lives=2, of="A", ticks=7),
    "kernel": Bounds(faults=1, hold=1, lives=2, of="A", ticks=7),
    "whole_ttl": Bounds(faults=1, cut=1, lives=2, of="A", ticks=7),
    "restarts": Bounds(faults=1, cut=1, lives=2, of="A", ticks=7),
    "no_wall": Bounds(faults=2, step=1, cut=1, lives=2, of="A", ticks=5),
    "new_life": Bounds(faults=1, cut=1, of="A", ticks=6),
    "whole_record": Bounds(faults=1, slow=1, lives=2, of="B", calls="look", ticks=5),
    "longer_ttl": Bounds(faults=1, cut=1, work=(5, 2), lives=2, ticks=6),
    "never_creates": _EMPTIED,
    "empty_is_change": _EMPTIED,
    "over_is_over, tombstones": Bounds(
        faults=2, slow=1, cut=1, lives=2, of="A", calls="renew", ticks=5
    ),
    "quarantine": _REVERTED,
    "claim_read_back": Bounds(faults=1, empty=1, lives=2, of="A", is_free=True, ticks=3),
    "from_start": Bounds(
        faults=2, slow=1, cut=1, work=(4, 4), lives=2, of="A", calls="renew", ticks=7
    ),
}
"""Which rules are dropped, and within which bounds that shows."""

LARGE: dict[str, Bounds] = {
    "own_attempt": _SLOW_RENEWAL,
    "fresh_beats": _SLOW_RENEWAL,
    "from_answer": Bounds(faults=2, slow=1, cut=1, lives=2, calls="look", ticks=6),
    "joiner_waits": Bounds(faults=3, revert=1, cut=1, kill=1, is_free=True, ticks=2),
    "token_clock": Bounds(faults=1, revert=1, is_free=True, lives=2, of="A", ticks=8),
    "anew_after_change": Bounds(faults=2, revert=1, give=1, lives=2, of="A", ticks=8),
    "longest_ttl": Bounds(
        faults=2, revert=1, cut=1, is_free=True, work=(6, 2), lives=2, of="A", ticks=5
    ),
    "read_back": Bounds(
        faults=2,
        revert=1,
        slow=1,
        is_free=True,
        work=(2, 2),
        lives=2,
        of="A",
        calls="look",
        ticks=5,
    ),
}
"""The same, for minutes."""

ALONE = ("over_is_over", "tombstones")
"""Either is enough, as far as two at work go: a late answer finds a tombstone, or is not heard."""
OPEN = {
    "identity_anew": "the quarantine is longer than any watching, so it says the same",
    "answer_identity": "a claim is read back, which shows the identity too",
    "own_claim": "no safety is lost without it: a row would have an owner that does nothing",
    "missing_is_record": "nor here: a row would name nobody for ever",
}
"""Rules without a counterexample here, and why."""

IS_LARGE = os.environ.get("SPRAG_MODEL") == "large"


def without(names: str) -> Rules:
    return replace(Rules(), **dict.fromkeys(names.split(", "), False))


def show(names: str, found: Explored) -> str:
    lines = [f"without {names}, {found.broken} ({found.states:,} situations):", *found.history]
    return "\n    ".join(lines)


def counterexamples(cases: dict[str, Bounds]) -> list[tuple[str, Explored]]:
    found = [(names, explore(without(names), bounds)) for names, bounds in cases.items()]
    return sorted(found, key=lambda each: len(each[1].history))


def test_with_all_rules_nothing_breaks() -> None:
    for bounds in dict.fromkeys([*SMALL.values(), *(LARGE.values() if IS_LARGE else ())]):
        found = explore(Rules(), bounds)
        assert not found.broken, show("nothing", found)


def test_without_any_one_of_them_something_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    for names, found in counterexamples(SMALL):
        print(show(names, found))
        assert found.broken, names
    assert "two at work on row 0" in capsys.readouterr().out


@pytest.mark.skipif(not IS_LARGE, reason="takes minutes: SPRAG_MODEL=large")
def test_nor_of_those_that_only_many_faults_need() -> None:
    for names, found in counterexamples(LARGE):
        print(show(names, found))
        assert found.broken, names


def test_two_rules_stand_in_for_each_other() -> None:
    for name in ALONE:
        assert not explore(without(name), SMALL[", ".join(ALONE)]).broken


def test_each_rule_has_its_counterexample_or_a_word_why_not() -> None:
    told = {name for names in (*SMALL, *LARGE) for name in names.split(", ")}
    assert sorted(told | OPEN.keys()) == sorted(names_of_rules())
    assert not told & OPEN.keys()
