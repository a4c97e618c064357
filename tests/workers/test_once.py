"""What runs once, in real processes: whoever is killed, stopped or replaced."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from processes import PATIENCE, app, run
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

APP = """
    import gevent

    class Billing(Service):
        def run(self):
            told = os.open("work", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            while True:
                os.write(told, f"{time.monotonic()} {os.getpid()} {self.lease.token}\\n".encode())
                gevent.sleep(0.002)

        def on_stop(self):
            gevent.sleep(0.1)

    class Ears(Service):
        def on_start(self):
            self.listen("hello", self.hear)
            self.interval(self.say, 0.2)

        def say(self):
            if os.path.exists("talk"):
                self.broadcast("hello", os.getpid())

        def hear(self, pid):
            told = os.open("heard", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(told, f"{os.getpid()} {pid}\\n".encode())
            os.close(told)

    app = App(name="shop", providers={"billing": Singleton(Billing()), "ears": Ears()})
"""


class Work:
    """What has been written by who was at work."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "work"

    def lines(self) -> list[tuple[float, int, int]]:
        text = self._path.read_text() if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [(float(at), int(pid), int(token)) for at, pid, token in map(str.split, whole)]

    def owner(self) -> int:
        """Return who is at work; waits until somebody is."""
        until(lambda: self.lines() and self.lines()[-1][0] > time.monotonic() - 0.2)
        return self.lines()[-1][1]

    def others_than(self, pid: int) -> float:
        """Wait until somebody else is at work; return for how many seconds nobody was."""
        until(lambda: self.lines()[-1][1] != pid)
        lines = self.lines()
        last = max(at for at, each, _ in lines if each == pid)
        return min(at for at, each, _ in lines if each != pid and at > last) - last

    def check(self) -> int:
        """Never two at once, and tokens rise; return how many have had it."""
        spans: dict[int, list[float]] = {}
        for at, _pid, token in self.lines():
            spans.setdefault(token, []).append(at)
        before = 0.0
        for token in sorted(spans):
            assert min(spans[token]) >= before, f"two at once: {token}"
            before = max(spans[token])
        return len(spans)


def until(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_whoever_is_killed_there_are_never_two_at_once(tmp_path: Path) -> None:
    app(tmp_path, APP)
    work, chance = Work(tmp_path), random.Random(7)
    with run(tmp_path, "--workers", "4", "--name", "shop", "--watchdog", "2") as process:
        process.says('"event": "up"', times=5)
        pauses: list[float] = []
        for number in range(20):
            owner = work.owner()
            time.sleep(chance.random() / 4)
            os.kill(owner, signal.SIGSTOP if number == 10 else signal.SIGKILL)
            pauses.append(work.others_than(owner))
        assert work.check() >= 21
        assert sorted(pauses)[2] < 1, pauses  # where somebody was there who stood by
        process.says("was killed by SIGKILL", times=5)
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert "Traceback" not in process.err
    assert work.check() >= 21


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
