"""What `sprag run` does for whoever operates it: dumps, systemd, the watchdog, process 1."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from signal import SIGHUP, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING

import pytest

from processes import PATIENCE, app, run, script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SHOP = """
class Intake(Service):
    def on_start(self):
        self.interval(int, 60)
    def run(self):
        self.wait_for_orders()
    def wait_for_orders(self):
        gevent.sleep(60)
class Careless(Service):
    def on_start(self):
        gevent.spawn(self.behind_its_back)
    def behind_its_back(self):
        gevent.sleep(60)
app = App(name="shop", providers={"intake": Intake(), "careless": Careless()})
"""


def test_sigusr1_shows_the_tree_and_every_stack_by_service(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        for times in (1, 2):
            process.send(SIGUSR1)
            process.says("sprag: stacks, by service", times=times)
            process.says("in wait_for_orders", times=times)
            process.says("in behind_its_back", times=times)
        assert re.search(
            r"^  intake · Intake · running · incarnation 1 · up .* s", process.err, re.MULTILINE
        )
        assert re.search(r"^- shop/careless\n", process.err, re.MULTILINE)
        process.send(SIGTERM)
        assert process.ends() == 0


@pytest.mark.parametrize("block", ["while True: pass", "get_original('time', 'sleep')(60)"])
def test_sigusr1_says_where_a_stuck_process_is(tmp_path: Path, block: str) -> None:
    app(
        tmp_path,
        f"""
        from gevent.monkey import get_original
        class Stuck(Service):
            def run(self):
                gevent.sleep(0.1)
                say("stuck")
                {block}
        app = Supervisor([Stuck()], name="shop")
        """,
    )
    with run(tmp_path, "--shutdown-timeout", "0") as process:
        process.says("stuck")
        process.send(SIGUSR1)
        process.says("in run")
        process.says("shop/Stuck")
        process.send(SIGTERM)
        assert process.ends() == 4


def test_a_program_keeps_its_own_handler_of_sigusr1(tmp_path: Path) -> None:
    head = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: say('mine'))\n"
    app(tmp_path, head + SHOP)
    with run(tmp_path) as process:
        process.says('"event": "up"')
        process.send(SIGUSR1)
        process.says("mine")
        process.send(SIGTERM)
        assert process.ends() == 0
        assert "stacks" not in process.err


# -- systemd ---------------------------------------------------------------------------------


class Manager:
    """Stands for systemd."""

    def __init__(self, directory: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "notify"))
        self.socket.settimeout(PATIENCE)
        self.heard: list[str] = []

    def hears(self, text: str) -> None:
        while not any(text in message for message in self.heard):
            self.heard.append(self.socket.recv(4096).decode())


def test_systemd_is_told_how_it_goes(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Flaky(Service):
            def on_start(self):
                if self.snapshot().incarnation == 1:
                    self.timeout(self.crash, 0.2)
            def crash(self):
                raise ValueError("bad order 17")
            def on_stop(self):
                gevent.sleep(0.2)
        app = App(name="shop", providers={"flaky": Flaky()})
        """,
    )
    manager = Manager(tmp_path)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with manager.socket, run(tmp_path, environ=environ) as process:
        manager.hears("READY=1")
        assert manager.heard[0] == "STATUS=starting"
        manager.hears("bad order 17")
        for _ in range(3):
            manager.heard.clear()
            manager.hears("WATCHDOG=1")
        process.send(SIGTERM)
        manager.hears("STOPPING=1")
        manager.hears("STATUS=stopping: waits for shop/flaky")
        manager.hears("STATUS=stopped")
        assert process.ends() == 0


def test_systemd_hears_of_a_reload(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Reads(Service):
            def on_reload(self):
                say("reloading")
        app = Supervisor([Reads()], name="shop")
        """,
    )
    manager = Manager(tmp_path)
    with (
        manager.socket,
        run(tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as process,
    ):
        manager.hears("STATUS=running")
        process.send(SIGHUP)
        manager.hears("RELOADING=1\nMONOTONIC_USEC=")
        manager.heard.clear()
        manager.hears("READY=1")
        process.send(SIGTERM)
        assert process.ends() == 0
        assert process.out == "reloading\n"


def test_systemd_hears_nothing_of_a_loop_that_is_held(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Spin(Service):
            def run(self):
                gevent.sleep(0.3)
                say("spinning")
                while True:
                    pass
        app = Supervisor([Spin()], name="shop")
        """,
    )
    manager = Manager(tmp_path)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
    with manager.socket, run(tmp_path, "--shutdown-timeout", "0", environ=environ) as process:
        process.says("spinning")
        manager.hears("WATCHDOG=1")
        time.sleep(0.1)
        manager.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                manager.socket.recv(4096)
        time.sleep(0.3)
        with pytest.raises(BlockingIOError):
            manager.socket.recv(4096)
        process.send(SIGTERM)
        assert process.ends() == 4


