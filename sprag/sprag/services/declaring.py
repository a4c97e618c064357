"""What a service says of itself: whether others may count on it, and what it is at."""

from __future__ import annotations

from sprag.services.acquiring import may_hold
from sprag_supervisor import (
    Lack,
    Node,
    beat,
    is_a,
    left_behind,
    may_acquire,
    must_be_at_home,
    not_ready,
    set_ready,
    set_status,
)
from sprag_supervisor.exceptions import BadValue


class Declaring(Node):
    """What a service says of itself."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

    def set_ready(self, ready: bool = True, reason: str = "") -> None:  # noqa: FBT001, FBT002
        """Say whether others may count on me; until I say otherwise they may.

        Started and ready are two things: I have started when `on_start` has returned, and that is
        all that my parent and my siblings wait for. ``set_ready(False, "warming up")`` in
        `on_start` lets me start and not be ready: then `not_ready`, ``sprag wait``, ``/readyz``
        and systemd wait for ``set_ready()``. If it has not come within my ``start_timeout``,
        counted from the start, I crash with a StartTimeout. Later ``set_ready(False)`` changes
        nothing but what is told. The next life begins ready. Does not block.

        Args:
            ready: Whether they may.
            reason: Why not, for people; of a long one the first 200 characters.

        Raises:
            NotRunning: I neither start, run nor drain.
            BadValue: *ready* is not True or False, *reason* is no str, or a reason is given for
                being ready.
        """
        if type(ready) is not bool:
            raise BadValue("ready", ready, "True or False; the reason comes second")
        if not is_a(reason, str) or (ready and reason):
            raise BadValue("reason", reason, "a str, which says why it is not ready")
        may_hold(self, "say whether it is ready")
        set_ready(self, ready=ready, reason=str.__str__(reason))

    def set_status(self, text: str) -> None:
        """Say what I am at, ``"3 of 10 files"``, for those who look at the tree.

        It stands beside the state in ``sprag tree`` and ``sprag status``, and goes with this life.
        Does not block.

        Args:
            text: Of a long one the first 200 characters; "" says nothing any more.

        Raises:
            NotRunning: I neither start, run nor drain.
            BadValue: *text* is no str.
        """
        if not is_a(text, str):
            raise BadValue("text", text, "a str")
        may_hold(self, "say what it is at")
        set_status(self, str.__str__(text))

    def beat(self) -> None:
        """Say that I am alive, if I have a ``heartbeat``; else it does nothing.

        From the moment others may count on me until I am told to stop, I crash with `Unresponsive`
        if I have not done so for my ``heartbeat`` seconds, at the latest a quarter more. Where
        the loop was held meanwhile, whoever held it, they begin anew. Does not block; costs half
        a microsecond.

        Raises:
            WrongThread, AfterFork: I live elsewhere.
        """
        must_be_at_home(self)
        if not left_behind or may_acquire(self):  # what an earlier life has left says nothing
            beat(self)

    def not_ready(self) -> dict[str, Lack]:
        """Return what here and below is not ready but should be: its path, state and reason.

        Empty when all is well. Stopped on purpose, ignored and finished are well; new,
        starting, restarting, stopping and failed are not, nor is what runs and says so
        (`set_ready`).
        """
        must_be_at_home(self)
        return dict(not_ready(self))
