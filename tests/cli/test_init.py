"""`sprag init`: a project that runs at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from processes import run
from sprag._exit_codes import ExitCode
from sprag_cli.commands.group import commands
from sprag_cli.new import begin as _begin
from sprag_cli.new.project import files, module_of

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def init(name: str) -> Result:
    return CliRunner().invoke(commands, ["init", name])


def test_all_is_written_and_what_comes_next_is_said(tmp_path: Path) -> None:
    done = init("web-shop")
    assert done.exit_code == ExitCode.WELL, done.output
    assert "sprag run web_shop.main:app" in done.output
    project = tmp_path / "web-shop"
    there = {
        str(path.relative_to(project)): path.read_text()
        for path in project.rglob("*")
        if path.is_file()
    }
    assert there == files("web-shop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web-shop"]
    assert "$" not in there["web_shop/main.py"]
    assert tomllib.loads(there["pyproject.toml"])["project"]["name"] == "web-shop"
    for path, text in there.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize("name", ["", "3d", "a/b", "../x", "-x", ".", "a b", "ü", "x" * 99])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(commands, ["init", "--", name])
    assert done.exit_code == ExitCode.USAGE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["json", "class", "sprag", "Gevent", "tests"])
def test_what_would_hide_another_module_is_refused(name: str) -> None:
    done = init(name)
    assert done.exit_code == ExitCode.USAGE
    assert "what another package" in done.output or "a word of Python's" in done.output
    assert module_of("shop") == "shop"


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    assert init("shop").exit_code == ExitCode.WELL  # an empty folder holds nothing
    (tmp_path / "shop" / "README.md").write_text("mine")
    done = init("shop")
    assert done.exit_code == ExitCode.FAILED
    assert "is there already" in done.output
    assert (tmp_path / "shop" / "README.md").read_text() == "mine"


def test_half_a_project_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> dict[str, str]:
        return {"a": "x", "a/b": "a file is no folder"}

    monkeypatch.setattr(_begin, "files", broken)
    done = init("shop")
    assert done.exit_code == ExitCode.FAILED
    assert "cannot be written" in done.output
    assert not list(tmp_path.iterdir())


def test_the_unit_is_one_of_systemds(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze here")
    init("shop")
    unit = tmp_path / "shop" / "deploy" / "shop.service"
    unit.write_text(unit.read_text().replace("/srv/shop/.venv/bin/sprag", "/bin/true"))
    command = [verify, "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "shop.service" not in done.stderr, done.stderr


@pytest.mark.slow
def test_its_own_tests_pass_and_it_runs_at_once(tmp_path: Path) -> None:
    init("shop")
    project = tmp_path / "shop"
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(tests, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    with run(project, target="shop.main:app") as process:
        process.says("service started", times=3)
