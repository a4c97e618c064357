"""The rules of the lease, as a model: what nodes, an engine and the wires between them may do.

Time goes in ticks, all nodes' at one rate; what happens between two ticks happens in any order.
After each tick a node renews and looks, or joins, unless it is cut off, or its loop held: both are
faults. A call to the engine is answered at once, or, as a fault, it is under way: carried out
later, or never, and answered later, or never. Whatever else a node may do, it does at any time, or
not at all; with ``eager=False`` it renews and looks so, too.

Numbers stay small, so that the same situation is the same state: a beat that was never used before
is the least that nothing mentions; of tokens only the order counts, and whether one is the next.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, NamedTuple, cast

TOMBSTONE: Final = -1
FREE: Final = (None, 0)
"""A row that nobody ever had; no token is as low."""
NAMES: Final = "ABC"

Record = int | None
"""Of a life: its last beat, or a tombstone; None: there is none."""
Row = tuple[int | None, int]
"""Who owns it, and its epoch."""


@dataclass(frozen=True)
class Rules:
    """What the lease promises to heed; each can be dropped."""

    fresh_beats: bool = True
    """A renewal writes a beat that was never used before; else the one after the last known."""
    from_start: bool = True
    """The deadline counts from an attempt's start; else from its answer."""
    own_attempt: bool = True
    """What is read back counts from the start of the attempt that wrote it; else from now."""
    never_creates: bool = True
    """A renewal swaps a record that is there; else it also writes where there is none."""
    deadline: bool = True
    """At the deadline the work is down, by the node; else when it hears that it has lost."""
    kernel: bool = True
    """... and by the kernel, where the node's loop is held."""
    over_is_over: bool = True
    """A life that has reached its deadline is over; else a late answer revives it."""
    new_life: bool = True
    """Who has lost its lease joins as a new life; else as the old one."""
    whole_ttl: bool = True
    """Others' records are watched for a whole ttl; else for as long as their owner may work, less
    a tick."""
    longer_ttl: bool = True
    """... for the longer one of mine and the record's; else mine."""
    from_answer: bool = True
    """... from when the answer came; else from the question."""
    restarts: bool = True
    """... and anew with each change."""
    no_wall: bool = True
    """... on a clock that nobody sets."""
    whole_record: bool = True
    """What is swapped is compared as a whole; else whoever is there is overwritten."""
    tombstones: bool = True
    """A row is taken from who has a tombstone; else from whose record stood still."""
    identity_anew: bool = True
    """A change of the engine's identity lets all watching start anew."""
    quarantine: bool = True
    """... and grants nothing for a while."""
    empty_is_change: bool = True
    """That my record is gone without a tombstone counts as such a change."""
    read_back: bool = True
    """Under a new identity a renewal counts only after lease and rows were read unchanged."""
    own_claim: bool = True
    """A row that names me, and that I do not know of, is mine: start it."""
    token_clock: bool = True
    """A token is not below the engine's clock; else it is the epoch and one."""
    # Not in the contract; without them this model finds counterexamples.
    joiner_waits: bool = True
    """The first answer that a process has from an engine is a change of its identity, too."""
    answer_identity: bool = True
    """A swap answered under another identity than that I know starts nothing."""
    anew_after_change: bool = True
    """After such a change a row that names me, and that I have not claimed since, is taken anew."""
    claim_read_back: bool = True
    """A claim starts nothing before lease and row were read after it."""
    missing_is_record: bool = True
    """A row's owner without a record is watched, and gets a tombstone, as one with a record."""
    longest_ttl: bool = True
    """The quarantine is that of the longest ttl that was ever seen; else mine."""


class Bounds(NamedTuple):
    """How much may happen in a history.

    Attributes:
        work: For each node, for how many ticks it may work after the start of a success. Its ttl
            is a tick longer, its quarantine another one.
        lives: How many there are in all, with those of the beginning.
        slow, cut, kill, hold, revert, empty, step, give: How often that happens: a call that is
            not answered at once; a node that is cut off, and back some time; the end of a process;
            a loop that is held; the loss of the last writes; of all; a wall clock set ahead; a row
            given up by hand.
        faults: How many of these in all.
        rows: How many there are.
        eager: Whether nodes renew and look after each tick, or at any time, or never.
        ticks: How long a history is.
        is_free: Whether the rows are free at first; else A is at work.
        of: Whose loops are held, and who is cut off, killed, or has calls under way.
        calls: Which these are.
    """

    work: tuple[int, ...] = (3, 3)
    lives: int = 3
    faults: int = 2
    slow: int = 0
    cut: int = 0
    kill: int = 0
    hold: int = 0
    revert: int = 0
    empty: int = 0
    step: int = 0
    give: int = 0
    rows: int = 1
    eager: bool = True
    ticks: int = 99
    is_free: bool = False
    of: str = "AB"
    calls: str = "renew look bury clear claim free"

    @property
    def is_timed(self) -> bool:
        """Whether the engine's clock matters: it is for tokens after the engine has forgotten."""
        return bool(self.revert or self.empty)


