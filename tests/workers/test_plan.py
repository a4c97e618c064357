"""What workers are: how many, of which command line, and what they find in their environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sprag.process.worker import Worker, forget, take_up, worker
from sprag.programs.exceptions import BadEnvFile, CannotRun
from sprag.workers import plan as plans
from sprag.workers.plan import Plan, cores, same_directory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def none_before() -> Iterator[None]:
    yield
    forget()


def plan_of(directory: Path, env_file: str | None = None) -> Plan:
    return Plan(
        name="shop",
        count=2,
        words=("sprag", "run", "shop:app"),
        cwd=directory,
        env_file=None if env_file is None else Path(env_file),
        sockets=(7,),
        socket_names=("web",),
        control=directory / "run",
        watchdog=30.0,
        shutdown=30.0,
    )


@pytest.mark.parametrize(
    ("allowed", "quotas", "number"),
    [
        (8, {}, 8),
        (8, {"": "max 100000"}, 8),
        (8, {"": "250000 100000"}, 3),
        (2, {"": "800000 100000"}, 2),
        (8, {"": "10000 100000"}, 1),
        (8, {"": "max 100000", "above": "150000 100000"}, 2),
        (8, {"": "what is this"}, 8),
    ],
)
def test_auto_is_what_affinity_and_cgroup_leave(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allowed: int,
    quotas: dict[str, str],
    number: int,
) -> None:
    for name, quota in quotas.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "cpu.max").write_text(f"{quota}\n")

    def affinity(_pid: int) -> set[int]:
        return set(range(allowed))

    monkeypatch.setattr(os, "sched_getaffinity", affinity)
    monkeypatch.setattr(plans, "_cgroup_and_above", lambda: [tmp_path, tmp_path / "above"])
    assert cores() == number


def test_the_directory_is_the_symlink_by_which_it_was_given(tmp_path: Path) -> None:
    release = tmp_path / "release-1"
    release.mkdir()
    current = tmp_path / "current"
    current.symlink_to(release)
    before = Path.cwd()
    try:
        os.chdir(release)
        assert same_directory({"PWD": str(current)}) == current
        assert same_directory({"PWD": str(tmp_path)}) == release  # it is somewhere else
        assert same_directory({"PWD": "."}) == release
        assert same_directory({}) == release
    finally:
        os.chdir(before)


def test_a_worker_has_ours_then_the_file_s_and_nothing_that_systemd_says_to_us(
    tmp_path: Path, none_before: None
) -> None:
    del none_before
    (tmp_path / "vars").write_text("COLOUR=blue\nSIZE=3\n")
    ours = {"COLOUR": "red", "HOME": "/", "NOTIFY_SOCKET": "@x", "LISTEN_FDS": "1"}
    found = plan_of(tmp_path, "vars").environment(2, 3, 9, ours)
    assert (found["COLOUR"], found["SIZE"], found["HOME"]) == ("blue", "3", "/")
    assert "NOTIFY_SOCKET" not in found
    assert "LISTEN_FDS" not in found
    assert (found["LISTEN_FDNAMES"], found["WATCHDOG_USEC"]) == ("web", "30000000")
    take_up(found)
    assert worker() == Worker(2, 3, "shop/worker-2", str(tmp_path / "run" / "2.9"), 2)
    assert not [name for name in found if name.startswith("SPRAG_")]


def test_an_env_file_that_cannot_be_read_is_said_with_its_name_and_line(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="env file, vars: No such file"):
        plan_of(tmp_path, "vars").environment(1, 1, 1, {})
    (tmp_path / "vars").write_text("COLOUR\n")
    with pytest.raises(BadEnvFile, match=r"vars:1: "):
        plan_of(tmp_path, "vars").environment(1, 1, 1, {})


@pytest.mark.parametrize(
    "said", [{}, {"SPRAG_WORKER": "2"}, {"SPRAG_WORKER": "x", "SPRAG_GENERATION": "1"}]
)
def test_who_is_not_told_all_of_it_is_no_worker(said: dict[str, str], none_before: None) -> None:
    del none_before
    take_up(dict(said))
    assert worker() is None
