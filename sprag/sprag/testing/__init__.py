"""Tools for testing programs built on sprag.

`virtual_time` runs a block on a loop whose time takes no time; `RunningTree` drives a tree in
it by path; `as_workers` lets several share what runs once, and what is broadcast; `as_nodes` makes
them nodes, on an engine on which things go wrong; `FakeProgram` is a program without a process;
`check_invariants` says whether a tree is in order, and `LeakCheck` what a block has left behind.
Fixtures for pytest are in `sprag.testing.plugin`.
"""

from typing import TYPE_CHECKING

from sprag.testing._as_workers import AsWorkers, as_workers
from sprag.testing._invariants import check_invariants
from sprag.testing._leaks import LeakCheck
from sprag.testing._loop import VirtualLoop
from sprag.testing._tree import InjectedFailure, RunningTree, fail_next_start, record_events
from sprag.testing._virtual_time import VirtualClock, virtual_time

if TYPE_CHECKING:
    from sprag.testing._as_nodes import AsNodes, as_nodes
    from sprag.testing._faulty_engine import FaultyEngine, ForgetfulEngine
    from sprag.testing._programs import FakeProcess, FakeProgram, FakePrograms, fake_programs

__all__ = [
    "AsNodes",
    "AsWorkers",
    "FakeProcess",
    "FakeProgram",
    "FakePrograms",
    "FaultyEngine",
    "ForgetfulEngine",
    "InjectedFailure",
    "LeakCheck",
    "RunningTree",
    "VirtualClock",
    "VirtualLoop",
    "as_nodes",
    "as_workers",
    "check_invariants",
    "fail_next_start",
    "fake_programs",
    "record_events",
    "virtual_time",
]

_LATE = {
    "_as_nodes": ("AsNodes", "as_nodes"),
    "_faulty_engine": ("FaultyEngine", "ForgetfulEngine"),
    "_programs": ("FakeProcess", "FakeProgram", "FakePrograms", "fake_programs"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load what stands for programs, and for nodes, when it is first asked for."""
        from importlib import import_module

        for module, names in _LATE.items():
            if name in names:
                return getattr(import_module(f"sprag.testing.{module}"), name)
        raise AttributeError(f"module 'sprag.testing' has no attribute {name!r}")
