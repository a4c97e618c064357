"""What a service does at times of the calendar, and how it is asked whether it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sprag.owned.calendar import Calendar
from sprag.owned.crons import CronHandle
from sprag.owned.probes import ProbeHandle
from sprag.services.acquiring import check, context_for, may_hold
from sprag_supervisor import Node, Seconds, as_count, is_a, seconds_of
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo


class Timing(Node):
    """The part of a service that goes by the calendar, and is asked how it is."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

    def cron(
        self,
        expression: str,
        fn: Callable[..., object],
        *args: Any,
        tz: str | ZoneInfo = "UTC",
        missed: Literal["once", "skip"] = "once",
    ) -> CronHandle:
        """Call ``fn(*args)`` at times of the calendar, in a greenlet, until the service ends.

        There are never two calls of it at once, and a due time has one call at most: one that
        ends in a crash is not made again. A time of day comes once a day: of one that comes twice
        because the clocks are turned back the first is meant, and one that they skip is due right
        after. Only what is due in every hour (``30 * * * *``) goes by the hours that pass.

        A due time is missed if the call cannot begin within a minute: the process was suspended,
        its clock was set forward, the call before was still running, the service was waiting for
        its restart. sprag stores nothing: what passes while the process is down is not missed, nor
        what passes while the service is stopped by hand. A clock that is set back by up to 3 hours
        repeats nothing.

        Args:
            expression: Minute, hour, day of month, month, day of week, as in ``"5 3 * * *"``. If
                neither day begins with a star, either will do.
            fn: May block. An exception is the service's crash.
            *args: Passed to *fn*.
            tz: The time zone, as in ``"Europe/Rome"``.
            missed: ``"once"``: one call makes up for all that were missed, as soon as it can be
                made; ``"skip"``: they are left out. Both are counted in the handle's ``missed``.

        Returns:
            A handle with ``cancel()``, ``next_run``, ``running``, ``ticks``, ``missed`` and
            ``active``.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: An argument is of no use.
        """
        calendar = Calendar(expression, tz)
        check(fn)
        word = str.__str__(missed) if is_a(missed, str) else ""
        if word not in ("once", "skip"):
            raise BadValue("missed", missed, "'once' or 'skip'")
        may_hold(self, "start a timer")
        context = context_for(self)
        return CronHandle(self, context, fn, args, calendar, makes_up=word == "once")

    def probe(
        self,
        fn: Callable[[], object],
        *,
        every: Seconds = 5.0,
        timeout: Seconds = 2.0,
        failures: int = 3,
    ) -> ProbeHandle:
        """Ask ``fn()`` now and then whether the service is well; crash when it is not.

        The first time *every* seconds from now, or when the service has become ready, and while
        it runs: a service that goes down or is held is not asked. There are never two calls at
        once. It has failed if it returns ``False``, raises, or takes longer than *timeout*: then
        it is killed. Any other answer is a good one, None too. So many failures in a row are a
        crash, with a `ProbeFailed` whose cause is what the last one has raised.

        Args:
            fn: May block. It runs in a greenlet of the service.
            every: Seconds between two rounds; a millisecond at least.
            timeout: Seconds that it may take; likewise. It has them once more if the process was
                suspended meanwhile, or somebody held the loop.
            failures: A whole number, 1 or more.

        Returns:
            A handle with ``cancel()``, ``failed``, ``last``, ``ticks`` and ``active``.

        Raises:
            NotRunning: The service neither starts, runs nor drains.
            BadValue: An argument is out of range.
        """
        check(fn)
        period, limit = seconds_of("every", every), seconds_of("timeout", timeout)
        most = as_count(failures)
        if most < 1:
            raise BadValue("failures", failures, "a whole number, 1 or more")
        may_hold(self, "start a timer")
        return ProbeHandle(self, context_for(self), fn, every=period, timeout=limit, failures=most)
