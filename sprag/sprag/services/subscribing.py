"""How one service reads for its group: one reader at a time, of all nodes, by a row.

Who has the row reads from the place that is kept in it, calls the service's function for each
event, and writes down how far it has come: after each that took long, and at the end of a page.
What was not written down comes again, here or elsewhere. The greenlet belongs to the service, and
ends with it; the row is free when that is down.
"""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from gevent import GreenletExit

from sprag.cluster.claim import Claim
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.groups import Event, Place, event_of, place_of
from sprag.services.unfinished import Hands, wake_stop_of, was_killed_with
from sprag_supervisor import (
    Backoff,
    Parking,
    check_result,
    clock,
    get_ident,
    holdings_of,
    is_a,
    is_at_work,
    meaning_of,
    name_of,
    note_work,
    report_crash,
    say,
    spare,
    spawn_managed,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag.cluster.engine import Hint
    from sprag.cluster.member import Member
    from sprag.cluster.rows import Row
    from sprag_supervisor import Managed, Node

_LOOKS: Final = 1.0
"""Seconds after which who reads looks for more, should nobody have told of it."""
_LOOKS_STANDBY: Final = 10.0
_UNTIL_ASKED_AGAIN: Final = 1.0
"""Seconds until an engine that is away is asked again."""
_WRITES: Final = 0.1
"""Seconds after which it is written down how far it has come."""
_PAUSES: Final = Backoff(initial=0.1, maximum=15.0)
"""Before an event is tried again."""
_random = random.Random()  # noqa: S311 - jitter, not secrets
_current: ContextVar[Event | None] = ContextVar("event", default=None)


def current_event() -> Event | None:
    """Return the event whose subscriber is running, or None outside of any."""
    return _current.get()


class Subscription:
    """A service's part in reading for a group; `cancel()` ends it.

    Attributes:
        heard: Events that were handled here, well.
        missed: Those that the engine has dropped before the group had read them, as far as they
            were found missing here.
        poison: Those that were put aside here, as they were tried too often.
    """

    def __init__(  # noqa: PLR0917 - as Managed
        self,
        node: Node,
        context: contextvars.Context,
        member: Member,
        event: str,
        fn: Callable[[Any], object],
        group: str,
        retries: int | None,
    ) -> None:
        self.heard = self.missed = self.poison = 0
        self._node = node
        self._incarnation = node._incarnation_
        self._context = context
        self._member = member
        self._event = event
        self._fn = fn
        self._group = group
        self._retries = retries
        # No service's row begins with a slash.
        self._claim = Claim(member, f"/groups/{group}/{event}")
        self._topic = topic_of(member, event)
        self._turn = member.turn_of(self._claim.name)
        self._hands = Hands()
        self._hands.wake = self._parking = Parking()
        self._hints: list[Hint] = []
        self._greenlet: Managed | None = None
        self._place = Place()
        self._written: Place | None = None
        self._wrote_at = 0.0
        self._owns = self._is_in_doubt = self._is_over = False
        self._is_called_off = False
        """What is in hand is to end: the lease is lost, or about to be."""

    @property
    def active(self) -> bool:
        """Whether events still reach it, or may."""
        return not self._is_over

    @property
    def reads(self) -> bool:
        """Whether it is this one through which the group reads now."""
        return self._owns

    def cancel(self) -> None:
        """Read no more, after what is in hand; others of the group do. Harmless a second time."""
        self._is_over = True
        self._parking.poke()

    # -- coming and going --------------------------------------------------------------

    def begin(self) -> None:
        """Let the group begin, if nobody has read for it before, and read. May block."""
        holdings = holdings_of(self._node)
        holdings.add_cleanup(self._end, (), {})
        holdings.add_call(self._hands)
        note_work(self._node)
        self._hints.append(self._claim.hint(self._wake))
        self._hints.append(self._member.engine.hint(self._topic, self._parking.poke))
        with suppress(EngineAway, EngineFull):  # else it begins when that is back
            self._claim.prepare(self._begun)
        self._greenlet = spawn_managed(self._node, self._context.copy(), self._run, (), {})

    def _begun(self, row: Row) -> Row:
        """Return *row* with a place: that of now, if there is none."""
        if place_of(row).cursor is not None:
            return row
        return Place(self._member.engine.read(self._topic, None).value.cursor).kept_in(row)

    def _wake(self) -> None:
        """Look again; call off what is in hand if the lease is lost. Callable from the hub."""
        tree = self._member.tree
        if self._owns and not self._hands.done and tree.thread == get_ident():
            tree.hub.loop.run_callback(self._call_off)
        self._parking.poke()

    def _call_off(self) -> None:
        # In the hub, so nothing can have happened between this test and the throw.
        greenlet = self._greenlet
        if greenlet is not None and not self._hands.done and not self._claim.is_good:
            self._is_called_off = True
            greenlet.throw(GreenletExit)

    def _end(self) -> None:
        """Let others read: the clean-up of this life, after all of it has ended."""
        self._is_over = True
        for hint in self._hints:
            hint.cancel()
        if self._owns or self._is_in_doubt:
            try:
                self._let_go()
            except (EngineAway, EngineFull) as error:
                event, why = "a group is not handed over", str(error)
                say(logging.WARNING, self._node, event, group=self._group, reason=why)

    def _let_go(self) -> None:
        where = self._member.where or name_of(self._member.tree.root)
        place, owned = self._place, self._owns
        self._claim.done()

        def freed(row: Row) -> Row:
            return (place.kept_in(row) if owned else row).freed(f"{where} has stopped reading")

        self._claim.change(freed)
        self._owns = self._is_in_doubt = False

    # -- reading -----------------------------------------------------------------------

    def _goes_on(self) -> bool:
        return not (self._is_over or self._hands.takes_no_more) and is_at_work(self._node)

    def _wait(self, seconds: float) -> None:
        if self._goes_on():
            self._parking.park(clock.now() + seconds)

    def _run(self) -> None:
        with self._turn:  # of this tree, too, only one reads
            while self._goes_on():
                try:
                    try:
                        self._go_on()
                    except (EngineAway, EngineFull):
                        if not self._claim.is_good:
                            self._lose()
                        self._wait(_UNTIL_ASKED_AGAIN)
                except GreenletExit:
                    if not self._is_called_off:
                        raise
                    self._is_called_off = False
                    self._lose()
            if self._owns:
                with suppress(EngineAway, EngineFull):  # else the clean-up tries again
                    self._let_go()

    def _go_on(self) -> None:
        """Do what there is to do, or wait."""
        if not self._owns:
            if self._claim.why_not() or not self._take():
                self._wait(_LOOKS_STANDBY)
        elif not self._claim.is_good:
            self._lose()
        elif not self._read():
            self._wait(_LOOKS)

    def _take(self) -> bool:
        self._is_in_doubt = True
        row, _before = self._claim.take()
        self._is_in_doubt = False
        if row is None:
            return False
        self._owns, self._written = True, place_of(row)
        self._place = place_of(self._begun(row))
        return self._write()

    def _lose(self) -> None:
        """Be no reader any more: the row is others', or may be."""
        self._owns = False
        self._claim.done()

    def _read(self) -> bool:
        """Handle what there is; return whether there may be more."""
        place = self._place
        page = self._member.engine.read(self._topic, place.cursor).value
        lost = place.lost(page)
        if lost:
            self.missed += lost
            event = "events are lost: the engine keeps only so many, and the group was behind"
            say(
                logging.WARNING, self._node, event, group=self._group, name=self._event, missed=lost
            )
            self._place = place.passed(page.missed - 1)
        for offset, message in place.left(page):
            if not self._goes_on() or not self._claim.is_good:
                break
            if not self._handle(offset, message):
                return True
            if clock.now() - self._wrote_at >= _WRITES and not self._write():
                return True
        else:
            self._place = place.over(page)
        if page.messages:
            self._write()
        return bool(page.messages)

    def _write(self) -> bool:
        """Write down how far it has come; return whether the row is still ours."""
        place = self._place
        if place == self._written:
            return True
        if self._claim.change(place.kept_in) is None:
            self._lose()
            return False
        self._written, self._wrote_at = place, clock.now()
        return True

    # -- one event -----------------------------------------------------------------------

    def _handle(self, offset: int, message: bytes) -> bool:
        """Have an event heard; return whether to go on with the next."""
        tries = self._place.tries
        try:
            event, data = event_of(message, tries + 1)
        except ValueError:
            said = "what was published is no event, and is passed over"
            say(logging.ERROR, self._node, said, group=self._group, name=self._event)
            self._place = self._place.passed(offset)
            return True
        if tries:
            until = clock.now() + _PAUSES.delay(tries, _random)
            while (left := until - clock.now()) > 0:
                self._wait(left)
                if not self._goes_on() or not self._claim.is_good:
                    return False
        hands = self._hands
        hands.done = False
        try:
            self._context.copy().run(_call, event, self._fn, data)
        except BaseException as error:  # noqa: BLE001 - sorted by whose it is
            self._raised(offset, event, error)
            return False
        else:
            self._place = self._place.passed(offset)
            self.heard += 1
            return True
        finally:
            hands.done = True
            wake_stop_of(self._node)

    def _raised(self, offset: int, event: Event, error: BaseException) -> None:
        """Act on what a try has raised; raise what is no crash."""
        node, meant = self._node, meaning_of(error)
        if self._is_called_off:
            raise GreenletExit from error
        if was_killed_with(error):
            raise error
        if is_a(meant, KeyboardInterrupt):  # the program's, and no fault of the event's
            report_crash(node, self._incarnation, "subscriber", error)
            return
        if is_a(meant, GreenletExit):
            raise error
        self._is_over = True  # this life is
        is_poison = self._retries is not None and event.tries > self._retries
        if is_poison:
            self.poison += 1
            self._place = self._place.passed(offset)
            said = "an event is poison, and is not tried again"
            told = {"id": event.id, "name": event.name, "group": self._group}
            say(logging.ERROR, node, said, error, tries=event.tries, **told)
        else:
            self._place = self._place.tried()
        with suppress(EngineAway, EngineFull):  # else the clean-up tries again
            self._write()
        level = logging.DEBUG if is_poison else logging.WARNING
        report_crash(node, self._incarnation, "subscriber", error, level=level)
        spare(node)  # it counts against the event


def topic_of(member: Member, event: str) -> str:
    """Return where *event* is published."""
    return f"{member.prefix}topics/events/{event}"


def _call(event: Event, fn: Callable[[Any], object], data: Any) -> None:
    _current.set(event)
    check_result("a subscriber", fn(data))
