"""How a process that runs a tree ends: real signals to real processes."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING

import pytest

from processes import PATIENCE, app, run, script
from sprag._exit_codes import ExitCode
from sprag.process.deadman import Deadman

if TYPE_CHECKING:
    from pathlib import Path

    from processes import Process

pytestmark = pytest.mark.slow

PROMPT = 3.0
"""Seconds for what takes a moment, on a machine with much else to do; limits that are promised
are tested as they are."""

IDLE = """
class Idle(Service):
    pass
app = App(name="shop", providers={"idle": Idle()})
"""

STUBBORN = """
class Stubborn(Service, shutdown=0.3):
    def run(self):
        while True:
            try:
                gevent.sleep(60)
            except BaseException:
                say("swallowed")
app = App(name="shop", providers={"stubborn": Stubborn()})
"""

CPU_BOUND = """
class Busy(Service):
    def on_start(self):
        self.spawn(self.hog_the_cpu)
    def hog_the_cpu(self):
        gevent.sleep(0.05)
        say("hogging")
        while True:
            pass
app = App(name="shop", providers={"busy": Busy()})
"""

BLOCKED_IN_C = """
from gevent.monkey import get_original
class Busy(Service):
    def on_start(self):
        self.spawn(self.block_in_c)
    def block_in_c(self):
        gevent.sleep(0.05)
        say("hogging")
        get_original("time", "sleep")(60)
app = App(name="shop", providers={"busy": Busy()})
"""

SLOW_TO_STOP = """
class Slow(Service, shutdown={shutdown}):
    def on_stop(self):
        say("stopping for ever")
        gevent.sleep(60)
app = App(name="shop", providers={{"slow": Slow(), "quick": Service()}})
"""


def up(process: Process) -> Process:
    process.says('"event": "up"')
    return process


# -- the first signal ------------------------------------------------------------------


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_stops_an_idle_app_and_the_code_is_0(tmp_path: Path, number: int) -> None:
    app(tmp_path, IDLE)
    with up(run(tmp_path)) as process:
        process.send(number)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        (stopping,) = process.events("stopping")
        assert stopping["signal"] == signal.Signals(number).name
        assert process.records()[-1]["event"] == "stopped"
        assert process.out == ""
        assert list(process.runtime.iterdir()) == []


def test_children_stop_before_their_parents_the_latest_first(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Noisy(Service):
            def __init__(self, name, *below):
                self.name, self.below = name, below
            def on_start(self):
                for each in self.below:
                    self.adopt(each)
            def on_drain(self):
                say("drain", self.name)
            def on_stop(self):
                gevent.sleep(0.01)
                say("stop", self.name)
        app = App(providers={
            "a": Noisy("a", Noisy("a1"), Noisy("a2", Noisy("a2x"))),
            "b": Noisy("b", Noisy("b1")),
        })
        """,
    )
    with up(run(tmp_path)) as process:
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        said = process.out.split("\n")
        assert [line for line in said if line.startswith("stop")] == [
            f"stop {name}" for name in ("b1", "b", "a2x", "a2", "a1", "a")
        ]
        assert [line for line in said if line.startswith("drain")] == [
            f"drain {name}" for name in ("b", "a", "b1", "a2", "a1", "a2x")
        ]
        stopped = [record["service"] for record in process.events("service stopped")]
        below = ["b/b1", "b", "a/a2/a2x", "a/a2", "a/a1", "a"]
        assert stopped == [*(f"app/{path}" for path in below), "app"]


def test_a_start_that_blocks_is_aborted(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Blocking(Service):
            def on_start(self):
                self.add_cleanup(say, "released")
                say("blocking")
                gevent.sleep(60)
            def on_stop(self):
                say("never started")
        app = App(providers={"first": Service(), "blocking": Blocking(), "last": Service()})
        """,
    )
    with run(tmp_path) as process:
        process.says("blocking")
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out.split() == ["blocking", "released"]
        assert process.events("up") == []
        assert [each for each in process.records() if each["level"] == "error"] == []


def test_a_signal_before_the_tree_starts_keeps_it_from_starting(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import os, signal
        from sprag.control import server as _server
        class Loud(Service):
            def on_start(self):
                say("started")
        opened = _server.ControlSocket.open
        def open(self):
            opened(self)
            os.kill(os.getpid(), signal.SIGTERM)
        _server.ControlSocket.open = open
        app = App(providers={"loud": Loud()})
        """,
    )
    with run(tmp_path) as process:
        assert process.ends() == ExitCode.STOPPED
        assert process.out == ""


def test_a_restart_whose_on_start_blocks_is_aborted(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        lives = []
        class Flaky(Service):
            def on_start(self):
                lives.append(1)
                if len(lives) > 1:
                    say("blocking")
                    gevent.sleep(60)
                self.timeout(self.crash, 0.01)
            def crash(self):
                raise ValueError("flaky")
        app = App(providers={"flaky": Flaky()})
        """,
    )
    with run(tmp_path) as process:
        process.says("blocking")
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert len(process.events("service crashed")) == 1


def test_a_backoff_is_cut_short(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Flaky(Service, backoff=Backoff(initial=60, maximum=60)):
            def on_start(self):
                say("life")
                self.timeout(self.crash, 0.01)
            def crash(self):
                raise ValueError("flaky")
        app = App(providers={"flaky": Flaky()})
        """,
    )
    with run(tmp_path) as process:
        process.says("service waits before its restart")
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
        assert process.out.split() == ["life"]


# -- services that do not want to stop -----------------------------------------------------


def test_a_stubborn_service_is_left_behind_and_named_with_its_stack(tmp_path: Path) -> None:
    app(tmp_path, STUBBORN)
    with up(run(tmp_path)) as process:
        process.send(SIGTERM)
        assert process.ends(within=1) == ExitCode.NOT_CLEAN
        (straggler,) = process.events("straggler left behind")
        assert straggler["service"] == "shop/stubborn"
        assert "gevent.sleep(60)" in straggler["stack"]
        last = process.records()[-1]
        assert (last["event"], last["stragglers"]) == ("stopped, but not clean", 1)


def test_the_budget_is_handed_down_to_a_service_that_would_take_longer(tmp_path: Path) -> None:
    app(tmp_path, SLOW_TO_STOP.format(shutdown=30))
    with up(run(tmp_path, "--shutdown-timeout", "0.3")) as process:
        process.send(SIGTERM)
        assert process.ends(within=1.3) == ExitCode.NOT_CLEAN  # over budget
        last = process.records()[-1]
        assert (last["event"], last["killed"]) == ("stopped, but not clean", 1)


def test_a_hook_that_blocks_is_cut_at_the_services_own_limit(tmp_path: Path) -> None:
    app(tmp_path, SLOW_TO_STOP.format(shutdown=0.2))
    with up(run(tmp_path)) as process:
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED  # killed, but well within the budget
        assert process.records()[-1]["killed"] == 1


def test_no_time_at_all_is_a_budget_too(tmp_path: Path) -> None:
    app(tmp_path, IDLE)
    with up(run(tmp_path, "--shutdown-timeout", "0")) as process:
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED
    app(tmp_path, SLOW_TO_STOP.format(shutdown='"infinity"'))
    with up(run(tmp_path, "--shutdown-timeout", "0")) as process:
        process.send(SIGTERM)
        assert process.ends(within=1) == ExitCode.NOT_CLEAN


@pytest.mark.parametrize("source", [CPU_BOUND, BLOCKED_IN_C], ids=["cpu", "c"])
def test_what_never_yields_cannot_prevent_the_end(tmp_path: Path, source: str) -> None:
    app(tmp_path, source)
    with run(tmp_path, "--shutdown-timeout", "0.2") as process:
        process.says("hogging")
        process.send(SIGTERM)
        assert process.ends(within=1.2) == ExitCode.NOT_CLEAN
        assert "app.py" in process.err
        assert ("in hog_the_cpu" in process.err) == (source is CPU_BOUND)
        assert ("in block_in_c" in process.err) == (source is BLOCKED_IN_C)
        assert process.err.endswith(
            "sprag: out of time: ending at once; still up: shop (running), shop/busy (running)\n"
        )
        assert list(process.runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "number", "code"),
    [(CPU_BOUND, SIGTERM, 143), (BLOCKED_IN_C, SIGINT, 130)],
    ids=["cpu", "c"],
)
def test_the_second_signal_ends_what_never_yields(
    tmp_path: Path, source: str, number: int, code: int
) -> None:
    app(tmp_path, source)
    with run(tmp_path) as process:
        process.says("hogging")
        process.send(number)
        time.sleep(0.2)  # nothing of the first one can be seen
        process.send(number)
        assert process.ends(within=0.5) == code
        assert "still up: shop (running), shop/busy (running)" in process.err


