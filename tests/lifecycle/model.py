"""What a supervision tree does: the design and OTP's rules, with nothing of how it is done.

A reader checks the engine by this model, so it is small and has no gevent. An activity
is a generator that yields `(condition, moment)` and goes on when the condition holds or
the moment has come; `World` lets one after another go on, and jumps from moment to
moment. Numbers in comments are those of otp-rules.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

Activity = Generator[tuple[Callable[[], bool], Callable[[], float]], None, Any]

GRACE, LATE = 0.1, 0.5  # what is killed has this long to die; no longer than LATE past a deadline


class Refused(Exception):  # noqa: N818 - OTP says no
    """A call had no success; the text says why."""


@dataclass(frozen=True)
class Spec:
    """What a service asks for, and what it does in its hooks."""

    name: str = ""
    restart: str = "permanent"
    shutdown: float = 5.0  # inf for "infinity", 0 for "brutal_kill"
    is_brutal: bool = False
    backoff: tuple[float, float, float] | None = None  # initial, maximum, reset_after
    strategy: str = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    children: tuple[Spec, ...] = ()  # adopted in on_start
    keeps_children: bool = False  # the same objects in each life
    start_takes: float = 0.0
    stop_takes: float | None = None  # None: it has no on_stop
    stop_raises: bool = False
    is_stubborn: bool = False  # owns a greenlet that swallows its kill

    def __repr__(self) -> str:
        given = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)
                 if getattr(self, f.name) != f.default]
        return f"Spec({', '.join(given)})"


@dataclass(eq=False)
class Node:
    """One place in the tree."""

    spec: Spec
    parent: Node | None = None
    state: str = "new"
    incarnation: int = 0
    restarts: int = 0
    next_try: float | None = None
    in_a_row: int = 0
    inside: bool = False  # its start is part of its parent's
    kept: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.end_life()

    def end_life(self) -> None:
        self.children: dict[str, Node] = {}
        self.turn: list[object] = []  # who may change the children, and who waits for it
        self.inbox: list[tuple[Node, int, bool]] = []
        self.window: list[float] = []
        self.covering: list[Node] = []
        self.aborted_by = ""
        self.finishes = self.on_purpose = self.is_attended = False
        self.deadline = self.since = inf

    def is_active(self) -> bool:
        return self.state in ("starting", "running")

    def accepts(self, turn: list[object]) -> bool:
        """Whether who holds *turn* may start children."""
        return self.is_active() and self.turn is turn and not self.is_aborted()

    def is_busy(self) -> bool:
        return self.state in ("starting", "stopping")

    def abort(self, cause: str) -> None:
        if self.state == "starting" and self.aborted_by != "stopped":
            self.aborted_by = cause

    def is_aborted(self) -> str:
        """Why its start is cut short, or that of the service in whose on_start it starts."""
        return self.aborted_by or (self.parent.is_aborted() if self.parent and self.inside else "")

    def tighten(self, deadline: float) -> None:
        """Hand a deadline down to what is busy already; the others get it when their turn comes."""
        if self.is_busy() and deadline < self.deadline:
            self.deadline = deadline
            for child in self.children.values():
                child.tighten(deadline)

    def leave(self) -> None:
        if self.parent is not None:
            self.parent.children.pop(self.spec.name, None)
        self.parent = None


class World:
    """Time, the activities in progress, and the rules."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[Activity, Callable[[], bool], Callable[[], float]]] = []
        self.log: dict[str, list[tuple[float, str, str]]] = {}  # the starts, and the ends, of each one's children
        self.faults: dict[str, list[str]] = {}  # what the next starts of a service do

    # -- activities -------------------------------------------------------------------

    def go(self, activity: Activity) -> None:
        try:
            self.waiting.append((activity, *next(activity)))
        except StopIteration:
            pass

    def settle(self) -> None:
        while ready := [e for e in self.waiting if e[1]() or round(e[2](), 9) <= self.now]:
            for each in ready:
                self.waiting.remove(each)
            for each in ready:
                self.go(each[0])

    def advance(self, seconds: float) -> None:
        end = round(self.now + seconds, 9)
        while (moment := min((round(e[2](), 9) for e in self.waiting), default=inf)) <= end:
            self.now = max(self.now, moment)
            self.settle()
        self.now = end

    def wait_for(self, condition: Callable[[], bool]) -> Activity:
        if not condition():
            yield condition, lambda: inf

    def wait_until(self, moment: Callable[[], float]) -> Activity:
        if moment() > self.now:
            yield lambda: False, moment

    def hold(self, turn: list[object], aborted: Callable[[], str] = str) -> Activity:
        """Wait for *turn*, in order of asking."""
        me = object()
        turn.append(me)
        yield from self.wait_for(lambda: turn[0] is me or bool(aborted()))
        if aborted():
            turn.remove(me)
            raise Refused("aborted")

    def note(self, node: Node, what: str) -> None:
        kind = "starts" if what in ("on_start", "started", "restarted") else "ends"
        parent = node.parent.spec.name if node.parent else "nobody"
        self.log.setdefault(f"{kind} below {parent}", []).append((self.now, what, node.spec.name))

    # -- starting ---------------------------------------------------------------------

    def start(self, node: Node, *, again: bool = False) -> Activity:
        """Bring *node* up. *again*: its supervisor restarts it."""
        name, why = node.spec.name, ""
        node.end_life()
        node.state, node.incarnation = "starting", node.incarnation + 1
        self.note(node, "on_start")
        try:
            for spec in node.spec.children:  # 1
                child = node.kept.get(spec.name) or Node(spec)
                if node.spec.keeps_children:
                    node.kept[spec.name] = child
                yield from self.adopt(node, child, inside=True)
            until = self.now + node.spec.start_takes
            if until > self.now and not node.is_aborted():
                yield lambda: bool(node.is_aborted()), lambda: until
        except Refused as refusal:
            why = str(refusal)
        if node.is_aborted():
            why = f"start_failed {name}"
        elif not why and self.faults.get(name):
            why = {"ignore": "ignored"}.get(self.faults[name].pop(0), f"start_failed {name}")
        if not why:
            node.state, node.since = "running", self.now
            self.note(node, "restarted" if again else "started")
            if node.finishes:
                self.go(self.end(node, "finished"))
            self.attend(node)
            return
        reason = "stopped" if node.is_aborted() == "stopped" else why.partition(" ")[0]
        yield from self.end(node, reason, again=again, started=False)
        if reason != "ignored":  # 4
            raise Refused(why)

    def adopt(self, parent: Node, child: Node, *, inside: bool = False) -> Activity:
        if not parent.is_active():
            raise Refused("NotRunning")
        turn = parent.turn
        yield from self.hold(turn, parent.is_aborted if inside else str)
        try:
            if not parent.accepts(turn):
                raise Refused("NotRunning")
            child.parent, parent.children[child.spec.name] = parent, child
            child.inside = inside
            try:
                yield from self.start(child)
            except Refused:
                child.leave()  # 55
                raise
            child.inside = False
        finally:
            turn.pop(0)

    def start_by_hand(self, node: Node) -> Activity:
        parent = node.parent
        turn = parent.turn if parent else []
        yield from self.hold(turn)
        try:
            while True:
                if node.parent is not parent or (parent and not parent.accepts(turn)):
                    raise Refused("NotRunning")
                if not parent or not node.is_busy():
                    break
                yield from self.wait_for(lambda: not node.is_busy())
            if node.state == "restarting":
                raise Refused("ChildRestarting")
            if node.is_active() or node.is_busy():
                raise Refused("AlreadyStarted")
            yield from self.start(node)  # never counts: 17
        finally:
            turn.pop(0)

    # -- ending -----------------------------------------------------------------------

    def end(
        self, node: Node, reason: str, *, again: bool = False, started: bool = True
    ) -> Activity:
        """Take *node* down: children in reverse, on_stop, resources; then settle its fate."""
        spec, left = node.spec, node.spec.shutdown
        node.on_purpose |= reason == "stopped"
        node.state = "stopping"
        while node.children:
            child = list(node.children.values())[-1]
            yield from self.down(child, node)
            child.leave()  # 24
        if started and not spec.is_brutal and spec.stop_takes is not None:  # 45
            self.note(node, "on_stop")
            left -= yield from self.step(node, spec.stop_takes, left)
        if spec.is_stubborn:
            yield from self.step(node, inf, left)
            until = max(self.now, min(self.now + GRACE, node.deadline + LATE))
            yield from self.wait_until(lambda: until)
        self.settle_fate(node, reason, again=again)

    def step(self, node: Node, takes: float, left: float) -> Activity:
        """Wait for something of the node's own that takes so long, at most until its limit."""
        began = self.now
        yield from self.wait_until(lambda: min(began + min(takes, left), node.deadline))
        return self.now - began

    def settle_fate(self, node: Node, reason: str, *, again: bool) -> None:
        spec, parent = node.spec, node.parent
        if spec.backoff and self.now - node.since >= spec.backoff[2]:
            node.in_a_row = 0
        self.note(node, reason)
        if node.on_purpose:  # whatever it died of
            reason = "stopped"
        node.end_life()
        by_itself = reason not in ("stopped", "ignored")
        wanted = {  # 27
            "permanent": by_itself,
            "transient": reason in ("crashed", "gave_up", "start_failed"),
            "temporary": False,
        }[spec.restart]
        if reason == "start_failed":
            wanted = again
        if wanted and parent and parent.is_active():
            node.state = "restarting"
            parent.inbox.append((node, node.incarnation, False))
            self.attend(parent)
            return
        resting = {"finished": "finished", "stopped": "stopped", "ignored": "stopped"}
        node.state = resting.get(reason, "failed")
        if spec.restart == "temporary":  # 27, 29, 58
            node.leave()

    def down(self, node: Node, stopping: Node | None = None) -> Activity:
        """See to it that *node* is down and stays so: with its parent, or with its group."""
        if node.state == "running":
            node.deadline = stopping.deadline if stopping else inf
            yield from self.end(node, "stopped")
        while node.is_busy():
            node.on_purpose = True  # 14
            node.tighten(stopping.deadline if stopping else inf)
            node.abort("stopped")
            yield from self.wait_for(lambda: not node.is_busy())
        if node.state == "restarting":
            node.state, node.next_try = "stopped", None

    # -- what anybody may ask for ---------------------------------------------------------

    def stop(self, node: Node, seconds: float = inf) -> Activity:
        life = node.incarnation
        if node.parent and node in node.parent.covering:
            node.parent.covering.remove(node)
        if node.state == "restarting":  # 43
            node.state, node.next_try = "stopped", None
        elif node.is_active() or node.is_busy():
            node.on_purpose = True
            node.abort("stopped")
            if node.state == "running":
                node.deadline = self.now + seconds
                self.go(self.end(node, "stopped"))
            node.tighten(self.now + seconds)
            yield from self.wait_for(lambda: node.incarnation != life or not node.is_busy())

    def crash(self, node: Node) -> None:
        node.abort("crashed")
        if node.state == "running":
            self.go(self.end(node, "crashed"))

    def finish(self, node: Node) -> None:
        node.finishes = True
        if node.state == "running":
            self.go(self.end(node, "finished"))

    # -- supervising ------------------------------------------------------------------------

    def attend(self, node: Node) -> None:
        if node.inbox and node.state == "running" and not node.is_attended:
            node.is_attended = True
            self.go(self.attending(node, node.turn))

    def attending(self, node: Node, turn: list[object]) -> Activity:
        """Act on the ends of children, one after another, until there are no more."""
        while node.turn is turn and node.state == "running" and node.inbox:
            child, incarnation, has_waited = node.inbox.pop(0)
            yield from self.hold(turn)
            if node.turn is turn and node.state == "running" and child.parent is node:
                if child.state == "restarting" and child.incarnation == incarnation:  # 42, 43
                    yield from self.act(node, child, has_waited=has_waited)
            turn.pop(0)
        node.is_attended = node.is_attended and node.turn is not turn

    def act(self, node: Node, child: Node, *, has_waited: bool) -> Activity:
        spec = node.spec
        if not has_waited:
            node.window = [each for each in node.window if each >= self.now - spec.max_seconds]
            node.window.append(self.now)  # 11 to 19
            if len(node.window) > spec.max_restarts:
                child.state = "stopped"  # 21
                self.go(self.end(node, "gave_up"))
                return
        group = list(node.children.values())
        if spec.strategy != "one_for_all":  # 35 to 37
            group = group[group.index(child) :][: 1 if spec.strategy == "one_for_one" else None]
        backs_off = child.spec.backoff is not None and not has_waited
        node.covering = [] if backs_off else list(group)
        for sibling in reversed(group):
            if sibling is not child and sibling.parent is node:
                yield from self.down(sibling)
        if backs_off:
            self.back_off(node, child)
        for each in [] if backs_off else group:
            if node.state != "running":
                break
            if each in node.covering and each.parent is node and not each.is_active():  # 29 to 31
                node.covering.remove(each)
                each.restarts += 1
                try:
                    yield from self.start(each, again=True)
                except Refused:
                    if each.state == "restarting":
                        break  # 38 to 41
        node.covering = []

    def back_off(self, node: Node, child: Node) -> None:
        """Let *child* wait for its next try, holding up nobody."""
        if child.state != "restarting" or node.state != "running" or child.spec.backoff is None:
            return
        initial, maximum, _ = child.spec.backoff
        due = child.next_try = self.now + min(initial * 2.0**child.in_a_row, maximum)
        child.in_a_row += 1
        item = (child, child.incarnation, True)

        def pause() -> Activity:
            yield lambda: child.next_try != due, lambda: due
            if child.next_try == due:
                child.next_try = None
                node.inbox.append(item)
                self.attend(node)

        self.go(pause())
