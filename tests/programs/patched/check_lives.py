"""A program is a service: it starts, is ready, ends, crashes, is restarted, is stopped in time."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from programmed import Log, is_there, python, until
from sprag import Backoff, Program, Service, StartFailed, State, Supervisor
from sprag.exceptions import BadValue
from sprag.programs import Command, Http, Line, Notify, Port
from sprag.programs.exceptions import CannotRun, FatalExit, PortTaken

if TYPE_CHECKING:
    from pathlib import Path

SLEEPS = "import time; time.sleep(1000)"
DEAF = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True);"
    "time.sleep(1000)"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def failure(program: Program) -> str:
    return str(program.snapshot().failures[-1])


def test_it_runs_and_a_stop_ends_it(top: Supervisor) -> None:
    program = top.start_child(python(SLEEPS))
    pid = program.pid
    assert pid is not None
    assert is_there(pid)
    assert program.snapshot().state is State.RUNNING
    report = program.stop()
    assert report.killed == 0
    assert not is_there(pid)
    assert program.pid is None


def test_one_that_crashes_is_restarted_and_its_last_output_is_told(top: Supervisor) -> None:
    source = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    program = top.start_child(python(source, settle=0))
    until(lambda: program.snapshot().restarts >= 1)
    told = top.service("it").snapshot().failures[-1].format()
    assert "has exited with code 3" in told
    assert "one" in told
    assert "two" in told
    program.stop()


def test_a_signal_from_outside_is_a_crash(top: Supervisor) -> None:
    program = top.start_child(python(SLEEPS))
    os.kill(program.pid or 0, signal.SIGKILL)
    until(lambda: program.snapshot().restarts == 1)
    assert "was killed by SIGKILL" in failure(program)
    until(lambda: program.pid is not None)


def test_success_is_no_failure_and_a_transient_one_stays_finished(top: Supervisor) -> None:
    program = top.start_child(
        python("raise SystemExit(2)", success_codes={0, 2}, restart="transient")
    )
    ending = program.wait(10)
    assert ending is not None
    assert ending.is_clean
    assert program.snapshot().failures == ()


def test_a_fatal_code_is_not_tried_again(top: Supervisor) -> None:
    program = top.start_child(python("raise SystemExit(78)", fatal_codes={78}))
    ending = program.wait(10)
    assert ending is not None
    assert program.snapshot().state is State.FAILED
    assert program.snapshot().restarts == 0
    assert FatalExit.__name__ in failure(program)


def test_one_that_does_not_live_for_its_settle_seconds_has_not_started(top: Supervisor) -> None:
    with pytest.raises(StartFailed, match="has exited with code 0"):
        top.start_child(python("pass", settle=5.0))


def test_a_deaf_one_is_killed_within_its_time(top: Supervisor) -> None:
    program = top.start_child(python(DEAF, shutdown=0.5, ready=Line("up")))
    until(lambda: program.snapshot().is_ready)
    began = time.monotonic()
    report = program.stop()
    assert report.killed == 1
    assert "was killed" in report.entries[0].detail
    assert time.monotonic() - began < 2
    program = top.start_child(python(DEAF, name="other", shutdown="brutal_kill"))
    pid = program.pid or 0
    program.stop()
    assert not is_there(pid)


def test_a_stopped_one_ends_too(top: Supervisor) -> None:
    program = top.start_child(python(SLEEPS, shutdown=5.0))
    os.kill(program.pid or 0, signal.SIGSTOP)
    began = time.monotonic()
    assert program.stop().killed == 0
    assert time.monotonic() - began < 2


def test_what_it_has_started_ends_with_it(top: Supervisor, log: Log) -> None:
    program = top.start_child(
        Program("sleep 1000 & sleep 1000 & echo $! ; wait", shell=True, name="it")
    )
    until(lambda: log.lines)
    below = int(log.texts()[0])
    assert is_there(below)
    program.stop()
    assert not is_there(below)


def test_what_a_crashed_one_has_left_ends_before_it_is_restarted(top: Supervisor, log: Log) -> None:
    line = "sleep 1000 & echo $! ; exit 1"
    top.start_child(Program(line, shell=True, name="it", backoff=Backoff(initial=30)))
    until(lambda: log.lines)
    until(lambda: not is_there(int(log.texts()[0])))


def test_a_daemon_that_left_its_session_ends_with_kill_tree(top: Supervisor, log: Log) -> None:
    line = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000"
    program = top.start_child(Program(line, shell=True, name="it", kill="tree"))
    until(lambda: log.lines)
    below = int(log.texts()[0])
    program.stop()
    until(lambda: not is_there(below))


def test_its_lines_are_logged_cut_and_escaped(top: Supervisor, log: Log) -> None:
    source = (
        "import os; os.write(1, b'plain\\n' + b'\\x1b[31mred\\xff\\n' + b'x' * 10000 + b'\\nlast');"
        "os.write(2, b'error\\n')"
    )
    program = top.start_child(python(source, restart="temporary"))
    program.wait(10)
    out = [line for _service, stream, line in log.lines if stream == "stdout"]
    assert out[0] == "plain"
    assert out[1] == "\\x1b[31mred\\xff"
    assert out[2].startswith("xxxx")
    assert out[2].endswith(" … and 5904 bytes more")
    assert out[3] == "last"
    assert ("top/it", "stderr", "error") in log.lines


def test_more_lines_than_may_be_are_counted_and_the_program_goes_on(
    top: Supervisor, log: Log
) -> None:
    source = "import sys\nfor n in range(50_000): print(n)"
    program = top.start_child(python(source, output_limit=100, restart="temporary"))
    program.wait(20)
    left_out = [event["lines"] for event in log.events if event["event"].startswith("output left")]
    assert len(log.lines) + sum(left_out) == 50_000
    assert len(log.lines) < 5000


def test_a_gigabyte_without_a_newline_takes_no_memory(top: Supervisor, log: Log) -> None:
    source = "import os\nfor n in range(2_000): os.write(1, b'x' * 65536)"
    program = top.start_child(python(source, restart="temporary"))
    program.wait(60)
    assert len(log.lines) == 1
    assert len(log.texts()[0]) < 5000


def test_output_goes_into_a_file_as_it_is(top: Supervisor, log: Log, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    source = "import os; os.write(1, b'\\xff\\x1b'); os.write(2, b'two\\n')"
    top.start_child(python(source, restart="temporary", output=path)).wait(10)
    assert sorted(path.read_bytes()) == sorted(b"before\n\xff\x1btwo\n")
    assert log.lines == []


def test_a_copy_is_watched_for_a_line_and_its_end_is_remembered(
    top: Supervisor, log: Log, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    source = (
        "import sys, time; print('up', flush=True); time.sleep(0.2)\n"
        "for n in range(1000): print(n)\nsys.stdout.flush(); time.sleep(0.1); sys.exit(3)"
    )
    program = top.start_child(python(source, output=path, ready=Line("up"), restart="temporary"))
    until(lambda: program.snapshot().is_ready)
    ending = program.wait(10)
    assert ending is not None
    assert ending.failure is not None
    assert ending.failure.format().count("\n") >= 20
    assert "999" in ending.failure.format()
    assert path.read_text() == "up\n" + "".join(f"{n}\n" for n in range(1000))
    assert log.lines == []


@pytest.mark.parametrize("length", [0, 9, 47, 48, 99, 4000])
def test_the_lines_of_a_copy_are_counted_however_long_they_are(
    top: Supervisor, tmp_path: Path, length: int
) -> None:
    source = f"import sys; sys.stdout.write(('x' * {length} + '\\n') * 5000 + 'and the rest')"
    program = python(source, output=tmp_path / "out", restart="temporary")
    top.start_child(program).wait(10)
    assert program._run_ is not None
    assert program._run_.output.lines == 5000


def test_a_full_disk_is_told_once_and_the_program_goes_on(top: Supervisor, log: Log) -> None:
    source = "import os\nfor n in range(100): os.write(1, b'x' * 10_000)"
    program = top.start_child(python(source, restart="transient", output="/dev/full"))
    ending = program.wait(10)
    assert ending is not None
    assert ending.is_clean
    assert len([event for event in log.events if "file cannot be written" in event["event"]]) == 1


def test_a_pipe_that_somebody_else_holds_delays_nobody(top: Supervisor) -> None:
    line = "setsid sleep 3 & exit 0"
    program = top.start_child(Program(line, shell=True, name="it", restart="temporary"))
    began = time.monotonic()
    program.wait(10)
    assert time.monotonic() - began < 2.5
    gevent.sleep(0)


def test_it_is_ready_when_its_port_answers(top: Supervisor) -> None:
    port = free_port()
    words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", f"{port}"]
    program = Program(words, name="web", port=port, ready=Port(), alive=Http("/", every=0.05))
    top.start_child(program)
    assert program.snapshot().unready is not None
    until(lambda: program.snapshot().is_ready)
    probed = top.start_child(python(SLEEPS, ready=Http(f"http://127.0.0.1:{port}/nothing-there")))
    until(lambda: "answers 404" in (probed.snapshot().unready or ""))


def test_a_port_that_is_taken_is_told_with_its_owner(top: Supervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StartFailed) as caught:
            top.start_child(python(SLEEPS, port=port, ready=Port()))
    assert isinstance(caught.value.__cause__, PortTaken)
    assert f"pid {os.getpid()}" in str(caught.value.__cause__)


def test_one_that_is_never_ready_crashes_when_its_time_is_up(top: Supervisor) -> None:
    program = top.start_child(
        python(
            SLEEPS, ready=Line("never"), start_timeout=1.0, backoff=Backoff(initial=60, maximum=60)
        )
    )
    until(lambda: program.snapshot().failures)
    assert "no line of its output matches 'never'" in failure(program)


def test_a_command_tells_whether_it_is_ready_and_alive(top: Supervisor, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    test = Command(["test", "-e", str(flag)], every=0.05, failures=2)
    program = top.start_child(python(SLEEPS, ready=test, alive=test))
    until(lambda: "has exited with code 1" in (program.snapshot().unready or ""))
    flag.touch()
    until(lambda: program.snapshot().is_ready)
    flag.unlink()
    until(lambda: program.snapshot().restarts >= 1)
    assert "failed" in failure(program)


NOTIFIES = """
import os, socket, sys, time
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
one.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
one.send(b"STATUS=warming up")
time.sleep(0.1)
one.send(b"READY=1\\nSTATUS=all is well")
while True:
    time.sleep(0.05)
    if "beats" in sys.argv: one.send(b"WATCHDOG=1")
