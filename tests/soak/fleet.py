"""An app in workers for a long time: who is at work is killed, and all are replaced under load.

It is told apart what must never be: two at work at once, a client that has lost a request.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from processes import app, run
from sprag._exit_codes import ExitCode
from workers.working import APP, Work

if TYPE_CHECKING:
    import random

_KEPT = str(Path(__file__).with_name("kept.py"))
_PAGES = """
import os
from sprag import Controller

class Who(Controller):
    route = "/who"
    def load(self):
        return {"pid": os.getpid()}
"""
_ROUNDS = 10.0
"""Seconds of each story, at least; the last one begins before the time is over."""


def once(seconds: float, choices: random.Random) -> str:
    """Kill, or stop, who is at work, again and again; return how often."""
    until, deaths = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        app(directory, APP)
        work = Work(directory)
        with run(directory, "--workers", "4", "--name", "shop", "--watchdog", "2") as process:
            process.says('"event": "up"', times=5)
            while time.monotonic() < until:
                number = signal.SIGSTOP if choices.random() < 0.1 else signal.SIGKILL
                work.ends(number, choices.random() / 4)
                deaths += 1
                if deaths % 20 == 0:
                    work.check()
            process.send(signal.SIGTERM)
            assert process.ends() == ExitCode.STOPPED
            assert "Traceback" not in process.err
        assert work.check() > deaths
    return f"{deaths} deaths of who was at work"


def kept(seconds: float) -> str:
    """Replace workers whose clients keep their connections; return how many were answered."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        app(directory, 'app = App(name="shop", routes="pages")')
        (directory / "pages.py").write_text(_PAGES)
        options = ("--workers", "2", "--port", "0", "--log-level", "info")
        with run(directory, *options) as process:
            process.says('"event": "up"', times=3)
            port = process.events("serving")[0]["url"].rpartition(":")[2]
            clients = subprocess.Popen(
                [sys.executable, _KEPT, port, str(seconds)], stdout=subprocess.PIPE, text=True
            )
            until, reloads = time.monotonic() + seconds - _ROUNDS, 0
            environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(process.runtime)}
            while time.monotonic() < until:
                reload = [sys.executable, "-m", "sprag_cli", "reload"]
                subprocess.run(reload, check=True, stdout=subprocess.DEVNULL, env=environ)
                reloads += 1
                time.sleep(1)
            told = json.loads(clients.communicate()[0])
            process.send(signal.SIGTERM)
            assert process.ends() == ExitCode.STOPPED
    if told["lost"]:
        raise SystemExit(f"workers: {len(told['lost'])} requests were lost: {told['lost'][:5]}")
    return f"{told['answered']:,} answers on kept connections over {reloads} reloads"
