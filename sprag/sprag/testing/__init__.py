"""Tools for testing programs built on sprag.

`virtual_time` runs a block on a loop whose time takes no time; `RunningTree` drives a tree in
it by path; `as_workers` lets several share what runs once, and what is broadcast; `FakeProgram` is
a program without a process; `check_invariants` says whether a tree is in order, and `LeakCheck`
what a block has left behind. Fixtures for pytest are in
`sprag.testing.plugin`.
"""

from typing import TYPE_CHECKING

from sprag.testing._as_workers import AsWorkers, as_workers
from sprag.testing._invariants import check_invariants
from sprag.testing._leaks import LeakCheck
from sprag.testing._loop import VirtualLoop
from sprag.testing._tree import InjectedFailure, RunningTree, fail_next_start, record_events
from sprag.testing._virtual_time import VirtualClock, virtual_time

if TYPE_CHECKING:
    from sprag.testing._programs import FakeProcess, FakeProgram, FakePrograms, fake_programs

__all__ = [
    "AsWorkers",
    "FakeProcess",
    "FakeProgram",
    "FakePrograms",
    "InjectedFailure",
    "LeakCheck",
    "RunningTree",
    "VirtualClock",
    "VirtualLoop",
    "as_workers",
    "check_invariants",
    "fail_next_start",
    "fake_programs",
    "record_events",
    "virtual_time",
]

_OF_PROGRAMS = ("FakeProcess", "FakeProgram", "FakePrograms", "fake_programs")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load what stands for programs when it is first asked for: most trees have none."""
        if name not in _OF_PROGRAMS:
            raise AttributeError(f"module 'sprag.testing' has no attribute {name!r}")
        from sprag.testing import _programs

        return getattr(_programs, name)
