"""What the tests of clusters share: virtual time, and a leak check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sprag.testing import LeakCheck, VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    """Run the test in virtual time; whatever it starts must be gone at its end."""
    with virtual_time() as clock, LeakCheck():
        yield clock
