"""What a tree does, by OTP's rules: from a tree and an operation to the tree after it.

For operations on a tree at rest, so that one thing happens after another and nothing waits but
for a backoff. `services.py` has what obeys it. Numbers in comments are those of otp-rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SHUTDOWN, SLOW, GRACE = 1 / 32, 1 / 64, 1 / 32  # seconds: a stop's limit; a slow one; a last wait
RESET_AFTER = 4.0  # seconds of running, after which a backoff begins anew


UP = ("running", "restarting")


class Refused(Exception):
    """A call had no success: its error in OTP's words, or the path of what did not start."""


@dataclass(frozen=True)
class Spec:
    """What a service is, and what it asks for."""

    name: str
    kind: str = "service"  # or "supervisor", "pool"
    restart: str = "permanent"
    backoff: float = 0.0  # seconds; doubled from try to try up to four times as many
    significant: bool = False
    is_brutal: bool = False
    strategy: str = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 2.0
    auto_shutdown: str = "never"
    max_children: int | None = None
    children: tuple[Spec, ...] = ()

    def __repr__(self) -> str:
        told = {k: v for k, v in self.__dict__.items() if v != getattr(Spec, k, None)}
        return f"Spec({', '.join(f'{k}={v!r}' for k, v in told.items())})"


@dataclass(eq=False)
class Node:
    """A service in its place."""

    spec: Spec
    parent: Node | None = None
    state: str = "new"
    incarnation: int = 0
    restarts: int = 0
    next_try: float | None = None
    in_a_row: int = 0
    since: float = 0.0
    children: dict[str, Node] = field(default_factory=dict)
    window: list[float] = field(default_factory=list)
    static: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.static = [Node(spec, self) for spec in self.spec.children]

    @property
    def path(self) -> str:
        return f"{self.parent.path}/{self.spec.name}" if self.parent else self.spec.name

    def rest(self, state: str) -> None:
        """Stay down; who is temporary or of a pool leaves instead (4, 27, 58, 62)."""
        self.state, self.next_try = state, None
        above = self.parent
        if above and (self.spec.restart == "temporary" or above.spec.kind == "pool"):
            above.children.pop(self.spec.name, None)


