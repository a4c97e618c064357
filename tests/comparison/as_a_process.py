"""Lines of proof for docs/comparison.md about whole processes, from their start to their end."""

from __future__ import annotations

import os
import re
from signal import SIGTERM, SIGUSR1
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.request import urlopen

from processes import Process, app, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Ended(NamedTuple):
    """How a run of an app has ended, and what it has written."""

    code: int
    out: str
    err: str


def ran(directory: Path, source: str, *signals: int, options: str = "") -> Ended:
    """Run an app; each signal is sent when it says "now" once more."""
    app(directory, source)
    with run(directory, *options.split()) as process:
        for times, number in enumerate(signals, start=1):
            process.says("now\n", times=times)
            process.send(number)
        return Ended(process.ends(), process.out, process.err)


def checked(directory: Path, source: str) -> str:
    """Return what ``sprag check`` says of an app."""
    app(directory, source)
    with Process("-m", "sprag_cli", "check", "app:app", directory=directory) as process:
        process.ends()
        return process.out + process.err


def saved_anew(directory: Path) -> list[str]:
    """Return whom a changed file makes ``sprag up --watch`` begin a second life."""
    file = directory / "sprag.toml"
    program = '[program.{}]\ncommand = ["sleep", "{}"]\n'
    file.write_text(program.format("a", 60) + program.format("b", 60))
    with Process("-m", "sprag_cli", "up", "--watch", directory=directory) as process:
        process.says('"event": "up"')
        file.write_text(program.format("a", 60) + program.format("b", 61))
        process.says('"incarnation": 2')
        process.send(SIGTERM)
        process.ends()
        lives = re.findall(r'"service": "[^"]*/(\w+)", "incarnation": 2', process.err)
        return sorted(set(lives))


def reloaded(directory: Path) -> int:
    """Return how often an app comes up that is saved once under ``--reload``."""
    app(directory, "app = App(name='shop')\n")
    with run(directory, "--reload") as process:
        process.says('"event": "up"')
        os.utime(directory / "app.py")
        process.says('"event": "up"', times=2)
        process.send(SIGTERM)
        process.ends()
        return process.err.count('"event": "up"')


def observed(directory: Path) -> bytes:
    """Return what ``sprag observe`` serves at the address that it prints."""
    with Process("-m", "sprag_cli", "observe", "--no-browser", directory=directory) as process:
        process.says("Ctrl-C ends")
        with urlopen(process.out.split()[0], timeout=10) as answer:
            page: bytes = answer.read()
        process.send(SIGTERM)
        assert process.ends() == 0
        return page


def replaced(directory: Path, options: str) -> list[str]:
    """Return why the first worker that has to go is replaced."""
    app(directory, "app = App(name='shop')\n")
    with run(directory, *options.split()) as process:
        process.says("workers are replaced")
        process.send(SIGTERM)
        process.ends()
        return re.findall(r'"because": "([^"]*)"', process.err)


GIVES_UP: Final = """
class Fragile(Service, on_failure={ValueError: "escalate"}):
    def run(self):
        gevent.sleep(0.2)
        raise ValueError("bad order 17")
app = Supervisor([Fragile()], name="shop")
"""

CANNOT_START: Final = """
class Fragile(Service):
    def on_start(self):
        raise ConnectionError("no database")
app = Supervisor([Fragile()], name="shop")
"""

ASKS_FOR_7: Final = """
class Asking(Service):
    def run(self):
        raise SystemExit(7)
app = Supervisor([Asking()], name="shop")
"""

POLITE: Final = """
class Polite(Service):
    def on_start(self):
        self.interval(say, 0.1, "now")
    def run(self):
        self.wait_for_orders()
    def wait_for_orders(self):
        gevent.sleep(60)
    def on_stop(self):
        say("goodbye")
app = Supervisor([Polite()], name="shop")
"""

SLOW_TO_STOP: Final = """
class Slow(Service, shutdown="infinity"):
    def on_start(self):
        self.timeout(say, 0.1, "now")
    def on_stop(self):
        gevent.sleep(0.2)  # signals that come together count as one
        say("now")
        gevent.sleep(60)
app = Supervisor([Slow()], name="shop")
"""

SPINNING: Final = """
class Spinning(Service):
    def run(self):
        gevent.sleep(0.1)
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            pass
        gevent.sleep(0.3)
        raise SystemExit
app = Supervisor([Spinning()], name="shop")
"""

THREADED: Final = """
import threading
def work():
    try:
        time.sleep(600)
    finally:
        say("its thread is over")
class Threaded(Service):
    def on_start(self):
        threading.Thread(target=work).start()
        self.timeout(self.stop, 0.1)
class Last(Service):
    def run(self):
        gevent.sleep(0.5)
        say("the end")
        raise SystemExit
app = Supervisor([Threaded(), Last()], name="shop")
"""

LOCKED: Final = """
class Locked(Service):
    def __init__(self, password, places):
        self.places = places
    def run(self):
        raise ValueError(f"no place is called {len(self.places)}")
locked = Locked("hunter2", places={"db": {"dsn": "db://me:hunter2@db"}})
app = Supervisor([locked], name="shop", max_restarts=0)
"""

MULTIPLIED: Final = """
deep = Supervisor([Supervisor([Supervisor([Service()])])])
app = App(name="shop", providers={"deep": deep})
"""

