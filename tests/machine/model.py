"""What a tree does, by OTP's rules: from a tree at rest and an operation to the tree after it.

One thing happens after another; only a backoff waits. Numbers are those of otp-rules.
"""

from __future__ import annotations

from math import inf

from machine.plans import CLEAN, COSTS, PATIENT, RESET_AFTER, UP, Refused, Spec, Unclear


class Node:
    def __init__(self, spec: Spec, parent: Node | None = None) -> None:
        self.spec, self.parent, self.state = spec, parent, "new"
        self.path: str = f"{parent.path}/{spec.name}" if parent else spec.name
        self.incarnation = self.restarts = self.in_a_row = 0
        self.since, self.next_try = 0.0, inf
        self.lack = ""  # why it is not ready although it runs
        self.is_first = False  # a first start, which is tried again until it is up
        self.missing: list[str] = []  # of what it needs; it waits for that
        self.decided_in = 0  # the step in which its first start failed with that of its parent
        self.waits_for: Node | None = None  # whose next try starts it as well
        self.leads = False  # others may wait for it, although it is held
        self.taken_out: set[Node] = set()  # of its next try, by a stop
        self.children, self.window = dict[str, Node](), list[float]()
        self.static = [Node(each, self) for each in spec.children]

    @property
    def is_side_by_side(self) -> bool:
        """Whether some below it start or stop at the same time."""
        below = self.children.values()
        return self.spec.kind == "pool" or any(each.spec.needs is not None for each in below)

    def rest(self, state: str) -> None:  # stay, or leave: 4, 27, 58, 62
        self.state, self.next_try, self.waits_for, above = state, inf, None, self.parent
        self.leads, self.missing = False, []
        self.taken_out.clear()
        leaves = self.spec.restart == "temporary" or (above and above.spec.kind == "pool")
        if above and leaves and state != "restarting":
            above.children.pop(self.spec.name, None)


