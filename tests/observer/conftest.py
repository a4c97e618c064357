"""One chromium for all tests of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from browser import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one
