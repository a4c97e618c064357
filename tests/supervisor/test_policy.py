"""Policies and backoff: what is accepted, and what is said about the rest."""

from __future__ import annotations

import math
from datetime import timedelta
from random import Random
from typing import Any, cast

import pytest

from scripted import Idle
from sprag import Backoff, Service, Supervisor
from sprag.exceptions import BadPolicy, SpragError
from sprag_supervisor.rules.policy import DEFAULT, KEYWORDS, Policy

# -- what is accepted --------------------------------


def test_the_defaults_are_elixirs() -> None:
    policy = Policy(
        restart="permanent",
        shutdown=5.0,
        start_timeout=None,
        backoff=None,
        significant=False,
        strategy="one_for_one",
        max_restarts=3,
        max_seconds=5.0,
        auto_shutdown="never",
    )
    assert policy == DEFAULT == Service._class_policy_


@pytest.mark.parametrize(
    "given",
    [
        {"restart": "permanent"},
        {"restart": "transient"},
        {"restart": "temporary"},
        {"shutdown": 0},
        {"shutdown": 2.5},
        {"shutdown": "brutal_kill"},
        {"shutdown": "infinity"},
        {"shutdown": math.inf},
        {"start_timeout": None},
        {"start_timeout": 0.5},
        {"start_timeout": math.inf},
        {"backoff": None},
        {"backoff": Backoff()},
        {"significant": True, "restart": "transient"},
        {"significant": True, "restart": "temporary"},
        {"strategy": "one_for_one"},
        {"strategy": "one_for_all"},
        {"strategy": "rest_for_one"},
        {"max_restarts": 0},
        {"max_restarts": 10**9},
        {"max_restarts": math.inf},
        {"max_seconds": 0.001},
        {"max_seconds": math.inf},
        {"auto_shutdown": "never"},
        {"auto_shutdown": "any_significant"},
        {"auto_shutdown": "all_significant"},
    ],
)
def test_these_values_are_accepted_wherever_a_policy_is_given(given: dict[str, Any]) -> None:
    class Feed(Service, **given):
        pass

    expected = Policy(**given)
    assert Feed._class_policy_ == expected
    assert DEFAULT.with_(given) == expected
    assert Supervisor(**given)._policy_ == expected


# -- what is not --------------------------------

TIME = "a finite number of seconds, 0.001 or more"
SHUTDOWN = "seconds, 0 or more, 'brutal_kill' or 'infinity'"
COUNT = "a whole number, 0 or more, or math.inf for no limit"
NEEDS = "a tuple of siblings' names, or a dict as in {'db': 'started'}, or None"
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"restart": "transiet"},
        (
            "policy restart='transiet' is not accepted: use 'permanent', 'transient', 'temporary' "
            "(did you mean 'transient'?)"
        ),
    ),
    (
        {"restart": "always"},
        "policy restart='always' is not accepted: use 'permanent', 'transient', 'temporary'",
    ),
    (
        {"restart": None},
        "policy restart=None is not accepted: use 'permanent', 'transient', 'temporary'",
    ),
    (
        {"restart": ["permanent"]},
        (
            "policy restart=['permanent'] is not accepted: "
            "use 'permanent', 'transient', 'temporary' (did you mean 'permanent'?)"
        ),
    ),
    (
        {"restart": "restart"},
        "policy restart='restart' is not accepted: use 'permanent', 'transient', 'temporary'",
    ),
    (
        {"strategy": "one_for_al"},
        (
            "policy strategy='one_for_al' is not accepted: "
            "use 'one_for_one', 'one_for_all', 'rest_for_one' (did you mean 'one_for_all'?)"
        ),
    ),
    (
        {"auto_shutdown": "any_signifcant"},
        (
            "policy auto_shutdown='any_signifcant' is not accepted: "
            "use 'never', 'any_significant', 'all_significant' (did you mean 'any_significant'?)"
        ),
    ),
    (
        {"shutdown": "infinite"},
        (
            "policy shutdown='infinite' is not accepted: "
            "use seconds, 'brutal_kill', 'infinity' (did you mean 'infinity'?)"
        ),
    ),
    ({"shutdown": -1}, f"policy shutdown=-1 is not accepted: use {SHUTDOWN}"),
    ({"shutdown": None}, f"policy shutdown=None is not accepted: use {SHUTDOWN}"),
    ({"shutdown": True}, f"policy shutdown=True is not accepted: use {SHUTDOWN}"),
    ({"shutdown": math.nan}, f"policy shutdown=nan is not accepted: use {SHUTDOWN}"),
    (
        {"start_timeout": -0.1},
        "policy start_timeout=-0.1 is not accepted: use seconds, 0.001 or more, or None",
    ),
    (
        {"start_timeout": "5"},
        "policy start_timeout='5' is not accepted: use seconds, 0.001 or more, or None",
    ),
    ({"backoff": 1.0}, "policy backoff=1.0 is not accepted: use sprag.Backoff(...) or None"),
    ({"needs": 5}, f"policy needs=5 is not accepted: use {NEEDS}"),
    ({"needs": "db"}, f"policy needs='db' is not accepted: use {NEEDS}"),
    (
        {"needs": ("db/main",)},
        f"policy needs=('db/main',) is not accepted: use {NEEDS}",
    ),
    ({"significant": 1}, "policy significant=1 is not accepted: use True or False"),
    (
        {"max_restarts": 1.5},
        f"policy max_restarts=1.5 is not accepted: use {COUNT}",
    ),
    (
        {"max_restarts": True},
        f"policy max_restarts=True is not accepted: use {COUNT}",
    ),
    ({"max_seconds": 0}, "policy max_seconds=0 is not accepted: use seconds, 0.001 or more"),
    ({"max_seconds": -5}, "policy max_seconds=-5 is not accepted: use seconds, 0.001 or more"),
    (
        {"significant": True},
        "policy significant=True is not accepted: use restart='transient' or 'temporary' with it",
    ),
    (
        {"significant": True, "restart": "permanent"},
        "policy significant=True is not accepted: use restart='transient' or 'temporary' with it",
    ),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_a_wrong_value_is_refused_and_the_choices_are_listed(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadPolicy) as caught:
        DEFAULT.with_(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [given for given, _ in REFUSED])
def test_a_wrong_value_is_refused_when_the_class_is_made(given: dict[str, Any]) -> None:
    with pytest.raises(BadPolicy):

        class _Feed(Service, **given):  # pyright: ignore[reportUnusedClass]
            pass


def test_needs_may_be_anything_that_holds_names() -> None:
    given = (name for name in ("db", "mail"))
    assert DEFAULT.with_({"needs": given}).needs == {"db": "ready", "mail": "ready"}
    assert DEFAULT.with_({"needs": ["db"]}).needs == {"db": "ready"}


def test_an_unknown_keyword_is_refused_with_the_near_match() -> None:
    with pytest.raises(BadPolicy) as caught:

        class _Feed(Service, restrat="transient"):  # pyright: ignore[reportUnusedClass]
            pass

    listed = ", ".join(map(repr, KEYWORDS))
    assert str(caught.value) == (
        f"unknown policy keyword 'restrat': use {listed} (did you mean 'restart'?)"
    )


def test_a_bad_policy_is_a_value_error_of_sprag() -> None:
    assert issubclass(BadPolicy, ValueError)
    assert issubclass(BadPolicy, SpragError)


def test_a_policy_below_another_keeps_what_it_does_not_change() -> None:
    class Base(Service, restart="transient", shutdown=1.0):
        pass

    class Derived(Base, shutdown="infinity"):
        pass

    assert Derived._class_policy_ == Policy(restart="transient", shutdown="infinity")
    assert Base._class_policy_ == Policy(restart="transient", shutdown=1.0)


def test_laying_nothing_over_a_policy_makes_no_new_one() -> None:
    assert DEFAULT.with_({}) is DEFAULT


def test_the_keywords_of_idle_reach_its_policy() -> None:
    assert Idle("a", restart="temporary")._policy_.restart == "temporary"


def test_own_seconds_are_what_shutdown_says() -> None:
    assert Policy(shutdown=2.5).own_seconds == 2.5
    assert Policy(shutdown="brutal_kill").own_seconds == 0.0
    assert Policy(shutdown="infinity").own_seconds == math.inf


def test_the_keywords_of_the_design_are_there() -> None:
    assert set(KEYWORDS) >= {
        "restart",
        "shutdown",
        "start_timeout",
        "backoff",
        "significant",
        "strategy",
        "max_restarts",
        "max_seconds",
        "auto_shutdown",
    }