FAULTS: Final = ("slow", "cut", "kill", "hold", "revert", "empty", "step", "give")


class Request(NamedTuple):
    """What a node asks of the engine; or what has become of that."""

    node: int
    """-1: nobody waits for the answer any more."""
    life: int
    kind: str
    """look, renew, bury, clear, claim, free"""
    key: int = 0
    old: Record | Row = None
    new: Record | Row = None
    age: int = 0
    outcome: tuple[object, int, int] | None = None
    """What came of it, the engine's identity and clock then; None: nothing yet."""


class Node:
    """A process of the app."""

    __slots__ = (
        "anew",
        "claimed",
        "cut",
        "held",
        "identity",
        "last",
        "life",
        "longest",
        "ms",
        "proved",
        "seen",
        "tries",
        "until",
        "view",
        "wait",
        "work",
    )

    def __init__(self, rows: int) -> None:
        self.life: int | None = None
        self.held = False
        self.cut = False
        self.until = 0
        """Ticks for which it may still work."""
        self.last: Record = None
        """The last beat it knows of its own record."""
        self.tries: tuple[tuple[int, int], ...] = ()
        """Its attempts without an answer: the beat, and until when it would count."""
        self.identity: int | None = None
        self.wait = 0
        """Ticks for which it takes nothing."""
        self.longest = 0
        self.proved = True
        """Whether lease and rows were read under this identity."""
        self.seen: tuple[tuple[int, Record, int], ...] = ()
        """Of other lives: the record, and for how many ticks it has still to be watched."""
        self.view: tuple[Row, ...] | None = None
        self.ms = 0
        self.anew = False
        """Whether the engine has become another one in this life."""
        self.claimed: tuple[int | None, ...] = (None,) * rows
        """The tokens it has asked for under this identity."""
        self.work: tuple[int | None, ...] = (None,) * rows
        """The tokens with which it is at work."""

    def copy(self) -> Node:
        made = Node.__new__(Node)
        for name in Node.__slots__:
            setattr(made, name, getattr(self, name))
        return made

    def frozen(self) -> tuple[object, ...]:
        return (
            self.life,
            self.held,
            self.cut,
            self.until,
            self.last,
            self.tries,
            self.identity,
            self.wait,
            self.longest,
            self.proved,
            self.seen,
            self.view,
            self.ms,
            self.anew,
            self.claimed,
            self.work,
        )

    def end_life(self) -> None:
        """Stop all work, and belong to nobody; what the process knows of the engine stays."""
        self.life = self.last = self.view = None
        self.until = self.ms = 0
        self.tries = self.seen = ()
        self.proved = True
        self.anew = False
        self.claimed = self.work = (None,) * len(self.work)


