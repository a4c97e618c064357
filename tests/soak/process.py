"""The process soak: a deep tree in which something goes wrong hundreds of times a second.

    python tests/soak/process.py --seconds 240 --seed 7

Services crash, fail to start, finish, are stopped, started, adopted and terminated at random,
by many greenlets at once, while hostile clients plague the control socket and a good one asks
every second. At the end nothing may be left: no greenlet, timer, descriptor or process; memory
is flat; every start is accounted for.
"""

from __future__ import annotations

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gevent

from soak import living
from soak.account import Account
from sprag import App, Service, SpragError, Supervisor, own_greenlets
from sprag.control.server import ControlSocket
from sprag.testing import LeakCheck, check_invariants
from sprag_supervisor.rules.states import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

DRIVERS: Final = 32
PATIENCE: Final = 30.0
"""Seconds after which a call counts as one that never returns."""
WARM_UP: Final = 0.3
"""Part of the time before memory is looked at."""
GROWTH_PER_START: Final = 20.0
"""Bytes a start may leave behind, by the slope of the resident memory."""
ENOUGH: Final = 100_000
"""Starts from which on the slope means something."""


class Chaos:
    """Does all that can be done to a tree, at random, and keeps count."""

    def __init__(self, app: App, choices: random.Random, end: float) -> None:
        self.app = app
        self.choices = choices
        self.end = end
        self.stuck: list[str] = []
        self.refused = 0
        self.calls = 0

    def drive(self) -> None:
        """Go on until the time is up."""
        deeds = (
            (self.crash, 80),
            (self.finish, 8),
            (self.stop_and_start, 5),
            (self.adopt, 4),
            (self.crash_group, 1),
            (self.emit, 5),
        )
        acts, weights = zip(*deeds, strict=True)
        while time.monotonic() < self.end:
            (act,) = self.choices.choices(acts, weights)
            self.calls += 1
            try:
                with gevent.Timeout(PATIENCE, self._never(act)):
                    act()
            except SpragError:
                self.refused += 1  # it is just being restarted, or gone
            except NeverReturned as error:
                self.stuck.append(str(error))
            gevent.sleep(self.choices.random() * 0.02)

    def _never(self, act: Callable[[], None]) -> NeverReturned:
        return NeverReturned(act.__name__)

    def pick(self, kind: type[Service]) -> Any:
        """Return any service of this kind, found by going down at random."""
        node: Service = self.app
        found: list[Service] = []
        for _ in range(20):
            below: dict[str, Any] = node._children_ or {}
            children: list[Any] = list(below.values())
            if not children:
                break
            # Most leaves are far down: without this, few of them would ever be met.
            parents = [each for each in children if each._children_]
            node = self.choices.choice(
                parents if parents and self.choices.random() < 0.7 else children
            )
            if isinstance(node, kind):
                found.append(node)
                if self.choices.random() < 0.3:
                    break
        return found[-1] if found else None

    def crash(self) -> None:
        leaf = self.pick(living.Leaf)
        if leaf is not None and leaf._state_ in ACTIVE:
            leaf.spawn(leaf.crash)

    def finish(self) -> None:
        leaf = self.pick(living.Leaf)
        if leaf is not None and leaf._state_ in ACTIVE:
            leaf.finish()

    def emit(self) -> None:
        leaf = self.pick(living.Leaf)
        if leaf is not None:
            leaf.emit("soak:news", leaf)

    def stop_and_start(self) -> None:
        service = self.pick(living.Leaf if self.choices.random() < 0.95 else Supervisor)
        if service is not None and service._parent_ is not None:
            service.stop(self.choices.choice([None, 0.0, 0.05, 1.0]))
            if service._parent_ is not None:
                service.start()

    def adopt(self) -> None:
        pool = self.pick(living.Pool)
        if pool is None:
            return
        restart = self.choices.choice(["permanent", "transient", "temporary"])
        child = pool.start_child(living.Leaf(), restart=restart)
        gevent.sleep(self.choices.random() * 0.05)
        if child._parent_ is pool:
            pool.terminate_child(child)

    def crash_group(self) -> None:
        supervisor = self.pick(Supervisor)
        if supervisor is not None and supervisor._state_ in ACTIVE:
            supervisor.spawn(mishap)

    def revive(self) -> None:
        """Start again what gave up on the way, so that the tree stays large."""
        stack: list[Any] = [self.app]
        while stack:
            node = stack.pop()
            below: dict[str, Any] = node._children_ or {}
            children: list[Any] = list(below.values())
            for child in children:
                down = child._state_.value in ("failed", "stopped", "finished")
                # One that has left the tree meanwhile would become the root of one of its own.
                if down and child._op_ is None and child._parent_ is node:
                    try:
                        child.start()
                    except SpragError:
                        self.refused += 1
                stack.append(child)


class NeverReturned(Exception):
    """A call that took longer than any may."""


def mishap() -> None:
    raise living.Mishap("supervisor")


class Client(HTTPConnection):
    """The good client."""

    def __init__(self, path: Path) -> None:
        super().__init__("app", timeout=20)
        self._path = path

    def connect(self) -> None:
        import socket

        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))
        self.sock.settimeout(20)


def ask(path: Path) -> float:
    """Ask for one service and return the seconds until the answer was there."""
    began = time.monotonic()
    with closing(Client(path)) as client:
        client.request("GET", "/v1/service/soak")
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            raise AssertionError(f"the control socket answers {answer.status}")
    return time.monotonic() - began


