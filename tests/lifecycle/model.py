"""What a supervision tree does: the design and OTP's rules, with nothing of how it is done.

A reader checks the engine by this model, so it is small and knows no greenlets. Each method of
`Model` that returns an `Activity` is a story told in order, which may wait in between.
Numbers in comments are those of otp-rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import accumulate
from math import inf

from hypothesis.errors import UnsatisfiedAssumption

from lifecycle.activities import Activities, Activity

CLEAN = ("stopped", "finished")
GRACE, LATE = 0.125, 0.5  # what is killed has so long to die; past a deadline, no longer than LATE


def third(now: float, deadline: float) -> float:
    """Return when a third of the time until *deadline* is over."""
    return now + (deadline - now) / 3


class Refused(Exception):
    """A call had no success; the text says why."""


class Unclear(UnsatisfiedAssumption):
    """Two things come at one moment, and no rule says which is heard first: the story ends."""


@dataclass(frozen=True)
class Spec:
    """What a service asks for, and what it does in its hooks."""

    name: str = ""
    restart: str = "permanent"
    shutdown: float = 5.0  # inf for "infinity", 0 for "brutal_kill"
    is_brutal: bool = False
    start_timeout: float = inf
    backoff: tuple[float, float, float] | None = None  # initial, maximum, reset_after
    strategy: str = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    children: tuple[Spec, ...] = ()  # adopted in on_start
    keeps_children: bool = False  # the same objects in each life
    start_takes: float = 0.0
    drain_takes: float | None = None  # None: no on_drain
    stop_takes: float | None = None  # None: no on_stop
    stop_raises: bool = False
    has_run: bool = False
    is_stubborn: bool = False  # owns a greenlet that swallows its kill

    def __repr__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        told = [f"{each.name}={given[each.name]!r}" for each in fields(self)
                if given[each.name] != each.default]  # fmt: skip
        return f"Spec({', '.join(told)})"


@dataclass(eq=False)
class Group:
    """A restart of several children: under way, or waiting for the next try of its leader."""

    leader: Node | None = None
    out: list[Node] = field(default_factory=list["Node"])  # stopped by hand meanwhile


@dataclass(eq=False)
class Node:
    """One place in the tree."""

    spec: Spec
    parent: Node | None = None
    state: str = "new"
    incarnation: int = 0
    restarts: int = 0
    next_try: float | None = None
    down_at: float | None = None
    brief_at: float | None = None  # when it came up only to finish
    ends_at: float | None = None  # when its last end began
    missed_try: float | None = None  # when a sibling was tried again while it still ended
    group: Group | None = None  # with whom it is started, if not by itself
    in_a_row: int = 0
    starts_inside: bool = False  # its start is part of its parent's on_start
    kept: dict[str, Node] = field(default_factory=dict[str, "Node"])

    def __post_init__(self) -> None:
        self.end_life()

    def end_life(self) -> None:
        self.children: dict[str, Node] = {}
        self.turn: list[object] = []  # who may change the children, then who waits for it
        self.inbox: list[tuple[Node, int, bool]] = []  # who has ended or waited, in which life
        self.window: list[float] = []
        self.groups: list[Group] = []  # restarts of several of its children
        self.cut_short = self.finishes = self.on_purpose = self.is_attended = False
        self.deadline = self.since = inf
        self.left = self.spec.shutdown  # for its own steps
        self.drain = ""  # "waits", "under way" or "over"; "" again when its steps begin
        self.drains_until = inf
        self.is_drained = False  # its on_drain has begun
        self.is_walked = False  # somebody takes it down
        self.came_up = False
        self.above: Node | None = None  # its parent, if that takes it down
        self.rest: list[Node] = []  # children whose turn to go down has not come
        self.counted: list[float] | None = None  # what the first so many of them may take
        self.later: tuple[float, float] | None = None  # what those ask for that come after it

    def is_active(self) -> bool:
        return self.state in ("starting", "running")

    def lives(self, life: int) -> bool:
        return self.state == "running" and self.incarnation == life

    def is_busy(self) -> bool:
        return self.state in ("starting", "stopping")

    def is_going_down(self) -> bool:
        """Whether it ends, or a stop cuts its start short."""
        return self.state == "stopping" or (self.state == "starting" and self.on_purpose)

    def is_up(self) -> bool:
        return self.state not in ("stopped", "finished", "failed")

    def is_aborted(self) -> bool:
        """Whether its start is cut short, or that of the service in whose on_start it starts."""
        above = self.parent if self.starts_inside else None
        return self.cut_short or (above is not None and above.is_aborted())

    def abort(self) -> None:
        self.cut_short = self.cut_short or self.state == "starting"

    def is_called_off(self) -> bool:
        """Whether a stop cuts its start short: its own, or one further up."""
        above = self.parent if self.starts_inside else None
        is_above = above is not None and above.is_aborted() and above.is_wanted_down()
        return self.on_purpose or is_above

    def is_wanted_down(self) -> bool:
        return self.on_purpose or (self.parent is not None and self.parent.is_wanted_down())

    def is_below_an_end(self) -> bool:
        above = self.parent
        return above is not None and (above.state == "stopping" or above.is_below_an_end())

    def accepts(self, turn: list[object]) -> bool:
        """Whether who holds *turn* may start children: not if it ends or is about to."""
        return self.is_active() and self.turn is turn and not self.is_aborted()

    def tighten(self, deadline: float, now: float) -> None:
        """Hand a deadline down to what ends already; the others get it when their turn comes."""
        if self.is_busy() and deadline < self.deadline:
            self.deadline, self.later = deadline, None
            if self.drain:
                self.drains_until = min(self.drains_until, third(now, deadline))
            for child in self.children.values():
                child.tighten(deadline, now)
        elif not self.is_busy():
            for each in self.nearest():
                each.tighten(deadline, now)

    def may_take_some(self) -> bool:
        """Whether its own steps may take time when its turn comes."""
        spec = self.spec
        has_been_up = self.state == "running" or self.came_up
        says_goodbye = has_been_up and (spec.stop_takes is not None or spec.has_run)
        may_drain = self.state == "running" and spec.drain_takes is not None
        return self.left > 0 and (says_goodbye or may_drain or spec.is_stubborn)

    def asks(self, infinity: float) -> float:
        return min(self.left, infinity) if self.may_take_some() else 0.0

    def asks_with_all(self, infinity: float) -> float:
        """Return what it and all below it ask for, while its turn has not come."""
        if self.state != "running" and not (self.drain and not self.is_walked):
            return 0.0
        below = [each.asks_with_all(infinity) for each in self.children.values()]
        return self.asks(infinity) + sum(below)

    def asked_later(self, left: float) -> tuple[float, float]:
        """Return what those ask for that come after it in the same time, and infinity."""
        above = self.above
        if self.later is None and (above is None or above.deadline > self.deadline):
            self.later = 0.0, left
        elif self.later is None and above is not None:
            later, infinity = above.asked_later(left)
            if above.counted is None:
                asked = (each.asks_with_all(infinity) for each in above.rest)
                above.counted = list(accumulate(asked, initial=0.0))
            later += above.asks(infinity)
            self.later = later + above.counted[len(above.rest)], infinity
        assert self.later is not None
        return self.later

    def take_part(self, now: float) -> None:
        """Take no more than its part of the time that a stop has left."""
        left = max(self.deadline - now, 0.0)
        if self.deadline == inf or not self.may_take_some():
            return
        if not left:
            self.left = 0.0
            return
        later, infinity = self.asked_later(left)
        own = min(self.left, infinity)
        if own + later > left:
            self.left = own * left / (own + later)

    def drains(self) -> bool:
        """Whether it has an on_drain, and a stop calls it."""
        has_it = self.spec.drain_takes is not None and not self.spec.is_brutal
        return has_it and (self.state == "running" or (self.state == "stopping" and self.came_up))

    def all_that_drain(self) -> list[Node]:
        below = [each for one in self.children.values() for each in one.all_that_drain()]
        return [self, *below] if self.drains() else below

    def nearest(self) -> list[Node]:
        """Return who drains below it, or waits to, with nobody in between who does."""
        found: list[Node] = []
        for each in self.children.values():
            found += [each] if each.drain and each.drains() else each.nearest()
        return found

    def leave(self) -> None:
        if self.parent is not None:
            self.parent.children.pop(self.spec.name, None)
        self.parent = self.group = None

    def cancel_retry(self) -> list[Node]:
        """Rest, with all that wait for its next try; return who."""
        parent = self.parent
        resting: list[Node] = [self]
        for group in [each for each in parent.groups if each.leader is self] if parent else []:
            parent.groups.remove(group)  # type: ignore[union-attr]
            for each in [each for each in parent.children.values() if each.group is group]:  # type: ignore[union-attr]
                each.group = None
                if each.state == "restarting":
                    resting.append(each)
        for each in resting:
            each.state, each.next_try, each.group = "stopped", None, None
        return resting

    def waits_until(self) -> float | None:
        """Return its next try, or that of who it waits for."""
        leader = self.group.leader if self.group and self.state == "restarting" else None
        return leader.next_try if leader else self.next_try


class Model(Activities):
    """The rules."""

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[str, list[tuple[float, str, str]]] = {}  # by parent: starts, and ends
        self.faults: dict[str, list[str]] = {}  # what the next starts of a service do
        self.drained_at: float | None = None  # when somebody had taken its time to drain
        self.killed_at: float | None = None  # when somebody had taken its time to die

    def note(self, node: Node, what: str) -> None:
        kind = "starts" if what in ("on_start", "started", "restarted") else "ends"
        parent = node.parent.spec.name if node.parent else "nobody"
        self.log.setdefault(f"{kind} below {parent}", []).append((self.now, what, node.spec.name))

    def hold(self, turn: list[object], parent: Node | None = None) -> Activity:
        """Wait for *turn*, in order of asking, unless *parent*'s start is cut short."""
        me = object()
        turn.append(me)
        yield from self.wait_for(lambda: turn[0] is me or (parent and parent.is_aborted()))
        if turn[0] is not me:
            turn.remove(me)
            raise Refused("aborted")

    # -- starting -----------------------------------------------------------------------------

    def start(self, node: Node, *, again: bool = False) -> Activity:
        """Bring *node* up. *again*: its supervisor restarts it."""
        spec, why = node.spec, ""
        node.end_life()
        node.state, node.incarnation = "starting", node.incarnation + 1
        self.note(node, "on_start")
        self.go(self.time_out(node, node.incarnation))
        try:
            for each in spec.children:  # 1
                child = node.kept.get(each.name) or Node(each)
                if spec.keeps_children:
                    node.kept[each.name] = child
                yield from self.adopt(node, child, inside=True)
            until = self.now + spec.start_takes
            yield from self.wait_until(lambda: until, node.is_aborted)
        except Refused as refusal:
            why = str(refusal)
        if node.is_aborted():
            why = f"start_failed {spec.name}"
        elif not why and self.faults.get(spec.name):
            fault = self.faults[spec.name].pop(0)
            why = "ignored" if fault == "ignore" else f"start_failed {spec.name}"
        if not why:
            node.state, node.since = "running", self.now
            self.note(node, "restarted" if again else "started")
            if node.finishes:
                node.brief_at = self.now
                self.go(self.end(node, "finished"))
            self.attend(node)
            return
        if any(
            each.state == "restarting" and each.down_at == self.now
            for each in node.children.values()
        ):
            raise Unclear  # who has ended as it came up would be taken down, and not called off
        is_stopped = node.is_aborted() and node.is_called_off()
        reason = "stopped" if is_stopped else why.partition(" ")[0]
        yield from self.end(node, reason, again=again, started=False)
        if reason != "ignored":  # 4
            raise Refused(why)

    def time_out(self, node: Node, life: int) -> Activity:
        until = self.now + node.spec.start_timeout
        yield from self.wait_until(
            lambda: until, lambda: node.state != "starting" or node.incarnation != life
        )
        if node.incarnation == life:
            node.abort()

    def adopt(self, parent: Node, child: Node, *, inside: bool = False) -> Activity:
        if not parent.is_active():
            raise Refused("not_running")
        turn = parent.turn
        yield from self.hold(turn, parent if inside else None)
        try:
            if not parent.accepts(turn):
                raise Refused("not_running")
            child.parent, child.starts_inside = parent, inside
            parent.children[child.spec.name] = child  # 37
            try:
                yield from self.start(child)
            except Refused:
                child.leave()  # 55
                raise
            child.starts_inside = False
        finally:
            turn.pop(0)

    def start_by_hand(self, node: Node) -> Activity:
        parent, turn = node.parent, node.parent.turn if node.parent else []
        life = node.incarnation
        yield from self.hold(turn)
        try:
            while parent:
                if node.parent is not parent or not parent.accepts(turn):
                    raise Refused("not_running")
                if not node.is_busy():
                    break
                yield from self.wait_for(lambda: not node.is_busy())
            while parent is None and node.is_going_down():
                yield from self.wait_for(
                    lambda life=life: node.incarnation != life or not node.is_going_down()  # type: ignore[misc]
                )
                if node.incarnation != life and not node.is_active():
                    raise Unclear  # who else has waited has tried at this moment: is that over?
                life = node.incarnation
            if node.state == "restarting" or node.is_active() or node.is_busy():  # 56
                raise Refused("not_down")
            if parent:
                node.in_a_row = 0
            for group in parent.groups if parent else []:
                node.group = None if node.group is group else node.group
                group.out = [each for each in group.out if each is not node]
            yield from self.start(node)  # never counts: 17
        finally:
            turn.pop(0)

    def delete(self, node: Node) -> Activity:
        parent, turn = node.parent, node.parent.turn if node.parent else []
        yield from self.hold(turn)
        if node.parent is not parent or node.state == "restarting":
            turn.pop(0)
            raise Refused("unknown or restarting")
        turn.pop(0)
        if node.is_active() or node.is_busy():  # 57
            raise Refused("running")
        node.leave()

    # -- ending -------------------------------------------------------------------------------

    def end(
        self,
        node: Node,
        reason: str,
        *,
        again: bool = False,
        started: bool = True,
        drains: bool = True,
    ) -> Activity:
        """Take *node* down, after all at and below it that drain have drained."""
        node.came_up, node.is_walked, node.ends_at = started, True, self.now
        node.state, node.on_purpose = "stopping", node.on_purpose or reason == "stopped"
        if drains and node.all_that_drain():
            yield from self.drain(node, is_clean=started and reason in CLEAN)
        yield from self.go_down(node, reason, again=again, drains=drains)

    def drain(self, top: Node, *, is_clean: bool = True) -> Activity:
        """Let all drain: parents before children, independent ones side by side."""
        everyone = [each for each in top.all_that_drain() if each is not top]
        for each in everyone:
            if each.state == "running":
                each.state, each.on_purpose, each.deadline = "stopping", True, top.deadline
                each.drain, each.drains_until = "waits", third(self.now, top.deadline)
                each.came_up = True
            elif each.drain:
                each.on_purpose = True
                each.tighten(top.deadline, self.now)
        if is_clean and not top.drain:
            top.drain = "waits" if top.drains() else "over"
            top.drains_until = third(self.now, top.deadline)
        if top.drain == "waits":
            yield from self.on_drain(top)
        yield from self.wait_for(lambda: top.drain != "under way")
        self.set_going(top)
        for each in [top, *everyone]:
            yield from self.wait_for(lambda each=each: each.drain in ("", "over"))  # type: ignore[misc]

    def by_itself(self, node: Node) -> Activity:
        """Take down one that drains because something above it stops, before its turn comes."""
        yield from self.drain(node)
        yield from self.go_down(node, "stopped")

    def on_drain(self, node: Node) -> Activity:
        node.drain, node.is_drained = "under way", True
        self.note(node, "on_drain")
        took = yield from self.step(node, node.spec.drain_takes or 0.0)
        node.left -= took
        self.drained_at = self.now if took else self.drained_at
        node.drain = "over"

    def set_going(self, node: Node) -> None:
        def one_after_another(each: Node) -> Activity:
            yield from self.on_drain(each)
            self.set_going(each)

        for each in node.nearest():
            if each.drain == "waits":
                self.go(one_after_another(each))

    def go_down(
        self, node: Node, reason: str, *, again: bool = False, drains: bool = True
    ) -> Activity:
        """Take *node* down: children in reverse, on_stop, resources."""
        spec = node.spec
        if node.drain == "under way":
            yield from self.wait_for(lambda: node.drain == "over")
        node.drain, node.drains_until = "", inf
        says_goodbye = node.came_up and not spec.is_brutal  # 45
        if drains and not node.is_drained and node.drains() and reason in CLEAN:
            yield from self.on_drain(node)  # it has come up while others drained
            node.drain = ""
        node.rest, node.counted = list(node.children.values()), None
        while node.rest:
            child = node.rest.pop()
            if child.parent is node:
                yield from self.down(child, node, drains=drains)
                child.leave()  # 24
        node.take_part(self.now)
        if says_goodbye and spec.stop_takes is not None:
            self.note(node, "on_stop")
            node.left -= yield from self.step(node, spec.stop_takes)
        if spec.is_stubborn:
            yield from self.step(node, inf)
            until = max(self.now, min(self.now + GRACE, node.deadline + LATE))
            yield from self.wait_until(lambda: until)
            if self.killed_at == self.now:
                raise Unclear  # which of the two is down, and heard of, before the other
            self.killed_at = self.now
        self.settle_fate(node, reason, again=again)

    def step(self, node: Node, takes: float) -> Activity:
        """Wait for something of the node's own, at most until its limit; return how long."""
        began, left = self.now, node.left
        yield from self.wait_until(
            lambda: min(began + min(takes, left), node.deadline, node.drains_until)
        )
        return self.now - began

    def settle_fate(self, node: Node, reason: str, *, again: bool) -> None:
        spec, parent = node.spec, node.parent
        if node.missed_try == self.now:
            raise Unclear  # its end, heard before that try, would be decided on by itself
        if node.group and self.drained_at == self.now and parent and not parent.is_active():
            raise Unclear  # a group restart has waited for that, and the stop of its parent, too
        is_above_failing = parent and parent.ends_at == self.now and not parent.came_up
        if is_above_failing and reason in ("crashed", "finished", "gave_up"):
            raise Unclear  # if its parent's start fails later, that calls it off
        self.note(node, reason)
        node.down_at = self.now
        if spec.backoff and self.now - node.since >= spec.backoff[2]:
            node.in_a_row = 0
        if node.on_purpose:  # whatever it died of
            reason = "stopped"
        node.end_life()
        waits = reason == "stopped" and node.group and spec.restart != "temporary"
        if waits and parent and parent.is_active():
            node.state = "restarting"
            return
        comes_back = {  # 27, 32
            "permanent": reason not in ("stopped", "ignored", "start_failed"),
            "transient": reason in ("crashed", "gave_up"),
            "temporary": False,
        }[spec.restart] or (reason == "start_failed" and again)
        if comes_back and parent and parent.is_active():
            node.state = "restarting"
            parent.inbox.append((node, node.incarnation, False))
            self.attend(parent)
            return
        resting = {"finished": "finished", "stopped": "stopped", "ignored": "stopped"}
        node.state = resting.get(reason, "failed")
        if spec.restart == "temporary" and parent and parent.is_active():  # 27, 29, 58
            node.leave()  # a parent that ends lets go of its children one after another

    def down(self, node: Node, stopping: Node | None = None, *, drains: bool = False) -> Activity:
        """See to it that *node* is down, with its group or with its *stopping* parent."""
        deadline = stopping.deadline if stopping else inf
        if node.state == "running":
            node.state, node.on_purpose, node.came_up = "stopping", True, True
            node.deadline, node.above, node.is_walked = deadline, stopping, True
            yield from self.go_down(node, "stopped", drains=drains)
        elif node.drain and not node.is_walked:
            node.is_walked = True
            node.tighten(deadline, self.now)
            node.above = stopping
            if stopping:
                yield from self.go_down(node, "stopped")
            else:
                self.go(self.by_itself(node))
        while node.is_busy():
            node.on_purpose = True  # 14
            node.tighten(deadline, self.now)
            node.abort()
            yield from self.wait_for(lambda: not node.is_busy())
        if node.state == "restarting" and stopping:
            self.call_off(node)

    def call_off(self, node: Node) -> None:
        for each in node.cancel_retry():
            self.note(each, "called off")

    # -- what anybody may ask for ---------------------------------------------------------------

    def stop(self, node: Node, seconds: float = inf) -> Activity:
        life = node.incarnation
        for group in node.parent.groups if node.parent else []:
            if group.leader is not node:
                node.group = None if node.group is group else node.group
                group.out.append(node)
        if node.state == "restarting":  # 43
            self.call_off(node)
        elif node.is_active() or node.is_busy():
            node.on_purpose = True
            node.abort()
            if node.state == "running":
                node.deadline = self.now + seconds
                self.go(self.end(node, "stopped"))
            node.tighten(self.now + seconds, self.now)
            if node.drain and not node.is_walked:
                node.is_walked = True
                self.go(self.by_itself(node))
            yield from self.wait_for(lambda: node.incarnation != life or not node.is_busy())

    def crash(self, node: Node) -> None:
        node.abort()
        if node.state == "running":
            self.go(self.end(node, "crashed"))

    def finish(self, node: Node) -> None:
        node.finishes = True
        if node.state == "running":
            self.go(self.end(node, "finished"))

    # -- supervising ------------------------------------------------------------------------------

    def attend(self, node: Node) -> None:
        if node.inbox and node.state == "running" and not node.is_attended:
            node.is_attended = True
            self.go(self.attending(node, node.turn))

    def attending(self, node: Node, turn: list[object]) -> Activity:
        """Act on the ends of children, one after another, until there are no more."""
        while node.turn is turn and node.state == "running" and node.inbox:
            child, incarnation, has_waited = node.inbox.pop(0)
            yield from self.hold(turn)
            is_ours = node.turn is turn and node.state == "running" and child.parent is node
            if (
                is_ours
                and child.state == "restarting"
                and child.incarnation == incarnation
                and child.group is None
            ):  # 14, 42, 43
                yield from self.act(node, child, has_waited=has_waited)
            turn.pop(0)
        if node.turn is turn:
            node.is_attended = False

    def act(self, node: Node, child: Node, *, has_waited: bool) -> Activity:
        spec = node.spec
        if self.drained_at == self.now and node.is_below_an_end():
            raise Unclear  # who ends above has waited for the same drain, maybe, and takes it down
        if not has_waited:
            node.window = [then for then in node.window if then >= self.now - spec.max_seconds]
            node.window.append(self.now)  # 11 to 19
            if len(node.window) > spec.max_restarts:
                child.cancel_retry()
                self.go(self.end(node, "gave_up"))  # 21
                return
        group = list(node.children.values())  # 35
        if spec.strategy != "one_for_all":
            group = group[group.index(child) :]  # 36, 37
        if spec.strategy == "one_for_one":
            group = [child]
        backs_off = child.spec.backoff is not None and not has_waited
        together = next((each for each in node.groups if each.leader is child), None)
        if together:  # the next try: without those taken out
            for each in node.children.values():
                each.missed_try = self.now if each.state == "stopping" else None
            group = [
                each
                for each in node.children.values()
                if (each in group or each.group is together)
                and (each not in together.out or each.is_up())
            ]
        else:
            together = Group()
            node.groups.append(together)
        together.leader = child if backs_off else None
        node.groups = [each for each in node.groups if each.leader not in group or each is together]
        child.group = None if backs_off else together
        for each in group:
            if each is not child:
                each.group = together
                each.next_try = None
        if any(each.brief_at == self.now for each in group if each is not child):
            raise Unclear  # its end may be over, or be taken for that of one of the group
        life = node.incarnation
        for sibling in reversed(group):
            if sibling is not child and sibling.parent is node:
                yield from self.down(sibling)
            if not node.lives(life):
                return  # its end sees to the others
        if backs_off:
            self.back_off(node, child)
            return
        for each in group:
            if not node.lives(life):
                return
            if each.group is together and each.parent is node:  # 29 to 31
                each.group = None
                each.restarts += 1
                try:
                    yield from self.start(each, again=True)
                except Refused:
                    if each.state == "restarting":  # 38 to 41
                        together.leader = each
                        return
        node.groups.remove(together)

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
