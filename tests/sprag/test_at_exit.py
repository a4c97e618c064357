"""A program that ends without having stopped its tree: the last resort."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import gevent, os, sys
from sprag import *

class Last(Service):
    def on_start(self):
        self.add_cleanup(print, "cleaned up", flush=True)
        self.spawn(self.work)
    def work(self):
        try:
            gevent.sleep(60)
        finally:
            print("finally", flush=True)
    def on_stop(self):
        {on_stop}

top = Supervisor([Last()], name="top")
top.start()
gevent.sleep(0.01)
{end}
"""


def outcome(on_stop: str = "print('on_stop', flush=True)", end: str = "") -> tuple[int, list[str]]:
    script = SCRIPT.format(on_stop=on_stop, end=end)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout.splitlines()


def test_a_tree_that_nobody_has_stopped_is_stopped_at_the_end() -> None:
    assert outcome() == (0, ["on_stop", "finally", "cleaned up"])


def test_an_exit_code_stays_what_it_is() -> None:
    assert outcome(end="sys.exit(5)") == (5, ["on_stop", "finally", "cleaned up"])


def test_a_tree_that_was_stopped_is_left_alone() -> None:
    assert outcome(end="top.stop()")[1] == ["on_stop", "finally", "cleaned up"]


def test_it_takes_little_time() -> None:
    code, said = outcome(on_stop="gevent.sleep(60)")
    assert (code, said) == (0, ["finally", "cleaned up"])


def test_a_forked_child_stops_nothing_of_its_parents() -> None:
    end = "pid = os.fork()\nif pid == 0: sys.exit(0)\nos.waitpid(pid, 0)\ntop.stop()"
    assert outcome(end=end)[1] == ["on_stop", "finally", "cleaned up"]
