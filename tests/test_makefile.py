"""What a contributor types first, and what a release needs."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sprag
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


def project() -> dict[str, Any]:
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(told["project"])


def requirements() -> list[Requirement]:
    """Return what pyproject.toml asks for, but for itself."""
    extras = project()["optional-dependencies"].values()
    wanted = [Requirement(each) for group in [project()["dependencies"], *extras] for each in group]
    return [each for each in wanted if each.name != project()["name"]]


def test_the_lock_has_a_version_of_everything_that_is_asked_for() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)$", lock, re.MULTILINE))
    versions = {canonicalize_name(name): version for name, version in locked.items()}

    for each in requirements():
        version = versions.get(canonicalize_name(each.name), "")
        assert each.specifier.contains(version or "0.dev0"), f"{each}: {version or 'not there'}"


def test_the_version_has_its_entry_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(rf"^## \[{re.escape(sprag.__version__)}\]", changelog, re.MULTILINE)


def test_the_oldest_python_is_the_same_wherever_it_is_told() -> None:
    oldest = project()["requires-python"].removeprefix(">=")
    told = [each.rpartition(" ")[2] for each in project()["classifiers"] if ":: 3." in each]
    sessions = re.search(r"PYTHONS = \[(.+)\]", (ROOT / "noxfile.py").read_text(encoding="utf-8"))

    assert sessions is not None
    assert min(told, key=lambda version: int(version[2:])) == oldest
    assert set(told) <= set(re.findall(r"[\d.]+", sessions[1]))
