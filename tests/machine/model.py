"""What a tree does, by OTP's rules: from a tree at rest and an operation to the tree after it.

One thing happens after another; only a backoff waits. Numbers are those of otp-rules.
"""

from __future__ import annotations

from math import inf

from machine.plans import CLEAN, COSTS, PATIENT, RESET_AFTER, UP, Refused, Spec, Unclear, comes_back
from machine.tree import Node, Tree


class Model(Tree):
    """The rules."""

    def start(self, node: Node, word: str = "started") -> None:  # never counts by itself: 17
        node.state, node.next_try, reason = "starting", inf, "start_failed"
        node.waits_for, node.leads, node.missing, node.is_called = None, False, [], False
        for each in node.parent.children.values() if node.parent else ():
            each.taken_out.discard(node)
        node.incarnation += 1
        self.starts, node.begun = self.starts + 1, self.starts
        try:
            if node.by_needs and node.spec.kind == "supervisor":
                self.line_up(node)
            else:
                for child in node.static:  # 1; those added later are gone: 24
                    self.come_in(node, child)
            self.note(node, "on_start")
            if faults := self.faults.get(node.path):
                reason = "ignored" if faults.pop(0) == "ignore" else reason
                raise Refused(node.path)
            node.state, node.since = "running", self.now
            node.lack, node.listened = "late" if node.spec.is_late else "", inf
            self.listen(node)
            self.note(node, word)
            node.is_first = False
            tried = [each for each in node.children.values() if each.is_first]
            for child in sorted(tried, key=lambda each: each.begun):
                if child.state == "restarting" and not child.missing and not child.is_called:
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

    def line_up(self, parent: Node) -> None:
        """Start the children of a list, each as soon as it has what it needs."""
        children = parent.static
        for child in children:
            parent.children[child.spec.name] = child
            child.state = "restarting" if child.spec.autostart else "stopped"
            child.is_first = child.spec.retry_start
        called = [each for each in children if each.spec.autostart]
        for child in called:
            wanted = [parent.children[name] for name, _ in child.spec.needs or ()]
            called.extend([each for each in wanted if each not in called])
            child.state = "restarting"
        to_come = [each for each in children if each in called]
        while to_come:
            group = [each for each in to_come if each.spec.needs is not None]
            group = [each for each in group if not self.unmet(each)]
            for child in to_come:  # who says nothing begins when all before it are over
                if child in group:
                    break
                if child.spec.needs is None:
                    group = [child, *group]
                    break
                if group:
                    break
            if not group:
                break
            to_come = [each for each in to_come if each not in group]
            for child in group:
                try:
                    self.adopt(parent, child)
                except Refused:
                    if len(group) > 1:
                        raise Unclear from None  # who of the others has begun
                    raise
        for child in to_come:
            child.missing = self.unmet(child)  # who has been called for has had its chance

    def wait(self, child: Node) -> None:
        """Let it wait for what it needs, and have those come who do not by themselves."""
        child.state, child.missing = "restarting", self.unmet(child)
        for name in child.missing:
            other = child.parent.children.get(name) if child.parent else None
            if other:
                self.call_up(other)

    def call_up(self, node: Node) -> None:
        if node.state == "stopped" and not node.spec.autostart:
            siblings = node.parent.children.values() if node.parent else ()
            gathered = [each for each in siblings if node in each.gathered]
            node.state = "restarting"
            node.waits_for = next((each for each in gathered if node not in each.taken_out), None)
            node.is_called = node.waits_for is None
            if node.is_called and self.is_held(node):
                self.undecided.append((node, node.incarnation, self.now, "waited"))

    def come_in(self, parent: Node, child: Node) -> None:
        """Get its place, and start there now or later, as it asks for."""
        child.is_first = child.spec.retry_start  # until it has come up here
        if not child.spec.autostart:
            parent.children[child.spec.name] = child
            child.state = "stopped"
            others = parent.children.values()
            if any(each.missing and self.depends(each, [child]) for each in others):
                self.call_up(child)
        elif self.unmet(child):
            if any(name not in parent.children for name, _ in child.spec.needs or ()):
                raise Refused(child.path)
            parent.children[child.spec.name] = child
            self.wait(child)
        else:
            self.adopt(parent, child)

    def adopt(self, parent: Node, child: Node) -> None:
        parent.children[child.spec.name] = child  # 37
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
        if node.is_side_by_side:
            self.together.add(node.path)
        before: set[str] = set()
        for child in node.children.values():
            if child.spec.needs is None and child.spec.name in before:
                raise Unclear  # it has come back, needs who needs it, and waits till nobody ends
            before.update(name for name, _ in child.spec.needs or ())
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
        self.undecided = [each for each in self.undecided if each[0].parent is not node]
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
            up = [each for each in parent.children.values() if each.state in UP]
            left = [each for each in up if each.spec.significant and not each.waits_for]
            if parent.spec.auto_shutdown == "any_significant" or not left:  # 65
                waiting = [each for each in parent.children.values() if each.missing]
                if not all(self.unmet(each) for each in waiting):
                    raise Unclear  # who has waited for this end starts before its parent hears
                self.leave(parent, "shutdown")  # 67

    def decide(self, parent: Node, child: Node) -> None:
        child.state = "restarting"
        if self.is_held(child):
            self.undecided.append((child, child.incarnation, self.now, "restart"))
        else:
            self.count(parent, child, self.now)

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

    def wake(self) -> None:
        """Start those who have got what they have waited for."""
        for node in self.nodes():
            if not node.parent or node.parent.state != "running":
                continue
            if node.missing:
                node.missing = self.unmet(node)
                if node.missing:
                    continue
                if self.is_held(node):
                    self.undecided.append((node, node.incarnation, self.now, "waited"))
                    continue
            elif not node.is_called or self.is_held(node):
                continue
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
            if child.state in ("finished", "failed") and child.spec.restart == "temporary":
                child.rest(child.state)  # a start by hand had failed: 29
        failed.gathered = [each for each in group if each.state == "stopped"]
        if waits:
            failed.next_try = self.now + min(
                (failed.spec.backoff or PATIENT) * 2.0**failed.in_a_row, 1.0
            )
            failed.in_a_row += 1
            self.waiting = [*(each for each in self.waiting if each is not failed), failed]
            return
        first = list[Node]()  # whose first start fails again: others do not wait for these
        gone = list[Node]()  # who does not come back, of which their parent hears after these
        for child in [child for child in group if child.spec.name in parent.children]:  # 29 to 31
            child.is_called = False
            if child.state == "restarting" and self.unmet(child):
                child.waits_for = None
                self.wait(child)
                continue
            is_new = not child.incarnation
            child.restarts += not is_new
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
                    gone.append(child)
                    continue
                child.taken_out |= failed.taken_out
                child.gathered = [each for each in group if each.state == "stopped"]
                for each in [each for each in group if each.state == "restarting"]:
                    if not each.missing and each not in first:  # else it waits on its own
                        each.waits_for = None if each is child else child
                if self.have_tried(parent, first, gone):
                    self.count(parent, child, self.now)  # 15, 38 to 40
                break
        else:
            failed.taken_out.clear()
            failed.gathered.clear()
            self.have_tried(parent, first, gone)

    def have_tried(self, parent: Node, first: list[Node], gone: list[Node]) -> bool:
        """Decide on starts that have failed; return whether their parent goes on."""
        if first and gone:
            raise Unclear  # which of them was first
        for child in [*first, *gone]:
            if parent.state == "running" and child in first:
                self.decide(parent, child)
            elif parent.state == "running":
                self.ended(parent, child)
        return parent.state == "running"

    def pass_time(self, until: float) -> None:
        while True:
            due = [(each.next_try, each) for each in [*self.waiting, self.root]]
            missed = [(self.is_missed(each), each) for each in self.nodes()]
            then, node = min([*due, *missed], key=lambda pair: pair[0])
            if then > until:
                break
            same = [each for at, each in due if at == then]
            late = [each for at, each in missed if at == then]
            if (
                len(late) > 1
                or (late and same)
                or any(each.parent is not node.parent for each in same)
            ):
                raise Unclear  # which of them begins
            self.now = then
            if late:
                self.leave(node, "crashed")
            elif self.is_held(node):
                node.next_try, node.leads = inf, True
                self.undecided.append((node, node.incarnation, self.now, "waited"))
            else:
                node.next_try = inf
                self.restart(node.parent or node, node)
            self.wake()
        self.now = until

    def say(self, node: Node, lack: str) -> None:  # told where it changes something
        if bool(lack) != bool(node.lack):
            self.note(node, "unready" if lack else "ready")
        node.lack = lack
        self.listen(node)

    def beat(self, node: Node) -> None:
        node.beaten = self.now

    def hold(self, path: str) -> None:
        self.holds.setdefault(path, self.now)

    def release(self, path: str) -> None:
        for each in self.nodes():  # who is held begins anew at each look
            holds = self.holds_of(each)
            if holds and each.listened < inf:
                pause = each.spec.heartbeat / 4
                looked = each.listened + (self.now - each.listened) // pause * pause
                if looked > min(self.holds[one] for one in holds):
                    each.beaten = max(each.beaten, looked)
        del self.holds[path]
        for entry in list(self.to_decide()):
            node, _, then, what = entry
            if self.is_held(node) or entry not in self.to_decide():
                continue
            self.undecided.remove(entry)
            leads, node.leads, parent = node.leads, False, node.parent
            assert parent
            if what == "ended":
                if node.spec.restart == "temporary" and node in parent.children.values():
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
        child, others = Node(spec, parent), parent.children
        for name, what in spec.needs or ():
            if name not in others:
                raise Refused(child.path)
            never = parent.spec.kind == "pool" or comes_back(others[name].spec)
            if what == "finished" and never:
                raise Refused("bad_combination")
        other = others.get(spec.name)
        if other and other.spec.restart == "temporary" and other.state in ("finished", "failed"):
            del others[spec.name]  # it is over, and only held: its end is decided on all the same
        elif other:
            raise Refused("already_started" if other.state == "running" else "already_present")
        needed = [name for name, _ in spec.needs or ()]
        for name in needed:  # one that has left may come back, but not to need who needs it
            more = others[name].spec.needs if name in others else None
            needed.extend([each for each, _ in more or () if each not in needed])
        if spec.name in needed:
            raise Refused("bad_combination")
        self.come_in(parent, child)

    def manage(self, parent: Node, call: str, name: str) -> None:
        child = parent.children.get(name)
        if child is None or (call != "terminate" and child.state in UP):
            raise Refused(child.state if child else "not_found")  # 56, 57
        if call == "delete":
            del parent.children[name]
            waiting = [each for each in parent.children.values() if each.missing]
            if any(self.depends(each, [child]) for each in waiting):
                raise Unclear  # who leaves tells nobody: it is missed when all others are there
        else:
            (self.stop if call == "terminate" else self.start_again)(child)  # 58, 59