FLOODING: Final = """
class Flooding(Service):
    def run(self):
        for _ in range(1000):
            self.log.warning("no route")
        raise SystemExit
app = Supervisor([Flooding()], name="shop")
"""

MISTAKEN: Final = """
app = Supervisor([(Service(), {"strategy": "two_for_one"})], name="shop")
"""

PLACED: Final = """
from sprag.programs import Line
line = "echo $GREETING; pwd; ulimit -n; umask; sleep 60"
told = Program(line, shell=True, cwd="/", umask=0o027, limits={"nofile": 99},
               env={"GREETING": "hello"}, ready=Line("^0027$"))
class Waits(Service, needs=("told",)):
    def run(self):
        raise SystemExit
app = App(name="shop", providers={"told": told, "waits": Waits()})
"""

CRASHING: Final = """
import os, signal
class Feeder(Service):
    lives = 0
    def on_start(self):
        Feeder.lives += 1
        if Feeder.lives == 2:
            raise SystemExit(7)
        self.timeout(os.kill, 0.2, worker.pid, signal.SIGKILL)
worker = Program("sleep 60", name="worker")
app = Supervisor([worker, Feeder()], name="shop", strategy="one_for_all")
"""

LEAVING: Final = """
from sprag.programs import Line
parent = Program("sleep 987 & echo $! > below; echo up; wait", shell=True, name="parent",
                 ready=Line("up"))
class Ends(Service, needs=("parent",)):
    def run(self):
        parent.stop()
        below = int(open("below").read())
        try:
            os.kill(below, 0)
        except ProcessLookupError:
            say("nobody is left")
        raise SystemExit
app = App(name="shop", providers={"parent": parent, "ends": Ends()})
"""

ROTATED: Final = """
import signal
writer = Program("while sleep 0.05; do echo line; done", shell=True, name="writer", output="log")
copied = Program("while sleep 0.05; do echo line; done", shell=True, name="copied", output="out")
class Rotates(Service):
    def run(self):
        while not os.path.exists("out") or not os.path.getsize("out"):
            gevent.sleep(0.01)
        os.rename("out", "out.1")
        os.kill(os.getpid(), signal.SIGUSR2)
        while not os.path.exists("out") or not os.path.getsize("out"):
            gevent.sleep(0.01)
        raise SystemExit
app = Supervisor([writer, copied, Rotates()], name="shop")
"""

AS_A_PROCESS: Final[dict[str, Callable[[Path], bool]]] = {
    "End the program with it": lambda at: ran(at, GIVES_UP).code == 1,
    "A page in the browser": lambda at: b'id="verdict"' in observed(at),
    "Check a tree without starting it": lambda at: "two_for_one" in checked(at, MISTAKEN),
    "Restart beyond a limit of memory or CPU": (
        lambda at: "--max-memory" in replaced(at, "--workers 1 --max-memory 9M")[0]
    ),
    "Threads": lambda at: ran(at, THREADED).out == "its thread is over\nthe end\n",
    "Notice a loop that is held": (
        lambda at: "the loop is held" in ran(at, SPINNING, options="--watchdog 0.2").err
    ),
    "SIGTERM stops in order": lambda at: ran(at, POLITE, SIGTERM).out.endswith("goodbye\n"),
    "A second signal ends at once": (
        lambda at: ran(at, SLOW_TO_STOP, SIGTERM, SIGTERM).code == 128 + SIGTERM
    ),
    "Floods of logs": lambda at: ran(at, FLOODING).err.count('"no route"') == 4,
    "A signal for stacks": (
        lambda at: "in wait_for_orders" in ran(at, POLITE, SIGUSR1, SIGTERM).err
    ),
    "Exit codes that say how it ended": (
        lambda at: (
            [ran(at, text).code for text in (GIVES_UP, CANNOT_START, ASKS_FOR_7)] == [1, 3, 7]
        )
    ),
    "What is likely wrong with a tree": lambda at: "limits-multiply" in checked(at, MULTIPLIED),
    "Logs of crashes without secrets": (
        lambda at: '"password": ' in (said := ran(at, LOCKED).err) and "hunter2" not in said
    ),
    "Who holds the loop": (
        lambda at: "by shop/Spinning" in ran(at, SPINNING, options="--watchdog 0.2").err
    ),
    "Environment, directory, user, limits": (
        lambda at: (
            re.findall(r'"line": "(.*?)"', ran(at, PLACED).err) == ["hello", "/", "99", "0027"]
        )
    ),
    "Programs as children": lambda at: "was killed by SIGKILL" in ran(at, CRASHING).err,
    "Greenlets, threads and programs in one tree": lambda at: ran(at, CRASHING).code == 7,
    "Kill a program with all it has started": (
        lambda at: ran(at, LEAVING).out == "nobody is left\n"
    ),
    "A signal to open log files again": (
        lambda at: ran(at, ROTATED).code == 0 and (at / "out.1").read_text().startswith("line\n")
    ),
    "Keep the output of programs": (
        lambda at: '"stream": "stdout", "line": "line"' in ran(at, ROTATED).err
    ),
    "What has changed, and only that": lambda at: saved_anew(at) == ["b"],
    "Restart when a file changes": lambda at: reloaded(at) == 2,
}