# -- the second signal -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (SIGINT, SIGINT, ExitCode.FORCED_INT),
        (SIGTERM, SIGTERM, ExitCode.FORCED_TERM),
        (SIGINT, SIGTERM, ExitCode.FORCED_TERM),
    ],
)
def test_the_second_signal_ends_the_process_at_once(
    tmp_path: Path, first: int, second: int, code: int
) -> None:
    app(tmp_path, SLOW_TO_STOP.format(shutdown='"infinity"'))
    with up(run(tmp_path)) as process:
        process.send(first)
        process.says("stopping for ever")
        time.sleep(0.1)  # two at the same moment are one: see below
        process.send(second)
        assert process.ends(within=0.5) == code
        assert process.err.endswith(
            f"sprag: {signal.Signals(second).name} again: ending at once; "
            "still up: shop (stopping), shop/slow (stopping)\n"
        )
        assert list(process.runtime.iterdir()) == []


def test_a_signal_that_comes_twice_at_once_counts_as_one(tmp_path: Path) -> None:
    """The terminal and a wrapper such as `uv run` both send the user's one Ctrl-C."""
    app(
        tmp_path,
        """
        class Slow(Service):
            def on_stop(self):
                gevent.sleep(0.3)
                say("said goodbye")
        app = App(providers={"slow": Slow()})
        """,
    )
    with up(run(tmp_path)) as process:
        process.send(SIGINT)
        process.send(SIGINT)
        assert process.ends() == ExitCode.STOPPED
        assert process.out == "said goodbye\n"


def test_a_forced_end_does_not_wait_for_a_reader_of_stderr(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import fcntl, os
        class Flood(Service):
            def on_start(self):
                self.spawn(self.flood)
            def flood(self):
                say("flooding")
                while True:
                    os.write(2, b"x" * 4096)
        app = App(providers={"flood": Flood()})
        """,
    )
    reading, writing = os.pipe()
    with run(tmp_path, "--shutdown-timeout", "0.2", stderr=writing) as process:
        os.close(writing)
        process.says("flooding")
        process.send(SIGTERM)
        assert process.ends(within=2) == ExitCode.NOT_CLEAN
        os.close(reading)


def test_a_keyboard_interrupt_in_a_service_is_a_first_ctrl_c(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Interrupts(Service):
            def on_start(self):
                self.timeout(self.interrupt, 0.05)
            def interrupt(self):
                raise KeyboardInterrupt
        app = App(providers={"interrupts": Interrupts()})
        """,
    )
    with run(tmp_path) as process:
        assert process.ends() == ExitCode.STOPPED
        assert process.events("stopping")[0]["signal"] == "SIGINT"


def test_every_signal_wakes_the_loop() -> None:
    """One that comes right before the loop goes to sleep would stay pending otherwise."""
    woken = threading.Event()
    deadman = Deadman(frozenset(), math.inf, str, woken.set)
    deadman.tell(signal.SIGUSR1)
    assert woken.wait(PATIENCE)
    deadman.dismiss()


# -- what else ends or does not end the process ---------------------------------------------


