"""Equal records, told once: in seconds that are given, without any clock."""

from __future__ import annotations

import logging
from typing import Any

from sprag_cli.run import console, json_lines
from sprag_cli.run.handler import may_be_repeated
from sprag_cli.run.repeats import _LONGEST, _MOST, KEPT, WITHIN, Repeats


def again(text: str, times: int) -> str:
    return f"{text} x{times}"


def test_the_first_few_are_written_and_the_rest_counted() -> None:
    repeats = Repeats(again)
    lines = [line for n in range(10) for line in repeats.written(f"{n} a", "a", n * 0.01)]
    assert lines == ["0 a", "1 a", "2 a"]
    assert KEPT == 3
    assert repeats.next_due == WITHIN
    assert repeats.due(WITHIN - 0.01) == []
    assert repeats.due(WITHIN) == ["9 a x7"]
    assert repeats.next_due is None
    assert repeats.due(WITHIN) == []


def test_one_that_comes_later_begins_anew_after_what_is_told_of_the_others() -> None:
    repeats = Repeats(again)
    for _ in range(5):
        repeats.written("a", "a", 0.0)
    assert repeats.written("a", "a", WITHIN) == ["a x2", "a"]
    assert repeats.written("a", "a", WITHIN) == ["a"]


def test_records_that_come_now_and_then_are_all_written() -> None:
    repeats = Repeats(again)
    for second in range(10):
        assert repeats.written("tick", "tick", second * WITHIN) == ["tick"]


def test_records_that_take_turns_are_counted_each() -> None:
    repeats = Repeats(again)
    for _ in range(10):
        repeats.written("a", "a", 0.0)
        repeats.written("b", "b", 0.0)
    assert repeats.due(WITHIN) == ["a x7", "b x7"]


def test_what_is_remembered_is_bounded_and_nothing_of_it_is_lost() -> None:
    repeats = Repeats(again)
    for _ in range(5):
        repeats.written("a", "a", 0.0)
    lines = [line for n in range(_MOST) for line in repeats.written(str(n), str(n), 0.0)]
    assert lines == [*map(str, range(_MOST - 1)), "a x2", str(_MOST - 1)]
    assert len(repeats._runs) == _MOST
    assert repeats.next_due is None


def test_a_very_long_record_is_not_remembered() -> None:
    repeats = Repeats(again)
    text = "x" * (_LONGEST + 1)
    assert [repeats.written(text, text, 0.0) for _ in range(5)] == [[text]] * 5
    assert repeats._runs == {}


def test_what_says_how_often_is_the_record_itself() -> None:
    assert json_lines.repeated('{"event": "a"}', 2) == '{"event": "a", "repeated": 2}'
    assert console.repeated("it happened  port=80", 2) == "it happened  port=80  (repeated 2 times)"
    assert console.repeated("it\n    Traceback", 1) == "it  (repeated 1 time)"


def record(**fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "said"})
    made.sprag = fields
    return made


def test_what_names_a_request_or_is_output_is_told_as_it_comes() -> None:
    assert may_be_repeated(record(event="crashed", service="shop/till"))
    assert not may_be_repeated(record(event="request", service="shop/web", request_id="a1"))
    assert not may_be_repeated(record(event="output", service="shop/db", line="a", stream="stdout"))
    assert not may_be_repeated(record(event="nobody's"))
