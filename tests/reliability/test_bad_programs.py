"""Whatever a program does, its app ends in time, as it says, and nothing of the program is left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reliability.bad_programs import BUDGET, CASES, GRACE, SECRET, attempt_case
from reliability.table import shown

if TYPE_CHECKING:
    from reliability.bad_services import Outcome

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
OVER_BUDGET = 4


def is_in_time(name: str, outcome: Outcome) -> bool:
    return not CASES[name].asked or outcome.seconds <= BUDGET + GRACE


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_leaves_nothing(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    outcome = attempt_case(case, tmp_path / name)
    if not is_in_time(name, outcome) or outcome.code == OVER_BUDGET != case.code:
        outcome = attempt_case(case, tmp_path / f"{name}-again")  # the machine has much to do
    said = f"{outcome.out}\n{outcome.err}"
    assert outcome.code == case.code, said
    assert is_in_time(name, outcome), said
    assert [text for row in case.rows for text in row.says if text not in said] == [], said
    assert "Traceback" not in outcome.out, said
    assert SECRET not in said


def test_the_document_has_the_table() -> None:
    section = DOCUMENT.read_text().partition("\n## Bad programs\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (?!a program|---)(.*?) \| (.*?) \| (\S+) \|$", section, re.MULTILINE)
    assert found == [
        (row.does, row.then, shown(case.code)) for case in CASES.values() for row in case.rows
    ]