# -- the watchdog ----------------------------------------------------------------------------

SPIN = """
class Spin(Service):
    def run(self):
        gevent.sleep(0.1)
        end = time.monotonic() + {seconds}
        while time.monotonic() < end:
            get_original("time", "sleep")(0.01)
        say("over")
        gevent.sleep(60)
app = Supervisor([(Spin(), {{"name": "spin"}})], name="shop")
"""


def test_the_watchdog_names_who_holds_the_loop_once(tmp_path: Path) -> None:
    app(tmp_path, SPIN.format(seconds=1.5))
    with run(tmp_path, "--watchdog", "0.3") as process:
        process.says("the loop was held")
        process.send(SIGTERM)
        assert process.ends() == 0
        assert process.err.count("the loop is held since") == 1
        assert "by shop/spin:" in process.err


def test_the_watchdog_ends_the_process_on_request(tmp_path: Path) -> None:
    app(tmp_path, SPIN.format(seconds=60))
    with run(tmp_path, "--watchdog-exit", environ={"SPRAG_WATCHDOG": "0.3"}) as process:
        assert process.ends() == 4
        assert "by shop/spin:" in process.err
        assert "--watchdog-exit" in process.err


def test_a_process_that_was_stopped_for_a_while_is_not_held(tmp_path: Path) -> None:
    app(tmp_path, SHOP)
    with run(tmp_path, "--watchdog", "0.4", "--watchdog-exit") as process:
        process.says('"event": "up"')
        process.send(signal.SIGSTOP)
        time.sleep(1.2)
        process.send(signal.SIGCONT)
        time.sleep(0.6)
        process.send(SIGTERM)
        assert process.ends() == 0
        assert "held" not in process.err


# -- process 1 -------------------------------------------------------------------------------


