"""What nodes have written while they were at work, and what it shows. Pure.

Three things must never be, whatever has happened to nodes, network and engine: two at work at once
on what runs once, a token that falls, and something that nobody runs once all is well.

A node writes when its work on something begins, and when it has ended. Who is killed in the midst
of it has not written the end: then it was at work until its last beat, which it writes every few
milliseconds for all that it does; or until another has seen its process alive, whatever it beats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

BEGINS: Final = "begins"
ENDS: Final = "ends"
LIVES: Final = "lives"
"""Somebody else has seen the process of this work alive."""


class Event(NamedTuple):
    """Something that was written.

    Attributes:
        kind: `BEGINS`, `ENDS` or `LIVES`.
        at: When, on the clock of the lease.
        pid: Of the process whose work it is.
        what: What runs once.
        token: Under which.
    """

    kind: str
    at: float
    pid: int
    what: str
    token: int


class Span(NamedTuple):
    """Somebody's work on something, from its beginning to its end."""

    what: str
    token: int
    pid: int
    began: float
    ended: float


def written(event: Event) -> str:
    """Return the line of an event."""
    return f"{event.kind} {event.at:.6f} {event.pid} {event.what} {event.token}\n"


def read(text: str) -> list[Event]:
    """Return the events of whole lines."""
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [
        Event(kind, float(at), int(pid), what, int(token))
        for kind, at, pid, what, token in map(str.split, whole)
    ]


def spans_of(events: Iterable[Event], beats: Mapping[int, float]) -> list[Span]:
    """Return all work, in the order in which it began.

    Args:
        events: What was written, in any order.
        beats: When each process has beaten last.
    """
    began: dict[tuple[str, int, int], float] = {}
    seen: dict[tuple[str, int, int], float] = {}
    found: list[Span] = []
    for event in sorted(events, key=lambda each: each.at):
        key = event.what, event.token, event.pid
        if event.kind == BEGINS:
            if key in began:  # and has not ended: an end with this beginning
                found.append(Span(*key, began[key], event.at))
            began[key] = event.at
        elif event.kind == LIVES:
            seen[key] = event.at
        elif key in began:
            found.append(Span(*key, began.pop(key), event.at))
            seen.pop(key, None)
    for key, at in began.items():
        last = max(at, beats.get(key[2], at), seen.get(key, at))
        found.append(Span(*key, at, last))
    return sorted(found, key=lambda span: span.began)


class Doubled(NamedTuple):
    """Two at work at once: *second* began before *first* had ended."""

    first: Span
    second: Span

    @property
    def seconds(self) -> float:
        """For how long, at least."""
        return min(self.first.ended, self.second.ended) - self.second.began

    def __str__(self) -> str:
        """Say who, and for how long."""
        return (
            f"two at work on {self.first.what}: {self.first.pid} ({self.first.token}) and "
            f"{self.second.pid} ({self.second.token}) at {self.second.began:.3f}, for "
            f"{self.seconds:.3f} s at least"
        )


def doubled(spans: Sequence[Span]) -> list[Doubled]:
    """Return where two were at work at once, of spans in the order in which they began."""
    longest: dict[str, Span] = {}
    found: list[Doubled] = []
    for span in spans:
        before = longest.get(span.what)
        if before is not None and span.began < before.ended:
            found.append(Doubled(before, span))
        if before is None or span.ended > before.ended:
            longest[span.what] = span
    return found


def fallen(spans: Sequence[Span]) -> list[str]:
    """Return where a token does not rise from one to the next who is at work."""
    last: dict[str, Span] = {}
    found: list[str] = []
    for span in spans:
        before = last.get(span.what)
        if before is not None:
            is_same = (before.token, before.pid) == (span.token, span.pid)
            if span.token <= before.token and not is_same:
                found.append(
                    f"the token of {span.what} does not rise: {span.token} of {span.pid} after "
                    f"{before.token} of {before.pid} at {span.began:.3f}"
                )
        last[span.what] = span
    return found


def ownerless(holders: Mapping[str, int], alive: set[int]) -> list[str]:
    """Return what nobody is at work on.

    Args:
        holders: Which process was at work on each last, and has not ended that; 0: none.
        alive: Processes.
    """
    return [what for what, pid in holders.items() if pid not in alive]


def gaps(spans: Sequence[Span]) -> dict[str, list[float]]:
    """Return for how long nobody was at work on each, from each owner to the next."""
    last: dict[str, Span] = {}
    found: dict[str, list[float]] = {}
    for span in spans:
        before = last.get(span.what)
        if before is not None and before.pid != span.pid:
            found.setdefault(span.what, []).append(span.began - before.ended)
        last[span.what] = span
    return found
