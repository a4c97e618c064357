"""The lease of a node, rule by rule: pure; times are parts of a ttl of 1."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sprag.cluster.lease import (
    AWAY,
    DEADLINE,
    END,
    MOST_UNDER_WAY,
    MOVES,
    RENEW,
    RETRY,
    STOP,
    STOP_ROOM,
    Attempt,
    NodeLease,
    Standing,
)
from sprag.cluster.records import Record, record_of, tombstone

if TYPE_CHECKING:
    from collections.abc import Callable

ME = Record("me", "n1", 7, 0, 1.0)


def how(lease: NodeLease) -> str:
    return lease.standing.value


def joining() -> NodeLease:
    return NodeLease("me", 1.0, ME, "engine", 0.0)


def held(at: float = 0.0) -> NodeLease:
    """Return a lease whose first attempt began at *at*, and succeeded."""
    lease = joining()
    attempt = due(lease, at)
    assert attempt.old is None
    assert not answer(lease, attempt, at)
    return lease


def due(lease: NodeLease, now: float) -> Attempt:
    attempt = lease.attempt(now)
    assert attempt is not None
    return attempt


def answer(
    lease: NodeLease,
    attempt: Attempt,
    now: float,
    *,
    is_kept: bool = True,
    identity: str = "engine",
) -> bool:
    return lease.swapped(attempt, is_kept=is_kept, identity=identity, now=now)


def look(
    lease: NodeLease,
    value: bytes | None,
    now: float,
    *,
    identity: str = "engine",
    is_unchanged: bool = True,
) -> None:
    question = lease.question()
    lease.looked(question, value, identity, is_unchanged=is_unchanged, now=now)


# -- rule 1: beats -----------------------------------------------------------------------


def test_rule_1_no_attempt_writes_a_beat_that_was_used_before() -> None:
    lease = held()
    beats = [record_of(due(lease, lease.next_at).new).beat for _ in range(MOST_UNDER_WAY)]
    assert beats == [2, 3, 4, 5, 6]
    assert lease.attempt(lease.next_at) is None  # so many are under way
    lease.unanswered()
    assert record_of(due(lease, lease.next_at).new).beat == 7


def test_rule_1_an_attempt_whose_answer_was_lost_counts_from_its_own_start() -> None:
    lease = held()
    lost = due(lease, 0.2)
    lease.unanswered()
    again = due(lease, 0.3)
    assert again.old == lost.old
    assert answer(lease, again, 0.32, is_kept=False)  # so the record must be read
    look(lease, lost.new, 0.33)
    assert lease.standing is Standing.HELD
    assert lease.since == 0.2
    assert due(lease, 0.37).old == lost.new


def test_rule_1_a_record_that_is_as_it_was_is_no_news() -> None:
    lease = held()
    attempt = due(lease, 0.2)
    answer(lease, attempt, 0.21)
    refused = due(lease, 0.4)
    answer(lease, refused, 0.41, is_kept=False)
    look(lease, attempt.new, 0.42)
    assert (lease.standing, lease.since) == (Standing.HELD, 0.2)


def of(**changes: object) -> Callable[[Attempt], bytes]:
    return lambda attempt: replace(record_of(attempt.new), **changes).as_bytes()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def nothing(_attempt: Attempt) -> None:
    return None


def nonsense(_attempt: Attempt) -> bytes:
    return b"nonsense"


def grave(attempt: Attempt) -> bytes:
    return tombstone(attempt.new, "", "n2 says so")


LOSSES: list[tuple[Callable[[Attempt], bytes | None], str]] = [
    (of(beat=9), "has a beat that it has not written"),
    (of(beat=0), "has a beat that it has not written"),
    (of(owner="you"), "is another's"),
    (of(epoch=8), "is another's"),
    (nothing, "is gone"),
    (nonsense, "is another's"),
    (grave, "taken for dead: n2 says so"),
]


@pytest.mark.parametrize(("found", "why"), LOSSES)
def test_rule_1_what_it_has_not_written_is_a_loss(
    found: Callable[[Attempt], bytes | None], why: str
) -> None:
    lease = held()
    look(lease, found(due(lease, 0.2)), 0.3)
    assert lease.standing is Standing.OVER
    assert why in lease.why


def test_rule_1_beats_that_the_same_engine_has_forgotten_are_a_loss() -> None:
    lease = held()
    first, second = due(lease, 0.2), None
    answer(lease, first, 0.2)
    second = due(lease, 0.4)
    answer(lease, second, 0.4)
    look(lease, first.new, 0.5)
    assert lease.standing is Standing.OVER


def test_rule_1_an_answer_that_is_older_than_a_success_is_none() -> None:
    lease = held()
    first = due(lease, 0.2)
    answer(lease, first, 0.2)
    question = lease.question()
    second = due(lease, 0.4)
    answer(lease, second, 0.4)
    lease.looked(question, first.new, "engine", is_unchanged=True, now=0.5)
    assert (lease.standing, lease.since) == (Standing.HELD, 0.4)


def test_rule_1_a_renewal_never_creates_a_record() -> None:
    lease = joining()
    assert due(lease, 0.0).old is None
    lease.unanswered()
    look(lease, None, 0.1)
    again = due(lease, lease.next_at)
    assert again.old is None  # nothing runs yet
    answer(lease, again, 0.3)
    assert due(lease, 0.5).old is not None


def test_rule_1_what_others_have_added_to_its_record_is_kept() -> None:
    lease = held()
    attempt = due(lease, 0.2)
    value = attempt.new.replace(b"{", b'{"colour":"red",', 1)
    look(lease, value, 0.21)
    following = due(lease, 0.4)
    assert following.old == value
    assert record_of(following.new).rest["colour"] == "red"


# -- rule 2: the deadline ------------------------------------------------------------------


def test_rule_2_it_is_renewed_every_sixth_and_retried_soon() -> None:
    lease = held()
    assert lease.next_at == RENEW == 1 / 6
    attempt = due(lease, 0.2)
    assert lease.next_at == pytest.approx(0.2 + RETRY)
    answer(lease, attempt, 0.21)
    assert lease.next_at == pytest.approx(0.2 + RENEW)


def test_rule_2_a_life_that_has_reached_its_deadline_is_over_whatever_is_heard() -> None:
    lease = held()
    attempt = due(lease, 0.2)
    assert not answer(lease, attempt, DEADLINE)
    assert lease.standing is Standing.OVER
    look(lease, attempt.new, 1.0)
    assert lease.standing is Standing.OVER
    assert lease.attempt(1.1) is None


def test_rule_2_a_success_that_comes_late_counts_from_its_start() -> None:
    lease = held()
    attempt = due(lease, 0.2)
    answer(lease, attempt, 0.7)
    assert how(lease) == "away"
    assert lease.changes_at() == pytest.approx(0.2 + STOP)
    lease.pass_time(0.2 + DEADLINE)
    assert lease.standing is Standing.OVER


def test_rule_2_a_late_answer_to_an_old_attempt_takes_nothing_back() -> None:
    lease = held()
    old, new = due(lease, 0.2), due(lease, 0.25)
    answer(lease, new, 0.26)
    assert answer(lease, old, 0.5, is_kept=False)
    look(lease, new.new, 0.5)
    assert (lease.standing, lease.since) == (Standing.HELD, 0.25)


# -- rule 4: the engine --------------------------------------------------------------------


def test_rule_4_a_success_on_another_engine_counts_once_all_was_read_back() -> None:
    lease = held()
    attempt = due(lease, 0.2)
    assert answer(lease, attempt, 0.21, identity="other")
    assert lease.since == 0.0
    look(lease, attempt.new, 0.22, identity="other")
    assert (lease.since, lease.identity) == (0.2, "other")
    following = due(lease, 0.4)
    assert not answer(lease, following, 0.41, identity="other")
    assert lease.since == 0.4


def test_rule_4_rows_that_another_engine_has_not_are_a_loss() -> None:
    lease = held()
    attempt = due(lease, 0.2)
    answer(lease, attempt, 0.21, identity="other")
    look(lease, attempt.new, 0.22, identity="other", is_unchanged=False)
    assert lease.standing is Standing.OVER


def test_rule_4_another_engine_that_has_forgotten_beats_is_gone_on_with_and_counts_nothing() -> (
    None
):
    lease = held()
    first = due(lease, 0.2)
    answer(lease, first, 0.2)
    second = due(lease, 0.4)
    answer(lease, second, 0.4)
    question = lease.question()  # of a look that was under way already
    look(lease, first.new, 0.5, identity="other")
    assert (lease.standing, lease.since) == (Standing.HELD, 0.4)
    lease.looked(question, first.new, "other", is_unchanged=True, now=0.5)
    third = due(lease, 0.6)
    assert (third.old, third.beat) == (first.new, 4)
    answer(lease, third, 0.6, identity="other")
    assert lease.since == 0.6


# -- rule 7: in time -----------------------------------------------------------------------


def test_rule_7_it_stops_and_ends_in_time() -> None:
    assert 0 < RENEW < AWAY < STOP < END < DEADLINE < 1
    assert pytest.approx(0.25) == STOP_ROOM
    lease = held()
    found: list[Standing] = []
    for hundredth in range(100):
        lease.pass_time(hundredth / 100)
        if lease.standing not in found:
            found.append(lease.standing)
            assert lease.standing is Standing.HELD or hundredth / 100 in {AWAY, STOP, DEADLINE}
    assert found == [Standing.HELD, Standing.AWAY, Standing.STOPPING, Standing.OVER]


def test_rule_7_time_may_jump_and_an_engine_may_come_back() -> None:
    lease = held()
    lease.pass_time(0.7)
    assert how(lease) == "stopping"
    attempt = due(lease, 0.71)
    answer(lease, attempt, 0.72)
    assert how(lease) == "held"
    lease.pass_time(10.0)
    assert lease.standing is Standing.OVER
    assert lease.changes_at() == math.inf


def test_every_standing_has_its_moves_and_the_end_has_none() -> None:
    assert set(MOVES) == set(Standing)
    assert MOVES[Standing.OVER] == ()
    lease = held()
    lease.lose("it was given back")
    lease.lose("something else")
    assert lease.why == "it was given back"
