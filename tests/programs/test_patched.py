"""Programs are tested in a patched process, as they run: each file of ``patched`` is one.

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


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_tests_pass_in_a_patched_process(file: Path) -> None:
    assert FILES
    inner = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib")
    done = subprocess.run(
        [sys.executable, "-m", "gevent.monkey", "--module", "pytest", *inner, str(file)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        cwd=file.parent,
        env={**os.environ, "PYTEST_XDIST_WORKER": "", "PYTEST_ADDOPTS": ""},
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout
