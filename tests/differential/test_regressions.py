"""Scenarios that once differed because sprag was wrong: in regressions/, each with its story."""

from __future__ import annotations

from pathlib import Path

import pytest

from differential.compare import Oracle, compare
from differential.scenario import from_json

KEPT = sorted(Path(__file__).with_name("regressions").glob("*.json"))


def test_there_are_some() -> None:
    assert KEPT


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_it_does_not_differ_again(file: Path, oracle: Oracle) -> None:
    scenario = from_json(file.read_text())
    assert scenario.why
    (verdict,) = compare(oracle, [scenario])
    assert verdict.differs_at is None, str(verdict)