class Model:
    """The tree, the time, what has happened, and what is to go wrong: by path."""

    def __init__(self, spec: Spec) -> None:
        self.root, self.now = Node(spec), 0.0
        self.journal: list[tuple[float, str, str]] = []
        self.faults: dict[str, list[str]] = {}  # of the next starts: "raise", "ignore"
        self.troubles: dict[str, str] = {}  # of the next stop: "slow", "deaf" to its kill

    def note(self, node: Node, word: str) -> None:
        self.journal.append((self.now, word, node.path))

    def start(self, node: Node, word: str = "started") -> None:  # on request: counts never (17)
        node.state, node.next_try, reason = "starting", None, "start_failed"
        node.incarnation += 1
        try:
            for child in node.static:  # 1; those added later are gone (24)
                self.adopt(node, child)
            self.note(node, "on_start")
            if faults := self.faults.get(node.path):
                reason = "ignored" if faults.pop(0) == "ignore" else reason
                raise Refused(node.path)
        except Refused:  # 2, 3
            self.end(node, reason, came_up=False)
            if reason != "ignored":  # 4, 5
                node.state = "failed"
                raise
            node.rest("stopped")
        else:
            node.state, node.since = "running", self.now
            self.note(node, word)

    def adopt(self, parent: Node, child: Node) -> None:
        child.parent = parent
        parent.children[child.spec.name] = child  # 37
        try:
            self.start(child)
        except Refused:
            parent.children.pop(child.spec.name, None)  # 55
            raise

    def end(self, node: Node, reason: str, *, came_up: bool = True) -> None:
        """Take *node* down: its children one after another, those of a pool together (46)."""
        began, ends = self.now, [self.now]
        node.state, says_goodbye = "stopping", came_up and not node.spec.is_brutal  # 45
        for child in reversed(list(node.children.values())):
            self.now = began if node.spec.kind == "pool" else self.now
            self.stop(child)
            ends.append(self.now)
        self.now = max(ends)
        if says_goodbye:
            self.note(node, "on_stop")
        trouble = self.troubles.pop(node.path, None) if came_up else None
        if trouble == "slow" and says_goodbye:
            self.now += SLOW
        elif trouble == "deaf":
            self.now += (0 if node.spec.is_brutal else SHUTDOWN) + GRACE
        self.note(node, reason)
        node.children, node.window = {}, []
        if came_up and self.now - node.since >= RESET_AFTER:
            node.in_a_row = 0

    def stop(self, node: Node) -> None:  # on purpose: terminate_child, with its group or parent
        if node.state == "running":
            self.end(node, "stopped")
            node.rest("stopped")
        elif node.state == "restarting":  # 43
            node.rest("stopped")

    def leave(self, node: Node, reason: str) -> None:
        """End by itself, and let the supervisor act: 27, 28, 32, 64."""
        self.end(node, reason)
        spec, parent, is_clean = node.spec, node.parent, reason in ("finished", "shutdown")
        if parent and spec.restart != "temporary" and not (spec.restart == "transient" and is_clean):
            self.count(parent, node)
            return
        node.rest("finished" if is_clean else "failed")
        if parent and spec.significant:
            up = [each for each in parent.children.values() if each.state in UP and each is not node]
            is_last = not any(each.spec.significant for each in up)  # 65
            if is_last or parent.spec.auto_shutdown == "any_significant":
                self.leave(parent, "shutdown")  # 67

    def count(self, parent: Node, child: Node) -> None:
        """Restart *child*, unless there have been too many; or let it wait: 11 to 19, 40."""
        spec, child.state = parent.spec, "restarting"
        window = [then for then in parent.window if then >= self.now - spec.max_seconds]
        parent.window = [*window, self.now]
        if len(parent.window) > spec.max_restarts:
            child.rest("stopped")
            self.leave(parent, "gave_up")  # 21
        elif child.spec.backoff:
            self.stop_group(parent, child)
            child.next_try = self.now + min(child.spec.backoff * 2.0**child.in_a_row, 1.0)
            child.in_a_row += 1
        else:
            self.restart(parent, child)

    def stop_group(self, parent: Node, failed: Node) -> list[Node]:
        group = list(parent.children.values())  # 35
        if parent.spec.strategy != "one_for_all":
            group = group[group.index(failed) :]  # 36
        if parent.spec.strategy == "one_for_one":
            group = [failed]
        for each in reversed(group):
            if each is not failed:
                self.stop(each)
        return [each for each in group if each.spec.name in parent.children]  # 29 to 31

    def restart(self, parent: Node, failed: Node) -> None:
        group = self.stop_group(parent, failed)
        failed.state, failed.next_try = "stopped", None
        for child in group:
            child.restarts += 1
            try:
                self.start(child, "restarted")
            except Refused:
                self.count(parent, child)  # 15, 38 to 41
                return

    def pass_time(self, until: float) -> None:
        while due := [each for each in self.nodes() if (each.next_try or until + 1) <= until]:
            node = min(due, key=lambda each: each.next_try or 0.0)
            self.now = max(self.now, node.next_try or 0.0)
            if node.parent:
                self.restart(node.parent, node)
        self.now = until

    def nodes(self) -> list[Node]:
        """Return the root and all below it."""
        found = [self.root]
        for node in found:
            found.extend(node.children.values())
        return found

    # -- management calls: appendix A -----------------------------------------------------------

    def start_child(self, parent: Node, spec: Spec) -> None:
        limit, other = parent.spec.max_children, parent.children.get(spec.name)
        if spec.significant and parent.spec.auto_shutdown == "never":
            raise Refused("bad_combination")  # 63
        if limit is not None and len(parent.children) >= limit:
            raise Refused("max_children")  # 62
        if other:  # 54
            raise Refused("already_started" if other.state == "running" else "already_present")
        self.adopt(parent, Node(spec))

    def child_of(self, parent: Node, name: str) -> Node:
        if name not in parent.children:
            raise Refused("not_found")
        return parent.children[name]

    def terminate_child(self, parent: Node, name: str) -> None:
        self.stop(self.child_of(parent, name))  # 58, 59

    def restart_child(self, parent: Node, name: str) -> None:
        child = self.child_of(parent, name)
        if child.state in UP:  # 56
            raise Refused(child.state)
        self.start(child)

    def delete_child(self, parent: Node, name: str) -> None:
        if self.child_of(parent, name).state in UP:  # 57
            raise Refused(parent.children[name].state)
        del parent.children[name]
