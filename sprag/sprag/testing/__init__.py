"""Tools for testing programs built on sprag.

`virtual_time` runs a block on a loop whose time takes no time; `RunningTree` drives a tree in
it by path; `check_invariants` says whether a tree is in order, and `LeakCheck` what a block
has left behind. Fixtures for pytest are in `sprag.testing.plugin`.
"""

from sprag.testing._invariants import check_invariants
from sprag.testing._leaks import LeakCheck
from sprag.testing._loop import VirtualLoop
from sprag.testing._tree import InjectedFailure, RunningTree, fail_next_start, record_events
from sprag.testing._virtual_time import VirtualClock, virtual_time

__all__ = [
    "InjectedFailure",
    "LeakCheck",
    "RunningTree",
    "VirtualClock",
    "VirtualLoop",
    "check_invariants",
    "fail_next_start",
    "record_events",
    "virtual_time",
]
