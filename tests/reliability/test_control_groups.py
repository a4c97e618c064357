"""An app that may divide its control group gets out of its programs what nothing else would."""

from __future__ import annotations

import os
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from processes import app, run
from programmed import is_there
from reliability.bad_programs import GONE
from reliability.watching import children, guard_of, nobody_is_left, pids, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processes import Process

ESCAPES = """
import sys
from sprag import Program, Supervisor
source = '''
import ctypes, os, time
time.sleep(0.7)
os.fork() and os._exit(0)
os.setsid()
os.fork() and os._exit(0)
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
begin, end = int(fields[47]), int(fields[48])
ctypes.memset(begin, 120, end - begin)
assert b"SPRAG" not in open("/proc/self/environ", "rb").read()
open("pids", "a").write(f"{os.getpid()}\\\\n")
time.sleep(1000)
'''
app = Supervisor([
    Program([sys.executable, "-S", "-c", source], name="it", restart="temporary"),
    Program("sleep 1000", name="other"),
], name="app")
"""


def mount() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if " - cgroup2 " in line and os.access(fields[4], os.W_OK) and fields[3] == "/":
            return Path(fields[4])
    return None


@pytest.fixture
def given() -> Iterator[Path]:
    """A control group, as systemd makes it with ``Delegate=yes``."""
    place = mount()
    if os.geteuid() != 0 or place is None:
        pytest.skip("only root may make control groups, where there are any")
    folder = place / f"sprag-test-{uuid.uuid4().hex}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    os.setxattr(folder, "user.delegate", b"1")
    yield folder
    (folder / "cgroup.kill").write_text("1")
    until(lambda: "populated 0" in (folder / "cgroup.events").read_text(), "it is empty")
    for below in sorted(folder.glob("**/"), reverse=True):
        below.rmdir()


def started(directory: Path, group: Path) -> Process:
    app(directory, ESCAPES)
    shell = f'echo $$ > {group}/cgroup.procs; exec "$0" "$@"'
    return run(directory, shell=shell)


def members(folder: Path) -> set[int]:
    found: set[int] = set()
    for file in folder.glob("**/cgroup.procs"):
        with suppress(OSError):
            found |= set(map(int, file.read_text().split()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_left_its_session_and_its_environment_ends_with_the_app(
    tmp_path: Path, given: Path, number: signal.Signals
) -> None:
    bystander = os.fork()
    if bystander == 0:
        (given / "cgroup.procs").write_text(f"{os.getpid()}")
        time.sleep(1000)
    try:
        with started(tmp_path, given) as process:
            until(lambda: pids(tmp_path), "it has escaped")
            (daemon,) = pids(tmp_path)
            (ours,) = given.glob("sprag.*")
            assert daemon in members(ours)
            assert {process.popen.pid, guard_of(process), bystander}.isdisjoint(members(ours))
            process.send(number)
            process.popen.wait(20)
            nobody_is_left(process, tmp_path, GONE)
            assert not is_there(daemon)
            until(lambda: not ours.exists(), "its group is gone")
        assert is_there(bystander)
    finally:
        os.kill(bystander, signal.SIGKILL)
        os.waitpid(bystander, 0)


@pytest.mark.slow
def test_a_group_that_was_not_given_to_it_is_left_alone(tmp_path: Path, given: Path) -> None:
    os.removexattr(given, "user.delegate")
    with started(tmp_path, given) as process:
        until(lambda: pids(tmp_path), "it has escaped")
        assert list(given.glob("sprag.*")) == []
        assert set(children(process.popen.pid)) < members(given)
