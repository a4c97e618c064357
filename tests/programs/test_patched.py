"""Programs are tested in patched processes, as they run: the files of ``patched`` are for two.

To start one for each file, with its pytest, would take longer than some of their tests do.
Not among the slow tests: what runs programs is measured by these.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "patched").glob("check_*.py"))
WITHIN = 170


@pytest.mark.long
@pytest.mark.parametrize("part", [0, 1])
def test_its_tests_pass_in_a_patched_process(part: int) -> None:
    files = FILES[part::2]
    assert files
    inner = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib")
    done = subprocess.run(
        [sys.executable, "-m", "gevent.monkey", "--module", "pytest", *inner, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        cwd=files[0].parent,
        env={**os.environ, "PYTEST_XDIST_WORKER": "", "PYTEST_ADDOPTS": ""},
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout
