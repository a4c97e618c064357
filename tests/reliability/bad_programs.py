"""Programs that behave as badly as they can, and what `sprag run` makes of each.

Each is a real process below a real app. Those that do not disturb each other share one; what is
done to them from outside is done by `meanwhile`. `table.py` prints what came out for
docs/reliability.md; `test_bad_programs.py` demands it: nothing of any of them may be left.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from textwrap import dedent
from typing import TYPE_CHECKING, Final

from processes import PATIENCE, app, run
from reliability.bad_services import Outcome
from reliability.watching import (
    asked,
    children,
    descriptors,
    guard_of,
    memory,
    nobody_is_left,
    pids,
    service,
    state_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processes import Process

BUDGET: Final = 3.0
"""Seconds for the stop of an app."""
GRACE: Final = 1.0
"""Seconds past the budget in which the process must have ended, whatever its programs do."""
SECRET: Final = "hunter2-of-the-env"
KILLED: Final = -9
GONE: Final = 5.0
"""Seconds in which the guard must have ended all, when the app was killed."""
ANSWERS: Final = 0.1
"""Seconds in which the app answers while somebody floods it."""
LARGEST: Final = 80_000_000
"""Bytes of memory that the app may use meanwhile."""


@dataclass(frozen=True, slots=True)
class Row:
    """One bad program.

    Attributes:
        does: What it does, for the table.
        then: What the app does about it, for the table.
        says: What must be in the log.
    """

    does: str
    then: str
    says: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One app with bad programs in it.

    Attributes:
        rows: The programs.
        source: The app; `app` is its root.
        code: Its exit code.
        asked: Whether it gets a SIGTERM when it says "ready"; else it ends by itself, or is killed
            meanwhile.
        meanwhile: What is done to it from outside, once it says "ready".
        terminal: Whether it has one.
    """

    rows: tuple[Row, ...]
    source: str
    code: int
    asked: bool = True
    meanwhile: Callable[[Process, Path], object] | None = None
    terminal: bool = False


_HEAD: Final = """
from sprag import Backoff, Program, Supervisor
from sprag.programs import Command, Http, Line, Notify, Port

KEEPS_PID = "import os, signal, sys, time; open('pids', 'a').write(f'{os.getpid()}\\\\n')\\n"
SLOWLY = Backoff(initial=0.3, maximum=0.3, jitter=0.0)

def python(name, source, **given):
    return Program([sys.executable, "-S", "-c", KEEPS_PID + source], name=name, **given)

DAEMON, UNHEARD, OVERWRITES, LISTENS, FLOODS, TERMINAL, SECRET, QUICK, INNER = GIVEN

def all_of(*children):
    return Supervisor([*children, Ready()], name="app", max_restarts=100000)

class Ready(Service):
    def on_ready(self):
        say("ready")

"""


def attempt_case(case: Case, directory: Path) -> Outcome:
    """Run *case* in a process of its own; nothing of any of its programs may be left."""
    directory.mkdir(parents=True, exist_ok=True)
    given = (
        _DAEMON,
        _NEVER_HEARD,
        _OVERWRITES,
        _LISTENS,
        _FLOODS,
        _AT_TERMINAL,
        SECRET,
        QUICK,
        _INNER,
    )
    app(directory, f"GIVEN = {given!r}\n{_HEAD}{dedent(case.source)}")
    with run(directory, "--shutdown-timeout", str(BUDGET), terminal=case.terminal) as process:
        began = time.monotonic()
        if case.asked or case.meanwhile is not None:
            process.says("ready")
        if case.meanwhile is not None:
            case.meanwhile(process, directory)
        if case.asked:
            began = time.monotonic()
            process.send(signal.SIGTERM)
        was_killed = case.code == KILLED
        code = process.popen.wait(PATIENCE) if was_killed else process.ends()
        seconds = time.monotonic() - began
        nobody_is_left(process, directory, GONE if was_killed else 0)
        return Outcome(code, seconds, process.out, process.err)


# -- what is done meanwhile --------------------------------------------------------------


def _restarts(process: Process, name: str) -> int:
    return int(service(process, f"app/{name}")["restarts"])


def _is_again(process: Process, name: str, times: int) -> None:
    until(lambda: _restarts(process, name) >= times, f"{name} is restarted {times} times")


