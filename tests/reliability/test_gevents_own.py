"""What gevent promises holds in a service whose every greenlet is owned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reliability.gevents_own import DIFFERENT, QUICK

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_gevents_own_tests_pass_in_a_service() -> None:
    script = Path(__file__).with_name("gevents_own.py")
    done = subprocess.run(
        [sys.executable, str(script), *QUICK],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert set(done.stdout.splitlines()) <= set(DIFFERENT)
