"""Probes: a service is asked now and then whether it is well.

A probe is a timer whose function may take so long and no longer. The hub's part is to begin it, and
to end it at its limit; what that means is decided in a pooled greenlet.

Lateness is no illness: if the limit itself comes late, since somebody has held the loop or the
process was suspended, what is asked gets its time once more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gevent import GreenletExit

from sprag.exceptions import ProbeFailed
from sprag.owned.timers import TimerHandle
from sprag_supervisor import (
    RUNNING,
    Call,
    as_text,
    await_turn,
    check_result,
    class_name,
    clock,
    function_name,
    is_a,
    is_held,
    meaning_of,
    report_crash,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag_supervisor import Node

_LATE: Final = 0.1
"""A limit that comes later than by so many seconds is no limit."""
_LONGEST: Final = 200
"""Characters that are kept of what the last failure was."""


def may_ask(node: Node) -> bool:
    """Whether *node* may be asked now, and judged by its answer.

    It runs and does not go down, and nobody holds its exits.
    """
    return node._state_ is RUNNING and not is_held(node)


class ProbeHandle(TimerHandle):
    """A probe of a service.

    Attributes:
        ticks: How often it was asked.
        missed: Rounds that were left out because it was still asked.
        failed: How often in a row it has failed.
        last: What the last of these failures was, "" without one.
        timeout: Seconds that an answer may take.
        failures: So many failures in a row are a crash.
    """

    __slots__ = (
        "_asks",
        "_is_over_time",
        "_limit",
        "_was_late",
        "failed",
        "failures",
        "last",
        "timeout",
    )

    def __init__(
        self,
        node: Node,
        context: contextvars.Context,
        fn: Callable[[], object],
        *,
        every: float,
        timeout: float,
        failures: int,
    ) -> None:
        self.timeout = timeout
        self.failures = failures
        self.failed = 0
        self.last = ""
        self._asks = False
        """Whether this life has been ready once."""
        self._is_over_time = self._was_late = False
        self._limit = 0.0
        super().__init__(node, context, fn, (), first=every, period=every)

    @property
    def every(self) -> float:
        """Seconds between two rounds."""
        assert self._period is not None
        return self._period

    @property
    def function(self) -> str:
        """The name of the function that is asked."""
        return function_name(self._fn)

    def _fire(self) -> None:
        # In the hub: begin, and see to it that it ends.
        self._stop_timer()
        tree, holdings = self._node._tree_, self._holdings
        if holdings is None or tree is None:
            return
        self._asks = self._asks or holdings.unready is None
        if not (self._asks and may_ask(self._node)):
            self._go_on(self.every)
            return
        self.ticks += 1
        self._is_over_time = self._was_late = False
        call = self._call = Call(self._tick)
        call.step = "probe"
        holdings.add_call(call)
        self._give(self.timeout)
        tree.pool.enter(call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _give(self, seconds: float) -> None:
        self._limit = clock.now() + seconds
        timer = self._timer = clock.new_timer(seconds)
        timer.start(self._is_up, update=True)

    def _is_up(self) -> None:
        # In the hub: its time is up; once more, if it has swallowed its kill.
        self._stop_timer()
        call, node = self._call, self._node
        tree = node._tree_
        if self._holdings is None or tree is None or call is None:
            return
        if not (self._was_late or self._is_over_time) and clock.now() - self._limit > _LATE:
            self._was_late = True
            self._give(self.timeout)
            return
        self._is_over_time = True
        self._note(f"no answer within {self.timeout:g} s")
        call.kill()
        tree.pool.launch(partial(self._judge, None), node, "probe")
        self._give(self.every)

    def _tick(self) -> None:
        call, holdings = self._call, self._holdings
        assert call is not None
        assert holdings is not None
        error: BaseException | None = None
        is_well = False
        try:
            result = self._context.copy().run(self._fn)
            if result is not None:
                check_result("a probe's function", result)
            is_well = result is not False
        except BaseException as raised:  # noqa: BLE001 - sorted below
            error = raised
        holdings.drop_call(call)
        self._call = None
        if self._holdings is not None:
            self._stop_timer()
        if error is not None and _is_exit(error):
            report_crash(self._node, self._incarnation, "probe", error)
        elif self._is_over_time:
            pass  # it has failed already
        elif is_well:
            self.failed, self.last = 0, ""
        else:
            self._note("it said False" if error is None else _in_brief(error))
        self._judge(None if self._is_over_time else error)
        del error  # it keeps this frame
        if self._holdings is not None:
            self._go_on(self.every)

    def _note(self, last: str) -> None:
        if may_ask(self._node):
            self.failed += 1
            self.last = last

    def _has_failed(self) -> bool:
        is_there = self._holdings is not None and may_ask(self._node)
        return is_there and self.failed >= self.failures

    def _judge(self, cause: BaseException | None) -> None:
        """Report a crash if it has failed too often."""
        if not self._has_failed():
            return
        await_turn(self._node)
        if not self._has_failed():
            return
        error = ProbeFailed(self.function, self.failed, self.last)
        error.__cause__ = cause
        self.failed = 0
        report_crash(self._node, self._incarnation, "probe", error)


def _is_exit(error: BaseException) -> bool:
    """Whether *error* says nothing of the service: a kill, the end of the app, a Ctrl-C."""
    meant = meaning_of(error)
    return any(is_a(meant, kind) for kind in (GreenletExit, SystemExit, KeyboardInterrupt))


def _in_brief(error: BaseException) -> str:
    text, name = as_text(error, _LONGEST), class_name(type(error))
    return f"{name}: {text}" if text else name
