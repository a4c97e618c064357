"""A frozen picture of a service and of everything below it: what there is to be seen in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sprag_supervisor.rules.states import RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sprag_supervisor.facts.because import Because
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.hold import Hold
    from sprag_supervisor.facts.straggler import Straggler
    from sprag_supervisor.rules.policy import Policy
    from sprag_supervisor.rules.states import State


class Owned(NamedTuple):
    """How much a service holds at the moment."""

    greenlets: int = 0
    timers: int = 0
    listeners: int = 0
    cleanups: int = 0
    tasks: int = 0


class Items(NamedTuple):
    """The items of a pool of workers: how many there are, and what became of the others."""

    queued: int
    running: int
    done: int
    poison: int
    dropped: int


class Ownership(NamedTuple):
    """Who has the right to run what runs once, of several trees, as it was seen here last.

    Attributes:
        node: What that one is called; None: nobody has it, or nobody is called anything.
        here: Whether that is this tree.
        token: Of its lease, or of the last; None: not known.
    """

    node: str | None
    here: bool
    token: int | None


class Snapshot(NamedTuple):
    """One service as it was when the picture was taken, and its children.

    Attributes:
        name: Its name below its parent.
        path: The names from the root down, joined by slashes.
        class_name: Its class.
        kind: "worker" or "supervisor".
        state: Where in its life it is.
        incarnation: How often it has been started, by whomever.
        restarts: How often it was restarted automatically, group restarts included.
        uptime: Seconds since it came up; None while it is down.
        started_at: When it came up, in seconds since the epoch; None while it is down.
        ended_at: When it went down, likewise; None while it is up or new.
        policy: What it asks for, with what `adopt` was given.
        owned: What it holds.
        failures: Its last crashes, the latest last.
        next_try: Seconds until its next start, while it waits for its backoff, or for that of
            the sibling that it is restarted with.
        stragglers: What earlier lives have left behind, because it has swallowed its kill.
        children: In start order. What is alike in most is kept once, and each of them is made
            when somebody looks at it.
        unready: Why others are not to count on it yet although it runs, "" for no reason given;
            None: they may, or it does not run.
        status: What it is at, in its own words; None if it has said nothing.
        items: What a pool of workers has to do, and has done in this life; None for others.
        held: What holds it, so that nobody decides about its exits; None: nothing does.
        draining: It is stopping, and still works: it and all that end with it drain first.
        waits_for: The siblings that it needs and waits for, by name.
        pid: The process id of a program that runs; None of what is none.
        because: Why it is down; None: it is not, or was never started.
        ownership: Of what runs once, of several trees: who has it; None for all else.
    """

    name: str
    path: str
    class_name: str
    kind: str
    state: State
    incarnation: int
    restarts: int
    uptime: float | None
    started_at: float | None
    ended_at: float | None
    policy: Policy
    owned: Owned
    failures: tuple[Failure, ...]
    next_try: float | None
    stragglers: tuple[Straggler, ...]
    children: Sequence[Snapshot]
    unready: str | None = None
    status: str | None = None
    items: Items | None = None
    held: Hold | None = None
    draining: bool = False
    waits_for: tuple[str, ...] = ()
    pid: int | None = None
    because: Because | None = None
    ownership: Ownership | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and others may count on it; not on one that is held itself."""
        is_held = self.held is not None and self.held.path == self.path
        return self.state is RUNNING and self.unready is None and not is_held

    @property
    def last_failure(self) -> Failure | None:
        """The latest crash that is remembered."""
        return self.failures[-1] if self.failures else None
