"""An app of which one service works once, and what shows that there are never two at it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from processes import PATIENCE

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

    def ends(self, number: int, after: float) -> float:
        """Send a signal to who is at work, after so many seconds of that; return as above."""
        owner = self.owner()
        time.sleep(after)
        os.kill(owner, number)
        return self.others_than(owner)

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
