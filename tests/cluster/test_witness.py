"""Whoever judges what nodes have done sees what must not be: histories that are made up."""

from __future__ import annotations

from cluster.witness import (
    BEGINS,
    ENDS,
    LIVES,
    Event,
    Span,
    doubled,
    fallen,
    gaps,
    ownerless,
    read,
    spans_of,
    written,
)


def spans(*events: tuple[str, float, int, str, int], **beats: float) -> list[Span]:
    return spans_of(
        [Event(*each) for each in events], {int(pid[1:]): at for pid, at in beats.items()}
    )


def test_what_is_written_is_read_and_a_line_that_is_cut_short_is_not() -> None:
    event = Event(BEGINS, 12.5, 17, "carts/3", 1_700_000_000_000)
    assert read(written(event)) == [event]
    assert read(written(event) + "ends 13.0 17 car") == [event]
    assert read("") == []


def test_one_after_the_other_with_rising_tokens_is_well() -> None:
    found = spans(
        (BEGINS, 1, 10, "a", 5),
        (ENDS, 2, 10, "a", 5),
        (BEGINS, 2.1, 11, "a", 6),
        (BEGINS, 1.5, 11, "b", 1),
        p11=9,
    )
    assert found == [
        Span("a", 5, 10, 1, 2),
        Span("b", 1, 11, 1.5, 9),
        Span("a", 6, 11, 2.1, 9),
    ]
    assert doubled(found) == []
    assert fallen(found) == []
    assert gaps(found) == {"a": [2.1 - 2]}


def test_who_begins_before_the_other_has_ended_is_one_too_many() -> None:
    found = spans((BEGINS, 1, 10, "a", 5), (ENDS, 2, 10, "a", 5), (BEGINS, 1.9, 11, "a", 6), p11=3)
    (two,) = doubled(found)
    assert (two.first.pid, two.second.pid) == (10, 11)
    assert two.seconds == 2 - 1.9
    assert "two at work on a: 10 (5) and 11 (6) at 1.900, for 0.100 s" in str(two)
    assert fallen(found) == []


def test_who_was_killed_has_worked_until_its_last_beat() -> None:
    killed: tuple[tuple[str, float, int, str, int], ...] = (
        (BEGINS, 1, 10, "a", 5),
        (BEGINS, 3, 11, "a", 6),
    )
    assert doubled(spans(*killed, p10=2.9, p11=4)) == []
    assert len(doubled(spans(*killed, p10=3.1, p11=4))) == 1
    assert doubled(spans(*killed, p11=4)) == []  # it has never beaten


def test_who_does_not_beat_and_is_seen_alive_by_the_next_one_has_worked_until_then() -> None:
    found = spans((BEGINS, 1, 10, "a", 5), (BEGINS, 3, 11, "a", 6), (LIVES, 3.01, 10, "a", 5))
    assert len(doubled(found)) == 1


def test_who_was_seen_alive_and_has_ended_later_has_worked_until_its_end() -> None:
    found = spans(
        (BEGINS, 1, 10, "a", 5),
        (BEGINS, 3, 11, "a", 6),
        (LIVES, 3.01, 10, "a", 5),
        (ENDS, 3.2, 10, "a", 5),
        p11=5,
    )
    (two,) = doubled(found)
    assert round(two.seconds, 6) == 0.2


def test_a_third_one_is_held_against_whoever_ends_last() -> None:
    found = spans(
        (BEGINS, 1, 10, "a", 5),
        (BEGINS, 2, 11, "a", 6),
        (ENDS, 3, 11, "a", 6),
        (BEGINS, 4, 12, "a", 7),
        p10=9,
        p12=9,
    )
    assert [(two.first.pid, two.second.pid) for two in doubled(found)] == [(10, 11), (10, 12)]


def test_two_at_work_on_two_things_are_no_two() -> None:
    assert doubled(spans((BEGINS, 1, 10, "a", 5), (BEGINS, 2, 11, "b", 5), p10=9, p11=9)) == []


def test_one_that_begins_again_before_it_has_ended_is_no_second_one() -> None:
    found = spans((BEGINS, 1, 10, "a", 5), (BEGINS, 2, 10, "a", 5), p10=9)
    assert doubled(found) == []
    assert found[0].ended == 2


def test_what_one_process_does_twice_under_two_tokens_is_two_at_work() -> None:
    found = spans((BEGINS, 1, 10, "a", 5), (BEGINS, 2, 10, "a", 6), p10=9)
    assert len(doubled(found)) == 1


def test_a_token_that_falls_or_stays_is_seen() -> None:
    def tokens(first: int, second: int, pid: int = 11) -> list[str]:
        found = (
            (BEGINS, 1, 10, "a", first),
            (ENDS, 2, 10, "a", first),
            (BEGINS, 3, pid, "a", second),
        )
        return fallen(spans(*found))

    assert tokens(5, 6) == []
    assert tokens(5, 5, pid=10) == []  # it was restarted, under the same lease
    (said,) = tokens(5, 4)
    assert said == "the token of a does not rise: 4 of 11 after 5 of 10 at 3.000"
    assert len(tokens(5, 5)) == 1
    assert len(tokens(5, 4, pid=10)) == 1


def test_what_nobody_runs_is_named() -> None:
    holders = {"a": 10, "b": 0, "c": 11}
    assert ownerless(holders, {10, 11}) == ["b"]
    assert ownerless(holders, {10}) == ["b", "c"]
    assert ownerless({}, {10}) == []
