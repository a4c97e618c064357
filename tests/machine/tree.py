"""A tree at one moment, as the model has it: what each is at, and what can be told of it."""

from __future__ import annotations

from math import ceil, inf

from machine.plans import JUST, Spec, in_order


class Node:
    def __init__(self, spec: Spec, parent: Node | None = None) -> None:
        self.spec, self.parent, self.state = spec, parent, "new"
        self.path: str = f"{parent.path}/{spec.name}" if parent else spec.name
        self.incarnation = self.restarts = self.in_a_row = 0
        self.since, self.next_try = 0.0, inf
        self.begun = 0  # which of all starts its last one was
        self.listened = inf  # since when it has to beat in this life
        self.beaten = 0.0
        self.lack = ""  # why it is not ready although it runs
        self.is_first = False  # a first start, which is tried again until it is up
        self.missing: list[str] = []  # of what it needs; it waits for that
        self.is_called = False  # somebody needs it who waits; it does not start by itself
        self.decided_in = 0  # the step in which its first start failed with that of its parent
        self.waits_for: Node | None = None  # whose next try starts it as well
        self.leads = False  # others may wait for it, although it is held
        self.taken_out: set[Node] = set()  # of its next try, by a stop
        self.gathered: list[Node] = []  # who is stopped, and starts with its next try: 35
        self.children, self.window = dict[str, Node](), list[float]()
        self.by_needs = any(each.needs is not None for each in spec.children)
        listed = in_order(spec.children) if self.by_needs and spec.kind == "supervisor" else None
        self.static = [Node(each, self) for each in listed or spec.children]

    @property
    def is_side_by_side(self) -> bool:
        """Whether some below it start or stop at the same time."""
        below = self.children.values()
        is_now = any(each.spec.needs is not None for each in below)
        return self.by_needs or self.spec.kind == "pool" or is_now

    def rest(self, state: str) -> None:  # stay, or leave: 4, 27, 58, 62
        self.state, self.next_try, self.waits_for, above = state, inf, None, self.parent
        self.leads, self.missing, self.is_called, self.gathered = False, [], False, []
        self.taken_out.clear()
        leaves = self.spec.restart == "temporary" or (above and above.spec.kind == "pool")
        if above and leaves and state != "restarting":
            above.children.pop(self.spec.name, None)


class Tree:
    """The nodes, with what has happened and is still to be decided.

    Attributes:
        now: Seconds since the beginning.
        step: How many operations there were.
        starts: How many have begun.
        journal: What has happened, when and to whom, since it was last compared.
        faults: Of the next starts of each path: ``"raise"``, ``"ignore"``.
        waiting: Who waits for a backoff, now or formerly; the latest last.
        together: Paths below which some may have come and gone at the same time.
        troubles: Of the next stop: ``"slow"``, ``"deaf"`` to its kill.
        holds: Paths at and below which nothing is decided, and since when.
        undecided: Who, in which life, since when, and what.
    """

    def __init__(self, spec: Spec) -> None:
        self.root, self.now = Node(spec), 0.0
        self.step = self.starts = 0
        self.journal: list[tuple[float, str, str]] = []
        self.faults: dict[str, list[str]] = {}
        self.waiting: list[Node] = []
        self.together = set[str]()
        self.troubles: dict[str, str] = {}
        self.holds: dict[str, float] = {}
        self.undecided: list[tuple[Node, int, float, str]] = []

    def note(self, node: Node, word: str) -> None:
        self.journal.append((self.now, word, node.path))

    def nodes(self) -> list[Node]:
        """Return the root and all below it."""
        found = [self.root]
        for node in found:
            found.extend(node.children.values())
        return found

    def listen(self, node: Node) -> None:  # from when others may count on it
        if node.spec.heartbeat and not node.lack and node.listened == inf:
            node.listened = node.beaten = self.now

    def is_missed(self, node: Node) -> float:
        """Return when *node* is found not to have beaten: at a look, of which there are four."""
        if node.state != "running" or node.listened == inf or self.is_held(node):
            return inf
        pause = node.spec.heartbeat / 4
        looks = ceil((node.beaten + JUST * node.spec.heartbeat - node.listened) / pause)
        return node.listened + looks * pause

    def is_held(self, node: Node) -> bool:
        return bool(self.holds_of(node))

    def holds_of(self, node: Node) -> list[str]:
        return [each for each in self.holds if f"{node.path}/".startswith(f"{each}/")]

    def is_over(self, node: Node) -> bool:  # it has been tried often enough
        return 0 < node.spec.tries <= node.in_a_row and node.spec.backoff > 0

    def depends(self, node: Node, others: list[Node]) -> bool:  # which come before it
        named = None if node.spec.needs is None else dict(node.spec.needs)
        return named is None or any(each.spec.name in named for each in others)

    def unmet(self, node: Node) -> list[str]:
        found: list[str] = []
        for name, what in node.spec.needs or ():
            other = node.parent.children.get(name) if node.parent else None
            wanted = "finished" if what == "finished" else "running"
            if not other or other.state != wanted or (what == "ready" and other.lack):
                found.append(name)
        return found

    def to_decide(self) -> list[tuple[Node, int, float, str]]:
        """Return what is still undecided: not what was deleted, stopped or started meanwhile."""
        self.undecided = [
            (node, life, then, what)
            for node, life, then, what in self.undecided
            if (parent := node.parent)
            and parent.state == "running"
            and parent.children.get(node.spec.name) is node
            and node.incarnation == life
            and node.state in (("finished", "failed") if what == "ended" else ("restarting",))
        ]
        return self.undecided

    def not_ready(self) -> dict[str, tuple[str, str]]:
        """Return who is not ready but should be, by path, with its state and what it says."""
        lacks = dict[str, tuple[str, str]]()
        for node in self.nodes():
            if node.path in self.holds:
                lacks[node.path] = node.state, "held"
            elif node.state == "running":
                if node.lack:
                    lacks[node.path] = node.state, node.lack
            elif node.missing:
                lacks[node.path] = node.state, f"waits for {', '.join(sorted(node.missing))}"
            elif node.state not in ("stopped", "finished") or node is self.root:
                lacks[node.path] = node.state, ""
        return lacks
