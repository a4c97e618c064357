"""Due times: what a cron expression means in a zone, and what a look at the clock finds."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprag.exceptions import BadValue
from sprag.owned.calendar import COUNTED, Calendar, Look, look

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTE = timedelta(minutes=1)


def at(text: str, tz: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz), fold=fold).timestamp()


def dues(expression: str, tz: str, first: str, last: str) -> list[str]:
    """Return all due times in between, both days included, as the clocks there show them."""
    calendar = Calendar(expression, tz)
    end = at(f"{last}T23:59", tz)
    moment = at(f"{first}T00:00", tz) - 1
    found: list[str] = []
    while (moment := calendar.after(moment)) <= end:
        found.append(datetime.fromtimestamp(moment, ZoneInfo(tz)).strftime("%d. %H:%M%z"))
    return found


# -- days when the clocks are changed ----------------------------------------------------


def test_what_the_clocks_skip_is_due_right_after() -> None:
    assert dues("30 2 * * *", "Europe/Rome", "2026-03-28", "2026-03-30") == [
        "28. 02:30+0100",
        "29. 03:00+0200",
        "30. 02:30+0200",
    ]


def test_what_comes_twice_is_due_the_first_time() -> None:
    assert dues("30 2 * * *", "Europe/Rome", "2026-10-24", "2026-10-26") == [
        "24. 02:30+0200",
        "25. 02:30+0200",
        "26. 02:30+0100",
    ]


def test_a_skipped_half_hour_is_one_too() -> None:
    assert dues("15 2 * * *", "Australia/Lord_Howe", "2026-10-03", "2026-10-05") == [
        "03. 02:15+1030",
        "04. 02:30+1100",
        "05. 02:15+1100",
    ]


def test_a_half_hour_that_comes_twice_is_one_too() -> None:
    assert dues("45 1 * * *", "Australia/Lord_Howe", "2026-04-04", "2026-04-06") == [
        "04. 01:45+1100",
        "05. 01:45+1100",
        "06. 01:45+1030",
    ]


def test_all_that_is_skipped_becomes_one_due_time() -> None:
    assert dues("*/15 2,3 * * *", "Europe/Rome", "2026-03-29", "2026-03-29") == [
        "29. 03:00+0200",
        "29. 03:15+0200",
        "29. 03:30+0200",
        "29. 03:45+0200",
    ]


def test_stars_make_no_difference_to_times_of_the_day() -> None:
    for stars, plain in (("*/20 2 * * *", "0,20,40 2 * * *"), ("0 */2 * * *", "0 0-22/2 * * *")):
        for day in ("2026-03-29", "2026-10-25"):
            of_stars = dues(stars, "Europe/Rome", day, day)
            assert of_stars == dues(plain, "Europe/Rome", day, day)
    assert len(dues("*/20 2 * * *", "Europe/Rome", "2026-10-25", "2026-10-25")) == 3


@pytest.mark.parametrize("hours", ["*", "*/1", "0-23", "0-11,12-23"])
def test_what_is_due_in_every_hour_goes_by_the_hours_that_pass(hours: str) -> None:
    expression = f"30 {hours} * * *"
    assert len(dues(expression, "Europe/Rome", "2026-03-29", "2026-03-29")) == 23
    assert len(dues(expression, "Europe/Rome", "2026-10-25", "2026-10-25")) == 25


def test_a_midnight_that_is_skipped_is_due_right_after() -> None:
    assert dues("0 0 * * *", "Africa/Cairo", "2026-04-23", "2026-04-25") == [
        "23. 00:00+0200",
        "24. 01:00+0300",
        "25. 00:00+0300",
    ]


def test_within_an_hour_that_comes_again_nothing_of_it_is_due() -> None:
    calendar = Calendar("30 2 * * *", "Europe/Rome")
    again = at("2026-10-25T02:15", "Europe/Rome", fold=1)
    assert calendar.after(again) == at("2026-10-26T02:30", "Europe/Rome")


# -- days of the calendar ----------------------------------------------------------------


def test_leap_days_come_in_leap_years() -> None:
    calendar = Calendar("0 12 29 2 *", "Europe/Rome")
    first = calendar.after(at("2026-01-01T00:00"))
    assert first == at("2028-02-29T12:00", "Europe/Rome")
    assert calendar.after(first) == at("2032-02-29T12:00", "Europe/Rome")
    assert calendar.after(at("2096-03-01T00:00")) == at("2104-02-29T12:00", "Europe/Rome")


def test_the_last_day_of_the_month_is_the_29th_in_a_leap_year() -> None:
    assert dues("0 0 L 2 *", "UTC", "2028-02-01", "2028-03-31") == ["29. 00:00+0000"]
    assert dues("0 0 L 2 *", "UTC", "2027-02-01", "2027-03-31") == ["28. 00:00+0000"]


def test_either_day_will_do_unless_one_begins_with_a_star() -> None:
    either = dues("0 0 13 * FRI", "UTC", "2026-11-01", "2026-11-30")
    assert either == [f"{day:02}. 00:00+0000" for day in (6, 13, 20, 27)]
    both = dues("0 0 */13 * FRI", "UTC", "2026-11-01", "2026-11-30")
    assert both == ["27. 00:00+0000"]


def test_a_due_time_is_after_the_moment_however_near() -> None:
    calendar, due = Calendar("5 3 * * *", "UTC"), at("2026-01-01T03:05")
    assert calendar.after(due - 86_400) == due
    assert calendar.after(due - 0.000001) == due
    assert calendar.after(due) == due + 86_400
    assert calendar.after(due + 0.999999) == due + 86_400


# -- what is refused ---------------------------------------------------------------------


class Text(str):
    """What somebody else makes of a str."""

    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("not asked")


REFUSED: list[tuple[Any, str]] = [
    ("", "five fields, as in '5 3 \\* \\* \\*': minute, hour, day of month, month, day of week$"),
    ("@daily", r"five fields.*; here that is '0 0 \* \* \*'$"),
    ("5 3 * *", "five fields"),
    ("0 5 3 * * *", r"five fields.*; for every so many seconds there is interval\(\)"),
    ("60 3 * * *", "for the minute 0-59, also in lists, ranges upwards and steps.*: five fields"),
    ("5 24 * * *", "for the hour 0-23"),
    ("5 3 0 * *", "for the day-of-month 1-31"),
    ("5 3 30 2 *", "for the day-of-month 1-31, which the month has"),
    ("5 3 * 13 *", "for the month 1-12, or JAN-DEC"),
    ("5 3 * * 8", "for the day-of-week 0-7"),
    ("5-1 3 * * *", "for the minute"),
    ("*/0 3 * * *", "for the minute"),
    ("x 3 * * *", "for the minute"),
    ("\N{ARABIC-INDIC DIGIT FIVE} 3 * * *", "for the minute"),
    ("0," * 150 + "0 3 * * *", "at most 200 characters"),
    (305, "a str of five fields"),
    (None, "a str of five fields"),
    (b"5 3 * * *", "a str of five fields"),
    (print, "five fields.*; the function comes second"),
]


@pytest.mark.parametrize(("expression", "message"), REFUSED)
def test_a_bad_expression_says_what_is_wrong(expression: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        Calendar(expression, "UTC")
    assert caught.value.argument == "expression"


@pytest.mark.parametrize(
    ("tz", "message"),
    [
        ("europe/rome", "did you mean 'Europe/Rome'"),
        ("Rome", "did you mean 'Europe/Rome'"),
        ("Europe", "as in 'Europe/Rome'"),
        ("../../etc/passwd", "as in 'Europe/Rome'"),
        ("/etc/localtime", "as in 'Europe/Rome'"),
        ("Europe/Rome\0", "as in 'Europe/Rome'"),
        ("", "as in 'Europe/Rome'"),
        (None, "as in 'Europe/Rome'"),
        (UTC, "as in 'Europe/Rome'"),
    ],
)
def test_a_bad_zone_says_what_a_zone_is(tz: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        Calendar("5 3 * * *", tz)
    assert caught.value.argument == "tz"


def test_without_any_zones_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(BadValue, match="install tzdata"):
        Calendar("5 3 * * *", "Nowhere/Land")
    assert Calendar("5 3 * * *", "UTC").tz == "UTC"  # needs none


def test_zones_and_texts_of_other_classes_are_taken_as_they_are_meant() -> None:
    assert Calendar(Text("5  3 * *\t*"), Text("Europe/Rome")).expression == "5 3 * * *"
    assert Calendar("5 3 * * *", ZoneInfo("Europe/Rome")).tz == "Europe/Rome"


@given(st.text("0123456789*/,-#LW MONJAN ", max_size=30))
@settings(max_examples=300, deadline=None)
def test_whatever_is_no_expression_is_refused_and_nothing_else_is_raised(text: str) -> None:
    try:
        calendar = Calendar(text, "UTC")
    except BadValue:
        return
    assert calendar.after(0.0) < math.inf


# -- against a walk, minute by minute -----------------------------------------------------


class Field(NamedTuple):
    text: str
    values: frozenset[int]


def fields(lowest: int, highest: int) -> st.SearchStrategy[Field]:
    """Draw a field, and what it stands for."""
    every = frozenset(range(lowest, highest + 1))
    numbers = st.integers(lowest, highest)
    spans = st.tuples(numbers, numbers).map(sorted)
    return st.one_of(
        st.just(Field("*", every)),
        st.integers(2, 20).map(lambda n: Field(f"*/{n}", frozenset(sorted(every)[::n]))),
        spans.map(lambda s: Field(f"{s[0]}-{s[1]}", frozenset(range(s[0], s[1] + 1)))),
        st.lists(numbers, min_size=1, max_size=4).map(
            lambda some: Field(",".join(map(str, some)), frozenset(some))
        ),
    )


DAYS = [  # around each, the clocks of the zone are changed
    ("Europe/Rome", date(2026, 3, 29)),
    ("Europe/Rome", date(2026, 10, 25)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Africa/Cairo", date(2026, 4, 24)),
    ("Africa/Cairo", date(2026, 10, 29)),
    ("America/Havana", date(2026, 3, 8)),
    ("America/Havana", date(2026, 11, 1)),
    ("America/Santiago", date(2026, 9, 6)),
    ("America/Santiago", date(2026, 4, 4)),
    ("Asia/Kathmandu", date(2028, 2, 29)),
    ("UTC", date(2026, 12, 31)),
]


def matches(local: datetime, drawn: list[Field]) -> bool:
    minutes, hours, days, months, weekdays = drawn
    in_days, in_week = local.day in days.values, local.isoweekday() % 7 in weekdays.values
    both = days.text.startswith("*") or weekdays.text.startswith("*")
    return (
        local.minute in minutes.values
        and local.hour in hours.values
        and local.month in months.values
        and ((in_days and in_week) if both else (in_days or in_week))
    )


def is_skipped(local: datetime, zone: ZoneInfo) -> bool:
    there = local.replace(tzinfo=zone)
    return there.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != local


def walk(drawn: list[Field], zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[float]:
    """Yield each due time, by looking at each minute: of time, or of what the clocks can show."""
    if len(drawn[1].values) == 24:
        moment = begin.astimezone(UTC)
        while moment <= end:
            if matches(moment.astimezone(zone), drawn):
                yield moment.timestamp()
            moment += MINUTE
        return
    local, last, before = begin.replace(tzinfo=None), end.replace(tzinfo=None), 0.0
    while local <= last:
        if matches(local, drawn):
            shown = local
            while is_skipped(shown, zone):
                shown += MINUTE
            due = shown.replace(tzinfo=zone).timestamp()
            if due != before:
                yield due
            before = due
        local += MINUTE


@given(
    st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 6)).map(list),
    st.sampled_from(DAYS),
)
@settings(max_examples=150, deadline=None)
def test_due_times_are_those_of_a_walk_minute_by_minute(
    drawn: list[Field], place: tuple[str, date]
) -> None:
    name, day = place
    zone = ZoneInfo(name)
    try:
        calendar = Calendar(" ".join(each.text for each in drawn), name)
    except BadValue:
        return  # a day that none of its months has
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    begin, end = noon - timedelta(days=1), noon + timedelta(days=1)

    def upwards() -> Iterator[float]:
        moment = begin.timestamp() - 1
        while True:
            moment = calendar.after(moment)
            yield moment

    last = end.timestamp()
    assert list(takewhile(lambda due: due <= last, upwards())) == list(
        walk(drawn, zone, begin, end)
    )


# -- a look at the clock -----------------------------------------------------------------

DAILY = Calendar("5 3 * * *", "UTC")
DUE = at("2026-01-01T03:05")
DAY = 86_400.0
HOUR = 3600.0


@pytest.mark.parametrize(
    ("now", "once", "skip"),
    [
        (DUE - 1, (False, 0, -HOUR, DUE), (False, 0, -HOUR, DUE)),
        (DUE, (True, 0, 0, DUE + DAY), (True, 0, 0, DUE + DAY)),
        (DUE + 59, (True, 0, 59, DUE + DAY), (True, 0, 59, DUE + DAY)),
        (DUE + 60, (True, 0, 60, DUE + DAY), (False, 1, 60, DUE + DAY)),
        (DUE + HOUR, (True, 0, HOUR, DUE + DAY), (False, 1, HOUR, DUE + DAY)),
        (DUE + DAY, (True, 1, DAY, DUE + 2 * DAY), (True, 1, DAY, DUE + 2 * DAY)),
        (
            DUE + 2.5 * DAY,
            (True, 2, 2.5 * DAY, DUE + 3 * DAY),
            (False, 3, 2.5 * DAY, DUE + 3 * DAY),
        ),
        (DUE - 3 * HOUR, (False, 0, -HOUR, DUE), (False, 0, -HOUR, DUE)),
        (DUE - 5 * HOUR, (False, 0, -5 * HOUR, DUE), (False, 0, -5 * HOUR, DUE)),
    ],
)
def test_what_a_look_finds(now: float, once: tuple[Any, ...], skip: tuple[Any, ...]) -> None:
    for makes_up, (runs, missed, until, due) in ((True, once), (False, skip)):
        found = look(DAILY, DUE - HOUR, DUE, now, makes_up=makes_up)
        assert found == Look(runs, missed, DUE + until, due)


def test_a_long_gap_is_counted_so_far_and_no_further() -> None:
    calendar = Calendar("* * * * *", "UTC")
    found = look(calendar, DUE, DUE + 60, DUE + 30 * DAY + 1, makes_up=True)
    assert found == Look(True, COUNTED - 1, DUE + 30 * DAY + 1, DUE + 30 * DAY + 60)