def _pid(process: Process, name: str) -> int:
    until(lambda: service(process, f"app/{name}")["process"], f"{name} runs")
    return int(service(process, f"app/{name}")["process"]["pid"])


def _live_among_them(process: Process, directory: Path) -> None:
    """Let all of them be as bad as they can, twice; it must cost the app nothing."""
    pid = process.popen.pid
    for name in ("dies", "never", "deaf", "forks", "leader", "secret", "binary"):
        _is_again(process, name, 1)
    killed = _pid(process, "victim")
    os.kill(killed, signal.SIGKILL)
    _is_again(process, "victim", 1)
    until(lambda: (directory / "epipe").exists(), "the daemon has learnt that nobody reads")
    before = descriptors(pid)
    for name in ("dies", "never", "deaf", "forks", "leader", "secret", "binary"):
        _is_again(process, name, _restarts(process, name) + 1)
    until(lambda: descriptors(pid) <= before + _FEW, "its descriptors are no more than before")
    until(lambda: "Z" not in children(pid).values(), "it has no zombies")
    process.send(signal.SIGUSR1)  # writes down where everybody is
    for target in ("tree", "service/app/secret", "why/app/secret", "why", "stacks", "top"):
        assert SECRET not in str(asked(process, target)[0]), target


_LONG: Final = 300.0
_FEW: Final = 6
"""Descriptors of programs that are just being started."""


