"""What has lost its lease is down at the deadline, whatever its process does: real processes."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from processes import PATIENCE, Process, app, run, script
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

TTL = 2.0

ENGINE = """
    from pathlib import Path
    from sprag.cluster.serving import Serving
    serving = Serving()
    serving.open()
    Path("engine").write_text(str(serving.path))
    for life in ("n1", "n2"):
        serving.admit(life, life)
    say("served")
    gevent.sleep(1000)
"""

APP = f"""
    import ctypes, gevent
    from pathlib import Path
    import sprag.cluster.joining
    from sprag.cluster.remote import RemoteEngine

    NODE = os.environ["NODE"]

    def open_engine(url, *, app, timeout):
        engine = RemoteEngine(Path("engine").read_text(), NODE)
        engine.open()
        return engine

    sprag.cluster.joining.open_engine = open_engine

    class Billing(Service):
        def run(self):
            told = os.open("work", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            while True:
                line = f"{{time.monotonic()}} {{os.getpid()}} {{self.lease.token}}\\n"
                os.write(told, line.encode())
                gevent.sleep(0.002)
                if os.path.exists(f"{{NODE}}-holds"):
                    say("holds")
                    while True:
                        pass
                if os.path.exists(f"{{NODE}}-holds-in-c"):
                    say("holds")
                    ctypes.PyDLL(None).sleep(60)

        def on_stop(self):
            while os.path.exists(f"{{NODE}}-stays"):
                gevent.sleep(0.01)

    app = App(
        name="shop",
        cluster=Cluster("parent:", ttl={TTL}, node=NODE),
        providers={{"billing": Singleton((Billing(), {{"shutdown": "infinity"}}))}},
    )
"""


class Work:
    """What has been written by who was at work."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "work"

    def lines(self) -> list[tuple[float, int, int]]:
        text = self._path.read_text() if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [(float(at), int(pid), int(token)) for at, pid, token in map(str.split, whole)]

    def wait_for(self, is_so: Callable[[list[tuple[float, int, int]]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so(self.lines()):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def has_worked(self, process: Process) -> None:
        self.wait_for(lambda lines: any(pid == process.popen.pid for _, pid, _ in lines))

    def check(self) -> None:
        """Never two at once; tokens rise."""
        tokens = [token for _, _, token in self.lines()]
        assert tokens == sorted(tokens)
        owners = {token: pid for _, pid, token in self.lines()}
        assert {(token, pid) for _, pid, token in self.lines()} == set(owners.items())


@contextmanager
def two_nodes(directory: Path) -> Generator[tuple[Process, Process, Work, Process]]:
    """Run two nodes, of which the first is at work."""
    app(directory, APP)
    work = Work(directory)
    with script(directory, ENGINE) as engine:
        engine.says("served")
        with run(directory, environ={"NODE": "n1"}) as first:
            work.has_worked(first)
            with run(directory, environ={"NODE": "n2"}) as second:
                second.says('"up"')
                yield first, second, work, engine
                work.check()


@pytest.mark.slow
@pytest.mark.long
def test_of_a_node_that_is_killed_another_takes_over_after_a_ttl(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as (first, second, work, _engine):
        first.send(signal.SIGKILL)
        began = time.monotonic()
        work.has_worked(second)
        assert TTL * 0.8 < time.monotonic() - began < TTL + 1.5
        first.ends()


@pytest.mark.slow
@pytest.mark.long
def test_a_node_that_was_stopped_past_its_deadline_does_not_go_on(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as (first, second, work, _engine):
        first.send(signal.SIGSTOP)
        work.has_worked(second)
        first.send(signal.SIGCONT)
        assert first.ends() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.long
def test_a_node_whose_loop_is_held_ends_with_its_stacks(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as (first, second, work, _engine):
        (tmp_path / "n1-holds").touch()
        first.says("holds")
        assert first.ends() == ExitCode.NOT_CLEAN
        assert "the lease has run out" in first.err
        assert "in run" in first.err
        work.has_worked(second)


@pytest.mark.slow
@pytest.mark.long
def test_a_node_that_is_held_in_c_is_killed_by_the_kernel(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as (first, second, work, _engine):
        (tmp_path / "n1-holds-in-c").touch()
        first.says("holds")
        assert first.ends() == -signal.SIGKILL
        work.has_worked(second)


@pytest.mark.slow
@pytest.mark.long
def test_a_stop_that_does_not_end_is_ended_with_the_process(tmp_path: Path) -> None:
    with two_nodes(tmp_path) as (first, second, work, engine):
        (tmp_path / "n1-stays").touch()
        engine.send(signal.SIGSTOP)
        assert first.ends() == ExitCode.NOT_CLEAN
        assert "billing did not stop in time" in first.err
        engine.send(signal.SIGCONT)
        work.has_worked(second)