class World:
    """Nodes, an engine, and what is under way between them; changed by moves on a copy."""

    __slots__ = (
        "bounds",
        "broken",
        "budget",
        "clock",
        "homes",
        "identity",
        "leases",
        "lives",
        "net",
        "nodes",
        "parent",
        "past",
        "rows",
        "rules",
        "saved",
        "worked",
    )

    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self.rules = rules
        self.bounds = bounds
        self.nodes = [Node(bounds.rows) for _ in bounds.work]
        self.leases: list[Record] = [None] * bounds.lives
        self.rows: list[Row] = [FREE] * bounds.rows
        self.identity = 0
        self.clock = 2
        self.saved: tuple[tuple[Record, ...], tuple[Row, ...]] | None = None
        self.net: list[Request] = []
        self.lives = 0
        self.homes: tuple[int, ...] = ()
        """By life: the node whose it was."""
        self.budget: dict[str, int] = {kind: getattr(bounds, kind) for kind in FAULTS}
        self.budget["faults"] = bounds.faults
        self.worked: list[tuple[int | None, int]] = [FREE] * bounds.rows
        """Who was the last at work on each row, and the highest token that was."""
        self.broken = ""
        self.past: str = "at first"
        self.parent: World | None = None

    def copy(self) -> World:
        made = World.__new__(World)
        made.rules, made.bounds = self.rules, self.bounds
        made.nodes = [node.copy() for node in self.nodes]
        made.leases, made.rows = self.leases[:], self.rows[:]
        made.identity, made.clock, made.saved = self.identity, self.clock, self.saved
        made.net, made.lives, made.homes = self.net[:], self.lives, self.homes
        made.budget = self.budget.copy()
        made.worked = self.worked[:]
        made.broken, made.past, made.parent = "", "", self
        return made

    def frozen(self) -> tuple[object, ...]:
        """Return what tells this situation from others."""
        return (
            tuple([node.frozen() for node in self.nodes]),
            tuple(self.leases),
            tuple(self.rows),
            self.identity,
            self.clock,
            self.saved,
            tuple(sorted(self.net, key=repr)) if len(self.net) > 1 else tuple(self.net),
            self.homes,
            tuple(self.budget.values()),
            tuple(self.worked),
        )

    def spend(self, kind: str) -> None:
        self.budget[kind] -= 1
        self.budget["faults"] -= 1

    def may(self, kind: str) -> bool:
        left: int = min(self.budget[kind], self.budget["faults"])
        return left > 0

    # -- numbers ---------------------------------------------------------------------------

    def ttl(self, index: int) -> int:
        return self.bounds.work[index] + 1

    def unused_beat(self, life: int) -> int:
        """Return the least beat of *life* that nothing mentions."""
        used: set[object] = {self.leases[life]}
        if self.saved is not None:
            used.add(self.saved[0][life])
        for node in self.nodes:
            if node.life == life:
                used.add(node.last)
                used.update(beat for beat, _ in node.tries)
            else:
                used.update(record for other, record, _ in node.seen if other == life)
        for request in self.net:
            if request.kind in ("renew", "bury") and request.key == life:
                used.update((request.old, request.new))
            elif request.kind == "look" and request.outcome is not None:
                used.add(read_of(request.outcome[0])[0][life])
        beat = 0
        while beat in used:
            beat += 1
        return beat

    def squeeze(self) -> None:
        """Keep of tokens, and of the clock, only their order, and who is whose next."""
        found = {0, self.clock, *(token for _, token in self.worked)}
        for node in self.nodes:
            found.add(node.ms)
            found.update(token for token in (*node.claimed, *node.work) if token is not None)
            found.update(epoch for _, epoch in node.view or ())
        found.update(epoch for _, epoch in self.rows)
        if self.saved is not None:
            found.update(epoch for _, epoch in self.saved[1])
        for request in self.net:
            if request.kind in ("claim", "free"):
                found.update((row_of(request.old)[1], row_of(request.new)[1]))
            if request.outcome is not None:
                found.add(request.outcome[2])
                if request.kind == "look":
                    found.update(epoch for _, epoch in read_of(request.outcome[0])[1])
        names: dict[int, int] = {}
        at = before = 0
        for value in sorted(found):
            at += min(value - before, 2)
            before = value
            names[value] = at
        _rename(self, names)


def _rename(world: World, to: dict[int, int]) -> None:
    if all(value == name for value, name in to.items()):
        return

    def token(given: int | None) -> int | None:
        return None if given is None else to[given]

    def rows(given: tuple[Row, ...]) -> tuple[Row, ...]:
        return tuple((owner, to[epoch]) for owner, epoch in given)

    world.clock = to[world.clock]
    world.worked = [(who, to[at]) for who, at in world.worked]
    world.rows = list(rows(tuple(world.rows)))
    if world.saved is not None:
        world.saved = world.saved[0], rows(world.saved[1])
    for node in world.nodes:
        node.ms = to[node.ms]
        node.claimed = tuple(map(token, node.claimed))
        node.work = tuple(map(token, node.work))
        node.view = None if node.view is None else rows(node.view)
    for at, request in enumerate(world.net):
        changed = request
        if request.kind in ("claim", "free"):
            old, new = rows((row_of(request.old), row_of(request.new)))
            changed = changed._replace(old=old, new=new)
        if request.outcome is not None:
            value, identity, clock = request.outcome
            if request.kind == "look":
                leases, seen = read_of(value)
                value = leases, rows(seen)
            changed = changed._replace(outcome=(value, identity, to[clock]))
        world.net[at] = changed


def read_of(value: object) -> tuple[tuple[Record, ...], tuple[Row, ...]]:
    assert isinstance(value, tuple)
    return cast("tuple[tuple[Record, ...], tuple[Row, ...]]", value)


def row_of(value: object) -> Row:
    assert isinstance(value, tuple)
    return cast("Row", value)


def names_of_rules() -> list[str]:
    return [field.name for field in fields(Rules)]
