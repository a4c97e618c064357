"""Crashes of services for Sentry: ``App(on_crash=sentry.reporter())``.

The extra ``sentry`` brings its SDK, which the program sets up itself (`sentry_sdk.init`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from sprag.integrations.limits import Limits
from sprag_supervisor import as_number, clock
from sprag_supervisor.exceptions import BadValue

try:
    import sentry_sdk
    from sentry_sdk.integrations.logging import ignore_logger
    from sentry_sdk.utils import event_from_exception
except ImportError as error:
    raise ImportError("sprag.integrations.sentry needs: pip install 'sprag-otp[sentry]'") from error

if TYPE_CHECKING:
    from sprag.services.crashes import Crash

_FATAL: Final = ("give_up", "gave_up_tries", "escalate", "exit")
"""Decisions after which something stays down, or more ends with it."""


def reporter(
    *, per_minute: float = 60, of_each: float = 10, ignore_log: bool = True
) -> SentryReporter:
    """Return what tells Sentry of crashes, for ``App(on_crash=…)``.

    Each is an event with the tags ``sprag.path``, ``sprag.incarnation``, ``sprag.step`` and
    ``sprag.decision``; ``fatal`` where the service does not come back by itself, else
    ``error``. Events are grouped as Sentry does, and by the place in the tree, in which all
    children of a `DynamicSupervisor`, or of a pool, are one.

    Args:
        per_minute: At most so many events a minute.
        of_each: And so many of one group. How many were left out stands in its next event.
        ignore_log: What sprag logs under ``sprag`` is no event of Sentry's, too: a crash would be
            there twice. What services log themselves is not concerned.

    Raises:
        BadValue: A number is below 1.
    """
    for name, given in (("per_minute", per_minute), ("of_each", of_each)):
        if not 1 <= as_number(given) < math.inf:
            raise BadValue(name, given, "a number of events, 1 or more")
    if ignore_log:
        ignore_logger("sprag")
    return SentryReporter(Limits(as_number(per_minute), as_number(of_each)))


class SentryReporter:
    """Tells Sentry of crashes, within limits; `reporter` makes it.

    Attributes:
        limits: How much is told, and how much was not.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def __call__(self, crash: Crash) -> None:
        """Capture *crash*, unless there were too many."""
        kind = type(crash.exception)
        place = f"{kind.__module__}.{kind.__qualname__}"
        untold = self.limits.admit((crash.group, place, crash.step), clock.now())
        if untold is None:
            return
        client = sentry_sdk.get_client()
        if not client.is_active():
            return
        event, hint = event_from_exception(
            crash.exception,
            client_options=client.options,
            mechanism={"type": "sprag", "handled": False},
        )
        event["level"] = "fatal" if crash.decision in _FATAL else "error"
        event["fingerprint"] = ["{{ default }}", "sprag", crash.group]
        event["transaction"] = crash.group
        told: dict[str, Any] = {
            "path": crash.path,
            "incarnation": crash.incarnation,
            "step": crash.step,
            "decision": crash.decision,
            "events_left_out": untold,
            "crashes_not_told": crash.missed,
        }
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("sprag.path", crash.path)
            scope.set_tag("sprag.incarnation", str(crash.incarnation))
            scope.set_tag("sprag.step", crash.step)
            scope.set_tag("sprag.decision", crash.decision or "none")
            scope.set_context("sprag", told)
            sentry_sdk.capture_event(event, hint=hint, scope=scope)
