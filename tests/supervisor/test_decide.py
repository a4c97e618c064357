"""The decisions of a supervisor, cell by cell."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, get_args

import pytest

from sprag_supervisor.rules.backoff import Backoff, ExitApp
from sprag_supervisor.rules.decide import Decision, Reason, RestartWindow, covered, ruling
from sprag_supervisor.rules.policy import (
    Action,
    AutoShutdown,
    OnFailure,
    Policy,
    Restart,
    Strategy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# One column for each restart type: what is done about a child that ended for this reason.
RULINGS = """
              permanent  transient  temporary
finished      restart    keep       keep
shutdown      restart    keep       keep
stopped       keep       keep       keep
ignored       keep       keep       keep
recycled      restart    restart    keep
crashed       restart    restart    keep
start_failed  restart    restart    keep
gave_up       restart    restart    keep
"""
# The same of failures for which `on_failure` has a word, one column for each.
RULINGS_ON_FAILURE = """
              restart    later      finish     stop       escalate   exit
permanent     restart    back_off   restart    keep       escalate   exit
transient     restart    back_off   keep       keep       escalate   exit
temporary     restart    back_off   keep       keep       escalate   exit
"""
ACTIONS: dict[str, OnFailure] = {
    "restart": "restart",
    "later": Backoff(),
    "finish": "finish",
    "stop": "stop",
    "escalate": "escalate",
    "exit": ExitApp(78),
}
FAILURES = (Reason.CRASHED, Reason.START_FAILED, Reason.GAVE_UP)


def cells(table: str) -> list[tuple[str, str, str]]:
    """Return (row, column, cell) for each cell of a table with a heading."""
    heading, *rows = [line.split() for line in table.strip().splitlines()]
    return [
        (row[0], column, cell)
        for row in rows
        for column, cell in zip(heading, row[1:], strict=True)
    ]


@pytest.mark.parametrize(("reason", "restart", "decision"), cells(RULINGS))
def test_what_becomes_of_a_child_that_ended(
    reason: str, restart: Restart, decision: Decision
) -> None:
    assert ruling(Policy(restart=restart), Reason(reason), None, Policy()) == decision


def test_the_table_has_a_cell_for_every_restart_type_and_reason() -> None:
    assert {(reason, restart) for reason, restart, _ in cells(RULINGS)} == {
        (reason.value, restart) for reason, restart in product(Reason, get_args(Restart))
    }


@pytest.mark.parametrize("reason", FAILURES)
@pytest.mark.parametrize(("restart", "action", "decision"), cells(RULINGS_ON_FAILURE))
def test_what_on_failure_says_wins_over_the_restart_type(
    restart: Restart, action: str, decision: Decision, reason: Reason
) -> None:
    assert ruling(Policy(restart=restart), reason, ACTIONS[action], Policy()) == decision


def test_the_table_has_a_column_for_every_word_of_on_failure() -> None:
    assert {*get_args(Action)} == {each for each in ACTIONS.values() if isinstance(each, str)}


@pytest.mark.parametrize("action", ACTIONS.values())
def test_what_on_failure_says_is_not_asked_of_a_stop(action: OnFailure) -> None:
    assert ruling(Policy(), Reason.STOPPED, action, Policy()) == "keep"


def everything() -> Iterator[tuple[Policy, Policy, int, list[bool]]]:
    """Yield what there can be: a child, its supervisor, restarts that count, others that run."""
    for restart, significant, backoff in product(get_args(Restart), [False, True], [None, LONG]):
        if significant and restart == "permanent":
            continue
        child = Policy(restart=restart, significant=significant, backoff=backoff)
        for auto, most, count in product(get_args(AutoShutdown), [0, 1, 3], [0, 1, 2, 4]):
            supervisor = Policy(auto_shutdown=auto, max_restarts=most)
            for others in ([], [True], [False], [True, False]):
                yield child, supervisor, count, others


LONG = Backoff(9.0)


@pytest.mark.parametrize("reason", FAILURES)
def test_that_an_exception_finishes_is_what_finish_is_in_every_respect(reason: Reason) -> None:
    for child, supervisor, count, others in everything():
        given = supervisor, count, others
        assert ruling(child, reason, "finish", *given) == ruling(
            child, Reason.FINISHED, None, *given
        )


@pytest.mark.parametrize("reason", FAILURES)
def test_a_backoff_is_a_restart_that_comes_later_in_every_respect(reason: Reason) -> None:
    for child, supervisor, count, others in everything():
        given = supervisor, count, others
        at_once = ruling(child, reason, "restart", *given)
        later = ruling(child, reason, LONG, *given)
        assert later == ("back_off" if at_once in {"restart", "back_off"} else at_once)


def test_who_asks_for_a_backoff_is_restarted_later() -> None:
    assert ruling(Policy(backoff=Backoff()), Reason.CRASHED, None, Policy()) == "back_off"


@pytest.mark.parametrize(
    ("restart", "backoff", "significant", "auto_shutdown", "strategy", "others_active"),
    list(
        product(
            get_args(Restart),
            (None, Backoff()),
            (False, True),
            get_args(AutoShutdown),
            get_args(Strategy),
            ([], [True]),
        )
    ),
)
def test_of_who_comes_back_nothing_is_asked_but_the_count(  # noqa: PLR0917
    restart: Restart,
    backoff: Backoff | None,
    significant: bool,
    auto_shutdown: AutoShutdown,
    strategy: Strategy,
    others_active: list[bool],
) -> None:
    child = Policy(
        restart=restart, backoff=backoff, significant=significant and restart != "permanent"
    )
    supervisor = Policy(auto_shutdown=auto_shutdown, strategy=strategy, max_restarts=2)
    told = [
        ruling(child, Reason.CRASHED, None, supervisor, count, others_active)
        for count in (0, 1, 2, 3)
    ]
    assert (told == ["restart", "restart", "restart", "give_up"]) is child.comes_back


@pytest.mark.parametrize("backoff", [None, Backoff()])
@pytest.mark.parametrize("most", [0, 1, 3])
def test_more_restarts_than_the_limit_and_the_supervisor_gives_up(
    most: int, backoff: Backoff | None
) -> None:
    def decided(restarts: int) -> Decision:
        policy = Policy(max_restarts=most)
        return ruling(Policy(backoff=backoff), Reason.CRASHED, None, policy, restarts=restarts)

    assert decided(most) == ("restart" if backoff is None else "back_off")
    assert decided(most + 1) == "give_up"


@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("is_first", [False, True])
def test_after_so_many_tries_a_child_is_given_up_or_its_parent_gives_up(
    strategy: Strategy, *, is_first: bool
) -> None:
    def decided(tried: int) -> Decision:
        child, parent = Policy(backoff=Backoff(tries=2)), Policy(strategy=strategy)
        return ruling(child, Reason.START_FAILED, None, parent, tried=tried, is_first=is_first)

    assert decided(0) == decided(1) == "back_off"
    assert decided(2) == ("gave_up_tries" if strategy == "one_for_one" else "give_up")


@pytest.mark.parametrize("restart", get_args(Restart))
@pytest.mark.parametrize("restarts", [0, 4])
def test_a_first_start_is_tried_again_whatever_the_restart_type_and_the_limit(
    restart: Restart, restarts: int
) -> None:
    child = Policy(restart=restart)
    decided = ruling(child, Reason.START_FAILED, None, Policy(), restarts, is_first=True)
    assert decided == "back_off"
    said = [
        ruling(child, Reason.START_FAILED, action, Policy(), is_first=True)
        for action in get_args(Action)
    ]
    assert said == ["back_off", "back_off", "keep", "escalate"]


@pytest.mark.parametrize("reason", Reason)
def test_only_an_end_by_failure_is_not_clean(reason: Reason) -> None:
    assert reason.is_clean == (reason not in FAILURES)


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
    return [window.add(time, max_seconds) <= max_restarts for time in times]


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
        assert window.add(time, 5.0) == window.count
        lengths.append(window.count)
    assert lengths == [1, 2, 3, 4, 4, 4, 1]


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
    if auto_shutdown == "never":
        child = Policy(restart=restart)  # being significant is refused there (otp-rules 63)
    else:
        child = Policy(restart=restart, significant=True)
    supervisor = Policy(auto_shutdown=auto_shutdown)
    decision = ruling(child, reason, None, supervisor, others_active=others)
    assert (decision == "shut_down") == expected[auto_shutdown]


def test_a_significant_child_that_comes_back_shuts_nothing_down() -> None:
    child = Policy(restart="temporary", significant=True)
    supervisor = Policy(auto_shutdown="any_significant")
    assert ruling(child, Reason.CRASHED, "restart", supervisor) == "restart"
    assert ruling(child, Reason.CRASHED, "stop", supervisor) == "shut_down"
