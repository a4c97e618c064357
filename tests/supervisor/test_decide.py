"""The decisions of a supervisor, cell by cell."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, get_args

import pytest

from sprag_supervisor.rules.decide import (
    After,
    Reason,
    RestartWindow,
    after_exit,
    covered,
    shuts_down,
)
from sprag_supervisor.rules.policy import AutoShutdown, Restart, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator

# One column for each restart type: what becomes of a child that ended for this reason.
AFTER = """
              permanent  transient  temporary
finished      restart    keep       drop
shutdown      restart    keep       drop
stopped       keep       keep       drop
ignored       keep       keep       drop
crashed       restart    restart    drop
start_failed  restart    restart    drop
gave_up       restart    restart    drop
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """Return (row, column, cell) for each cell of a table with a heading."""
    heading, *rows = [line.split() for line in table.strip().splitlines()]
    return [
        (row[0], column, cell)
        for row in rows
        for column, cell in zip(heading, row[1:], strict=True)
    ]


@pytest.mark.parametrize(("reason", "restart", "after"), cells(AFTER))
def test_what_becomes_of_a_child_that_ended(reason: str, restart: Restart, after: str) -> None:
    assert after_exit(restart, Reason(reason)) is After(after)


def test_the_table_has_a_cell_for_every_restart_type_and_reason() -> None:
    assert {(reason, restart) for reason, restart, _ in cells(AFTER)} == {
        (reason.value, restart) for reason, restart in product(Reason, get_args(Restart))
    }


@pytest.mark.parametrize("reason", Reason)
def test_only_an_end_by_failure_is_not_clean(reason: Reason) -> None:
    failures = {Reason.CRASHED, Reason.START_FAILED, Reason.GAVE_UP}
    assert reason.is_clean == (reason not in failures)


# One column for each child of a, b, c, d that failed: who is started again, in this order.
COVERED = """
             a     b     c     d
one_for_one  a     b     c     d
one_for_all  abcd  abcd  abcd  abcd
rest_for_one abcd  bcd   cd    d
"""


@pytest.mark.parametrize(("strategy", "failed", "group"), cells(COVERED))
def test_who_is_restarted_with_a_failed_child_and_in_which_order(
    strategy: Strategy, failed: str, group: str
) -> None:
    assert "".join(covered(strategy, "abcd", failed)) == group


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_an_only_child_is_restarted_alone(strategy: Strategy) -> None:
    assert list(covered(strategy, ["a"], "a")) == ["a"]


def test_one_for_one_does_not_even_look_at_the_siblings() -> None:
    def siblings() -> Iterator[str]:
        raise AssertionError("looked")
        yield

    assert list(covered("one_for_one", siblings(), "b")) == ["b"]


# -- the restart window --------------------------------


def allowed(times: list[float], max_restarts: int, max_seconds: float) -> list[bool]:
    window = RestartWindow()
    return [window.add(time, max_restarts, max_seconds) for time in times]


@pytest.mark.parametrize("max_restarts", [0, 1, 2, 3, 10])
def test_as_many_restarts_are_allowed_as_the_limit_says(max_restarts: int) -> None:
    times = [0.0] * (max_restarts + 1)
    assert allowed(times, max_restarts, 5.0) == [True] * max_restarts + [False]


@pytest.mark.parametrize(
    ("second", "is_allowed"),
    [
        (0.0, False),
        (4.999999, False),
        (5.0, False),  # both ends belong to the window (otp-rules 18)
        (5.000001, True),
        (500.0, True),
    ],
)
def test_a_restart_counts_until_just_after_the_window(second: float, is_allowed: bool) -> None:
    assert allowed([0.0, second], 1, 5.0) == [True, is_allowed]


def test_the_window_slides() -> None:
    times = [0.0, 4.0, 6.0, 9.5, 11.5, 12.0]
    assert allowed(times, 2, 5.0) == [True, True, True, True, True, False]


def test_a_steady_rate_below_the_limit_goes_on_for_ever() -> None:
    assert all(allowed([2.0 * n for n in range(1000)], 3, 5.0))


def test_a_refused_restart_counts_too() -> None:
    # Nothing resets the list early (otp-rules 19).
    assert allowed([0.0, 1.0, 6.0], 1, 5.0) == [True, False, False]


def test_a_window_counts_what_lies_in_it() -> None:
    window = RestartWindow()
    lengths: list[int] = []
    for time in (0.0, 2.0, 4.0, 5.0, 5.1, 9.0, 20.0):
        window.add(time, 10, 5.0)
        lengths.append(len(window))
    assert lengths == [1, 2, 3, 4, 4, 4, 1]


def test_the_limit_may_be_another_at_each_restart() -> None:
    window = RestartWindow()
    assert window.add(0.0, 1, 5.0)
    assert not window.add(1.0, 1, 5.0)
    assert window.add(1.0, 3, 5.0)
    assert window.add(1.5, 1, 0.1)


# -- significant children --------------------------------

BY_ITSELF = {"finished", "shutdown", "crashed", "start_failed", "gave_up"}
CLEANLY = {"finished", "shutdown"}


@pytest.mark.parametrize("others", [[], [False], [True], [False, True], [False, False]])
@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("auto_shutdown", get_args(AutoShutdown))
def test_when_the_end_of_a_significant_child_ends_its_supervisor(
    auto_shutdown: AutoShutdown, reason: Reason, restart: Restart, others: list[bool]
) -> None:
    triggers = reason.value in (BY_ITSELF if restart == "temporary" else CLEANLY)
    expected = {
        "never": False,
        "any_significant": triggers,
        "all_significant": triggers and not any(others),
    }
    assert shuts_down(auto_shutdown, reason, restart, others) == expected[auto_shutdown]
