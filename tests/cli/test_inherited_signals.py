"""What a parent leaves behind in a process: blocked and ignored signals; and what SIGHUP does."""

from __future__ import annotations

import signal
import sys
import time
from functools import partial
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1
from typing import TYPE_CHECKING, Any

import pytest

from processes import PATIENCE, Process, app, run, script
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PROMPT = 3.0

POLITE = """
class Polite(Service):
    def on_stop(self):
        say("goodbye")
app = App(name="shop", providers={"polite": Polite()})
"""

BLOCK = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
IGNORE = (
    "import os, signal, sys; [signal.signal(getattr(signal, name), signal.SIG_IGN) "
    "for name in {names!r}]; os.execv(sys.argv[1], sys.argv[1:])"
)

GIVEN_A_TERMINAL = """
import fcntl, os, pty, sys, termios
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
os.set_inheritable(master, True)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A controlling terminal, though nothing is written to it."""


def through(directory: Path, wrapper: str, **options: Any) -> Process:
    """Start ``sprag run`` from a parent that does *wrapper* first."""
    return run(directory, python=["-c", wrapper, sys.executable], **options)


def up(process: Process) -> Process:
    process.says('"event": "up"')
    return process


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_signals_that_the_parent_has_blocked_still_stop_the_app(
    tmp_path: Path, number: int
) -> None:
    app(tmp_path, POLITE)
    with up(through(tmp_path, BLOCK)) as process:
        process.send(number)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out == "goodbye\n"


def test_a_blocked_sigusr1_and_sigchld_work(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import gevent.subprocess, signal
        class Asks(Service):
            def run(self):
                say("code", gevent.subprocess.call(["false"]))
                gevent.sleep(60)
        app = App(name="shop", providers={"asks": Asks()})
        """,
    )
    with through(tmp_path, BLOCK) as process:
        process.says("code 1")
        process.send(SIGUSR1)
        process.says("sprag: stacks, by service")
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED


def test_a_blocked_signal_is_heard_while_the_module_is_imported(tmp_path: Path) -> None:
    app(tmp_path, 'say("importing")\ngevent.sleep(60)\napp = Service()\n')
    with through(tmp_path, BLOCK) as process:
        process.says("importing")
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == -SIGTERM


def test_an_ignored_sigterm_stops_the_app_all_the_same(tmp_path: Path) -> None:
    app(tmp_path, POLITE)
    wrapper = IGNORE.format(names=["SIGTERM", "SIGUSR1"])
    with up(through(tmp_path, wrapper)) as process:
        process.send(SIGUSR1)
        process.says("sprag: stacks, by service")
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED


def test_an_ignored_sigchld_does_not_lose_exit_codes(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import os
        pid = os.spawnlp(os.P_NOWAIT, "false", "false")
        say("code", end_of(pid))
        app = App(name="shop")
        """,
    )
    with through(tmp_path, IGNORE.format(names=["SIGCHLD"])) as process:
        process.says("code 1")
        up(process)
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED


@pytest.mark.parametrize("number", [SIGINT, SIGHUP])
def test_what_a_background_shell_or_nohup_ignores_stays_ignored(
    tmp_path: Path, number: int
) -> None:
    app(tmp_path, POLITE)
    wrapper = IGNORE.format(names=[signal.Signals(number).name])
    with up(through(tmp_path, wrapper)) as process:
        process.send(number)
        time.sleep(0.3)
        assert process.popen.poll() is None
        assert process.events("stopping") == []
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED


def test_nohup_keeps_an_app_alive(tmp_path: Path) -> None:
    app(tmp_path, POLITE)
    with up(run(tmp_path, shell='exec nohup "$0" "$@"')) as process:
        process.send(SIGHUP)
        time.sleep(0.3)
        assert process.popen.poll() is None
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED


# -- SIGHUP ------------------------------------------------------------------------------


def test_a_hangup_of_what_has_a_terminal_is_an_orderly_stop(tmp_path: Path) -> None:
    app(tmp_path, POLITE)
    with up(through(tmp_path, GIVEN_A_TERMINAL)) as process:
        process.send(SIGHUP)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out == "goodbye\n"
        assert process.events("stopping")[0]["signal"] == "SIGHUP"


RELOADING = """
class Reads(Service):
    def on_start(self):
        say("starting")
        gevent.sleep(0.3)
    def on_reload(self):
        say("reloading")
        gevent.sleep(0.3)
        say("reloaded")
    def on_stop(self):
        say("goodbye")
app = App(name="shop", providers={"reads": Reads()})
"""


@pytest.mark.parametrize("wrapper", [None, BLOCK])
def test_a_hangup_of_what_has_no_terminal_is_a_reload(tmp_path: Path, wrapper: str | None) -> None:
    app(tmp_path, RELOADING)
    start = run if wrapper is None else partial(through, wrapper=wrapper)
    with up(start(tmp_path)) as process:
        for times in (1, 2):
            process.send(SIGHUP)
            process.says("reload is over", times=times)
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out == "starting\n" + "reloading\nreloaded\n" * 2 + "goodbye\n"
        told = process.events("reload is over")
        assert [(each["signal"], each["reloaded"]) for each in told] == [("SIGHUP", 1)] * 2