"""


def test_it_says_itself_that_it_is_ready_and_alive(top: Supervisor) -> None:
    words = [sys.executable, "-S", "-c", NOTIFIES]
    quiet = top.start_child(Program(words, name="quiet", ready=Notify(watchdog=0.4)))
    until(lambda: quiet.snapshot().status == "warming up")
    until(lambda: quiet.snapshot().is_ready)
    assert quiet.snapshot().status == "all is well"
    beats = top.start_child(Program([*words, "beats"], name="beats", ready=Notify(watchdog=0.4)))
    until(lambda: quiet.snapshot().restarts >= 1)
    gevent.sleep(0.6)
    assert beats.snapshot().restarts == 0


def test_nobody_else_is_listened_to(top: Supervisor) -> None:
    program = top.start_child(
        python(
            "import os, time; print(os.environ['NOTIFY_SOCKET'], flush=True); time.sleep(1000)",
            ready=Notify(),
        )
    )
    until(lambda: program._run_ is not None and program._run_.output.last)
    assert program._run_ is not None
    address = program._run_.output.last[0].text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.connect("\0" + address[1:])
        one.send(b"READY=1")
    gevent.sleep(0.1)
    assert not program.snapshot().is_ready


SHOWS = """
import json, os, signal
names = "A B C OURS PORT PYTHONUNBUFFERED NOTIFY_SOCKET LISTEN_FDS WATCHDOG_USEC SPRAG_LOG".split()
print(json.dumps({name: os.environ[name] for name in names if name in os.environ}), flush=True)
signal.pause()
"""


def test_its_environment_is_ours_its_files_and_its_own(
    top: Supervisor, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "SPRAG_LOG", "OURS"):
        monkeypatch.setenv(name, "ours")
    file = tmp_path / ".env"
    file.write_text("# a comment\nexport A='of the file'\nB=\"two\\nlines\"\nC=plain # told\n")
    top.start_child(python(SHOWS, env_file=file, env={"C": "own"}, port=8123))
    until(lambda: log.lines)
    seen = json.loads(log.texts()[0])
    assert seen["A"] == "of the file"
    assert seen["B"] == "two\nlines"
    assert seen["C"] == "own"
    assert seen["OURS"] == "ours"
    assert seen["PORT"] == "8123"
    assert seen["PYTHONUNBUFFERED"] == "1"
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "SPRAG_LOG"} & set(seen)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": ["no-such-binary"]}, "there is no 'no-such-binary' in its PATH"),
        ({"command": ["./nothing"]}, "there is no file"),
        ({"command": ["/etc/passwd"]}, "is not executable"),
        ({"command": ["/"]}, "is a directory"),
        ({"command": ["true"], "cwd": "/no/such"}, "is no directory"),
        ({"command": ["true"], "user": "no-such-user"}, "there is no user 'no-such-user'"),
        ({"command": ["true"], "group": "no-such-group"}, "there is no group"),
        ({"command": ["true"], "env_file": "/no/such"}, "its env_file, /no/such: No such file"),
        ({"command": ["true"], "output": "/no/such/file"}, "its output, /no/such/file"),
        ({"command": ["true"], "limits": {"nofile": (1 << 40, 1 << 40)}}, "its limits:"),
    ],
)
def test_what_cannot_be_run_says_why(top: Supervisor, given: dict[str, object], said: str) -> None:
    with pytest.raises(StartFailed) as caught:
        top.start_child(Program(**given))  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, CannotRun)
    assert said in str(caught.value.__cause__)


def test_limits_and_a_user_are_set_before_it_runs(top: Supervisor, log: Log) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may become somebody else")
    line = "ulimit -n; id -un; echo $HOME $USER; umask; pwd"
    top.start_child(
        Program(
            line,
            shell=True,
            name="it",
            user="nobody",
            limits={"nofile": 99},
            umask=0o027,
            cwd="/tmp",
            restart="temporary",
        )
    ).wait(10)
    assert log.texts() == ["99", "nobody", "/nonexistent nobody", "0027", "/tmp"]


def test_a_group_of_a_program_and_a_service_restarts_as_one(top: Supervisor) -> None:
    class Feeder(Service):
        pass

    with_program = Supervisor([python(SLEEPS), Feeder()], strategy="one_for_all", name="group")
    top.start_child(with_program)
    program, feeder = top.service("group/it"), top.service("group/Feeder")
    os.kill(program.pid, signal.SIGKILL)
    until(lambda: feeder.snapshot().restarts == 1)
    until(lambda: program.snapshot().restarts == 1 and program.pid is not None)


def test_a_start_that_is_cut_short_leaves_no_process(top: Supervisor) -> None:
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.02):
        with gevent.Timeout(delay, False):  # type: ignore[arg-type]
            top.start_child(python(SLEEPS, settle=10, name=f"it-{delay}"))
    # What the fixture looks for at the end: processes, descriptors, greenlets.


def test_on_start_of_a_subclass_needs_no_super(top: Supervisor) -> None:
    class Own(Program):
        def command(self) -> list[str]:
            return [sys.executable, "-S", "-c", SLEEPS]

        def environment(self) -> dict[str, str]:
            return {"OWN": "1"}

        def on_start(self) -> None:
            self.seen = self.pid

    program = top.start_child(Own())
    assert program.seen == program.pid
    assert program.seen is not None


def test_replicas_are_numbered_and_the_group_is_ready_when_all_are(
    top: Supervisor, log: Log
) -> None:
    source = (
        "import os, sys, time; print(sys.argv[1], os.environ['PORT'], flush=True); time.sleep(99)"
    )
    words = [sys.executable, "-S", "-c", source, "number-{replica}"]
    group = top.start_child(
        Program(words, name="web", port=9100, replicas=2, ready=Line("number-{replica} 91"))
    )
    until(lambda: group.snapshot().is_ready)
    assert [child.name for child in group.snapshot().children] == ["1", "2"]
    assert sorted(log.texts()) == ["number-1 9100", "number-2 9101"]
    os.kill(top.service("web/2").pid, signal.SIGKILL)
    until(lambda: group.snapshot().unready == "1 of 2 are ready")
    until(lambda: group.snapshot().is_ready)
    group.scale(4)
    until(lambda: group.snapshot().is_ready)
    assert [child.name for child in group.snapshot().children] == ["1", "2", "3", "4"]
    group.scale(1)
    assert [child.name for child in group.snapshot().children] == ["1"]
    group.stop()
    group.start()
    assert len(group.snapshot().children) == 2
    single = top.start_child(python(SLEEPS))
    with pytest.raises(BadValue, match="single"):
        single.scale(2)


def test_its_pid_is_known_before_it_has_settled(top: Supervisor) -> None:
    program = python(SLEEPS, settle=0.5)
    spawn: Any = gevent.spawn
    starting = spawn(top.start_child, program)
    until(lambda: program.pid)
    assert program.snapshot().state is State.STARTING
    starting.join()
