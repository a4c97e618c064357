"""What the tests of the engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sprag.testing import LeakCheck, VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    """Run the test in virtual time; it must leave nothing behind."""
    with virtual_time() as clock, LeakCheck():
        yield clock
