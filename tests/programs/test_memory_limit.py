"""How much memory a process may have, as control groups say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sprag.programs import memory_limit as module
from sprag.programs.memory_limit import memory_limit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(module, "_PROCESSES", tmp_path / "proc")
    return tmp_path


def says(machine: Path, place: str, text: str) -> None:
    file = machine / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_the_least_of_the_limits_above_a_process_counts(machine: Path) -> None:
    says(machine, "proc/7/cgroup", "0::/system.slice/shop.service")
    says(machine, "cgroup/system.slice/shop.service/memory.max", "max")
    assert memory_limit(7) is None
    says(machine, "cgroup/system.slice/memory.max", "2000")
    assert memory_limit(7) == 2000
    says(machine, "cgroup/system.slice/shop.service/memory.max", "3000")
    assert memory_limit(7) == 2000
    says(machine, "cgroup/system.slice/shop.service/memory.max", "1000")
    assert memory_limit(7) == 1000


def test_in_a_container_whose_path_is_the_machines_the_top_counts(machine: Path) -> None:
    says(machine, "proc/7/cgroup", "0::/docker/4711")
    says(machine, "cgroup/memory.max", "512")
    assert memory_limit(7) == 512


def test_the_first_version_says_a_large_number_for_no_limit(machine: Path) -> None:
    says(machine, "proc/7/cgroup", "5:cpu,memory:/shop\n3:pids:/shop")
    says(machine, "cgroup/memory/shop/memory.limit_in_bytes", "9223372036854771712")
    assert memory_limit(7) is None
    says(machine, "cgroup/memory/memory.limit_in_bytes", "4096")
    assert memory_limit(7) == 4096


def test_of_a_path_that_leads_up_and_of_nobody_nothing_is_known(machine: Path) -> None:
    says(machine, "proc/7/cgroup", "0::/../../other")
    says(machine, "proc/8/cgroup", "nonsense")
    assert [memory_limit(pid) for pid in (7, 8, 9)] == [None, None, None]
