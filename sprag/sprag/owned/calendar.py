"""Times of the calendar: what a cron expression means in a time zone, and what a look at it finds.

Pure: nothing here waits, or asks a clock. Moments are seconds since the epoch.

An expression that leaves no hour out goes by the hours that pass: it is due in each of them, in an
hour that comes twice as well, and not in one that is skipped. Any other names times of the day,
and each day has each of them once: of a time that comes twice the first is meant, and one that the
clock skips is due right after. cronsim makes that distinction by the stars in an expression, as
Debian's cron does; then ``*/15 2 * * *`` would be due eight times in one night of the year, and
never in another. So it is given an expression without those stars, or with nothing else: and of its
minutes, those are left out that are not meant. It would find them itself, but for a clock that is
turned back by less than an hour (tests/sprag/test_calendar.py, the walk).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sprag_supervisor import is_a
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import tzinfo

ON_TIME: Final = 60.0
"""A due time that is not seen to for so many seconds is missed."""
SET_BACK: Final = 3 * 3600.0
"""A clock that is set back by more seconds is believed: due times come again."""
COUNTED: Final = 100
"""Missed due times that one look counts."""
_LONGEST: Final = 200
"""Characters of an expression."""
_EVERY_HOUR: Final = frozenset(range(24))
_FIELDS: Final = "five fields, as in '5 3 * * *': minute, hour, day of month, month, day of week"
_ACCEPTED: Final = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, which the month has, L for the last day, or LW for the last weekday",
    "month": "1-12, or JAN-DEC",
    "day-of-week": "0-7, or SUN-SAT, MON#1 for the first Monday, or 5L for the last Friday",
}
_MANY: Final = "also in lists, ranges upwards and steps, 1,3-5,*/2"
_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""What others take for an expression, to say what it is called here."""


class Calendar:
    """The due times of one expression in one zone.

    Attributes:
        expression: As given, with single spaces.
        tz: The name of the zone.
        zone: The zone itself.
    """

    __slots__ = ("_minutes", "_text", "expression", "tz", "zone")

    def __init__(self, expression: Any, tz: Any) -> None:
        """Read both.

        Raises:
            BadValue: One of them is of no use; it says why.
        """
        fields = _fields_of(expression)
        self.expression = " ".join(fields)
        self.tz, self.zone = _zone_of(tz)
        sim = _sim(fields, expression)
        self._minutes: AbstractSet[int] | None = None
        """Those of each hour; None: the expression says it all."""
        if sim.hours >= _EVERY_HOUR:
            self._minutes = sim.minutes
            fields[0] = fields[1] = "*"
        else:
            fields[0] = fields[0].replace("*", "0-59")
            fields[1] = fields[1].replace("*", "0-23")
        self._text = " ".join(fields)
        if next(sim, None) is None:
            raise BadValue("expression", expression, "a time that comes within 50 years")

    def after(self, moment: float) -> float:
        """Return the first due time after *moment*; infinity if none comes within 50 years.

        Takes a tenth of a millisecond; ten times that for what is due once an hour, or in years.
        """
        from cronsim import CronSim

        for due in CronSim(self._text, datetime.fromtimestamp(moment, self.zone)):
            if self._minutes is not None and due.minute not in self._minutes:
                continue
            at = due.timestamp()
            if at > moment:  # else it has come before, in the hour that comes twice
                return at
        return math.inf


class Look(NamedTuple):
    """What a look at the clock has found.

    Attributes:
        runs: Whether the function is to be called now.
        missed: Due times that have passed without a call of their own.
        until: All due times up to then, itself included, are seen to.
        due: The next one after that.
    """

    runs: bool
    missed: int
    until: float
    due: float


def look(calendar: Calendar, until: float, due: float, now: float, *, makes_up: bool) -> Look:
    """Decide what is done about the due times that have passed at *now*.

    All of them become one call, or none if they are missed and are not to be made up for.

    Args:
        calendar: The due times.
        until: Those up to then are seen to.
        due: The first one after that.
        now: What the clock shows.
        makes_up: Whether missed ones are made up for, by one call.
    """
    if is_set_back(until, now):
        return Look(runs=False, missed=0, until=now, due=calendar.after(now))
    if now < due:
        return Look(runs=False, missed=0, until=until, due=due)
    passed = 0
    while due <= now and passed < COUNTED:
        passed += 1
        due = calendar.after(due)
    if due <= now:
        due = calendar.after(now)
    runs = makes_up or calendar.after(max(until, now - ON_TIME)) <= now
    return Look(runs=runs, missed=passed - runs, until=now, due=due)


def is_set_back(until: float, now: float) -> bool:
    """Whether the clock was set back so far that what it has shown before counts no more."""
    return now < until - SET_BACK


def _fields_of(expression: Any) -> list[str]:
    if not is_a(expression, str):
        hint = "; the function comes second" if callable(expression) else ""
        raise BadValue("expression", expression, f"a str of {_FIELDS}{hint}")
    text = str.__str__(expression)
    if len(text) > _LONGEST:
        raise BadValue("expression", text, f"at most {_LONGEST} characters")
    fields = text.split()
    if len(fields) != len(_ACCEPTED):
        hint = "; for every so many seconds there is interval()" if len(fields) > 5 else ""
        if (meant := _ALIASES.get(text.strip().lower())) is not None:
            hint = f"; here that is {meant!r}"
        raise BadValue("expression", text, _FIELDS + hint)
    return fields


def _sim(fields: list[str], given: object) -> Any:
    """Let cronsim read the fields; its complaint names the one that is wrong."""
    from cronsim import CronSim, CronSimError

    try:
        return CronSim(" ".join(fields), datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        said = str(error)
        field = next((name for name in _ACCEPTED if said.endswith(f" {name}")), None)
        wanted = "" if field is None else f"for the {field} {_ACCEPTED[field]}, {_MANY}: "
        raise BadValue("expression", given, wanted + _FIELDS) from None


def _zone_of(given: Any) -> tuple[str, tzinfo]:
    from zoneinfo import ZoneInfo

    if type(given) is ZoneInfo and is_a(given.key, str):
        return given.key, given
    if not is_a(given, str):
        raise BadValue("tz", given, "the name of a time zone, as in 'Europe/Rome'")
    name = str.__str__(given)
    if name == "UTC":
        return name, UTC  # needs no files
    try:
        return name, ZoneInfo(name)
    except Exception:  # noqa: BLE001 - not found, a folder, a path: zoneinfo has no one error for it
        raise BadValue("tz", name, _zones_like(name)) from None


def _zones_like(name: str) -> str:
    from zoneinfo import available_timezones

    zones: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        zones[zone.lower()] = zone
        zones.setdefault(zone.rpartition("/")[2].lower(), zone)
    if not zones:
        return "'UTC', or install tzdata: there are no time zones on this machine"
    near = get_close_matches(name.lower(), zones, n=1)
    hint = f" (did you mean {zones[near[0]]!r}?)" if near else ""
    return f"the name of a time zone, as in 'Europe/Rome'{hint}"
