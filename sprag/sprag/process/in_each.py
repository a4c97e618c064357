"""What each worker runs for itself, though it may be meant to run once: said at the start."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sprag.cluster.exceptions import EngineAway
from sprag.owned.timers import TimerHandle
from sprag.programs.program import Program
from sprag.services.worker import Worker
from sprag_supervisor import held_by, is_a, module_name, path_of, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.cluster.member import Member
    from sprag_supervisor import Node

_NAMED: Final = 10
_LOOKED_AT: Final = 10_000


def say_what_each_runs(root: Node, member: Member, workers: int) -> None:
    """Say which services each of several workers runs by themselves: once for all of them.

    May block: who says it first is asked of the engine.
    """
    if workers < 2:
        return
    below = len(path_of(root)) + 1
    names = [path_of(node)[below:] or path_of(node) for node in _by_themselves(root)]
    if not names:
        return
    with suppress(EngineAway):
        if member.engine.cas(f"{member.prefix}said/each", None, b"{}").value:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            listed = ", ".join(names[:_NAMED]) + more
            event = f"each of {workers} workers runs: {listed}; Singleton(…) makes it one"
            say(logging.INFO, root, event)


def _by_themselves(root: Node) -> Iterator[Node]:
    """Yield who has a body, a repeating timer or a process: not only asked by others.

    What is below a Singleton, and what the library itself has, is left out.
    """
    pending, looked_at = [root], 0
    while pending and looked_at < _LOOKED_AT:
        node = pending.pop()
        looked_at += 1
        if node._outlives_limit_:
            continue
        if _acts(node):
            yield node
        pending.extend(reversed((node._children_ or {}).values()))


def _acts(node: Node) -> bool:
    if is_a(node, Program):
        return True
    if module_name(type(node)).partition(".")[0] == "sprag" or is_a(node, Worker):
        return False
    holdings = held_by(node)
    timers = None if holdings is None else holdings.timers
    return type(node)._has_run_ or any(
        is_a(each, TimerHandle) and each.repeats for each in timers or ()
    )