def test_hangups_while_it_starts_or_reloads_are_one_more_reload(tmp_path: Path) -> None:
    app(tmp_path, RELOADING)
    with run(tmp_path) as process:
        process.says("starting")
        process.send(SIGHUP)
        process.says("reloading")
        for _ in range(5):
            process.send(SIGHUP)
        process.says("reload is over", times=2)
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out.count("reloading") == 2


def test_a_stop_does_not_wait_for_a_reload_and_a_hangup_then_does_nothing(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Reads(Service):
            def on_reload(self):
                say("reloading")
                gevent.sleep(60)
            def on_drain(self):
                say("draining")
                gevent.sleep(0.5)
        app = App(name="shop", providers={"reads": Reads()})
        """,
    )
    with up(run(tmp_path, "--shutdown-timeout", "1")) as process:
        process.send(SIGHUP)
        process.says("reloading")
        process.send(SIGTERM)
        process.says("draining")
        for _ in range(3):
            process.send(SIGHUP)
        assert process.ends(within=PROMPT) in (ExitCode.STOPPED, ExitCode.NOT_CLEAN)
        assert process.out == "reloading\ndraining\n"


def test_a_terminal_that_hangs_up_several_times_does_not_cut_the_stop_short(
    tmp_path: Path,
) -> None:
    app(
        tmp_path,
        """
        class Slow(Service):
            def on_stop(self):
                say("stopping")
                gevent.sleep(0.6)
                say("goodbye")
        app = App(name="shop", providers={"slow": Slow()})
        """,
    )
    with up(through(tmp_path, GIVEN_A_TERMINAL)) as process:
        process.send(SIGTERM)
        process.says("stopping")
        for _ in range(3):
            time.sleep(0.1)
            process.send(SIGHUP)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out == "stopping\ngoodbye\n"


def test_a_signal_after_a_hangup_ends_the_process_at_once(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Slow(Service, shutdown="infinity"):
            def on_stop(self):
                say("stopping")
                gevent.sleep(60)
        app = App(name="shop", providers={"slow": Slow()})
        """,
    )
    with up(through(tmp_path, GIVEN_A_TERMINAL)) as process:
        process.send(SIGHUP)
        process.says("stopping")
        time.sleep(0.1)
        process.send(SIGTERM)
        assert process.ends(within=0.5) == ExitCode.FORCED_TERM


TERMINAL = """
import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "sprag_cli", "run", "app:app"])
seen = b""
while b"control=" not in seen:
    seen += os.read(master, 4096)
"""
"""A terminal that is closed as soon as the app is up."""


def test_a_closed_terminal_stops_the_app_with_its_hooks(tmp_path: Path) -> None:
    said = tmp_path / "said"
    app(
        tmp_path,
        f"""
        class Polite(Service):
            def on_stop(self):
                gevent.sleep(0.2)
                self.log.info("nobody reads this any more")
                open({str(said)!r}, "w").write("goodbye")
        app = App(name="shop", providers={{"polite": Polite()}})
        """,
    )
    with Process("-c", TERMINAL, directory=tmp_path, environ={"NO_COLOR": "1"}) as process:
        assert process.popen.wait(PATIENCE) == 0
        deadline = time.monotonic() + PATIENCE
        while process.survivors() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.survivors() == []
        assert said.read_text() == "goodbye"


@pytest.mark.parametrize(
    "install",
    [
        "signal.signal(signal.SIGHUP, lambda *_: say('reloading'))",
        "gevent.signal_handler(signal.SIGHUP, say, 'reloading')",
    ],
    ids=["python", "gevent"],
)
def test_a_program_keeps_its_own_handler_of_sighup(tmp_path: Path, install: str) -> None:
    app(tmp_path, f"import signal\n{install}\n" + POLITE)
    with up(run(tmp_path)) as process:
        process.send(SIGHUP)
        process.says("reloading")
        process.send(SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert process.events("stopping")[0]["signal"] == "SIGTERM"


def test_faulthandler_keeps_sigusr1(tmp_path: Path) -> None:
    app(tmp_path, "import faulthandler, signal\nfaulthandler.register(signal.SIGUSR1)\n" + POLITE)
    with up(run(tmp_path)) as process:
        time.sleep(0.5)  # it looks at all threads from within the signal: best while they wait
        process.send(SIGUSR1)
        process.says("most recent call first")
        process.send(SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert "stacks, by service" not in process.err


def test_app_run_gives_the_mask_and_the_handlers_back(tmp_path: Path) -> None:
    source = """
        import os, signal
        blocked = {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        class Short(Service):
            def on_start(self):
                self.timeout(os.kill, 0.05, os.getpid(), signal.SIGHUP)
            def on_reload(self):
                self.timeout(os.kill, 0.05, os.getpid(), signal.SIGTERM)
        app = App(providers={"short": Short()})
        say("code", app.run())
        say(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked)
        say(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0, process.err
        assert process.out.splitlines() == ["code 0", "True", "True"]


def test_a_forked_child_of_an_app_has_the_default_for_sighup(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import os, signal
        class Forks(Service):
            def run(self):
                pid = os.fork()
                if pid == 0:
                    is_default = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
                    os._exit(0 if is_default else 1)
                say("child", end_of(pid))
                gevent.sleep(60)
        app = App(name="shop", providers={"forks": Forks()})
        """,
    )
    with run(tmp_path) as process:
        process.says("child 0")
        process.send(SIGTERM)
        assert process.ends() == ExitCode.STOPPED
