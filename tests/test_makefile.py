"""What a contributor types first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from processes import Process

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_make_run_ends_with_ctrl_c_and_without_an_error_of_make(tmp_path: Path) -> None:
    if shutil.which("make") is None or not (ROOT / "Makefile").exists():
        pytest.skip("make is not installed")
    command = tmp_path / "sprag"
    # make itself stumbles over a child that is gone before make has heard of the Ctrl-C.
    stop = "trap '' INT; sleep 1; echo stopped; exit 0"
    command.write_text(f'#!/bin/sh\ntrap "{stop}" INT\necho it is up\nsleep 60 & wait\n')
    command.chmod(0o700)
    words = ["make", "-C", str(ROOT), "run", "RUNTIME=", f"BIN={os.path.relpath(tmp_path, ROOT)}"]
    start = f"import os; os.execvp('make', {words!r})"
    with Process("-c", start, directory=tmp_path, terminal=True) as process:
        process.says("it is up")
        process.type("\x03")
        process.says("stopped")
        process.popen.wait(20)
        assert "***" not in process.out