def as_process_1(directory: Path, source: str) -> subprocess.Popen[str]:
    unshare = shutil.which("unshare")
    command = [unshare or "", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if unshare is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("needs unshare(1), and the right to use it")
    app(directory, source)
    return subprocess.Popen(
        [*command, sys.executable, "-m", "sprag_cli", "run", "app:app", "--no-control"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "SPRAG_LOG_FORMAT": "json"},
    )


def child_of(pid: int) -> int:
    from pathlib import Path as Place

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        children = Place(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise AssertionError("no child")


def test_process_1_waits_for_orphans_and_loses_no_exit_code(tmp_path: Path) -> None:
    process = as_process_1(
        tmp_path,
        """
        import os, subprocess
        from pathlib import Path
        def zombies():
            stats = [Path("/proc", pid, "stat") for pid in os.listdir("/proc") if pid.isdigit()]
            return [one for one in stats if one.read_text().rpartition(")")[2].split()[0] == "Z"]
        class Careless(Service):
            def run(self):
                say("pid", os.getpid())
                for _ in range(20):
                    subprocess.run(["sh", "-c", "true & sh -c 'exit 3' & exit 0"])
                    assert subprocess.run(["sh", "-c", "exit 7"]).returncode == 7
                while zombies():
                    gevent.sleep(0.01)
                say("no zombies")
                gevent.sleep(60)
        app = Supervisor([Careless()], name="shop")
        """,
    )
    assert process.stdout is not None
    said = ""
    while "no zombies" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    assert "pid 1\n" in said
    os.kill(child_of(process.pid), SIGTERM)
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


def test_process_1_can_be_stopped_while_it_imports(tmp_path: Path) -> None:
    process = as_process_1(tmp_path, 'say("importing")\ngevent.sleep(60)\napp = Service()\n')
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    os.kill(child_of(process.pid), SIGTERM)
    assert process.wait(PATIENCE) == 143
    process.stdout.close()


# -- what is meant for this process alone ----------------------------------------------------


def test_children_do_not_inherit_what_systemd_has_said_to_the_app(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import gevent.subprocess, os, sys
        SHOW = "import os; print([n for n in os.environ if n.startswith(('NOTIFY', 'WATCHDOG'))])"
        say("import", gevent.subprocess.check_output([sys.executable, "-c", SHOW]))
        class Starts(Service):
            def run(self):
                say("run", gevent.subprocess.check_output([sys.executable, "-c", SHOW]))
                gevent.sleep(60)
        app = Supervisor([Starts()], name="shop")
        """,
    )
    manager = Manager(tmp_path)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
    with manager.socket, run(tmp_path, environ=environ) as process:
        process.says("import b'[]\\n'")
        process.says("run b'[]\\n'")
        manager.hears("READY=1")
        manager.hears("WATCHDOG=1")
        process.send(SIGTERM)
        assert process.ends() == 0


def test_app_run_gives_the_environment_back(tmp_path: Path) -> None:
    source = """
        import os
        class Short(Service, restart="transient"):
            def run(self):
                say("inside", "NOTIFY_SOCKET" in os.environ)
        for _ in range(2):
            app = Short()
            from sprag import host
            host.run(app)
            say("after", os.environ["NOTIFY_SOCKET"])
        """
    manager = Manager(tmp_path)
    with (
        manager.socket,
        script(tmp_path, source, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as process,
    ):
        assert process.ends() == 0
        assert process.out.splitlines() == ["inside False", f"after {tmp_path / 'notify'}"] * 2


# Each of its own: a fork has frozen what it was given.
COUNTING = """
import gc
class Counts(Service):
    def on_start(self):
        gevent.sleep(0.01)
        say("starting", gc.get_freeze_count() > 1000)  # Python 3.12 begins with some hundred
    def on_ready(self):
        UNFREEZE
        self.timeout(self.look, 0.1)
    def look(self):
        say("frozen", gc.get_freeze_count() > 1000)
app = Supervisor([Counts()], name="shop")
"""


def test_the_garbage_collector_is_spared_what_there_was_when_the_app_came_up(
    tmp_path: Path,
) -> None:
    app(tmp_path, COUNTING.replace("UNFREEZE", "pass"))
    with run(tmp_path, afresh=True) as process:
        process.says("starting False")
        process.says("frozen True")
        process.send(SIGTERM)
        assert process.ends() == 0


def test_on_ready_may_unfreeze(tmp_path: Path) -> None:
    app(tmp_path, COUNTING.replace("UNFREEZE", "gc.unfreeze()"))
    with run(tmp_path, afresh=True) as process:
        process.says("frozen False")
        process.send(SIGTERM)
        assert process.ends() == 0


def test_a_garbage_collector_that_is_off_is_left_alone(tmp_path: Path) -> None:
    app(tmp_path, COUNTING.replace("UNFREEZE", "pass") + "gc.disable()")
    with run(tmp_path, afresh=True) as process:
        process.says("frozen False")
        process.send(SIGTERM)
        assert process.ends() == 0


def test_app_run_leaves_the_garbage_collector_alone(tmp_path: Path) -> None:
    source = COUNTING.replace("UNFREEZE", "pass") + "from sprag import host; host.run(app)"
    with script(tmp_path, source) as process:
        process.says("frozen False")
        process.send(SIGTERM)
        assert process.ends() == 0


def test_what_was_spared_is_finalized_at_the_end_of_the_process(tmp_path: Path) -> None:
    source = """
        class Last:
            def __init__(self):
                self.me = self
            def __del__(self):
                os.write(1, b"finalized\\n")
        import os
        class Drops(Service):
            def on_start(self):
                self.last = Last()
                self.timeout(self.drop, 0.1)
            def drop(self):
                self.last = None
                say("dropped")
        app = Supervisor([Drops()], name="shop")
        """
    app(tmp_path, source)
    with run(tmp_path, afresh=True) as process:
        process.says("dropped")
        process.send(SIGTERM)
        assert process.ends() == 0
        assert process.out == "dropped\nfinalized\n"


@pytest.mark.parametrize(
    "told",
    ["say(crash.path, crash.decision)", "say('hangs'); gevent.sleep(100)"],
    ids=["quick", "hanging"],
)
def test_on_crash_is_told_of_what_the_app_has_died_of_and_keeps_nobody(
    tmp_path: Path, told: str
) -> None:
    app(
        tmp_path,
        f"""
        class Frail(Service):
            def run(self):
                gevent.sleep(0.01)
                raise ValueError("x")
        def tell(crash):
            {told}
        app = App(name="shop", on_crash=tell, max_restarts=0, providers={{"frail": Frail()}})
        """,
    )
    with run(tmp_path) as process:
        process.says('"event": "service crashed"')
        assert process.ends() == 1
        assert process.out.splitlines() == ["shop/frail give_up" if "path" in told else "hangs"]
