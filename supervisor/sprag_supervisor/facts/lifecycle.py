"""What observers of a tree are told."""

from __future__ import annotations

from sprag_supervisor.record import Record


class Lifecycle(Record):
    """Something that happened to a service.

    Every start is followed by exactly one end. Starts are ``started`` and
    ``restarted``; ends are ``crashed``, ``finished``, ``stopped`` and ``gave_up``. A
    start that failed is ``crashed`` with the context ``start_error``, and has no
    start of its own. A service that is stopped while it waits for its restart is
    ``stopped`` with the context ``restart_cancelled``, and ``gave_up`` with the same when its
    `Backoff`, or the limit of a `Singleton`, allows no more tries: news of its state, and no
    second end of a life that has had its end before. ``ready`` and ``unready`` are what a service
    that runs says of itself. ``moved`` is a `Move`.

    Attributes:
        event: One of the nine words above.
        path: Where in the tree.
        incarnation: Which life of the service, from 1.
        context: OTP's word for the occasion: ``started``, ``child_terminated``,
            ``start_error``, ``shutdown``, ``shutdown_error``; or ``restart_cancelled``,
            ``readiness``, ``ownership``.
        reason: Why it ended, is not ready, or has moved; None for a start.
        exception: Type of the exception, None without one.
        message: Its text.
        restarts: How often the service has been restarted so far.
        time: Seconds since the epoch.
        seconds: How long a start took, or an end, that of its children included; None for all else.
    """

    event: str
    path: str
    incarnation: int
    context: str
    reason: str | None
    exception: str | None
    message: str | None
    restarts: int
    time: float
    seconds: float | None = None


class Move(Lifecycle):
    """What runs once, on one of several nodes, has come here from another: ``moved``.

    It is told where it is now, and its `path` is that of the `Singleton` or the partition; what
    runs in it starts after that. What nobody had before, and what was here the last time, has not
    moved.

    Attributes:
        origin: The node, or the worker, that had it before.
        node: The one that has it now: this one.
        token: Of its lease.
    """

    origin: str = ""
    node: str = ""
    token: int = 0
