"""What holds for all tests."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_finish() -> None:
    """Keep the tests themselves, some 100,000 objects, out of what is searched for leaks."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same for what a file of tests has left with pytest: its reports, its modules."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
