"""Replacement: new processes for the old, slot by slot, in one line.

At most one slot is at it, so that there is one process more than workers at most. A generation is
a replacement of all of them; who asks for one while another is under way wants what lies on the
disk now: it begins anew, with the newest, and who asked before is told of that. A generation that
does not come up leaves those that are there: they are not replaced any more, for their age say,
until one does.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from gevent.event import Event

from sprag.services.acquiring import context_for
from sprag.workers.exceptions import GenerationFailed
from sprag.workers.plan import called
from sprag_supervisor import (
    RUNNING,
    ReplacementNote,
    as_text,
    clock,
    path_of,
    say,
    spawn_managed,
    tree_of,
)
from sprag_supervisor.exceptions import NotRunning

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sprag.services.service import Service
    from sprag.workers.fleet import Fleet
    from sprag.workers.slot import WorkerSlot


class Replacement:
    """One replacement that was asked for.

    Attributes:
        slots: Whose; None: all, which makes it a generation.
        why: For the log.
        can_wait: It is not done as long as no new worker comes up.
        newer: What was asked for meanwhile, and is done instead.
        error: Why it has failed.
    """

    def __init__(self, slots: tuple[int, ...] | None, why: str, *, can_wait: bool) -> None:
        self.slots = slots
        self.why = why
        self.can_wait = can_wait
        self.newer: Replacement | None = None
        self.error: Exception | None = None
        self._done = Event()

    @property
    def is_over(self) -> bool:
        """Whether it has been carried out, or has failed."""
        return self._done.is_set()

    def finish(self) -> None:
        """Let those who wait go on."""
        self._done.set()

    def wait(self) -> None:
        """Wait until it, or what was done instead, is carried out.

        Raises:
            GenerationFailed: It has failed.
            NotRunning: The app stops meanwhile.
        """
        each = self
        each._done.wait()
        while each.newer is not None:
            each = each.newer
            each._done.wait()
        if each.error is not None:
            raise each.error


class Replacing:
    """The line of replacements.

    Args:
        parent: The root, whose greenlet carries them out.
        fleet: What all workers share.
        slots: Returns where they are.
        tell: Shows how things are.
    """

    def __init__(
        self,
        parent: Service,
        fleet: Fleet,
        slots: Callable[[], list[WorkerSlot]],
        tell: Callable[[], object],
    ) -> None:
        self._parent = parent
        self._fleet = fleet
        self._slots = slots
        self._tell = tell
        self._line: deque[Replacement] = deque()
        self.current: Replacement | None = None
        self.failed: GenerationFailed | None = None
        """The last replacement has failed so, and no new worker has come up since; None: else."""

    def ask(
        self, slots: tuple[int, ...] | None, why: str, *, can_wait: bool = False
    ) -> Replacement:
        """Have workers replaced; does not wait for that.

        Args:
            slots: Whose; None: all, with what lies on the disk now.
            why: For the log.
            can_wait: It is given up if no new worker comes up.
        """
        asked = Replacement(slots, why, can_wait=can_wait)
        if slots is None:
            self._fleet.generation += 1
            for each in self._all_before():
                each.newer = asked
                if each is not self.current:
                    self._line.remove(each)
                    each.finish()
            for slot in self._slots():
                slot.look_again()
        self._line.append(asked)
        if self.current is None:
            self.current = asked
            parent: Any = self._parent
            spawn_managed(parent, context_for(parent), self._work, (), {})
        return asked

    def recycle(self, slot: WorkerSlot, why: str) -> None:
        """Have one worker replaced as it has served its time, unless it would not come back."""
        wanted = (slot.number,)
        waiting = [*self._line, *([self.current] if self.current is not None else [])]
        if self.failed is None and all(each.slots not in (None, wanted) for each in waiting):
            self.ask(wanted, why, can_wait=True)

    def note_ready(self) -> None:
        """Take note that a new worker has come up: what lies on the disk is of use again."""
        self.failed = None
        self._tell()

    def _all_before(self) -> list[Replacement]:
        under_way = [self.current] if self.current is not None else []
        return [each for each in (*under_way, *self._line) if each.newer is None]

    def _work(self) -> None:
        try:
            while self._line:
                self.current = each = self._line.popleft()
                try:
                    if self.failed is None or not each.can_wait:
                        with self._told(each):
                            self._carry_out(each)
                except Exception as error:  # noqa: BLE001 - told to who asks
                    each.error = error
                except BaseException:
                    each.error = self._stops()
                    raise
                finally:
                    each.finish()
        finally:
            self.current = None
            for each in self._line:
                each.error = self._stops()
                each.finish()

    def _told(self, asked: Replacement) -> AbstractContextManager[None]:
        """Return what says to the service manager that a generation begins, and is there."""
        says = self._parent._says_reloading_
        return nullcontext() if asked.slots is not None or says is None else says()

    def _stops(self) -> NotRunning:
        parent = self._parent
        remedy = "it stops: start it again"
        return NotRunning(path_of(parent), parent._state_.value, "replace its workers", remedy)

    def _carry_out(self, asked: Replacement) -> None:
        parent = self._parent
        generation = self._fleet.generation
        began = clock.now()
        replaced = 0
        numbers = asked.slots
        for slot in self._slots():
            if asked.newer is not None:
                return
            if numbers is not None and slot.number not in numbers:
                continue
            try:
                replaced += slot.renew(generation, lambda: asked.newer is not None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old ones serve
                if asked.newer is not None:
                    return
                self._has_failed(asked, generation, error)
            if parent._state_ is not RUNNING:
                raise self._stops()
        if asked.newer is not None:
            return
        seconds = round(clock.now() - began, 3)
        self._tell()
        if replaced:
            self._note(asked, generation, None)
        say(
            logging.INFO,
            parent,
            "workers are replaced",
            because=asked.why,
            generation=generation,
            workers=replaced,
            seconds=seconds,
        )

    def _note(self, asked: Replacement, generation: int, failure: str | None) -> None:
        parent = self._parent
        path = path_of(parent)
        if asked.slots is not None:
            path = f"{path}/{called(asked.slots[0])}"
        what: Literal["replaced", "failed"] = "replaced" if failure is None else "failed"
        note = ReplacementNote(clock.wall(), path, what, asked.why, generation, failure)
        tree_of(parent).ledger.replacements.append(note)

    def _has_failed(self, asked: Replacement, generation: int, error: Exception) -> None:
        failure = GenerationFailed(generation, as_text(error))
        self.failed = failure
        self._note(asked, generation, failure.why)
        self._tell()
        event = "a new worker does not come up: the old ones serve on"
        say(logging.ERROR, self._parent, event, generation=generation, reason=as_text(error))
        raise failure from None
