"""What the differential tests share."""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from differential.compare import Oracle

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def _silence() -> Iterator[None]:
    """Make no records of thousands of planned crashes."""
    logger = logging.getLogger("sprag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """OTP. CI never skips: without it, the tests that ask for it fail there."""
    if shutil.which("escript") is None and os.environ.get("CI") != "true":
        pytest.skip("Erlang/OTP is not installed (erlang-base)")
    with Oracle() as running:
        yield running