class Model:
    def __init__(self, spec: Spec) -> None:
        self.root, self.now = Node(spec), 0.0
        self.step = 0
        self.journal: list[tuple[float, str, str]] = []
        self.faults: dict[str, list[str]] = {}  # of the next starts: "raise", "ignore"
        self.waiting: list[Node] = []  # for a backoff, now or formerly; the latest last
        self.troubles: dict[str, str] = {}  # of the next stop: "slow", "deaf" to its kill
        self.holds: set[str] = set()
        self.undecided: list[tuple[Node, int, float, str]] = []  # who, which life, when, and what

    def note(self, node: Node, word: str) -> None:
        self.journal.append((self.now, word, node.path))

    def start(self, node: Node, word: str = "started") -> None:  # never counts by itself: 17
        node.state, node.next_try, reason = "starting", inf, "start_failed"
        node.waits_for, node.leads, node.missing = None, False, []
        for each in node.parent.children.values() if node.parent else ():
            each.taken_out.discard(node)
        node.incarnation += 1
        try:
            for child in node.static:  # 1; those added later are gone: 24
                self.adopt(node, child)
            self.note(node, "on_start")
            if faults := self.faults.get(node.path):
                reason = "ignored" if faults.pop(0) == "ignore" else reason
                raise Refused(node.path)
            node.state, node.since = "running", self.now
            node.lack = "late" if node.spec.is_late else ""
            self.note(node, word)
            node.is_first = False
            for child in [each for each in node.children.values() if each.is_first]:
                if child.state == "restarting":
                    if not self.is_held(child) and self.is_over(child):
                        raise Unclear  # while others above may still start
                    child.decided_in = self.step
                    self.decide(node, child)
        except Refused:
            self.end(node, reason, came_up=False)  # 2, 3
            node.state = "failed"
            if reason != "ignored":
                raise
            node.is_first = False
            node.rest("stopped")  # 4, 5

    def start_again(self, node: Node) -> None:  # by hand: what was tried before is forgotten
        node.in_a_row, node.is_first = 0, False
        self.start(node)

    def adopt(self, parent: Node, child: Node) -> None:
        parent.children[child.spec.name] = child  # 37
        child.is_first = child.spec.retry_start
        try:
            self.start(child)
        except Refused:
            if child.is_first:
                child.state = "restarting"
                if parent.state == "running":
                    self.decide(parent, child)
                return
            del parent.children[child.spec.name]  # 55
            raise

    def end(self, node: Node, reason: str, *, came_up: bool = True) -> None:
        began, ends, node.state = self.now, [self.now], "stopping"
        down: list[tuple[Node, float]] = []
        for child in reversed(list(node.children.values())):  # a pool's together: 46
            is_alone = node.spec.kind == "pool"
            after = [at for each, at in down if not is_alone and self.depends(each, [child])]
            self.now = max([began, *after])
            self.stop(child)
            down.append((child, self.now))
            ends.append(self.now)
        self.now = max(ends)
        if came_up and not node.spec.is_brutal:  # 45
            self.note(node, "on_stop")
        self.now += COSTS.get((self.troubles.pop(node.path, ""), node.spec.is_brutal), 0.0)
        self.note(node, reason)
        node.children, node.window = {}, []
        if node.parent is None:
            self.holds.clear()
        node.in_a_row *= not came_up or self.now - node.since < RESET_AFTER

    def stop(self, node: Node) -> None:
        siblings = node.parent.children.values() if node.parent else ()
        for each in siblings:
            if (each.next_try < inf and not each.is_first) or each.leads:
                each.taken_out.add(node)
        if node.state == "running":
            self.end(node, "stopped")
        elif node.state == "restarting":  # 43
            if node.decided_in == self.step:
                raise Unclear  # whether it had been decided before
            self.note(node, "called off")
            for child in [each for each in siblings if each.waits_for is node]:
                self.note(child, "called off")
                child.rest("stopped")
        if node.state in ("stopping", "restarting"):
            node.rest("stopped")

    def leave(self, node: Node, reason: str) -> None:  # by itself: 27, 28, 32, 64
        self.end(node, reason)
        restart, parent, is_clean = node.spec.restart, node.parent, reason in CLEAN
        if parent and (restart == "permanent" or (restart == "transient" and not is_clean)):
            self.decide(parent, node)
            return
        if node.spec.significant and self.is_held(node):
            node.state = "finished" if is_clean else "failed"
            self.undecided.append((node, node.incarnation, self.now, "ended"))
            return
        node.rest("finished" if is_clean else "failed")
        self.ended(parent, node)

    def ended(self, parent: Node | None, node: Node) -> None:
        if parent and node.spec.significant:
            left = [each.spec.significant for each in parent.children.values() if each.state in UP]
            if parent.spec.auto_shutdown == "any_significant" or not any(left):  # 65
                self.leave(parent, "shutdown")  # 67

    def decide(self, parent: Node, child: Node) -> None:
        child.state = "restarting"
        if self.is_held(child):
            self.undecided.append((child, child.incarnation, self.now, "restart"))
        else:
            self.count(parent, child, self.now)

    def is_over(self, node: Node) -> bool:  # it has been tried often enough
        return 0 < node.spec.tries <= node.in_a_row and node.spec.backoff > 0

    def count(self, parent: Node, child: Node, then: float) -> None:  # 11 to 19, 40
        child.state, within = "restarting", parent.spec.max_seconds
        if self.is_over(child) and parent.spec.strategy == "one_for_one":
            self.note(child, "called off")
            child.rest("failed")
            return
        if child.is_first and not self.is_over(child):  # alone, and uncounted
            self.restart(parent, child, waits=True)
            return
        counted = [] if self.is_over(child) else [then]
        window = sorted(parent.window + counted)
        parent.window = [each for each in window if each >= window[-1] - within]
        if (
            self.is_over(child)
            or sum(then - within <= each <= then for each in window) > parent.spec.max_restarts
        ):
            for each in [each for each in parent.children.values() if each.waits_for is child]:
                each.rest("stopped")
            child.state = "stopped"
            self.leave(parent, "gave_up")  # 21
        else:
            self.restart(parent, child, waits=child.spec.backoff > 0)

    def depends(self, node: Node, others: list[Node]) -> bool:  # which come before it
        named = None if node.spec.needs is None else dict(node.spec.needs)
        return named is None or any(each.spec.name in named for each in others)

    def unmet(self, node: Node) -> list[str]:
        found: list[str] = []
        for name, what in node.spec.needs or ():
            other = node.parent.children.get(name) if node.parent else None
            if not other or other.state != "running" or (what == "ready" and other.lack):
                found.append(name)
        return found

    def wake(self) -> None:
        """Start those who have got what they have waited for."""
        for node in self.nodes():
            if node.missing and node.parent:
                node.missing = self.unmet(node)
                if not node.missing and self.is_held(node):
                    self.undecided.append((node, node.incarnation, self.now, "waited"))
                elif not node.missing:
                    self.restart(node.parent, node, alone=True)
                    return self.wake()
        return None

    def restart(
        self, parent: Node, failed: Node, *, waits: bool = False, alone: bool = False
    ) -> None:
        all_ = list(parent.children.values())  # 35
        rest = [failed]  # 36
        for each in all_[all_.index(failed) + 1 :]:
            if self.depends(each, rest):
                rest.append(each)
        groups = {"one_for_all": all_, "rest_for_one": rest}
        group = [failed] if alone or failed.is_first else groups.get(parent.spec.strategy, [failed])
        if not alone:  # also those who wait for it, whether they need it or not: 41
            group = [each for each in all_ if each in group or each.waits_for is failed]
        group = [each for each in group if each not in failed.taken_out or each.state in UP]
        for each in [each for each in group if each is not failed and self.is_held(each)]:
            group.remove(each)
            lives = [(one, life) for one, life, *_ in self.undecided]
            if each.state == "restarting" and (each, each.incarnation) not in lives:
                self.undecided.append((each, each.incarnation, self.now, "waited"))
            each.waits_for = None
        for child in [child for child in reversed(group) if child is not failed]:
            if child.state == "running":
                self.end(child, "stopped")
                child.rest("stopped" if child.spec.restart == "temporary" else "restarting")
            if child.state == "restarting":
                child.rest("restarting")
                child.waits_for = failed
        if waits:
            failed.next_try = self.now + min(
                (failed.spec.backoff or PATIENT) * 2.0**failed.in_a_row, 1.0
            )
            failed.in_a_row += 1
            self.waiting = [*(each for each in self.waiting if each is not failed), failed]
            return
        first = list[Node]()  # whose first start fails again: others do not wait for these
        for child in [child for child in group if child.spec.name in parent.children]:  # 29 to 31
            child.missing = self.unmet(child) if child.state == "restarting" else []
            if child.missing:
                child.waits_for = None
                continue
            is_new = not child.incarnation
            child.restarts += not is_new
            child.is_first = child.is_first or (is_new and child.spec.retry_start)
            try:
                self.start(child, "started" if is_new else "restarted")
            except Refused:  # who comes after it waits for its next try: 41
                if child.is_first:
                    if self.to_decide():
                        raise Unclear from None  # it is decided on after these
                    child.state = "restarting"
                    first.append(child)
                    continue
                if child.spec.restart == "temporary":
                    child.rest("failed")
                    continue
                child.taken_out |= failed.taken_out
                for each in [each for each in group if each.state == "restarting"]:
                    each.waits_for = None if each is child else child
                if self.have_tried(parent, first):
                    self.count(parent, child, self.now)  # 15, 38 to 40
                break
        else:
            failed.taken_out.clear()
            self.have_tried(parent, first)

    def have_tried(self, parent: Node, first: list[Node]) -> bool:
        """Decide on first starts that have failed; return whether their parent goes on."""
        for child in first:
            if parent.state == "running":
                self.decide(parent, child)
        return parent.state == "running"

    def pass_time(self, until: float) -> None:
        while (
            child := min([*self.waiting, self.root], key=lambda each: each.next_try)
        ).next_try <= until:
            same = [each for each in self.waiting if each.next_try == child.next_try]
            if any(each.parent is not child.parent for each in same):
                raise Unclear  # which of them begins
            self.now, child.next_try = child.next_try, inf
            if self.is_held(child):
                child.leads = True
                self.undecided.append((child, child.incarnation, self.now, "waited"))
            else:
                self.restart(child.parent or child, child)
            self.wake()
        self.now = until

    def say(self, node: Node, lack: str) -> None:  # told where it changes something
        if bool(lack) != bool(node.lack):
            self.note(node, "unready" if lack else "ready")
        node.lack = lack

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
                lacks[node.path] = node.state, f"waits for {', '.join(node.missing)}"
            elif node.state not in ("stopped", "finished") or node is self.root:
                lacks[node.path] = node.state, ""
        return lacks

    def nodes(self) -> list[Node]:
        """Return the root and all below it."""
        found = [self.root]
        for node in found:
            found.extend(node.children.values())
        return found

    def is_held(self, node: Node) -> bool:
        return any(node.path == each or node.path.startswith(f"{each}/") for each in self.holds)

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

    def release(self, path: str) -> None:
        self.holds.discard(path)
        for entry in list(self.to_decide()):
            node, _, then, what = entry
            if self.is_held(node) or entry not in self.to_decide():
                continue
            self.undecided.remove(entry)
            leads, node.leads, parent = node.leads, False, node.parent
            assert parent
            if what == "ended":
                if node.spec.restart == "temporary":
                    del parent.children[node.spec.name]
                self.ended(parent, node)
            elif node.waits_for is None:
                if what == "waited":
                    self.restart(parent, node, alone=not leads)
                else:
                    self.count(parent, node, then)

    def start_child(self, parent: Node, spec: Spec) -> None:  # here and below: appendix A
        if len(parent.children) >= parent.spec.max_children:
            raise Refused("max_children")  # 62
        if spec.significant and parent.spec.auto_shutdown == "never":
            raise Refused("bad_combination")  # 63
        child = Node(spec, parent)
        if any(name not in parent.children for name, _ in spec.needs or ()):
            raise Refused(child.path)
        if other := parent.children.get(spec.name):
            raise Refused("already_started" if other.state == "running" else "already_present")
        if missing := self.unmet(child):
            parent.children[spec.name] = child
            child.state, child.missing = "restarting", missing
            return
        self.adopt(parent, child)

    def manage(self, parent: Node, call: str, name: str) -> None:
        child = parent.children.get(name)
        if child is None or (call != "terminate" and child.state in UP):
            raise Refused(child.state if child else "not_found")  # 56, 57
        if call == "delete":
            del parent.children[name]
        else:
            (self.stop if call == "terminate" else self.start_again)(child)  # 58, 59
