"""Fixtures for pytest: put ``pytest_plugins = ["sprag.testing.plugin"]`` into conftest.py.

- ``virtual_clock``: the test runs in virtual time, and fails if it leaves anything behind.
- ``run_tree``: start a tree in virtual time; it is stopped and checked after the test.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from sprag.testing._leaks import LeakCheck
from sprag.testing._tree import RunningTree
from sprag.testing._virtual_time import VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag import Service

__all__ = ["run_tree", "virtual_clock"]


@pytest.fixture
def virtual_clock() -> Iterator[VirtualClock]:
    """Run the test in virtual time; whatever it starts must be gone at its end."""
    with virtual_time() as clock, LeakCheck():
        yield clock


@pytest.fixture
def run_tree(virtual_clock: VirtualClock) -> Iterator[Callable[[Service], RunningTree]]:
    """Return a function that starts a tree and returns it as a `RunningTree`."""
    with ExitStack() as stack:
        yield lambda root: stack.enter_context(RunningTree(root))
        virtual_clock.settle()
