"""What runs once, in real processes: whoever is killed, stopped or replaced.

`make soak` does so for long, with many deaths at random.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from processes import app, run
from sprag._exit_codes import ExitCode
from workers.working import APP, Work, until

if TYPE_CHECKING:
    from pathlib import Path

DEATHS = (
    (signal.SIGKILL, 0.0),  # who has just begun, …
    (signal.SIGSTOP, 0.1),  # … who hangs, and is killed by its parent, …
    (signal.SIGKILL, 0.05),  # … and who is the last, for both others still come back
)
"""Of who is at work: the signal, and seconds after it is seen to be. Three workers stand by."""


@pytest.mark.slow
@pytest.mark.long
def test_whoever_is_killed_there_are_never_two_at_once(tmp_path: Path) -> None:
    app(tmp_path, APP)
    work = Work(tmp_path)
    with run(tmp_path, "--workers", "3", "--name", "shop", "--watchdog", "1") as process:
        process.says('"event": "up"', times=4)
        pauses = [work.ends(number, after) for number, after in DEATHS]
        assert work.check() >= len(DEATHS) + 1
        assert min(pauses) < 1, pauses  # where somebody was there who stood by
        process.says("was killed by SIGKILL", times=2)
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert "Traceback" not in process.err
    assert work.check() >= len(DEATHS) + 1


@pytest.mark.slow
def test_it_is_handed_over_where_workers_are_replaced_and_all_hear_what_is_broadcast(
    tmp_path: Path,
) -> None:
    app(tmp_path, APP)
    work, heard = Work(tmp_path), tmp_path / "heard"
    with run(tmp_path, "--workers", "2", "--name", "shop") as process:
        process.says('"event": "up"', times=3)
        first = work.owner()
        process.send(signal.SIGHUP)
        process.says("workers are replaced")
        assert work.owner() != first
        assert work.check() in (2, 3)  # not from each old one to the next
        (tmp_path / "talk").touch()
        until(lambda: heard.exists() and len(set(heard.read_text().splitlines())) == 4)
        tokens = work.check()
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
    assert work.check() == tokens  # at the end of all nobody has taken over for a moment
