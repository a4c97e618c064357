"""What is safe to print: one line, and nothing that acts on a terminal."""

from __future__ import annotations

import pytest

from sprag_supervisor.escaping import plain, plain_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve", "naïve"),
        ("naïve\x1b[2J", "naïve\\x1b[2J"),
        ("дом\n", "дом\\n"),
        ("a\N{EM SPACE}é", "a é"),
        ("\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}", "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}é", "\\u202eé"),
    ],
)
def test_what_acts_is_escaped_and_all_else_stays(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_lines_stay_lines() -> None:
    assert plain_lines("é\n\té\r") == "é\n\\té\\r"
