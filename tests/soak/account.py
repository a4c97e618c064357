"""Accounts of a tree: every start has one end, nothing starts twice, nothing is lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sprag import Lifecycle, Snapshot

STARTS: Final = ("started", "restarted")


class Account:
    """Observes a tree.

    Attributes:
        events: How many of each.
        running: Path and incarnation of what has started and not ended.
        faults: What does not add up.
    """

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.running: dict[str, int] = {}
        self.faults: list[str] = []

    def __call__(self, record: Lifecycle) -> None:
        self.events[record.event] += 1
        before = self.running.get(record.path)
        if record.event in STARTS:
            if before is not None:
                self.fault(f"{record} while incarnation {before} runs")
            self.running[record.path] = record.incarnation
        elif record.context == "start_error" or record.reason == "ignored":
            self.events["failed starts"] += 1
            if before is not None:
                self.fault(f"{record} while incarnation {before} runs")
        elif before is None:
            if record.reason != "stopped":  # a start that was called off is an end without one
                self.fault(f"{record} of something that does not run")
            self.events["called off"] += 1
        else:
            if before != record.incarnation:
                self.fault(f"{record}, but incarnation {before} runs")
            del self.running[record.path]

    def fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(text)

    @property
    def starts(self) -> int:
        """How many incarnations have come up."""
        return sum(self.events[each] for each in STARTS)

    @property
    def ends(self) -> int:
        """How many of them have ended."""
        ended = sum(self.events[each] for each in ("crashed", "finished", "stopped", "gave_up"))
        return ended - self.events["failed starts"] - self.events["called off"]

    def compare(self, root: Snapshot) -> None:
        """Compare with a picture: what runs there is what runs here."""
        seen: dict[str, int] = {}
        stack = [root]
        while stack:
            node = stack.pop()
            stack.extend(node.children)
            if node.state.value in ("running", "stopping") and node.uptime is not None:
                seen[node.path] = node.incarnation
        for path in seen.keys() ^ self.running.keys():
            self.fault(f"{path} runs {'only in the tree' if path in seen else 'only on paper'}")
        if self.starts != self.ends + len(self.running):
            self.fault(f"{self.starts} starts, {self.ends} ends, {len(self.running)} running")