def test_a_stop_that_takes_long_says_what_it_waits_for(tmp_path: Path) -> None:
    source = "from sprag.process import bounded_stop\nbounded_stop._FIRST_NOTICE = 0.2\n"
    app(tmp_path, source + SLOW_TO_STOP.format(shutdown=0.5))
    with up(run(tmp_path)) as process:
        process.send(SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        (still,) = process.events("still stopping")
        assert still["waiting_for"] == "shop/slow"
        assert 28 < still["seconds_left"] < 30


def test_a_stop_that_never_returns_is_not_waited_for(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        def stop(self, timeout=None):
            gevent.sleep(60)
        Service.stop = stop  # a bug of sprag
        app = App(name="shop")
        """,
    )
    with up(run(tmp_path, "--shutdown-timeout", "0.2")) as process:
        process.send(SIGTERM)
        assert process.ends(within=1.2) == ExitCode.NOT_CLEAN
        (late,) = process.events("out of time")
        assert late["waiting_for"] == "shop"
        assert "in stop" in late["stack"]


def test_a_forked_child_has_its_own_signals(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import multiprocessing, os, signal
        def sleep():
            say("child")
            time.sleep(60)
        class Forks(Service):
            def run(self):
                child = multiprocessing.get_context("fork").Process(target=sleep)
                child.start()
                gevent.sleep(0.3)
                child.terminate()
                child.join()
                say("child ended with", child.exitcode)
                gevent.sleep(60)
        app = App(providers={"forks": Forks()})
        """,
    )
    with run(tmp_path, "--shutdown-timeout", "0.1") as process:
        process.says("child ended with -15")
        # The parent's deadman must not have taken the child's signal for its own.
        time.sleep(1)
        assert process.popen.poll() is None
        process.send(SIGTERM)
        assert process.ends(within=PROMPT) == ExitCode.STOPPED


def test_a_signal_the_deadman_hears_of_after_the_apps_end_is_still_the_first() -> None:
    deadman = Deadman(frozenset({SIGTERM}), math.inf, str, bool)
    try:
        deadman.must_end(60, 0, str, after_signal=True)
        deadman._heard(SIGTERM)
        assert deadman._code == 0
        deadman._heard_first -= 1.0
        deadman._heard(SIGTERM)
        assert deadman._code == 128 + SIGTERM
    finally:
        deadman.dismiss()


@pytest.mark.parametrize("number", [SIGTERM, None])
def test_threads_that_are_no_daemons_cannot_keep_the_process(
    tmp_path: Path, number: int | None
) -> None:
    app(
        tmp_path,
        f"""
        import threading
        class Threads(Service, restart="transient"):
            def run(self):
                gevent.sleep({0 if number is None else 60})
        app = Threads()
        threading.Thread(target=gevent.sleep, args=(60,), name="uploader").start()
        """,
    )
    with run(tmp_path, "--shutdown-timeout", "0.2") as process:
        if number is not None:
            up(process).send(number)
        assert process.ends(within=5) == ExitCode.NOT_CLEAN
        assert process.err.endswith(
            "sprag: out of time: ending at once; the app has ended, but threads that are no "
            "daemons (uploader) kept the process alive\n"
        )


def test_native_threads_of_gevents_pool_cannot_keep_the_process(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        from gevent.monkey import get_original
        class Pooled(Service, shutdown=0.3):
            def run(self):
                pool = gevent.get_hub().threadpool
                job = pool.spawn(get_original("time", "sleep"), 60)
                gevent.sleep(0.05)
                say("in the pool")
                job.get()
        app = Pooled()
        """,
    )
    with run(tmp_path, "--shutdown-timeout", "1") as process:
        process.says("in the pool")
        process.send(SIGTERM)
        assert process.ends(within=2) == ExitCode.STOPPED


def test_threads_get_the_rest_of_the_budget(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import atexit, threading
        class Idle(Service):
            pass
        app = Idle()
        def work():
            gevent.sleep(0.8)
            say("uploaded")
        threading.Thread(target=work).start()
        atexit.register(say, "at exit")
        """,
    )
    with up(run(tmp_path)) as process:
        process.send(SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert process.out.splitlines() == ["uploaded", "at exit"]


def test_a_signal_ends_a_process_that_lingers_after_its_app(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import threading
        class Short(Service, restart="transient"):
            def run(self):
                pass
        app = Short()
        threading.Thread(target=gevent.sleep, args=(60,), name="uploader").start()
        """,
    )
    with run(tmp_path) as process:
        process.says('"event": "stopped"')
        process.send(SIGTERM)
        assert process.ends() == ExitCode.FORCED_TERM  # its thread would last a minute


def test_ctrl_c_at_a_terminal(tmp_path: Path) -> None:
    app(tmp_path, SLOW_TO_STOP.format(shutdown='"infinity"'))
    with run(tmp_path, terminal=True, environ={"NO_COLOR": "1"}) as process:
        process.says("control=")
        process.type("\x03")
        process.says("stopping for ever")
        process.says("Ctrl-C again to end at once")
        time.sleep(0.1)
        process.type("\x03")
        assert process.ends(within=0.5) == ExitCode.FORCED_INT
        assert "sprag: SIGINT again: ending at once; still up: shop (stopping)" in process.out


# -- App.run in a plain script, and embedded trees -------------------------------------------


def test_app_run_returns_the_code_and_gives_everything_back(tmp_path: Path) -> None:
    source = """
        import logging, os, signal, threading
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        def mine(*_): say("mine")
        signal.signal(signal.SIGTERM, mine)
        def state():
            wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(wakeup)
            hub = gevent.get_hub()
            return (
                signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), wakeup,
                logging.root.handlers[:], hub.NOT_ERROR, hub.SYSTEM_ERROR,
                hub.exception_stream, hub.handle_error.__func__,
            )
        before = state()
        class Short(Service):
            def on_start(self):
                self.timeout(os.kill, 0.05, os.getpid(), signal.SIGTERM)
        app = App(providers={"short": Short()})
        for _ in range(2):
            say("code", app.run())
            assert state() == before, (before, state())
        os.kill(os.getpid(), signal.SIGTERM)
        gevent.sleep(0.01)
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0, process.err
        assert process.out.splitlines() == ["code 0", "code 0", "mine"]
        assert process.err == ""


def test_app_run_without_logs_says_why_it_failed(tmp_path: Path) -> None:
    source = """
        class Broken(Service):
            def on_start(self):
                raise OSError("no route")
        sys.exit(App(name="shop", providers={"broken": Broken()}).run())
        """
    with script(tmp_path, source) as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        assert 'raise OSError("no route")' in process.err
        assert "shop/broken" in process.err
        assert process.err.splitlines()[-1].startswith("sprag: never came up")


def test_app_run_refuses_what_it_cannot_run(tmp_path: Path) -> None:
    source = """
        import threading
        app = App()
        def elsewhere():
            try:
                app.run()
            except ValueError as error:
                say("ValueError", "main thread" in str(error))
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with app:
            try:
                app.run()
            except SpragError as error:
                say(type(error).__name__)
            say(app.snapshot().state.value)
        try:
            app.run(shutdown_timeout=-1)
        except SpragError as error:
            say(type(error).__name__)
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0, process.err
        assert process.out.splitlines() == [
            "ValueError True",
            "AlreadyStarted",
            "running",
            "BadValue",
        ]


def test_an_embedded_tree_leaves_the_process_alone(tmp_path: Path) -> None:
    source = """
        import logging, os, signal, threading
        def state():
            wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(wakeup)
            hub = gevent.get_hub()
            return (
                [signal.getsignal(number) for number in signal.valid_signals()], wakeup,
                logging.root.handlers[:], logging.root.level, logging.lastResort,
                hub.NOT_ERROR, hub.SYSTEM_ERROR, hub.exception_stream,
                hub.handle_error.__func__, sorted(vars(hub)), sys.excepthook,
                threading.excepthook, threading.active_count(), len(os.listdir("/proc/self/fd")),
            )
        class Crashing(Service):
            def on_start(self):
                self.timeout(self.crash, 0.01)
            def crash(self):
                raise ValueError("told")
        before = state()
        with Supervisor([Service(), (Crashing(), {"restart": "temporary"})]) as supervisor:
            assert state() == before, (before, state())
            gevent.sleep(0.05)
            assert len(supervisor.snapshot().children) == 1
        assert state() == before, (before, state())
        assert not any(name in sys.modules for name in ("structlog", "ssl", "sprag.host"))
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0, process.err
        assert process.out == ""
        assert process.err.startswith("Supervisor/Crashing: service crashed")
        assert process.err.endswith("ValueError: told\n")
        assert process.err.count("Traceback") == 1


# -- while nobody answers ----------------------------------------------------------------------


@pytest.mark.parametrize("source", [CPU_BOUND, BLOCKED_IN_C], ids=["cpu", "c"])
def test_one_ctrl_c_says_at_once_who_holds_the_loop_and_how_to_force_the_end(
    tmp_path: Path, source: str
) -> None:
    app(tmp_path, source)
    with run(tmp_path, terminal=True, environ={"NO_COLOR": "1"}) as process:
        process.says("hogging")
        process.type("\x03")
        began = time.monotonic()
        process.says("sprag: SIGINT: the stop waits for shop/busy (line ")
        assert time.monotonic() - began < PROMPT
        process.says("/app.py, in hog_the_cpu)," if source is CPU_BOUND else "in block_in_c),")
        process.says("sprag: Ctrl-C again to end at once, or it ends in 3")
        process.type("\x03")
        assert process.ends(within=PROMPT) == ExitCode.FORCED_INT
        assert process.out.count("holds the loop") == 1


def test_a_hook_that_holds_the_loop_while_it_stops_is_named_too(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Busy(Service):
            def on_stop(self):
                gevent.sleep(0.1)
                while True:
                    get_original("time", "sleep")(0.01)
        app = App(name="shop", providers={"busy": Busy()})
        """,
    )
    with up(run(tmp_path, "--shutdown-timeout", "2.5")) as process:
        process.send(SIGTERM)
        process.says("sprag: SIGTERM: the stop waits for shop/busy (line ")
        process.says("sprag: SIGTERM again to end at once, or it ends in ")
        assert process.ends() == ExitCode.NOT_CLEAN


def test_a_stop_that_waits_is_not_taken_for_one_that_is_held(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Slow(Service):
            def on_stop(self):
                say("stopping")
                gevent.sleep(2)
        app = App(name="shop", providers={"slow": Slow()})
        """,
    )
    with up(run(tmp_path)) as process:
        process.send(SIGTERM)
        process.says("stopping")
        process.send(signal.SIGSTOP)
        time.sleep(1)
        process.send(signal.SIGCONT)
        assert process.ends() == ExitCode.STOPPED
        assert "holds the loop" not in process.err