def resident() -> int:
    """Return the resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line nearest to the points."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    across = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / across if across else 0.0


@contextmanager
def plagued(path: Path, seed: int) -> Generator[None]:
    """Let hostile clients loose on the control socket meanwhile."""
    script = str(Path(__file__).with_name("hostile.py"))
    clients = subprocess.Popen([sys.executable, script, str(path), str(seed)])
    try:
        yield
    finally:
        clients.send_signal(signal.SIGKILL)
        clients.wait()


def soak(seconds: float, seed: int) -> str:
    """Run for so many seconds; return the figures, or raise with all that was wrong."""
    choices = living.choices = random.Random(seed)
    logging.getLogger("sprag").setLevel(logging.CRITICAL + 1)
    gevent.get_hub().threadpool.apply(int)  # what gevent makes once is no leak
    subprocess.run(["true"], check=True)
    account = Account()
    memory: list[tuple[float, float]] = []
    answers: list[float] = []
    leaks = LeakCheck()
    leaks.__enter__()
    with own_greenlets():
        tree = living.make_tree()
        app = App(name="soak", max_restarts=living.LIMITLESS)
        app.start()
        assert app._tree_ is not None
        app._tree_.observers.append(account)
        account.running["soak"] = 1
        account.events["started"] += 1
        while tree:
            adopt(app, tree.pop(0))
        services = len(account.running)
        control = ControlSocket(app)
        control.open()
        chaos = Chaos(app, choices, time.monotonic() + seconds)
        with plagued(control.path, seed):
            drivers: list[Any] = [gevent.spawn(chaos.drive) for _ in range(DRIVERS)]
            began = time.monotonic()
            while time.monotonic() < chaos.end:
                for _ in range(5):
                    gevent.sleep(0.2)
                    chaos.revive()
                answers.append(ask(control.path))
                if time.monotonic() - began > seconds * WARM_UP:
                    memory.append((account.starts, resident()))
            gevent.joinall(drivers, timeout=2 * PATIENCE)
            late = sum(not each.ready() for each in drivers)
            gevent.killall(drivers)
        control.close()
        quiet(app)
        check_invariants(app)
        account.compare(app.snapshot())
        left, began = len(account.running), time.monotonic()
        report = app.stop(60)
        stop_seconds = time.monotonic() - began
        account.compare(app.snapshot())
        del app, chaos.app, drivers
    faults = account.faults + [f"{each} never returned" for each in chaos.stuck]
    restarts = account.events["restarted"]
    growth = slope(memory)
    gevent.sleep(1.0)  # gevent closes descriptors a moment later
    try:
        leaks.assert_no_leaks()
    except AssertionError as error:
        faults.append(str(error))
    if late:
        faults.append(f"{late} greenlets are stuck")
    if account.running:
        faults.append(f"still running on paper: {list(account.running)[:5]}")
    if left < services / 2:
        faults.append(f"only {left} services were there to the end: a soak of nothing")
    if living.open_things:
        faults.append(f"{living.open_things} things were never given back")
    if report.stragglers:
        faults.append(f"stragglers: {report}")
    if growth > GROWTH_PER_START and account.starts > ENOUGH:
        faults.append(f"memory grows by {growth:.0f} bytes a start")
    answers.sort()
    marks = [memory[(len(memory) - 1) * quarter // 4][1] for quarter in range(5)]
    quarters = ", ".join(f"{mark / 1e6:.1f}" for mark in marks)
    figures = (
        f"{services:,} services, {seconds:.0f} s, {chaos.calls:,} deeds, "
        f"{chaos.refused:,} of them refused: "
        f"{account.starts:,} starts = {account.ends:,} ends; {restarts:,} starts were ordered "
        f"by a supervisor, the others came with a parent's or by hand; "
        f"{account.events['crashed']:,} crashes, "
        f"{account.events['failed starts']:,} failed starts, "
        f"{account.events['gave_up']:,} gave up; memory {quarters} MB, "
        f"{growth:+.1f} bytes a start; the control socket answered "
        f"{len(answers):,} times, half of them within {answers[len(answers) // 2] * 1000:.0f} ms, "
        f"all within {answers[-1] * 1000:.0f} ms; {left:,} services stopped in "
        f"{stop_seconds:.2f} s: {report.clean:,} clean, {report.errors:,} with errors, "
        f"{report.killed:,} killed, {report.stragglers:,} stragglers"
    )
    if faults:
        raise AssertionError("\n".join([figures, *faults]))
    return figures


def adopt(app: App, child: Service) -> None:
    """Adopt a part of the tree, however often it fails to start."""
    for _ in range(1000):
        try:
            app.adopt(child)
        except SpragError:
            continue
        return
    raise AssertionError(f"{child} does not start")


def quiet(app: App) -> None:
    """Wait until nothing is starting, stopping or waiting any more."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        gevent.sleep(0.05)
        stack = [app.snapshot()]
        busy = False
        while stack:
            node = stack.pop()
            stack.extend(node.children)
            busy = busy or node.state.value in ("starting", "stopping", "restarting")
        if not busy:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as runtime:
        os.environ["SPRAG_RUNTIME_DIR"] = runtime
        print(soak(options.seconds, options.seed))


if __name__ == "__main__":
    main()
