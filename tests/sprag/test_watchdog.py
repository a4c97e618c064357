"""Who holds the loop is said while it is held."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import sys, time, gevent
from sprag import Service, Supervisor
from sprag.process.watchdog import Watchdog

def spin():
    end = time.monotonic() + {held}
    while time.monotonic() < end:
        {holds}

class Spinner(Service):
    {hook}

class Other(Service):
    def run(self):
        gevent.sleep(60)

with Watchdog(0.2, exits={exits}):
    with Supervisor(children=[Other(), (Spinner(), {{"name": "spinner"}})], name="top") as top:
        gevent.sleep(0.1)
        {trigger}
        gevent.sleep(0.3)
"""

IN = {
    "on_start": ("def on_start(self): spin()", "pass"),
    "on_stop": ("def on_stop(self): spin()", "top.service('spinner').stop()"),
    "run": ("def run(self): spin(); gevent.sleep(60)", "pass"),
    "a timer": ("def on_start(self): self.timeout(spin, 0.01)", "pass"),
    "a listener": ("def on_start(self): self.listen('x', lambda _: spin())", "top.emit('x')"),
    "a greenlet": ("def on_start(self): self.spawn(spin)", "pass"),
}


def outcome(hook: str, trigger: str, *, held: float, exits: bool) -> tuple[int, str]:
    holds = "pass" if exits else "time.sleep(0.01)"  # which nobody has patched
    script = textwrap.dedent(SCRIPT).format(
        hook=hook, trigger=trigger, held=held, exits=exits, holds=holds
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("where", list(IN))
def test_the_service_that_holds_the_loop_is_named_once_with_its_stack(where: str) -> None:
    code, stderr = outcome(*IN[where], held=0.9, exits=False)
    assert code == 0, stderr
    assert stderr.count("the loop is held") == 1, stderr
    assert "by top/spinner" in stderr
    assert "in spin" in stderr
    assert "the loop was held (seconds=" in stderr


def test_code_outside_of_any_service_is_called_that() -> None:
    code, stderr = outcome("pass", "spin()", held=0.9, exits=False)
    assert code == 0
    assert "by code outside of any service" in stderr


def test_a_process_may_be_ended_by_its_watchdog() -> None:
    code, stderr = outcome(*IN["run"], held=60, exits=True)
    assert code == 4
    assert "ending the process" in stderr


def test_a_loop_that_is_only_idle_is_not_reported() -> None:
    code, stderr = outcome("pass", "gevent.sleep(1)", held=0, exits=True)
    assert (code, stderr) == (0, "")