# -- backoff --------------------------------


class Dice(Random):
    """Always throws the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


MIDDLE = Dice(0.5)
approx: Any = cast("Any", pytest).approx  # partly untyped


def test_the_delay_grows_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(initial=0.1, maximum=1.0, factor=2.0)
    delays = [backoff.delay(n, MIDDLE) for n in range(1, 8)]
    assert delays == approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


def test_the_default_backoff_goes_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    backoff = Backoff()
    assert (backoff.initial, backoff.maximum, backoff.factor) == (0.1, 30.0, 2.0)
    assert (backoff.jitter, backoff.reset_after) == (0.1, 60.0)


@pytest.mark.parametrize("n", [1, 5, 9, 50])
def test_jitter_stays_within_its_fraction_of_the_delay(n: int) -> None:
    backoff = Backoff(jitter=0.25)
    middle = backoff.delay(n, MIDDLE)
    lowest = backoff.delay(n, Dice(0.0))
    highest = backoff.delay(n, Dice(math.nextafter(1.0, 0.0)))
    assert lowest == approx(0.75 * middle)
    assert highest == approx(1.25 * middle)


def test_no_jitter_is_no_jitter() -> None:
    backoff = Backoff(jitter=0.0)
    assert {backoff.delay(3, Dice(value)) for value in (0.0, 0.3, 0.99)} == {0.4}


def test_full_jitter_may_wait_no_time_but_never_less() -> None:
    assert Backoff(jitter=1.0).delay(1, Dice(0.0)) == 0.0


@pytest.mark.parametrize("n", [1_000, 100_000, 10**9])
@pytest.mark.parametrize("factor", [2.0, 2, 1.5, 1e300])
def test_no_row_of_restarts_is_too_long(n: int, factor: float) -> None:
    assert Backoff(factor=factor).delay(n, MIDDLE) == 30.0


def test_the_shortest_delay_grows_as_any_other() -> None:
    backoff = Backoff(initial=0.001, jitter=0)
    assert [backoff.delay(n, MIDDLE) for n in (1, 2, 11, 10_000)] == [0.001, 0.002, 1.024, 30.0]


def test_a_factor_of_one_waits_the_same_each_time() -> None:
    backoff = Backoff(initial=0.5, factor=1.0)
    assert [backoff.delay(n, MIDDLE) for n in (1, 10, 10_000)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"initial": -1}, f"policy backoff.initial=-1 is not accepted: use {TIME}"),
        ({"initial": 0}, f"policy backoff.initial=0 is not accepted: use {TIME}"),
        (
            {"initial": 2.0, "maximum": 1.0},
            "policy backoff.maximum=1.0 is not accepted: use a finite number of seconds, 2 or more",
        ),
        ({"factor": 0.5}, "policy backoff.factor=0.5 is not accepted: use a number, 1 or more"),
        ({"jitter": 1.5}, "policy backoff.jitter=1.5 is not accepted: use a number, 0 to 1"),
        ({"jitter": -0.1}, "policy backoff.jitter=-0.1 is not accepted: use a number, 0 to 1"),
        (
            {"reset_after": -1},
            "policy backoff.reset_after=-1 is not accepted: use seconds, 0 or more",
        ),
        (
            {"factor": timedelta(seconds=2)},
            (
                "policy backoff.factor=datetime.timedelta(seconds=2) is not accepted: "
                "use a number, 1 or more"
            ),
        ),
        ({"factor": "2"}, "policy backoff.factor='2' is not accepted: use a number, 1 or more"),
    ],
)
def test_a_backoff_out_of_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        Backoff(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "given", [{"maximum": math.inf}, {"initial": math.inf, "maximum": math.inf}]
)
def test_a_backoff_that_waits_for_ever_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(
        BadPolicy, match=r"inf is not accepted: use a finite number of seconds, 0\."
    ):
        Backoff(**given)


def test_a_factor_without_end_is_refused() -> None:
    with pytest.raises(BadPolicy) as caught:
        Backoff(factor=math.inf)
    assert str(caught.value) == "policy backoff.factor=inf is not accepted: use a finite number"


def test_a_backoff_that_never_starts_anew_is_fine() -> None:
    assert Backoff(reset_after=math.inf).reset_after == math.inf
