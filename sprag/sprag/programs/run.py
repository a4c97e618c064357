"""One run of a program: from its start until the last of its group and of its output is gone.

A service's own greenlets may be killed at any moment, and a process that was just started must not
be lost then. So each step that hands a process over is done in an engine greenlet, which nobody
kills: its start, the news of its end. A stop is a clean-up of the service, registered before the
start: however the life ends, the run is ended, within the service's ``shutdown`` seconds.

Who may write what:

- `child` is set by the start, which looks afterwards whether somebody wants it down already.
- ``child.status`` is set in the hub, once, when the loop has waited for the process.
- What that means for the service is decided in `_see_end`, once, unless `is_ending`.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gevent import GreenletExit

from sprag.owned.log import log_lines
from sprag.programs import proc
from sprag.programs.exceptions import FatalExit, ProgramExited, ProgramKilled, signal_name
from sprag.programs.last_end import Ended, remember
from sprag.programs.out_of_memory import cause_of, look
from sprag.programs.output import Output, Written
from sprag.programs.reach import REST, Reach, kill_each
from sprag_supervisor import (
    Ending,
    Outcome,
    Parking,
    clock,
    end_cleanly,
    keep_straggler,
    path_of,
    report_crash,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sprag.programs.raw_copy import RawCopy
    from sprag.programs.reach import Process
    from sprag.programs.settings import Settings
    from sprag_supervisor import Node

AFTER_END: Final = 0.5
"""Seconds that its output is read after its end, if somebody else still holds the pipe."""
_EARLIER: Final = 0.1
_EARLIEST: Final = 0.5
"""It is killed by so much of its time, at most so many seconds, before the end of that."""
_GRACE: Final = 0.08
"""Seconds that it gets to die when the time is up: the engine gives a tenth of a second."""
_NOT_OURS: Final = "has become another user, whom we may not signal: it runs on"


class Run:
    """A program that runs, for one life of its service.

    Args:
        node: The service.
        settings: What it was declared to be.
        name: What it is called in errors.
        command: What is run.
        mark: What is found in the environment of all that it starts.
        copy: Where its output goes as it is; None: into the log.
        start: Starts the process; given what is to be called in the hub at its end. In an engine
            greenlet.
        gone: Called when nothing is left of it.
    """

    def __init__(
        self,
        node: Node,
        settings: Settings,
        *,
        name: str,
        command: Sequence[str],
        mark: str,
        copy: RawCopy | None,
        start: Callable[[Run], Process],
        gone: Callable[[Run], object],
    ) -> None:
        tree = node._tree_
        assert tree is not None
        self.node = node
        self._incarnation = node._incarnation_
        self._settings = settings
        self._pool = tree.pool
        self.name = name
        self.command = command
        self.mark = mark
        self._reach = Reach(settings, mark, self.wait)
        self._start = start
        self._gone = gone
        self.child: Process | None = None
        self.on_begun: Callable[[int], object] = int
        """Told of the process id, in the turn of the loop in which the process begins."""
        self._is_starting = False
        self._has_begun = False
        self.is_ending = False
        self.stop_signal = settings.stop_signal
        self._ended_at = math.inf
        self._waiting: list[Parking] = []
        self._path = path_of(node)
        self.before = look()
        """Whom the kernel had killed when it was alive, for all that is known."""
        self.cause: str | None = None
        """Why it was killed, once that was looked at."""
        self.output = Output(
            self._launch,
            self._take,
            self._dropped,
            settings.output_limit,
            copy,
            is_terminal=settings.pty,
        )
        self.output.on_over = self.news
        self.output.is_split = copy is None
        self._on_line: Callable[[str], object] | None = None

    # -- up ------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the process; blocks until its exec has succeeded, and it has settled.

        Raises:
            CannotRun: It could not be started.
            ProgramExited, ProgramKilled: It has ended before it has settled.
        """
        self._pool.run_apart(self._start_it)
        settle = self._settings.settle
        self.wait(self._is_over, clock.now() + settle)
        child = self.child
        assert child is not None
        if child.is_alive:
            self._has_begun = True
            return
        if settle:
            self._wait_for_output()
            raise self._failure(child)
        self._pool.launch(self._see_end, self.node, "program")  # it has been through its exec

    def _start_it(self) -> None:
        self._is_starting = True  # not before: a start that is called off in time never comes here
        try:
            self.child = self._start(self)
        finally:
            self._is_starting = False
            self.news()
        self._note_end()  # it may have ended before it was known
        if self.is_ending:  # who wants it down has not waited
            self._reach.kill(self.child)

    def begun(self, child: Process) -> None:
        """Take note of its process before the exec: who wants it down need not wait for that."""
        self.child = child
        self.on_begun(child.pid)
        self.news()

    def ended(self) -> None:
        """Take note that the process has ended. Called in the hub."""
        self._ended_at = clock.now()
        self.output.is_last = True
        self._note_end()
        self.news()
        if self._has_begun and not self.is_ending:
            self._pool.launch(self._see_end, self.node, "program")

    def _note_end(self) -> None:
        code = None if self.child is None else self.child.code
        if code is not None:
            remember(self.node, Ended(code, clock.wall(), self._incarnation, self.is_ending))

    def _see_end(self) -> None:
        """Tell the service that its program has ended by itself."""
        self._wait_for_output()
        child = self.child
        if child is None or self.is_ending:
            return
        if child.code in self._settings.success_codes:
            end_cleanly(self.node, self._incarnation)
        else:
            report_crash(self.node, self._incarnation, "program", self._failure(child))

    def why_killed(self) -> str:
        """Return why it was killed, if that is known. Reads a short file once."""
        if self.cause is None:
            code = None if self.child is None else self.child.code
            self.cause = cause_of(code or 0, self.before)
        return self.cause

    def _failure(self, child: Process) -> ProgramExited | ProgramKilled:
        code = child.code
        assert code is not None
        error: ProgramExited | ProgramKilled
        if code < 0:
            error = ProgramKilled(self.name, child.pid, -code, self.why_killed())
        elif code in self._settings.fatal_codes:
            error = FatalExit(self.name, child.pid, code)
        else:
            error = ProgramExited(self.name, child.pid, code)
        if self.output.last:
            lines = [f"  {each.text}" for each in self.output.last]
            error.add_note("\n".join(["Its last output:", *lines]))
        return error

    # -- down ----------------------------------------------------------------------

    def end(self) -> None:
        """End the process, and what is left of its group: the clean-up of the service.

        Asks first, by the ``stop_signal``, and kills in time.
        """
        self.is_ending = True
        began = clock.now()
        operation = self.node._op_
        ending = operation if isinstance(operation, Ending) else None
        limit = math.inf if ending is None else ending.limit(began)
        kill_at = limit - min((limit - began) * _EARLIER, _EARLIEST) if limit < math.inf else limit
        killed = False
        try:
            self.wait(lambda: self.child is not None or not self._is_starting, kill_at)
            if self.child is not None:
                killed = self._bring_down(self.child, kill_at)
        except GreenletExit:
            killed = True
            if self.child is not None:
                others = self._reach.others(self.child)
                self._reach.kill(self.child)
                kill_each(others)
                with suppress(GreenletExit):
                    self.wait(self._is_over, clock.now() + _GRACE)
            raise
        finally:
            child = self.child
            if child is not None and killed and ending is not None:
                self._note_kill(ending, child, clock.now() - began)
            self.output.close()
            self._gone(self)

    def _bring_down(self, child: Process, kill_at: float) -> bool:
        """Ask it to end, and wait for that; return whether it had to be killed."""
        killed = False
        others = self._reach.others(child)  # now: who is below it can be seen as long as it lives
        if child.is_alive:
            if clock.now() < kill_at:
                self._reach.ask(child, self.stop_signal)
                self.wait(self._is_over, kill_at)
            if child.is_alive:
                killed = True
                self._reach.kill(child)
                self.wait(self._is_over)
        self._reach.end_rest(child, min(kill_at, clock.now() + REST))
        kill_each(others)
        self._reach.end_what_came_after(child)
        self._wait_for_output()
        return killed

    def _note_kill(self, ending: Ending, child: Process, after: float) -> None:
        asked = signal_name(self.stop_signal)
        if child.is_alive:
            seen = proc.look(child.pid)
            state = "" if seen is None else f", in state {seen.state}"
            keep_straggler(self.node, "program", lambda: not child.is_alive)
            why = "does not die of SIGKILL" if proc.may_signal(child.pid) else _NOT_OURS
            ending.straggler("program", f"pid {child.pid} {why}{state}")
        else:
            said = f"pid {child.pid} was killed: it had not ended {after:.1f} s after {asked}"
            ending.note(Outcome.KILLED, "program", said)

    # -- waiting -------------------------------------------------------------------

    def wait(self, over: Callable[[], bool], until: float | None = None) -> None:
        """Wait until *over*, or the monotonic time *until*. What is thrown in passes through."""
        parking = Parking()
        self._waiting.append(parking)
        limit = None if until == math.inf else until
        try:
            while not over() and (limit is None or clock.now() < limit):
                parking.park(limit)
        finally:
            self._waiting.remove(parking)

    def news(self) -> None:
        """Wake who waits. Callable from the hub."""
        for parking in self._waiting:
            parking.poke()

    def _is_over(self) -> bool:
        return self.child is not None and not self.child.is_alive

    def _wait_for_output(self) -> None:
        """Wait until all it has written is read; not long, if somebody else may write there."""
        self.wait(lambda: self.output.is_over, self._ended_at + AFTER_END)

    # -- what it writes --------------------------------------------------------------

    def look_at_lines(self, look: Callable[[str], object] | None) -> None:
        """Have *look* called with each line from now on; None: with none any more."""
        self._on_line = look
        self.output.is_split = look is not None or not self.output.is_copied

    def _launch(self, read: Callable[[], object]) -> None:
        self._pool.launch(read, self.node, "program")

    def _take(self, lines: Sequence[Written]) -> None:
        if self._on_line is not None:
            for line in lines:
                if self._on_line is not None:
                    self._on_line(line.text)
        if not self.output.is_copied:
            log_lines(self._path, self._incarnation, lines)

    def _dropped(self, number: int) -> None:
        limit = self._settings.output_limit
        say(logging.WARNING, self.node, "output left out of the log", lines=number, limit=limit)