def _ask_while_flooded(process: Process, _directory: Path) -> None:
    pid = process.popen.pid
    seconds: list[float] = []
    until(lambda: "left out of the log" in process.err, "lines are left out")
    for _ in range(20):
        seconds.append(asked(process, "tree")[1])
        time.sleep(0.02)
    # The median: the machine has others to do.
    assert sorted(seconds)[len(seconds) // 2] < ANSWERS, seconds
    until(lambda: not service(process, "app/flood")["process"], "all is written", _LONG)
    assert memory(pid) < LARGEST


def _has_another(process: Process, guard: int) -> bool:
    return guard_of(process) not in (0, guard)


def _kill_its_guard(process: Process, _directory: Path) -> None:
    process.says("overwritten")
    for times in (1, 2):
        guard = guard_of(process)
        os.kill(guard, signal.SIGKILL)
        process.says("it is started again", times=times)
        until(partial(_has_another, process, guard), "a new guard")
    time.sleep(0.1)
    process.send(signal.SIGKILL)


def _stop_its_guard(process: Process, _directory: Path) -> None:
    process.says("overwritten")
    guard = guard_of(process)
    for times in (1, 2):
        os.kill(guard, signal.SIGSTOP)
        process.says("it is woken", times=times)
        until(lambda: children(process.popen.pid)[guard] not in "Tt", "it goes on")
    process.send(signal.SIGSTOP)  # now the app cannot wake it
    until(lambda: state_of(process.popen.pid) == "T", "the app is stopped")
    os.kill(guard, signal.SIGSTOP)
    until(lambda: state_of(guard) == "T", "its guard is stopped")
    process.send(signal.SIGKILL)


def _stop_then_kill(process: Process, _directory: Path) -> None:
    process.says("overwritten")
    process.send(signal.SIGSTOP)
    time.sleep(0.05)
    process.send(signal.SIGKILL)


def _kill_the_outer_one(process: Process, directory: Path) -> None:
    until(lambda: len(pids(directory)) == 2, "the inner one's programs run")
    process.send(signal.SIGKILL)


def _kill_while_it_starts(process: Process, directory: Path) -> None:
    until(lambda: len(pids(directory)) >= 5, "the first ones run")
    process.send(signal.SIGKILL)


def _wait_for_all(process: Process, directory: Path) -> None:
    until(lambda: len(set(pids(directory))) >= AT_ONCE, "all run")
    assert len(children(process.popen.pid)) == AT_ONCE + 1  # with the guard


def _wait_for_quick_exits(process: Process, _directory: Path) -> None:
    pid = process.popen.pid
    _is_again(process, "quick-0", 5)
    before = min(descriptors(pid) for _ in range(20))
    until(lambda: "that was all" in process.out, "all have exited", _LONG)
    until(lambda: descriptors(pid) <= before + _FEW, "its descriptors are no more than before")
    until(lambda: "Z" not in children(pid).values(), "it has no zombies")


AT_ONCE: Final = 200
SHARE: Final = int(os.environ.get("SPRAG_BAD_PROGRAMS_SHARE", "50"))
"""The suite does so much less of what takes long; `table.py` all of it."""
QUICK: Final = 10_000 // SHARE

_LISTENS: Final = (
    "import socket; one = socket.create_server(('127.0.0.1', int(os.environ['PORT'])));"
    "two = one.accept()[0]; time.sleep(0.2); one.close(); two.close(); time.sleep(1000)"
)
_DAEMON: Final = (
    "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
    "open('pids', 'a').write(f'{os.getpid()}\\n'); time.sleep(1000)"
)
_NEVER_HEARD: Final = """
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        while True:
            time.sleep(0.05)
            os.write(1, b'still here\\n')
    except BrokenPipeError:
        open('epipe', 'w').close()
    time.sleep(1000)
os._exit(1)
"""
_OVERWRITES: Final = """
import ctypes
fields = open('/proc/self/stat').read().rpartition(')')[2].split()
for first, last in ((45, 46), (47, 48)):
    begin, end = int(fields[first]), int(fields[last])
    ctypes.memset(begin, 120, end - begin)
assert b'SPRAG' not in open('/proc/self/environ', 'rb').read()
print('overwritten', flush=True)
time.sleep(1000)
"""
_PIECES: Final = 16384 if SHARE == 1 else 110
"""1 GB; in the suite, so many lines that they would be more than `LARGEST`, if they were kept."""
_FLOODS: Final = f"for _ in range({_PIECES}): os.write(1, b'0123456\\n' * 8192)"
_AT_TERMINAL: Final = """
import termios
one = os.open('/dev/tty', os.O_RDWR) if False else 1
mode = termios.tcgetattr(one)
mode[3] |= termios.TOSTOP
termios.tcsetattr(one, termios.TCSANOW, mode)
os.write(1, b'written at the terminal\\n')
time.sleep(1000)
"""
_INNER: Final = f"""
import sys
from sprag import Program, Supervisor
head = "import os, signal, time; open('pids', 'a').write(f'{{os.getpid()}}\\\\n');"
deaf = head + "signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(1000)"
daemon = {("import os, time; " + _DAEMON)!r}
app = Supervisor([
    Program([sys.executable, "-S", "-c", deaf], name="deaf"),
    Program([sys.executable, "-S", "-c", daemon], name="daemon", restart="temporary"),
], name="inner")
"""

CASES: Final[dict[str, Case]] = {
    "together": Case(
        (
            Row("ignores SIGTERM", "killed when its `shutdown` is up", ('"killed": ',)),
            Row("forks and exits", "what it left of its group ends before it is restarted"),
            Row("forks a daemon and exits", "the daemon ends with the app, at the latest"),
            Row("dies, and leaves its pipe to somebody else", "read for 0.5 s more"),
            Row("writes 1 MB without a newline", "one line, cut", ("bytes more",)),
            Row("writes what is no text", "escaped", ("\\\\xff",)),
            Row(
                "dies before it is ready",
                "a crash; restarted",
                ("has exited with code 5",),
            ),
            Row("is never ready", "a crash after its `start_timeout`; restarted"),
            Row("was ready, and is deaf now", "its `alive` finds it; restarted"),
            Row("stops itself by SIGSTOP", "woken to be stopped"),
            Row(
                "is killed by somebody with -9",
                "a crash; restarted",
                ("was killed by SIGKILL",),
            ),
            Row(
                "overwrites its arguments and its environment (setproctitle)",
                "ends with its session",
                ("overwritten",),
            ),
            Row("becomes another user", "ends as any other"),
            Row(
                "writes to a full disk by `output=`",
                "told once; it goes on",
                ("its file cannot be written",),
            ),
            Row("has a secret in its environment, and crashes", "shown nowhere"),
            Row(
                "is killed, and leaves a group that ignores SIGTERM",
                "killed a second later, before the restart",
            ),
            Row("goes on writing when nobody reads any more (EPIPE)", "harms nobody else"),
        ),
        """
        import socket
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            PORT = one.getsockname()[1]
        app = all_of(
            python("ignores", "signal.signal(15, signal.SIG_IGN); time.sleep(1000)", shutdown=0.5),
            python("forks", "os.fork() and os._exit(0); time.sleep(1000)", backoff=SLOWLY),
            python("daemon", DAEMON, restart="temporary"),
            python("pipe", "os.fork() and os._exit(1); os.setsid(); time.sleep(1000)",
                   restart="temporary"),
            python("long", "os.write(1, b'x' * 1000000); time.sleep(1000)"),
            python("binary", "os.write(1, bytes(range(256)) * 100)", backoff=SLOWLY),
            python("dies", "sys.exit(5)", ready=Line("up"), backoff=SLOWLY),
            python("never", "time.sleep(1000)", ready=Line("up"), start_timeout=0.3,
                   backoff=SLOWLY),
            python("deaf", LISTENS, port=PORT, ready=Port(), backoff=SLOWLY,
                   alive=Port(every=0.1, failures=2)),
            python("stopped", "os.kill(os.getpid(), signal.SIGSTOP)", shutdown=2.0),
            python("victim", "time.sleep(1000)"),
            python("title", OVERWRITES),
            python("other", "os.getuid() or os.setuid(65534); time.sleep(1000)"),
            python("disk", "[os.write(1, b'x' * 10000) for _ in range(100)]; time.sleep(1000)",
                   output="/dev/full"),
            python("secret", "print('no'); sys.exit(1)", env={"PASSWORD": SECRET},
                   backoff=SLOWLY),
            python("leader",
                   "os.fork() and os.kill(os.getpid(), 9); signal.signal(15, signal.SIG_IGN);"
                   "time.sleep(1000)", backoff=SLOWLY),
            python("unheard", UNHEARD, restart="temporary"),
        )
        """,
        0,
        meanwhile=_live_among_them,
    ),
    "flood": Case(
        (
            Row(
                "writes 1 GB to its stdout",
                "20,000 lines a second are logged, the rest counted; the app answers within 0.1 s",
                ("output left out of the log",),
            ),
        ),
        """
        app = all_of(python("flood", FLOODS, restart="transient"))
        """,
        0,
        meanwhile=_ask_while_flooded,
    ),
    "exec-fails": Case(
        (
            Row(
                "is no program: its `exec` fails",
                "the app never comes up",
                ("cannot be run: Exec format error",),
            ),
        ),
        """
        with open("nothing", "w") as file:
            file.write("nothing")
        os.chmod("nothing", 0o755)
        app = all_of(python("before", "time.sleep(1000)"), Program(["./nothing"]))
        """,
        3,
        asked=False,
    ),
    "port-taken": Case(
        (Row("has a port that is taken", "the app never comes up", ("is taken by pid",)),),
        """
        import socket
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        app = all_of(python("before", "time.sleep(1000)"),
                     python("taken", "time.sleep(1000)", port=port, ready=Port()))
        """,
        3,
        asked=False,
    ),
    "descriptors": Case(
        (
            Row(
                "is started when the app is out of descriptors",
                "a start that failed, with the remedy; nothing is lost",
                ("raise the limit ('ulimit -n')", "and one is started"),
            ),
        ),
        """
        import resource
        class Driver(Service):
            def run(self):
                top = app
                resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
                files = []
                for spare in (0, 1, 2, 3, 4, 5, 6):
                    try:
                        while True:
                            files.append(open("/dev/null"))
                    except OSError:
                        pass
                    for _ in range(spare):
                        files.pop().close()
                    gevent.sleep(0)
                    name = f"spare-{spare}"
                    try:
                        top.start_child(python(name, "time.sleep(1000)"))
                    except StartFailed as error:
                        say(error.__cause__)
                    else:
                        top.terminate_child(name)
                    left = len(os.listdir("/proc/self/fd")) if spare else 0
                del files
                top.start_child(python("one", "time.sleep(1000)"))
                say("and one is started")
                say("ready")
                gevent.sleep(60)
        app = Supervisor([python("first", "time.sleep(1000)"), Driver()], name="app")
        """,
        0,
    ),
    "200": Case(
        (Row("is one of 200 at once", "all run, and end"),),
        """
        app = all_of(*(Program("echo $$ >> pids; exec sleep 1000", shell=True, name=f"one-{n}",
                               needs=()) for n in range(200)))
        """,
        0,
        meanwhile=_wait_for_all,
    ),
    "50-deaf": Case(
        (Row("is one of 50 that ignore SIGTERM", "all are killed within the budget"),),
        """
        app = all_of(*(Program("trap '' TERM; echo $$ >> pids; sleep 1000 & wait; wait", shell=True,
                               name=f"one-{n}", kill="group") for n in range(50)))
        """,
        4,
    ),
    "quick": Case(
        (Row("exits at once, 10,000 times", "restarted each time; nothing is left of any"),),
        """
        class Counts(Service):
            def run(self):
                while sum(app.service(f"quick-{n}").snapshot().restarts for n in range(10)) < QUICK:
                    gevent.sleep(0.05)
                say("that was all")
        app = all_of(Counts(), *(Program("true", name=f"quick-{n}") for n in range(10)))
        """,
        0,
        meanwhile=_wait_for_quick_exits,
    ),
    "terminal": Case(
        (
            Row(
                "sets up the terminal and writes to it (SIGTTOU)",
                "is not stopped: it is in a session of its own",
                ("written at the terminal",),
            ),
        ),
        """
        app = all_of(python("tty", TERMINAL, output="inherit"))
        """,
        0,
        meanwhile=lambda process, _directory: process.says("written at the terminal"),
        terminal=True,
    ),
    "guard": Case(
        (
            Row(
                "runs in an app whose guard is killed, twice, and which is killed with -9 then",
                "the guard comes back, and ends them all",
                ("it is started again",),
            ),
        ),
        """
        app = all_of(
            python("one", "os.fork(); time.sleep(1000)"),
            python("daemon", DAEMON, restart="temporary"),
            python("title", OVERWRITES),
        )
        """,
        KILLED,
        asked=False,
        meanwhile=_kill_its_guard,
    ),
    "guard-stopped": Case(
        (
            Row(
                "runs in an app whose guard is stopped, twice, and both then, before it is killed",
                "the guard is woken, by the app or by its death, and ends them all",
                ("the guard of the programs was stopped: it is woken",),
            ),
        ),
        """
        app = all_of(
            python("one", "os.fork(); time.sleep(1000)"),
            python("daemon", DAEMON, restart="temporary"),
            python("title", OVERWRITES),
        )
        """,
        KILLED,
        asked=False,
        meanwhile=_stop_its_guard,
    ),
    "guard-stopped-at-the-end": Case(
        (
            Row(
                "left a daemon in an app whose guard is stopped as the app ends",
                "the daemon ends with the app",
            ),
        ),
        """
        class Stops(Service):
            def on_stop(self):
                [guard] = [
                    pid for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split()
                    if "guarding" in open(f"/proc/{pid}/cmdline").read()
                ]
                os.kill(int(guard), signal.SIGSTOP)
        app = all_of(python("daemon", DAEMON, restart="temporary"), Stops())
        """,
        0,
    ),
    "killed": Case(
        (Row("runs in an app that is stopped, then killed with -9", "ended by the guard"),),
        """
        app = all_of(
            python("one", "os.fork(); signal.signal(15, signal.SIG_IGN); time.sleep(1000)"),
            python("daemon", DAEMON, restart="temporary"),
            python("title", OVERWRITES),
            python("other", "os.getuid() or os.setuid(65534); time.sleep(1000)"),
        )
        """,
        KILLED,
        asked=False,
        meanwhile=_stop_then_kill,
    ),
    "nested": Case(
        (
            Row(
                "is another app, with programs of its own, when the outer one is killed with -9",
                "both guards end what is theirs",
            ),
        ),
        """
        with open("inner.py", "w") as file:
            file.write(INNER)
        words = [sys.executable, "-m", "sprag_cli", "run", "inner:app", "--no-control"]
        app = all_of(Program(words, name="inner", ready=Line("ready")))
        """,
        KILLED,
        asked=False,
        meanwhile=_kill_the_outer_one,
    ),
    "starting": Case(
        (Row("is one of 50 that start while the app is killed with -9", "ended by the guard"),),
        """
        say("ready")
        app = all_of(*(python(f"one-{n}", "os.fork(); time.sleep(1000)") for n in range(50)))
        """,
        KILLED,
        asked=False,
        meanwhile=_kill_while_it_starts,
    ),
}
