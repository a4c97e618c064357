"""Who was killed by the kernel for want of memory is told so, and nobody else."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from sprag import App, Program
from sprag.programs import out_of_memory
from sprag.programs.out_of_memory import cause_of, look
from sprag.testing import fake_programs, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Place = Callable[[str, str], Path]

KILLED = -signal.SIGKILL


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A machine, of which files are written: by name, below its control groups or beside them."""
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(out_of_memory, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(out_of_memory, "_OURS", tmp_path / "ours")
    monkeypatch.setattr(out_of_memory, "_MACHINE", tmp_path / "vmstat")
    monkeypatch.setattr(out_of_memory, "_places", [])
    monkeypatch.setattr(out_of_memory, "_told", [0])

    def write(name: str, text: str) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("ours", "place", "cause"),
    [
        ("0::/shop/web", "cgroup/shop/web/memory.events", "out of memory"),
        ("0::/docker/1f", "cgroup/memory.events", "out of memory"),
        ("9:cpu:/\n4:memory:/shop", "cgroup/memory/shop/memory.oom_control", "out of memory"),
        ("4:cpu,memory:/docker/1f", "cgroup/memory/memory.oom_control", "out of memory"),
        ("0::/", "vmstat", "perhaps out of memory"),
        ("what is this", "vmstat", "perhaps out of memory"),
    ],
)
def test_the_count_of_the_own_group_tells_and_that_of_the_machine_is_a_hint(
    machine: Place, ours: str, place: str, cause: str
) -> None:
    machine("ours", f"{ours}\n")
    machine("vmstat", "nr_free_pages 7\noom_kill 4\n")
    machine(place, "low 0\noom 9\noom_kill 4\n")
    before = look()
    assert cause_of(KILLED, before) == ""
    machine(place, "low 0\noom 9\noom_kill 5\n")
    assert cause_of(3, before) == ""
    assert cause_of(-signal.SIGTERM, before) == ""
    assert cause_of(KILLED, before) == cause
    assert cause_of(KILLED, before) == ""  # one was killed, and that was told
    assert cause_of(KILLED, look()) == ""


def test_where_nothing_can_be_read_nothing_is_said(machine: Place) -> None:
    before = look()
    assert cause_of(KILLED, before) == ""
    machine("vmstat", "oom_kill what\n")
    assert cause_of(KILLED, before) == ""


def test_a_program_says_so_in_its_failure(machine: Place) -> None:
    machine("ours", "0::/\n")
    place = machine("cgroup/memory.events", "oom_kill 2\n")

    with virtual_time() as clock, fake_programs() as programs:
        app = App(name="shop", providers={"courier": Program("courier")})
        app.start()
        place.write_text("oom_kill 3\n")
        programs["shop/courier"].die("KILL")
        clock.advance(1)
        said: Any = app.service("courier").snapshot().last_failure
        assert str(said).endswith("was killed by SIGKILL: out of memory")
        programs["shop/courier"].die("KILL", why="perhaps out of memory")
        clock.advance(1)
        said = app.service("courier").snapshot().last_failure
        assert str(said).endswith("was killed by SIGKILL: perhaps out of memory")
        app.stop()
